"""What a person said is kept: the newest counts, nothing is lost, and it is on disk."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from upath import UPath

from storage.reviews import Reviews, open_reviews
from storage.workspace import BadWorkspace, Workspace, open_workspace

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
    assert reviews.newest().rows() == [(*FACE, "corrected", 41.5, "male")]


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


def test_a_database_of_ones_own_can_be_given(workspace: Workspace, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    open_reviews(workspace, url).add(FACE, "right", "anna")
    assert len(open_reviews(workspace, url).newest()) == 1
    assert not (workspace.root / "reviews.sqlite").exists()


def test_reviews_of_a_bucket_need_a_database() -> None:
    with pytest.raises(BadWorkspace, match="database URL"):
        open_reviews(Workspace(UPath("memory://bucket/faces")))
