"""`faceline up` from its start to its end: a nightly run by its schedule, Ctrl-C in the middle of one, a silent server
and then a killed worker in the middle of others, and what is left of it all.

One story, told by fixtures that follow from each other; the schedule is moved to every few seconds, and the patience
with silent runs shortened."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from flows.up import _options, environment
from flows.verbs import parse
from storage.settings import DeploySettings, UpSettings
from storage.workspace import existing_workspace
from tests.flows.inbox import PHOTOS, files_of, fill, in_the_middle
from tests.flows.serving import FINAL, REPOSITORY, STOP_S, Up, make_sure_it_ended, start_and_wait
from tests.tiny_model import tiny_model

pytestmark = pytest.mark.timeout(3600)  # for the slowest machine: the longest story takes minutes elsewhere
EVERY_S, SILENCE_S = 15, 100
GAP_S = 15  # that the server is silent
CLOSED_S = 600  # within which a silent run must be closed, the start of the service included


# Without a server


def test_deploy_is_given_what_up_was_given() -> None:
    given = UpSettings(workspace="/w", inbox="/in", device="cpu", notify="slack-webhook/x", silence_s=300, port=4300)
    assert parse(["deploy", *_options(given)]) == DeploySettings(
        workspace="/w", inbox="/in", device="cpu", notify="slack-webhook/x", silence_s=300
    )


def test_the_password_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first, second = (environment(tmp_path, f"http://127.0.0.1:{port}") for port in (4200, 4201))
    assert first["PREFECT_API_AUTH_STRING"] == second["PREFECT_SERVER_API_AUTH_STRING"]
    assert len(first["PREFECT_API_AUTH_STRING"]) > 30
    assert (tmp_path / "prefect.env").stat().st_mode & 0o777 == 0o600
    assert "PREFECT_API_URL=http://127.0.0.1:4201/api\n" in (tmp_path / "prefect.env").read_text()


def test_two_places_have_two_passwords(tmp_path: Path) -> None:
    passwords = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        passwords.add(environment(tmp_path / name, "http://127.0.0.1:4200")["PREFECT_API_AUTH_STRING"])
    assert len(passwords) == 2


def test_the_environment_can_move_the_database_but_not_open_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://host/db")
    monkeypatch.setenv("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "false")
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "")
    made = environment(tmp_path, "http://127.0.0.1:4200")
    assert made["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "postgresql+asyncpg://host/db"
    assert made["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    assert made["PREFECT_SERVER_API_AUTH_STRING"] == made["PREFECT_API_AUTH_STRING"] != ""


# With one


@dataclass(frozen=True)
class Stage:
    """What was there when a part of the story ended."""

    status: int  # of the command
    at: datetime
    files: pl.DataFrame
    scores: pl.DataFrame
    runs: list[tuple[str, str]]  # type and name of the state of each run that had begun
    left: dict[int, str]  # processes
    said: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, collins: Path) -> Path:
    """Where the command is typed: an inbox of photos with a face each, and deployments of which the nightly one is due
    every few seconds."""
    folder = tmp_path_factory.mktemp("up")
    fill(folder, collins, 0)
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    inbox = next(each for each in deployments["deployments"] if each["name"] == "score-inbox")
    inbox["schedules"] = [{"interval": EVERY_S, "slug": "nightly"}]
    small_steps = {"model": str(tiny_model(folder / "tiny.onnx")), "workers": 1, "chunk_files": 8, "settle_s": 0}
    inbox["parameters"]["settings"] |= small_steps
    (folder / "prefect.yaml").write_text(yaml.safe_dump(deployments))
    return folder


def begin(folder: Path, *options: str) -> Up:
    return start_and_wait(folder, f"--silence-s={SILENCE_S}", *options)


def seen(up: Up, status: int) -> Stage:
    scores = existing_workspace(str(up.folder / "workspace")).scan("scores").collect()
    with sqlite3.connect(up.home / "prefect.db") as database:
        query = "SELECT state_type, state_name FROM flow_run WHERE state_type != 'SCHEDULED'"
        runs = database.execute(query).fetchall()
    return Stage(status, datetime.now(UTC), files_of(up.folder), scores, runs, up.processes(), up.log.read_text())


@pytest.fixture(scope="module")
def interrupted(folder: Path) -> Iterator[Stage]:
    """The schedule fires, and Ctrl-C comes in the middle of the run."""
    up = begin(folder)
    try:
        in_the_middle(up)
        yield seen(up, up.end(signal.SIGINT))
    finally:
        make_sure_it_ended(up)


@pytest.fixture(scope="module")
def begun_again(interrupted: Stage, folder: Path) -> Iterator[Up]:
    """Started again, after several runs were missed."""
    time.sleep(3 * EVERY_S)
    up = begin(folder)
    yield up
    make_sure_it_ended(up)


@pytest.fixture(scope="module")
def unheard(begun_again: Up, interrupted: Stage) -> str:
    """A run in whose middle the server answers nobody for a while: its id."""
    up = begun_again
    up.wait_until(lambda: len(files_of(up.folder)) > len(interrupted.files))
    [run] = nightly(up, {"state": {"type": {"any_": ["RUNNING"]}}})
    server = [each for each, command in up.processes().items() if "server start" in command or "uvicorn" in command]
    assert server
    for process_id in server:
        os.kill(process_id, signal.SIGSTOP)
    time.sleep(GAP_S)
    for process_id in server:
        os.kill(process_id, signal.SIGCONT)
    return run["id"]


@pytest.fixture(scope="module")
def resumed(begun_again: Up, unheard: str) -> Up:
    """The first run after the start has finished the work."""
    begun_again.wait_until(lambda: len(files_of(begun_again.folder)) == PHOTOS)
    return begun_again


@pytest.fixture(scope="module")
def missed(interrupted: Stage, resumed: Up) -> list[dict]:
    """The runs that were due while nothing ran, when none of them waits any more."""
    began = datetime.fromtimestamp((resumed.home / "up.json").stat().st_mtime, UTC)
    due = {"expected_start_time": {"after_": interrupted.at.isoformat(), "before_": began.isoformat()}}
    resumed.wait_until(
        lambda: {"SCHEDULED", "RUNNING"}.isdisjoint(each["state"]["type"] for each in nightly(resumed, due))
    )
    return nightly(resumed, due)


def nightly(up: Up, wanted: dict) -> list[dict]:
    return up.api().flow_runs(deployments={"name": {"any_": ["score-inbox"]}}, flow_runs=wanted)


@pytest.fixture(scope="module")
def killed(resumed: Up, missed: list[dict], collins: Path) -> tuple[Stage, str]:
    """More photos come; the worker and its run are killed in the middle of them. With the run's id."""
    fill(resumed.folder, collins, PHOTOS)
    in_the_middle(resumed, PHOTOS)
    [run] = nightly(resumed, {"state": {"type": {"any_": ["RUNNING"]}}})
    doomed = [
        each for each, command in resumed.processes().items() if "prefect.engine" in command or "worker" in command
    ]
    for process_id in doomed:
        os.kill(process_id, signal.SIGKILL)
    return seen(resumed, resumed.process.wait(120)), run["id"]


