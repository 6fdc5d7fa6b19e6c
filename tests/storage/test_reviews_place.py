"""Reviews in a Postgres that several share: what SQLite keeps, it keeps too, and its password is shown nowhere."""

import logging
import os
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from upath import UPath

from storage.audit import acts
from storage.reviews import Shown, open_reviews, reviews_of
from storage.reviews_place import engine_of
from storage.workspace import BadWorkspace, Workspace, now, open_workspace
from tests.database import PASSWORD, Postgres, name_of, programs
from tests.storage.test_reviews import FACE, REPOSITORY

SECRET = "s3cret"
FORGOTTEN = "d" * 64  # in no other test's database
WRITER = """
import sys
from storage.reviews import open_reviews
from storage.workspace import existing_workspace
sys.stdin.readline()
reviews = open_reviews(existing_workspace(sys.argv[1]))
for index in range(60):
    reviews.add((sys.argv[2] * 64, index), "right", "anna")
    reviews.add(("a" * 64, 0), "corrected", sys.argv[2], age=index)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


# Without a server


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://anna:{SECRET}",
        f"postgresql://anna:{SECRET}/reviews",
        f"mysql://anna:{SECRET}@localhost/reviews",
        f"postgresql+psycopg2://anna:{SECRET}@localhost/reviews",
        f"postgresql://anna:half@{SECRET}@localhost/reviews",
        f"sqlite:///{SECRET}",
        SECRET,
    ],
)
def test_an_address_that_can_not_be_right_is_refused_and_not_shown(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("FACELINE_REVIEWS_URL", address)
    with pytest.raises(BadWorkspace, match="FACELINE_REVIEWS_URL is no address like") as refused:
        open_reviews(workspace)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_server_that_can_not_be_reached_is_named_without_the_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACELINE_REVIEWS_URL", f"postgresql://anna:{SECRET}@127.0.0.1:1/reviews")
    with pytest.raises(BadWorkspace, match=r"Postgres at 127\.0\.0\.1: .*refused") as refused:
        open_reviews(workspace)
    assert SECRET not in str(refused.value)
    monkeypatch.delenv("FACELINE_REVIEWS_URL")
    assert open_reviews(workspace).last_id() == 0  # nothing was noted


def test_a_missing_driver_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACELINE_REVIEWS_URL", f"postgresql://anna:{SECRET}@127.0.0.1:1/reviews")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadWorkspace, match=r"pip install 'faceline\[postgres\]'"):
        open_reviews(workspace)


def test_an_empty_address_is_none(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACELINE_REVIEWS_URL", "")
    assert open_reviews(workspace).last_id() == 0


def test_a_workspace_in_an_object_store_has_no_place_for_reviews_of_its_own() -> None:
    assert reviews_of(Workspace(UPath("memory://bucket/faces"))) is None


# With one


@pytest.mark.slow
def test_what_was_said_is_read_back_in_its_order(workspace: Workspace, reviews_url: str) -> None:
    reviews = open_reviews(workspace)
    shown = Shown("random", 30.5, "female", "pretrained")
    reviews.add(FACE, "right", "anna", shown=shown)
    reviews.add(FACE, "corrected", "ben", age=41.5, gender="male")
    reviews.add((FACE[0], 1), "not_a_face", "anna")
    assert reviews.newest().rows() == [
        (*FACE, "corrected", 41.5, "male", None, None, None),
        (FACE[0], 1, "not_a_face", None, None, None, None, None),
    ]
    first, *_ = reviews.of_photo(FACE[0]).to_dicts()
    assert Shown(first["reason"], first["old_age"], first["old_gender"], first["model_version"]) == shown
    assert timedelta(0) <= now() - first["reviewed_at"] < timedelta(minutes=5)
    reviews.add(FACE, "withdrawn", "ben")
    assert reviews.newest()["face_index"].to_list() == [1]
    assert not (workspace.root / "reviews.sqlite").exists()


@pytest.mark.slow
def test_visits_and_the_audit_know_when(workspace: Workspace, reviews_url: str) -> None:
    reviews = open_reviews(workspace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.reviews.now", lambda: now() - timedelta(hours=2))
        assert reviews.note_visit("anna") is None
    before = reviews.note_visit("anna")
    assert before is not None
    assert before.utcoffset() == timedelta(0)
    assert timedelta(hours=2) <= now() - before < timedelta(hours=2, minutes=5)
    reviews.add(FACE, "right", "ben")
    assert reviews.count_since(before, but_by="anna") == 1
    [act] = acts(workspace, reviews).to_dicts()
    assert (act["by"], act["act"], act["count"], act["at"][:10]) == ("ben", "reviewed", 1, f"{now():%Y-%m-%d}")


@pytest.mark.slow
def test_two_who_start_at_once_make_the_tables_once_and_lose_nothing(workspace: Workspace, reviews_url: str) -> None:
    command = [sys.executable, "-c", WRITER, str(workspace.root)]
    writers = [subprocess.Popen([*command, name], cwd=REPOSITORY, stdin=subprocess.PIPE, text=True) for name in "bc"]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    reviews = open_reviews(workspace)
    assert len(reviews.newest()) == 121
    contested = reviews.of_photo(FACE[0])
    assert len(contested) == 120
    newest = reviews.newest().filter(pl.col("file_hash") == FACE[0])
    assert newest["age"].to_list() == contested["age"].to_list()[-1:]


@pytest.mark.slow
def test_columns_that_an_earlier_version_lacked_are_added(
    workspace: Workspace, postgres: Postgres, reviews_url: str
) -> None:
    postgres.do(
        "CREATE TABLE reviews (id SERIAL PRIMARY KEY, file_hash VARCHAR(64) NOT NULL, face_index INTEGER NOT NULL,"
        " verdict VARCHAR(16) NOT NULL, age FLOAT, gender VARCHAR(8), reviewer VARCHAR(200) NOT NULL,"
        " reviewed_at TIMESTAMPTZ NOT NULL)",
        name_of(reviews_url),
    )
    old = f"('{FACE[0]}', 0, 'right', 'anna', now())"
    postgres.do(
        f"INSERT INTO reviews (file_hash, face_index, verdict, reviewer, reviewed_at) VALUES {old}",
        name_of(reviews_url),
    )
    reviews = open_reviews(workspace)
    reviews.add((FACE[0], 1), "right", "ben", shown=Shown("random"))
    assert reviews.newest().select("face_index", "reason").rows() == [(0, None), (1, "random")]


@pytest.mark.slow
def test_what_is_forgotten_is_in_no_file_of_the_database(
    workspace: Workspace, postgres: Postgres, reviews_url: str
) -> None:
    """After a checkpoint, which a server makes every few minutes, the write-ahead log aside."""
    reviews = open_reviews(workspace)
    for index in range(100):
        reviews.add((FORGOTTEN, index), "right", "anna")
    reviews.add(("b" * 64, 0), "right", "anna")
    postgres.do("ANALYZE", name_of(reviews_url))
    postgres.do("CHECKPOINT")
    assert files_with(postgres, FORGOTTEN)
    assert reviews.forget([FORGOTTEN]) == 100
    postgres.do("CHECKPOINT")
    assert files_with(postgres, FORGOTTEN) == []
    assert reviews.newest()["file_hash"].to_list() == ["b" * 64]


def files_with(postgres: Postgres, text: str) -> list[Path]:
    files = [path for path in (postgres.data / "base").rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_server_that_was_away_for_a_moment_is_connected_to_again(
    workspace: Workspace, postgres: Postgres, reviews_url: str
) -> None:
    reviews = open_reviews(workspace)
    postgres.do(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(reviews_url)}'")
    reviews.add(FACE, "right", "anna")
    assert reviews.last_id() == 1


@pytest.mark.slow
def test_a_wrong_password_is_not_shown(
    workspace: Workspace, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACELINE_REVIEWS_URL", f"postgresql://tester:{SECRET}@127.0.0.1:{postgres.port}/postgres")
    with pytest.raises(BadWorkspace, match="password authentication failed") as refused:
        open_reviews(workspace)
    assert SECRET not in str(refused.value)


@pytest.mark.slow
def test_the_password_is_in_no_log_line(
    workspace: Workspace, reviews_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reviews = open_reviews(workspace)
    reviews.add(FACE, "right", "anna")
    engine = engine_of(workspace)
    shown = [caplog.text, repr(engine), repr(reviews), *(path.read_text() for path in files_of(workspace))]
    secrets = (PASSWORD, reviews_url.split(":")[2].split("@", maxsplit=1)[0])
    assert [text for text in shown for secret in secrets if secret in text] == []


def files_of(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.local_root().rglob("*") if path.is_file()]


@pytest.mark.slow
def test_nobody_goes_on_without_the_database_that_has_the_reviews(
    workspace: Workspace, reviews_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_reviews(workspace)
    monkeypatch.delenv("FACELINE_REVIEWS_URL")
    with pytest.raises(BadWorkspace, match="its reviews are in Postgres"):
        open_reviews(workspace)


@pytest.mark.slow
def test_reviews_in_a_file_are_not_left_behind(
    workspace: Workspace, postgres: Postgres, reviews_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are moved as docs/service.md says."""
    monkeypatch.delenv("FACELINE_REVIEWS_URL")
    before = open_reviews(workspace)
    before.add(FACE, "corrected", 'anna, of "the" archive', age=41.5, shown=Shown("random"))
    said = before.of_photo(FACE[0])
    monkeypatch.setenv("FACELINE_REVIEWS_URL", reviews_url)
    with pytest.raises(BadWorkspace, match="1 reviews are still here"):
        open_reviews(workspace)
    with sqlite3.connect(str(workspace.root / "reviews.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM reviews").fetchone() == (1,)
    database.close()
    move_reviews(workspace)
    assert open_reviews(workspace).of_photo(FACE[0]).drop("id").equals(said.drop("id"))
    with psycopg.connect(reviews_url) as connection:
        assert connection.execute("SELECT count(*) FROM visits").fetchone() == (0,)


def move_reviews(workspace: Workspace) -> None:
    """Runs the commands of the page."""
    page = (REPOSITORY / "docs/service.md").read_text()
    (script,) = [block.split("```")[0] for block in page.split("```sh\n")[1:] if "reviews.csv" in block]
    tools = f"{programs()}:{os.environ['PATH']}"
    subprocess.run(["sh", "-e", "-c", script], cwd=str(workspace.root), env=os.environ | {"PATH": tools}, check=True)
