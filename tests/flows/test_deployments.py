"""prefect.yaml as it is: read without a server, and run by a real Prefect server and worker on loopback, with the
protections of docs/prefect.md switched on."""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import polars as pl
import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import Flow, load_flow_from_entrypoint

from storage.workspace import open_workspace
from tests.tiny_model import tiny_model

REPOSITORY = Path(__file__).parent.parent.parent
DEPLOYMENTS = {
    deployment["name"]: deployment
    for deployment in yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
}
START_S, RUN_S, SERVICE_S, STOP_S = (
    180,
    300,
    120,
    30,
)  # generous: a machine that trains meanwhile takes ten times as long
PASSWORD = "admin:change-me"  # the one in docs/prefect.md

each_deployment = pytest.mark.parametrize("name", DEPLOYMENTS)


# Without a server


@each_deployment
def test_the_entrypoint_is_a_flow_that_takes_the_parameters(name: str):
    flow = load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"], use_placeholder_flow=False)
    assert isinstance(flow, Flow)
    flow.validate_parameters(DEPLOYMENTS[name]["parameters"])


@each_deployment
def test_a_deployment_says_what_it_does_and_is_never_run_twice_at_once(name: str):
    deployment = DEPLOYMENTS[name]
    assert deployment["description"]
    assert "faceline" in deployment["tags"]
    assert deployment["concurrency_limit"]["limit"] == 1


@pytest.mark.parametrize("name", ["score-inbox", "retrain-weekly"])
def test_a_schedule_is_a_cron_line_in_a_named_time_zone(name: str):
    [schedule] = DEPLOYMENTS[name]["schedules"]
    assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]).timezone == schedule["timezone"]


# With a server


class Api:
    """Prefect's REST API as its own pages use it: password and CSRF token."""

    def __init__(self, url: str) -> None:
        user, password = PASSWORD.split(":")
        self.http = httpx.Client(base_url=url, auth=(user, password), timeout=60)

    def get(self, path: str, **query: str) -> dict:
        return _patiently(lambda: self.http.get(path, params=query)).raise_for_status().json()

    def post(self, path: str, body: dict) -> httpx.Response:
        client = str(uuid.uuid4())
        token = self.get("/csrf-token", client=client)["token"]
        headers = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}
        return _patiently(lambda: self.http.post(path, json=body, headers=headers))

    def deployment(self, name: str) -> dict:
        return self.get(f"/deployments/name/{DEPLOYMENTS[name]['entrypoint'].rsplit('.')[-1]}/{name}")

    def start(self, name: str, settings: dict) -> httpx.Response:
        path = f"/deployments/{self.deployment(name)['id']}/create_flow_run"
        return self.post(path, {"parameters": {"settings": settings}})