@dataclass(frozen=True)
class Recovery:
    """The end of the story."""

    stage: Stage
    silent: dict  # the state in which the killed run ended
    waited_s: float


@contextmanager
def worker_elsewhere(up: Up) -> Iterator[None]:
    """A worker that isn't the command's own, as on another machine."""
    settings = up.prefect_env() | {"PREFECT_HOME": str(up.folder / "elsewhere")}
    command = [sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", "default-cpu"]
    with (up.folder / "elsewhere.log").open("w") as log:
        worker = subprocess.Popen(command, cwd=up.folder, env=os.environ | settings, stdout=log, stderr=log)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(STOP_S)


@pytest.fixture(scope="module")
def recovered(killed: tuple[Stage, str], folder: Path) -> Iterator[Recovery]:
    """Started once more, for a pool whose worker is on another machine: the silent run is closed, and the next one
    finishes the work."""
    path, began = f"/flow_runs/{killed[1]}", time.monotonic()
    up = begin(folder, "--pools=gpu")
    try:
        up.wait_until(lambda: up.api().get(path)["state"]["type"] != "RUNNING", CLOSED_S)
        waited_s = time.monotonic() - began
        with worker_elsewhere(up):
            up.wait_until(lambda: len(files_of(folder)) == 2 * PHOTOS)
        silent = up.api().get(path)["state"]
        yield Recovery(seen(up, up.end(signal.SIGTERM)), silent, waited_s)
    finally:
        make_sure_it_ended(up)


@pytest.mark.slow
def test_the_schedule_starts_a_run_and_ctrl_c_ends_all_in_the_middle(interrupted: Stage) -> None:
    assert interrupted.status == 0
    assert interrupted.left == {}
    assert 0 < len(interrupted.files) < PHOTOS


@pytest.mark.slow
def test_a_run_that_ctrl_c_ended_is_not_left_running(interrupted: Stage) -> None:
    assert Counter(interrupted.runs)["CRASHED", "Crashed"] == 1
    assert "RUNNING" not in {kind for kind, _ in interrupted.runs}


@pytest.mark.slow
def test_the_last_line_is_json_with_the_addresses(interrupted: Stage) -> None:
    last = json.loads(interrupted.said.splitlines()[-1])
    assert last["already_running"] is False
    assert last["review"].startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_the_runs_that_were_missed_are_made_up_for_once(missed: list[dict]) -> None:
    """Behind a worker's `--limit 1`, all of them ran, one after the other."""
    states = Counter(run["state"]["type"] for run in missed)
    assert len(missed) >= 3
    assert states["COMPLETED"] <= 1, states
    assert states["CANCELLED"] == len(missed) - states["COMPLETED"], states


@pytest.mark.slow
def test_a_run_goes_on_when_the_server_is_silent_for_a_while(unheard: str, resumed: Up) -> None:
    path = f"/flow_runs/{unheard}"
    resumed.wait_until(lambda: resumed.api().get(path)["state"]["type"] in FINAL)
    assert resumed.api().get(path)["state"]["type"] == "COMPLETED"
    assert files_of(resumed.folder)["path"].n_unique() == len(files_of(resumed.folder)) == PHOTOS


@pytest.mark.slow
def test_a_nightly_run_leaves_its_counts(unheard: str, resumed: Up) -> None:
    """The artifact is that run's own; the run was started by its schedule."""
    path = f"/flow_runs/{unheard}"
    resumed.wait_until(lambda: resumed.api().get(path)["state"]["type"] in FINAL)
    assert resumed.api().get(path)["auto_scheduled"]
    wanted = {"artifacts": {"flow_run_id": {"any_": [unheard]}}}
    [artifact] = resumed.api().post("/artifacts/filter", wanted).raise_for_status().json()
    counts = {row["what"]: row["count"] for row in json.loads(artifact["data"])}
    assert (artifact["key"], counts["files"], counts["model"]) == ("score", str(PHOTOS), "tiny")
    assert int(counts["read"]) + int(counts["skipped"]) == PHOTOS
    assert 0 < int(counts["read"]) < PHOTOS


@pytest.mark.slow
def test_a_killed_worker_is_told_and_ends_all(killed: tuple[Stage, str]) -> None:
    stage = killed[0]
    assert stage.status == 1
    assert "worker-default-cpu ended with status -9" in stage.said
    assert stage.left == {}
    assert PHOTOS < len(stage.files) < 2 * PHOTOS


@pytest.mark.slow
def test_a_run_that_was_killed_is_closed_for_its_silence(recovered: Recovery) -> None:
    assert recovered.silent["type"] == "CRASHED"
    assert f"no heartbeat for {SILENCE_S} seconds" in recovered.silent["message"]
    assert recovered.waited_s < CLOSED_S


@pytest.mark.slow
def test_the_next_run_finishes_the_work_and_does_none_twice(recovered: Recovery) -> None:
    files, scores = recovered.stage.files, recovered.stage.scores
    assert sorted(files["path"]) == sorted(f"{index}.png" for index in range(2 * PHOTOS))
    assert files["status"].unique().to_list() == ["ok"]
    assert (len(scores), scores["file_hash"].n_unique()) == (2 * PHOTOS, 2 * PHOTOS)


@pytest.mark.slow
def test_sigterm_ends_all_as_well(recovered: Recovery) -> None:
    assert (recovered.stage.status, recovered.stage.left) == (0, {})
