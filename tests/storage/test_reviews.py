"""What a person said is kept: the newest counts, nothing is lost, and it is on disk."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from upath import UPath

from storage.reviews import Reviews, Shown, open_reviews
from storage.workspace import BadWorkspace, Workspace, now, open_workspace

REPOSITORY = Path(__file__).parent.parent.parent
FACE = ("a" * 64, 0)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


@pytest.fixture
def reviews(workspace: Workspace) -> Reviews:
    return open_reviews(workspace)


def test_nobody_said_anything_yet(reviews: Reviews) -> None:
    assert reviews.newest().rows() == []


def test_the_newest_row_of_a_face_counts(reviews: Reviews) -> None:
    reviews.add(FACE, "right", "anna")
    reviews.add(FACE, "corrected", "ben", age=41.5, gender="male")
    assert reviews.newest().rows() == [(*FACE, "corrected", 41.5, "male", None, None, None)]


def test_faces_of_one_photo_are_told_apart(reviews: Reviews) -> None:
    reviews.add(FACE, "right", "anna")
    reviews.add((FACE[0], 1), "not_a_face", "anna")
    assert sorted(row[1:3] for row in reviews.newest().rows()) == [(0, "right"), (1, "not_a_face")]


def test_a_withdrawn_review_is_as_if_never_said(reviews: Reviews) -> None:
    reviews.add(FACE, "corrected", "anna", age=41.5)
    reviews.add(FACE, "withdrawn", "anna")
    assert reviews.newest().rows() == []


def test_after_a_withdrawal_one_can_say_something_new(reviews: Reviews) -> None:
    for verdict in ("right", "withdrawn", "not_a_face"):
        reviews.add(FACE, verdict, "anna")
    assert reviews.newest()["verdict"].to_list() == ["not_a_face"]


def test_a_verdict_that_does_not_exist_is_a_mistake(reviews: Reviews) -> None:
    with pytest.raises(AssertionError, match="maybe"):
        reviews.add(FACE, "maybe", "anna")


def test_reviews_are_there_when_the_workspace_is_opened_again(workspace: Workspace) -> None:
    open_reviews(workspace).add(FACE, "right", "anna")
    assert len(open_reviews(workspace).newest()) == 1


def test_nothing_is_ever_overwritten(workspace: Workspace, reviews: Reviews) -> None:
    for verdict in ("right", "withdrawn", "right"):
        reviews.add(FACE, verdict, "anna")
    with sqlite3.connect(str(workspace.root / "reviews.sqlite")) as database:
        assert database.execute("select count(*) from reviews").fetchone() == (3,)
    database.close()


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("busy_timeout", 10000)])
def test_each_connection_survives_a_power_cut_and_waits_its_turn(reviews: Reviews, pragma: str, value: object) -> None:
    with reviews._engine.connect() as connection:
        assert connection.execute(text(f"PRAGMA {pragma}")).scalar() == value


WRITER = """
import sys
from storage.reviews import open_reviews
from storage.workspace import existing_workspace
reviews = open_reviews(existing_workspace(sys.argv[1]))
sys.stdin.readline()
for index in range(60):
    reviews.add((sys.argv[2] * 64, index), "right", "anna")
"""


def test_two_people_who_write_at_once_lose_nothing(workspace: Workspace, reviews: Reviews) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(workspace.root), name], cwd=REPOSITORY, stdin=subprocess.PIPE, text=True
        )
        for name in "bc"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.wait() for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    assert len(reviews.newest()) == 120


def test_reviews_of_a_bucket_need_a_database() -> None:
    with pytest.raises(BadWorkspace, match="FACELINE_REVIEWS_URL"):
        open_reviews(Workspace(UPath("memory://bucket/faces")))


def test_what_was_shown_is_kept_beside_what_was_said(reviews: Reviews) -> None:
    shown = Shown("random", 30.5, "female", "pretrained")
    reviews.add(FACE, "corrected", "anna", age=41, gender="male", shown=shown)
    [row] = reviews.of_photo(FACE[0]).to_dicts()
    assert Shown(row["reason"], row["old_age"], row["old_gender"], row["model_version"]) == shown
    assert (row["age"], row["gender"], row["reviewer"]) == (41.0, "male", "anna")
    assert timedelta(0) <= now() - row["reviewed_at"] < timedelta(minutes=5)


def test_a_photo_keeps_every_word_that_was_said_of_it(reviews: Reviews) -> None:
    for face, verdict in ((FACE, "right"), (FACE, "withdrawn"), (("b" * 64, 0), "right")):
        reviews.add(face, verdict, "anna")
    assert reviews.of_photo(FACE[0])["verdict"].to_list() == ["right", "withdrawn"]


def test_a_later_review_of_a_face_is_noticed(reviews: Reviews) -> None:
    reviews.add(FACE, "right", "anna")
    before = reviews.last_id()
    reviews.add((FACE[0], 1), "right", "anna")
    assert not reviews.said_since(FACE, before)
    reviews.add(FACE, "not_a_face", "ben")
    assert reviews.said_since(FACE, before)


def test_reviews_by_others_are_counted_since_a_moment(reviews: Reviews) -> None:
    moment = now()
    for reviewer in ("anna", "ben", "ben"):
        reviews.add(FACE, "right", reviewer)
    assert reviews.count_since(moment, but_by="anna") == 2
    assert reviews.count_since(now() + timedelta(hours=1), but_by="anna") == 0


@pytest.fixture
def visit_of(reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], datetime | None]:
    """A visit, so many hours from now."""

    def visit(reviewer: str, hours: float) -> datetime | None:
        monkeypatch.setattr("storage.reviews.now", lambda: now() + timedelta(hours=hours))
        return reviews.note_visit(reviewer)

    return visit


def test_a_visit_tells_when_the_one_before_was(visit_of: Callable[[str, float], datetime | None]) -> None:
    assert visit_of("anna", -5) is None
    before = visit_of("anna", 0)
    assert before is not None
    assert abs(now() - timedelta(hours=5) - before) < timedelta(minutes=1)
    assert visit_of("ben", 0) is None


def test_a_page_that_is_loaded_again_within_the_hour_is_the_same_visit(
    visit_of: Callable[[str, float], datetime | None],
) -> None:
    for hours in (-5, -0.9, -0.1):
        visit_of("anna", hours)
    before = visit_of("anna", 0)
    assert before is not None
    assert abs(now() - timedelta(hours=5) - before) < timedelta(minutes=1)


def test_reviews_of_an_earlier_version_are_kept_and_added_to(workspace: Workspace) -> None:
    with sqlite3.connect(str(workspace.root / "reviews.sqlite")) as database:
        database.execute(
            "CREATE TABLE reviews (id INTEGER PRIMARY KEY, file_hash VARCHAR(64) NOT NULL, face_index INTEGER NOT NULL,"
            " verdict VARCHAR(16) NOT NULL, age FLOAT, gender VARCHAR(8), reviewer VARCHAR(200) NOT NULL,"
            " reviewed_at DATETIME NOT NULL)"
        )
        old = (FACE[0], FACE[1], "right", "anna", "2026-01-01 00:00:00.000000")
        database.execute(
            "INSERT INTO reviews (file_hash, face_index, verdict, reviewer, reviewed_at) VALUES (?,?,?,?,?)", old
        )
    database.close()
    opened = open_reviews(workspace)
    opened.add((FACE[0], 1), "right", "ben", shown=Shown("random"))
    assert opened.newest().select("face_index", "reason").rows() == [(0, None), (1, "random")]