@dataclass(frozen=True)
class Prefect:
    """A Prefect server and a worker that run, with prefect.yaml deployed."""

    url: str
    home: Path
    api: Api
    log: Path

    def run(self, name: str, settings: dict) -> dict:
        """Runs a deployment to its end, and returns the flow run."""
        created = self.api.start(name, settings)
        assert created.status_code == 201, created.text
        path = f"/flow_runs/{created.json()['id']}"

        def ended() -> bool:
            return self.api.get(path)["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

        _wait_until(ended, RUN_S, self.log)
        return self.api.get(path)

    def artifact(self, key: str) -> dict:
        return self.api.get(f"/artifacts/{key}/latest")


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect-home")
    url, log = f"http://127.0.0.1:{_free_port()}", home / "test.log"
    environment = _environment(home, url)
    started: list[subprocess.Popen] = []

    def start(*arguments: str) -> subprocess.Popen:
        with log.open("a") as output:
            command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
            process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        started.append(process)
        return process

    def finish(*arguments: str) -> None:
        assert start(*arguments).wait(START_S) == 0, log.read_text()

    try:
        start("server", "start", "--host", "127.0.0.1", "--port", url.rsplit(":", maxsplit=1)[-1], "--no-ui")
        _wait_until(lambda: _answers(f"{url}/api/health"), START_S, log)
        for pool in {deployment["work_pool"]["name"] for deployment in DEPLOYMENTS.values()}:
            finish("work-pool", "create", pool, "--type", "process")
        finish("deploy", "--all")
        finish("automation", "create", "--from-json", _block("json"))
        start("worker", "start", "--pool", "default-cpu", "--limit", "1")
        yield Prefect(url, home, Api(f"{url}/api"), log)
    finally:
        for process in reversed(started):
            _stop(process)
        assert _end_stragglers(home) == []


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two portraits and a file that is no photo, by the names p1.jpg, p2.png and p3.jpg."""
    folder = tmp_path_factory.mktemp("photos")
    shutil.copy(_package("matplotlib") / "mpl-data/sample_data/grace_hopper.jpg", folder / "p1.jpg")
    shutil.copy(_package("skimage") / "data/astronaut.png", folder / "p2.png")
    (folder / "p3.jpg").write_bytes(b"this is not a photo")
    return folder


@pytest.fixture(scope="module")
def settings(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    place = tmp_path_factory.mktemp("scoring")
    model = tiny_model(place / "tiny.onnx")
    return {"folders": [str(photos)], "workspace": str(place / "workspace"), "model": str(model), "workers": 1}


@pytest.fixture(scope="module")
def scored(prefect: Prefect, settings: dict) -> dict:
    """The first run of score-inbox on the photos: the flow run, and the counts of its artifact."""
    run = prefect.run("score-inbox", settings)
    assert run["state"]["type"] == "COMPLETED", prefect.log.read_text()[-5000:]
    return {"run": run, "counts": _counts(prefect.artifact("score"))}


@pytest.mark.slow
def test_a_run_writes_a_row_for_each_file_and_face(scored: dict, settings: dict):
    files = _rows(settings, "files").sort("path")
    faces, scores = _rows(settings, "faces"), _rows(settings, "scores")
    assert files["path"].to_list() == ["p1.jpg", "p2.png", "p3.jpg"]
    assert files["status"].to_list() == ["ok", "ok", "not_an_image"]
    assert files["face_count"].to_list() == [1, 1, 0]
    assert set(faces["file_hash"]) == set(files["file_hash"][:2])
    assert set(scores["file_hash"]) == set(faces["file_hash"])
    assert scores["model_version"].unique().to_list() == ["tiny"]
    assert scores.select((pl.col("age_low") < pl.col("age")) & (pl.col("age") < pl.col("age_high"))).to_series().all()


@pytest.mark.slow
def test_the_counts_are_an_artifact_of_the_run(scored: dict):
    assert scored["counts"] | {"files": "3", "read": "3", "faces": "2", "skipped": "0"} == scored["counts"]


@pytest.mark.slow
def test_what_our_code_logs_is_on_the_runs_page(scored: dict, prefect: Prefect):
    wanted = {"logs": {"flow_run_id": {"any_": [scored["run"]["id"]]}}}

    def shown() -> bool:  # lines are sent in batches, the last ones after the run's end
        lines = prefect.api.post("/logs/filter", wanted).raise_for_status().json()
        return any(line["name"] == "flows.steps" and "photos: 3 of 3" in line["message"] for line in lines)

    _wait_until(shown, SERVICE_S, prefect.log)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "hour"), [("score-inbox", "T02:00:00"), ("retrain-weekly", "T04:00:00")])
def test_the_next_runs_are_scheduled(name: str, hour: str, prefect: Prefect):
    """Seen red: with SQLAlchemy 2.1, Prefect 3.8.8's scheduler raises on each round, and no schedule ever runs."""
    wanted = {"deployments": {"name": {"any_": [name]}}, "flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}}}

    def planned() -> list[str]:
        runs = prefect.api.post("/flow_runs/filter", wanted).raise_for_status().json()
        return [run["expected_start_time"] for run in runs if run["auto_scheduled"]]

    _wait_until(lambda: bool(planned()), SERVICE_S, prefect.log)
    assert [moment for moment in planned() if hour not in moment] == []


@pytest.mark.slow
def test_a_second_run_does_no_work(scored: dict, prefect: Prefect, settings: dict):
    before = {table: _rows(settings, table) for table in ("files", "faces", "scores")}
    run = prefect.run("score-inbox", settings)
    counts = _counts(prefect.artifact("score"))
    assert run["state"]["type"] == "COMPLETED"
    assert counts | {"files": "3", "skipped": "3", "read": "0", "rescored": "0"} == counts
    assert {table: _rows(settings, table).height for table in before} == {
        table: rows.height for table, rows in before.items()
    }


@pytest.mark.slow
def test_a_folder_that_is_missing_fails_the_run_with_the_reason(prefect: Prefect, settings: dict):
    run = prefect.run("score-inbox", settings | {"folders": ["/nowhere/at-all"]})
    assert run["state"]["type"] == "FAILED"
    assert "there is no such folder" in run["state"]["message"]


@pytest.mark.slow
def test_nothing_is_pickled_in_prefects_storage(scored: dict, prefect: Prefect, settings: dict):
    """Seen red: Prefect stores the exception of a flow that fails, unasked, and pickles it by default."""
    failed = prefect.run("score-inbox", settings | {"folders": ["/nowhere/else"]})
    assert failed["state"]["type"] == "FAILED"
    stored = [file.read_bytes() for file in (prefect.home / "storage").rglob("*") if file.is_file()]
    assert [content for content in stored if not _is_json(content)] == []


@pytest.mark.slow
@each_deployment
def test_relative_folders_are_those_of_the_place_where_it_was_deployed(name: str, prefect: Prefect):
    [step] = prefect.api.deployment(name)["pull_steps"]
    assert step == {"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}


@pytest.mark.slow
def test_the_form_of_a_run_shows_help_and_choices(prefect: Prefect):
    schema = prefect.api.deployment("score-inbox")["parameter_openapi_schema"]
    form = schema["definitions"]["ScoreSettings"]["properties"]
    assert form["detector"]["enum"] == ["haar", "centerface", "yunet"]
    assert [name for name, field in form.items() if not field.get("description")] == []


@pytest.mark.slow
@each_deployment
def test_a_misspelt_parameter_is_refused_before_any_work(name: str, prefect: Prefect):
    right = DEPLOYMENTS[name]["parameters"]["settings"]
    refused = prefect.api.start(name, right | {"wrokspace": "x"})
    assert 400 <= refused.status_code < 500
    assert "wrokspace" in refused.text


@pytest.mark.slow
@pytest.mark.parametrize("password", [None, ("admin", "guessed")])
def test_a_page_from_elsewhere_can_start_nothing(password: tuple[str, str] | None, prefect: Prefect):
    foreign = {"Origin": "http://evil.example"}
    answer = httpx.post(f"{prefect.url}/api/flows/", json={"name": "evil"}, headers=foreign, auth=password)
    assert answer.status_code in {401, 403}
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.slow
def test_the_password_without_a_csrf_token_starts_nothing(prefect: Prefect):
    assert prefect.api.http.post("/flows/", json={"name": "evil"}).status_code == 403


def _environment(home: Path, url: str) -> dict[str, str]:
    """The settings that docs/prefect.md says to make, at this test's address, and nobody else's."""
    lines = [line for line in _block("sh").splitlines() if line.startswith("PREFECT_")]
    documented = dict(line.replace("http://127.0.0.1:4200", url).split("=", 1) for line in lines)
    assert documented["PREFECT_API_AUTH_STRING"] == documented["PREFECT_SERVER_API_AUTH_STRING"] == PASSWORD
    own = {"PREFECT_HOME": str(home), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | documented | own


def _block(language: str) -> str:
    """The first block of code in that language in docs/prefect.md."""
    found = re.search(rf"```{language}\n(.*?)```", (REPOSITORY / "docs/prefect.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def _rows(settings: dict, table: str) -> pl.DataFrame:
    return open_workspace(settings["workspace"]).scan(table).collect()


def _counts(artifact: dict) -> dict[str, str]:
    return {row["what"]: row["count"] for row in json.loads(artifact["data"])}


def _patiently(request: Callable[[], httpx.Response]) -> httpx.Response:
    """Asks again where SQLite was locked, which the server answers with 503; Prefect's own client does the same."""
    for _ in range(10):
        answer = request()
        if answer.status_code != 503:
            break
        time.sleep(1)
    return answer


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} isn't installed"
    assert spec.origin is not None
    return Path(spec.origin).parent


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _wait_until(done: Callable[[], bool], limit_s: float, log: Path) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, f"not done within {limit_s} s; the log ends:\n{log.read_text()[-5000:]}"
        time.sleep(1)


def _stop(process: subprocess.Popen) -> None:
    """Asks the whole process group to end, then makes it."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_number)
            process.wait(STOP_S)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait(STOP_S)


def _end_stragglers(home: Path) -> list[int]:
    """Ends what still runs with this test's PREFECT_HOME (a worker gives each run a process group of its own), and
    returns what that was. Linux only: elsewhere there is no /proc to look in."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"PREFECT_HOME={home}\0".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except (OSError, ValueError):
            continue  # gone, or somebody else's
    for process_id in found:
        os.kill(process_id, signal.SIGKILL)
    return found
