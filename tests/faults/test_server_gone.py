"""Prefect's server in trouble in the middle of a run under `faceline up`: its database locked, itself killed, its
database full of runs. What the runs are for is done all the same."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from storage.workspace import existing_workspace
from tests.flows.inbox import PHOTOS, files_of, fill, in_the_middle
from tests.flows.serving import FINAL, Up, make_sure_it_ended, start_and_wait
from tests.tiny_model import tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(3600)]
LOCKED_S, KILLED_S = 20, 60
RUNS = 3  # of each kind; one after the other, as a second one at a time would be cancelled
LIMIT_BYTES = 300_000  # a run, as docs/prefect.md says; what is over its term is deleted


@dataclass(frozen=True)
class Killed:
    """What was there when the command had ended for its server's death."""

    status: int
    said: str
    left: dict[int, str]
    files: pl.DataFrame


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, collins: Path) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    fill(folder, collins, 0)
    tiny_model(folder / "tiny.onnx")
    up = start_and_wait(folder, "--pools=default-cpu")
    yield up
    make_sure_it_ended(up)


def start_run(up: Up, name: str, **settings: object) -> str:
    """Its id."""
    there = up.api().get(f"/deployments/name/{name}")
    given = {"settings": {"workspace": str(up.folder / "workspace")} | settings}
    created = up.api().post(f"/deployments/{there['id']}/create_flow_run", {"parameters": given})
    return created.raise_for_status().json()["id"]


def start_scoring(up: Up) -> str:
    small_steps = {"model": str(up.folder / "tiny.onnx"), "workers": 1, "chunk_files": 8}
    return start_run(up, "score/score-inbox", folders=[str(up.folder / "inbox")], **small_steps)


def state_of(up: Up, run: str) -> str:
    """Once it is final."""
    up.wait_until(lambda: up.api().get(f"/flow_runs/{run}")["state"]["type"] in FINAL)
    return up.api().get(f"/flow_runs/{run}")["state"]["type"]


@pytest.fixture(scope="module")
def locked(begun: Up) -> str:
    """A run in whose middle nobody can write to the database for a while: its state in the end."""
    run = start_scoring(begun)
    in_the_middle(begun)
    with closing(sqlite3.connect(begun.home / "prefect.db", isolation_level=None, timeout=60)) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED_S)
        database.execute("ROLLBACK")
    return state_of(begun, run)


def bytes_of(up: Up) -> int:
    """Of its pages in use: a file of SQLite grows by more at a time."""
    with closing(sqlite3.connect(up.home / "prefect.db", timeout=60)) as database:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


@pytest.fixture(scope="module")
def per_run(begun: Up, locked: str) -> dict[str, float]:
    """Bytes of the database that a run of each of two deployments takes, its logs and events included."""
    taken = {}
    for name, start in (("score", lambda: start_scoring(begun)), ("health", lambda: start_run(begun, "health/health"))):
        before = bytes_of(begun)
        assert [state_of(begun, start()) for _ in range(RUNS)] == ["COMPLETED"] * RUNS
        time.sleep(15)  # the last events and log lines come in batches
        taken[name] = (bytes_of(begun) - before) / RUNS
    return taken


@pytest.fixture(scope="module")
def killed(begun: Up, per_run: dict[str, float], collins: Path) -> Killed:
    """More photos come, and the server is killed in the middle of them."""
    fill(begun.folder, collins, PHOTOS)
    start_scoring(begun)
    in_the_middle(begun, PHOTOS)
    for each, command in begun.processes().items():
        if "server start" in command or "uvicorn" in command:
            os.kill(each, signal.SIGKILL)
    status = begun.process.wait(KILLED_S * 3)
    return Killed(status, begun.log.read_text(), begun.processes(), files_of(begun.folder))


@pytest.fixture(scope="module")
def finished(begun: Up, killed: Killed) -> Iterator[tuple[Up, str]]:
    """Started again after a minute, as systemd would: the next run's state."""
    time.sleep(KILLED_S)
    with closing(sqlite3.connect(begun.home / "prefect.db", isolation_level=None)) as database:
        long_ago = (datetime.now(UTC) - timedelta(days=91)).strftime("%Y-%m-%d %H:%M:%S.%f")
        aged = database.execute("UPDATE flow_run SET end_time = ? WHERE state_type = 'COMPLETED'", (long_ago,))
        assert aged.rowcount > 0
    up = start_and_wait(begun.folder, "--pools=default-cpu", "--silence-s=100")
    yield up, state_of(up, start_scoring(up))
    make_sure_it_ended(up)


def test_a_run_goes_on_while_the_database_is_locked(locked: str) -> None:
    assert locked == "COMPLETED"


def test_a_run_takes_no_more_of_the_database_than_is_said(per_run: dict[str, float]) -> None:
    assert all(0 < size <= LIMIT_BYTES for size in per_run.values()), per_run


def test_a_killed_server_is_told_and_ends_all(killed: Killed) -> None:
    assert killed.status == 1
    assert "server ended with status -9" in killed.said
    assert killed.left == {}
    assert PHOTOS < len(killed.files) < 2 * PHOTOS


def test_the_next_run_finishes_what_the_killed_server_left(finished: tuple[Up, str]) -> None:
    up, state = finished
    scores = existing_workspace(str(up.folder / "workspace")).scan("scores").collect()
    assert state == "COMPLETED"
    assert sorted(files_of(up.folder)["path"]) == sorted(f"{index}.png" for index in range(2 * PHOTOS))
    assert files_of(up.folder)["status"].unique().to_list() == ["ok"]
    assert (len(scores), scores["file_hash"].n_unique()) == (2 * PHOTOS, 2 * PHOTOS)


def test_a_run_of_long_ago_is_forgotten_with_its_logs(finished: tuple[Up, str]) -> None:
    def rows() -> list[tuple[int]]:
        with closing(sqlite3.connect(finished[0].home / "prefect.db", timeout=60)) as database:
            old = "SELECT count(*) FROM flow_run WHERE end_time < datetime('now', '-90 days')"
            lost = "SELECT count(*) FROM log WHERE flow_run_id NOT IN (SELECT id FROM flow_run)"
            return [database.execute(query).fetchone() for query in (old, lost)]

    finished[0].wait_until(lambda: rows() == [(0,), (0,)])
