"""prefect.yaml as it is: read without a server, and run by `faceline up`, with a real Prefect server and workers on
loopback and the protections of docs/prefect.md."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import Flow, load_flow_from_entrypoint
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from flows.deployments import _with_own_places
from storage.registry import champion, promote, register
from storage.settings import DeploySettings, UpSettings
from storage.workspace import now, open_workspace
from tasks.drift import LEARNT, histogram
from tests import samples
from tests.flows.inbox import fill
from tests.flows.serving import (
    ANSWER_S,
    FINAL,
    REPOSITORY,
    RUN_S,
    Up,
    faceline,
    last_line,
    make_sure_it_ended,
    proxy,
    start_and_wait,
)
from tests.labelled import grey_faces
from tests.listening import LOOPBACK
from tests.rows import crop_of, face_row, faces, score_row, scores
from tests.tiny_model import tiny_model

DEPLOYMENTS = {
    deployment["name"]: deployment
    for deployment in yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
}
pytestmark = pytest.mark.timeout(1800)  # a machine that trains meanwhile takes ten times as long
SHARED_LIMITS = {"one-writer", "one-trainer"}
ANNA, BEN = "anna-schmidt-4711.jpg", "ben-meier-4712.jpg"
PROMPT = {  # seconds; Prefect's own are 10 and 30
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
}
AT_ONCE = {"env": {"PREFECT_FLOWS_DEFAULT_RETRIES": "0"}}  # a run that fails for good, without waiting in between

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


def test_every_pool_has_a_worker():
    assert {deployment["work_pool"]["name"] for deployment in DEPLOYMENTS.values()} == set(UpSettings().pools)


def _settings(name: str) -> dict:
    """Of that deployment, with what it leaves at its default."""
    flow = load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"], use_placeholder_flow=False)
    return flow.validate_parameters(DEPLOYMENTS[name]["parameters"])["settings"].model_dump()


@each_deployment
def test_a_gpu_is_for_the_pool_of_that_name_alone(name: str):
    """`auto`, the default of what judges faces, takes a GPU that is there."""
    device = _settings(name).get("device", "has no choice")
    assert DEPLOYMENTS[name]["work_pool"]["name"] == "gpu" or device in {"cpu", "has no choice"}


def test_what_reads_photos_leaves_those_that_are_still_being_copied():
    waits = {name: found["settle_s"] for name in DEPLOYMENTS if "settle_s" in (found := _settings(name))}
    assert waits == {"score-inbox": 60, "extract-folder": 60, "whole-way": 60}


def test_the_commands_device_is_for_what_trains_and_a_scoring_run_on_a_gpu_keeps_its_own(tmp_path: Path):
    content = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    inbox = next(each for each in content["deployments"] if each["name"] == "score-inbox")
    inbox["work_pool"]["name"] = "gpu"
    inbox["parameters"]["settings"]["device"] = "cuda"
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(content))
    settings = DeploySettings(inbox=str(tmp_path / "inbox"), device="gpu")
    made = _with_own_places(tmp_path / "prefect.yaml", str(tmp_path / "workspace"), settings)
    devices = {each["name"]: each["parameters"]["settings"].get("device") for each in made["deployments"]}
    assert {name for name in devices if devices[name] == "gpu"} == {"retrain-weekly", "train-once", "whole-way"}
    assert devices["score-inbox"] == "cuda"


def test_what_writes_tables_takes_turns_and_so_does_what_trains():
    tags = {name: SHARED_LIMITS & set(deployment["tags"]) for name, deployment in DEPLOYMENTS.items()}
    assert {name for name in tags if "one-writer" in tags[name]} == {"score-inbox", "extract-folder", "label-folder"}
    assert {name for name in tags if "one-trainer" in tags[name]} == {"retrain-weekly", "train-once", "whole-way"}


@pytest.mark.parametrize("name", ["score-inbox", "retrain-weekly", "health"])
def test_what_was_missed_is_made_up_for_once(name: str):
    """A scheduled run that finds another one at work is cancelled, or all missed nights would be run in a row."""
    assert DEPLOYMENTS[name]["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


@pytest.mark.parametrize("name", ["score-inbox", "retrain-weekly", "health"])
def test_a_schedule_is_a_cron_line_in_a_named_time_zone(name: str):
    [schedule] = DEPLOYMENTS[name]["schedules"]
    assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]).timezone == schedule["timezone"]


@pytest.mark.slow
def test_without_a_server_to_deploy_to_it_says_so(tmp_path: Path):
    with (tmp_path / "deploy.log").open("w") as output:
        status = faceline(tmp_path, "deploy", output=output, PREFECT_HOME=str(tmp_path / "home")).wait(RUN_S)
    said = (tmp_path / "deploy.log").read_text()
    assert status == 1
    assert "PREFECT_API_URL names no Prefect server" in said
    assert "Traceback" not in said


# With a server


@dataclass(frozen=True)
class Prefect:
    """`faceline up`, as this file's tests ask it for things; `strangers` are the addresses elsewhere that one of its
    processes asked for."""

    up: Up
    strangers: list[str]

    @property
    def url(self) -> str:
        return self.up.url

    def deployment(self, name: str) -> dict:
        return self.up.api().get(f"/deployments/name/{_flow(name)}/{name}")

    def start(self, name: str, settings: dict, **more: object) -> httpx.Response:
        path = f"/deployments/{self.deployment(name)['id']}/create_flow_run"
        return self.up.api().post(path, {"parameters": {"settings": settings}, **more})

    def run(self, name: str, settings: dict, **more: object) -> dict:
        """Runs a deployment to its end, and returns the flow run."""
        created = self.start(name, settings, **more)
        assert created.status_code == 201, created.text
        path = f"/flow_runs/{created.json()['id']}"
        self.up.wait_until(lambda: self.up.api().get(path)["state"]["type"] in FINAL, RUN_S)
        return self.up.api().get(path)

    def artifact(self, key: str) -> dict:
        return self.up.api().get(f"/artifacts/{key}/latest")


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    with proxy() as (environment, strangers):
        up = start_and_wait(tmp_path_factory.mktemp("up"), **PROMPT, **environment)
        yield Prefect(up, strangers)
        make_sure_it_ended(up)


@dataclass(frozen=True)
class Told:
    """A page that Prefect tells of what happened, and what it was told."""

    url: str
    messages: list[dict] = field(default_factory=list)


@pytest.fixture
def told() -> Iterator[Told]:
    messages: list[dict] = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Told(f"http://127.0.0.1:{server.server_port}/", messages)
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two portraits and a file that is no photo, by the names p1.jpg, p2.png and p3.jpg."""
    folder = tmp_path_factory.mktemp("photos")
    shutil.copy(samples.HOPPER, folder / "p1.jpg")
    shutil.copy(samples.COLLINS, folder / "p2.png")
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
    assert run["state"]["type"] == "COMPLETED", prefect.up.said()
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
        lines = prefect.up.api().post("/logs/filter", wanted).raise_for_status().json()
        return any(line["name"] == "flows.steps" and "photos: 3 of 3" in line["message"] for line in lines)

    prefect.up.wait_until(shown)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "hour"), [("score-inbox", "T02:00:00"), ("retrain-weekly", "T04:00:00"), ("health", "T06:00:00")]
)
def test_the_next_runs_are_scheduled(name: str, hour: str, prefect: Prefect):
    """Seen red: with SQLAlchemy 2.1, Prefect 3.8.8's scheduler raises on each round, and no schedule ever runs."""
    wanted = {"deployments": {"name": {"any_": [name]}}, "flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}}}

    def planned() -> list[str]:
        return [run["expected_start_time"] for run in prefect.up.api().flow_runs(**wanted) if run["auto_scheduled"]]

    prefect.up.wait_until(lambda: bool(planned()))
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


@pytest.fixture(scope="module")
def failed(prefect: Prefect, settings: dict) -> dict:
    """A run of score-inbox on a folder that is missing."""
    return prefect.run("score-inbox", settings | {"folders": ["/nowhere/at-all"]}, job_variables=AT_ONCE)


@pytest.mark.slow
def test_a_folder_that_is_missing_fails_the_run_with_the_reason(failed: dict):
    assert failed["state"]["type"] == "FAILED"
    assert "there is no such folder" in failed["state"]["message"]


@pytest.mark.slow
def test_the_nightly_run_tries_again_before_it_fails(prefect: Prefect, settings: dict):
    env = DEPLOYMENTS["score-inbox"]["work_pool"]["job_variables"]["env"]
    soon = {"env": env | {"PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": "1"}}
    run = prefect.run("score-inbox", settings | {"folders": ["/nowhere/yet"]}, job_variables=soon)
    assert (run["state"]["type"], run["run_count"]) == ("FAILED", 3)


@pytest.mark.slow
def test_nothing_is_pickled_in_prefects_storage(scored: dict, failed: dict, prefect: Prefect):
    """Seen red: Prefect stores the exception of a flow that fails, unasked, and pickles it by default."""
    assert failed["state"]["type"] == "FAILED"
    stored = [file.read_bytes() for file in (prefect.up.home / "storage").rglob("*") if file.is_file()]
    assert [content for content in stored if not _is_json(content)] == []


@pytest.fixture
def labelled(prefect: Prefect, tmp_path: Path) -> dict:
    """Two photos of one name, and a label table that has a row of another one too; then a table of another one alone,
    and one that is wrong. The settings of the first run."""
    for folder, photo in (("first", samples.HOPPER), ("second", samples.COLLINS)):
        (tmp_path / folder).mkdir()
        shutil.copy(photo, tmp_path / folder / ANNA)
    (tmp_path / "labels.csv").write_text(f"path,age\n{ANNA},30\n{BEN},40\n")
    (tmp_path / "others.csv").write_text(f"path,age\n{BEN},40\n")
    (tmp_path / "wrong.csv").write_text(f"path,age,split\n{ANNA},30,left\n")
    places = {"folders": [str(tmp_path / "first"), str(tmp_path / "second")], "workspace": str(tmp_path / "workspace")}
    settings = places | {"labels": str(tmp_path / "labels.csv")}
    run = prefect.run("extract-folder", settings | {"workers": 1})
    refused = [
        prefect.run("label-folder", places | {"labels": str(tmp_path / f"{name}.csv")}) for name in ("others", "wrong")
    ]
    assert [each["state"]["type"] for each in (run, *refused)] == ["COMPLETED", "FAILED", "FAILED"]
    wanted = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}

    def warned() -> bool:
        said = prefect.up.api().post("/logs/filter", wanted).raise_for_status().text
        return "1 rows met no photo" in said and "1 paths lead to different photos" in said

    prefect.up.wait_until(warned)
    return settings


@pytest.mark.slow
def test_what_is_forgotten_is_in_none_of_prefects_records(labelled: dict, prefect: Prefect, tmp_path: Path):
    """They are kept for months, and `forget` can't reach into them. Seen red: a photo that two folders have, and a row
    that met no photo, were named in the log."""
    hashes = set(_rows(labelled, "files")["file_hash"])
    photos = [f"{folder}/{ANNA}" for folder in labelled["folders"]]
    with (tmp_path / "forget.log").open("w") as output:
        command = ("forget", *photos, "--workspace", labelled["workspace"])
        assert faceline(tmp_path, *command, output=output).wait(RUN_S) == 0
    assert last_line(tmp_path / "forget.log")["forgotten"] == len(hashes) == 2
    kept = _records(prefect.up.home)
    assert labelled["labels"] in kept
    assert [name for name in (ANNA, BEN, *hashes) if name in kept] == []


@pytest.mark.slow
def test_a_retraining_promotes_the_better_model_and_leaves_its_story_with_the_table(prefect: Prefect, tmp_path: Path):
    """From the shipped model, which sees little in grey squares, but more than the champion, who takes each for four
    times as old."""
    workspace = grey_faces(str(tmp_path / "workspace"), 45, sides=("train", "val", "test"), with_genders=False)
    before = register(workspace, tiny_model(tmp_path / "tiny.onnx", levels_a_year=1).read_bytes(), "# card", {}).name
    promote(workspace, before, "the first")
    quick = {"targets": "age", "epochs": 1, "batch": 8, "copies": 1, "robustness_faces": 0, "device": "cpu"}
    run = prefect.run("retrain-weekly", {"workspace": str(workspace.root), **quick})
    assert run["state"]["type"] == "COMPLETED", prefect.up.said()
    present, artifact = champion(workspace), prefect.artifact("retrain")
    assert present is not None
    assert artifact["flow_run_id"] == run["id"]
    assert f"Champion: `{present.name}`, replaced {before}. On the same 15 faces" in artifact["data"]
    assert re.search(r"^\| age MAE, years \| 1\d\d\.\d\d \| \d.* \| better \|$", artifact["data"], re.MULTILINE)
    assert "](data:image/png;base64," in artifact["data"]
    noted = present.metrics()[LEARNT]
    assert {figure: sum(each["counts"]) for figure, each in noted.items()} == {"age": 30, "quality": 30}


@pytest.mark.slow
@each_deployment
def test_relative_folders_are_those_of_the_place_where_it_was_deployed(name: str, prefect: Prefect):
    [step] = prefect.deployment(name)["pull_steps"]
    assert step == {"prefect.deployments.steps.set_working_directory": {"directory": str(prefect.up.folder)}}


@pytest.mark.slow
@each_deployment
def test_all_work_on_the_workspace_that_the_command_was_given(name: str, prefect: Prefect):
    chosen = prefect.deployment(name)["parameters"]["settings"]
    assert chosen["workspace"] == str(prefect.up.folder / "workspace")


@pytest.mark.slow
def test_the_inbox_is_the_one_that_the_command_was_given(prefect: Prefect):
    assert prefect.deployment("score-inbox")["parameters"]["settings"]["folders"] == [str(prefect.up.folder / "inbox")]
    assert (prefect.up.folder / "inbox").is_dir()


@pytest.mark.slow
@each_deployment
def test_the_limit_of_one_is_shared_where_a_tag_says_so(name: str, prefect: Prefect):
    deployment = prefect.deployment(name)
    shared = SHARED_LIMITS & set(deployment["tags"])
    limit = deployment["global_concurrency_limit"]
    assert (limit["name"], limit["limit"]) == (next(iter(shared), f"deployment:{deployment['id']}"), 1)
    assert (
        deployment["concurrency_options"]["collision_strategy"]
        == (DEPLOYMENTS[name]["concurrency_limit"]["collision_strategy"])
    )


@pytest.fixture
def somebody_writes(prefect: Prefect) -> Iterator[Callable[[], None]]:
    """The place of those that write is taken, as by a run; what it gives makes it free."""
    slot = {"names": ["one-writer"], "slots": 1}
    assert prefect.up.api().post("/v2/concurrency_limits/increment", slot).json(), "it was taken already"

    def leave() -> None:
        prefect.up.api().post("/v2/concurrency_limits/decrement", slot).raise_for_status()

    yield leave
    limit = prefect.up.api().get("/v2/concurrency_limits/one-writer")
    if limit["active_slots"]:
        leave()


@pytest.mark.slow
def test_a_writer_that_was_asked_for_waits_for_its_turn(
    prefect: Prefect, settings: dict, somebody_writes: Callable[[], None]
):
    created = prefect.start("extract-folder", {"folders": settings["folders"], "workspace": settings["workspace"]})
    path = f"/flow_runs/{created.json()['id']}"
    prefect.up.wait_until(lambda: prefect.up.api().get(path)["state"]["name"] == "AwaitingConcurrencySlot")
    somebody_writes()
    prefect.up.wait_until(lambda: prefect.up.api().get(path)["state"]["type"] in FINAL)
    assert prefect.up.api().get(path)["state"]["type"] == "COMPLETED"


@pytest.mark.slow
def test_a_nightly_run_leaves_its_work_to_the_next_while_another_writes(
    prefect: Prefect, settings: dict, somebody_writes: Callable[[], None]
):
    assert prefect.run("score-inbox", settings)["state"]["type"] == "CANCELLED"


@pytest.mark.slow
def test_health_reports_but_touches_no_table_while_another_writes(
    prefect: Prefect, settings: dict, scored: dict, somebody_writes: Callable[[], None]
):
    run = prefect.run("health", {"workspace": settings["workspace"]})
    assert run["state"]["type"] == "COMPLETED", prefect.up.said()
    assert "the tables were left as they are: another run is writing" in prefect.artifact("health")["data"]


@pytest.mark.slow
def test_prefects_own_page_is_there(prefect: Prefect):
    answer = httpx.get(f"{prefect.url}/", timeout=ANSWER_S, follow_redirects=True)
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]


@pytest.mark.slow
def test_the_form_of_a_run_shows_help_and_choices(prefect: Prefect):
    schema = prefect.deployment("score-inbox")["parameter_openapi_schema"]
    form = schema["definitions"]["ScoreSettings"]["properties"]
    assert form["detector"]["enum"] == ["haar", "centerface", "yunet"]
    assert [name for name, field in form.items() if not field.get("description")] == []


@pytest.mark.slow
@each_deployment
def test_a_misspelt_parameter_is_refused_before_any_work(name: str, prefect: Prefect):
    right = DEPLOYMENTS[name]["parameters"]["settings"]
    refused = prefect.start(name, right | {"wrokspace": "x"})
    assert 400 <= refused.status_code < 500
    assert "wrokspace" in refused.text


@pytest.mark.slow
@pytest.mark.parametrize("password", [None, ("admin", "guessed")])
def test_a_page_from_elsewhere_can_start_nothing(password: tuple[str, str] | None, prefect: Prefect):
    foreign = {"Origin": "http://evil.example"}
    answer = httpx.post(
        f"{prefect.url}/api/flows/", json={"name": "evil"}, headers=foreign, auth=password, timeout=ANSWER_S
    )
    assert answer.status_code in {401, 403}
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.slow
def test_a_page_from_elsewhere_gets_no_leave_to_ask(prefect: Prefect):
    """What a browser asks before it sends JSON, or a header, to another place."""
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    foreign, own = (
        httpx.options(f"{prefect.url}/api/flows/", headers=wish | {"Origin": origin}, timeout=ANSWER_S)
        for origin in ("http://evil.example", prefect.url)
    )
    assert foreign.is_client_error
    assert "access-control-allow-origin" not in foreign.headers
    assert own.headers["access-control-allow-origin"] == prefect.url


@pytest.mark.slow
@pytest.mark.parametrize("password", [None, ("admin", "guessed")])
def test_a_name_from_elsewhere_that_leads_here_can_start_nothing(password: tuple[str, str] | None, prefect: Prefect):
    """DNS rebinding: to the browser, page and server are of one origin then, so that it could ask for a CSRF token,
    too. The password is what protects."""
    name = f"evil.example:{prefect.up.port}"
    here = {"Host": name, "Origin": f"http://{name}"}
    with httpx.Client(base_url=f"{prefect.url}/api", headers=here, auth=password, timeout=ANSWER_S) as page:
        token, flow = page.get("/csrf-token", params={"client": "evil"}), page.post("/flows/", json={"name": "evil"})
    assert token.status_code == 401
    assert flow.status_code in {401, 403}


@pytest.mark.slow
def test_the_password_without_a_csrf_token_starts_nothing(prefect: Prefect):
    assert prefect.up.api().post_without_token("/flows/", {"name": "evil"}).status_code == 403


def _flow(name: str) -> str:
    return DEPLOYMENTS[name]["entrypoint"].rsplit(".", maxsplit=1)[-1]


def _rows(settings: dict, table: str) -> pl.DataFrame:
    return open_workspace(settings["workspace"]).scan(table).collect()


def _counts(artifact: dict) -> dict[str, str]:
    return {row["what"]: row["count"] for row in json.loads(artifact["data"])}


def _records(home: Path) -> str:
    """All that Prefect keeps: each file as it is, and its database's values, which may lie on two pages of it."""
    files = [file.read_bytes().decode(errors="replace") for file in home.rglob("*") if file.is_file()]
    with sqlite3.connect(f"file:{home / 'prefect.db'}?mode=ro", uri=True) as database:
        return "\n".join([*files, *database.iterdump()])


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


# The service itself


@pytest.mark.slow
def test_only_this_machine_can_reach_it(prefect: Prefect):
    found = prefect.up.listens_at()
    assert {("127.0.0.1", prefect.up.port), ("127.0.0.1", prefect.up.review_port)} <= found
    assert {address for address, _ in found} <= LOOPBACK


@pytest.mark.slow
def test_it_speaks_to_nobody_else(scored: dict, prefect: Prefect):
    """The server, the workers, a run and the review pages, whose makers like to know how they are used."""
    assert httpx.get(f"http://127.0.0.1:{prefect.up.review_port}/", timeout=ANSWER_S).status_code == 200
    assert prefect.strangers == []


@pytest.mark.parametrize("address", ["http://faceline.example/", "https://faceline.example/"])
def test_who_asks_for_another_machine_is_noticed(address: str, monkeypatch: pytest.MonkeyPatch):
    with proxy() as (environment, strangers):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with contextlib.suppress(httpx.ProxyError):
            httpx.get(address, timeout=ANSWER_S)
    assert len(strangers) == 1
    assert "faceline.example" in strangers[0]


@pytest.mark.slow
def test_the_review_pages_are_there(prefect: Prefect):
    assert httpx.get(f"http://127.0.0.1:{prefect.up.review_port}/", timeout=ANSWER_S).status_code == 200


@pytest.mark.slow
def test_an_upload_that_no_review_page_sent_is_refused(prefect: Prefect):
    """A foreign page can send a form, but neither read the cookie nor its token."""
    url = f"http://127.0.0.1:{prefect.up.review_port}/_stcore/upload_file/session/file"
    assert httpx.put(url, files={"file": b"a photo"}, timeout=ANSWER_S).status_code == 403


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origin", "host"), [("evil.example", "127.0.0.1"), ("evil.example:{port}", "evil.example")], ids=["page", "name"]
)
def test_a_page_from_elsewhere_can_read_no_faces(origin: str, host: str, prefect: Prefect):
    """The review pages talk through a WebSocket, which no browser keeps a foreign page from opening. The second's name
    was made to lead here. Seen red: Streamlit takes that for a page of its own."""
    port = prefect.up.review_port
    with connect(f"ws://127.0.0.1:{port}/_stcore/stream", origin=Origin(f"http://127.0.0.1:{port}")):
        pass
    with socket.create_connection(("127.0.0.1", port)) as here, pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{host}:{port}/_stcore/stream", origin=Origin(f"http://{origin.format(port=port)}"), sock=here)


@pytest.mark.slow
def test_nobody_else_can_read_what_it_keeps(prefect: Prefect):
    kept = [prefect.up.home, *prefect.up.home.rglob("*")]
    assert prefect.up.home / "prefect.db" in kept
    assert prefect.up.home / "logs/server.log" in kept
    assert [path for path in kept if path.exists() and path.stat().st_mode & 0o077] == []


@pytest.mark.slow
def test_a_second_start_finds_the_first(prefect: Prefect, tmp_path: Path):
    log = tmp_path / "second.log"
    with log.open("w") as output:
        status = faceline(prefect.up.folder, "up", output=output).wait(RUN_S)
    found = last_line(log)
    assert (status, found["already_running"], found["pid"]) == (0, True, prefect.up.process.pid)
    assert found["prefect"] == prefect.url
    assert prefect.up.process.poll() is None


@pytest.mark.slow
def test_a_port_that_is_taken_is_named_with_one_that_is_free(prefect: Prefect, tmp_path: Path):
    log = tmp_path / "up.log"
    with log.open("w") as output:
        status = faceline(tmp_path, "up", f"--port={prefect.up.port}", output=output).wait(RUN_S)
    assert status == 1
    assert f"port {prefect.up.port} of 127.0.0.1 is taken" in log.read_text()
    assert "is free: give it with --port" in log.read_text()
    assert not (tmp_path / "workspace/service/logs").exists()


@pytest.mark.slow
def test_deploying_again_changes_nothing(prefect: Prefect, tmp_path: Path):
    before = {name: prefect.deployment(name) for name in DEPLOYMENTS}
    automations = _automations(prefect)
    assert [each["name"] for each in automations] == ["Faceline: a silent run has crashed"]
    _deploy(prefect, tmp_path)
    after = {name: prefect.deployment(name) for name in DEPLOYMENTS}
    lasting = ("id", "parameters", "global_concurrency_limit", "concurrency_options", "work_pool_name", "pull_steps")
    assert [[after[name][key] for key in lasting] for name in DEPLOYMENTS] == [
        [before[name][key] for key in lasting] for name in DEPLOYMENTS
    ]
    assert _automations(prefect) == automations


@pytest.fixture
def under_way(prefect: Prefect) -> Callable[[str], str]:
    """Starts a run in a new pool that has no worker, as one would that is gone since: the run's path."""
    api = prefect.up.api()

    def start(pool: str) -> str:
        assert api.post("/work_pools/", {"name": pool, "type": "process"}).is_success
        flow = prefect.deployment("score-inbox")["flow_id"]
        deployment = {"name": pool, "flow_id": flow, "work_pool_name": pool, "concurrency_limit": 1}
        made = api.post("/deployments/", deployment).raise_for_status().json()
        run = api.post(f"/deployments/{made['id']}/create_flow_run", {}).raise_for_status().json()
        for state in ("PENDING", "RUNNING"):
            answer = api.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": state}})
            assert answer.raise_for_status().json()["status"] == "ACCEPT"
        return f"/flow_runs/{run['id']}"

    return start


@pytest.mark.slow
def test_what_was_under_way_in_its_pools_is_closed_at_the_next_start(
    prefect: Prefect, under_way: Callable[[str], str], tmp_path: Path
):
    ours, others = under_way("left"), under_way("elsewhere")
    command = [sys.executable, "-P", "-m", "flows.left_running", "left"]
    subprocess.run(command, env=_client(prefect), cwd=tmp_path, check=True)
    assert prefect.up.api().get(ours)["state"]["type"] == "CRASHED"
    assert prefect.up.api().get(others)["state"]["type"] == "RUNNING"
    taken = [
        prefect.up.api().get(f"/deployments/name/score/{pool}")["global_concurrency_limit"]["active_slots"]
        for pool in ("left", "elsewhere")
    ]
    assert taken == [0, 1]


@pytest.fixture
def killed_run(prefect: Prefect, settings: dict, tmp_path: Path) -> Callable[[], dict]:
    """Scores an inbox, and kills the run's process once it has begun: how the run ended."""
    fill(tmp_path, samples.COLLINS, 0)
    secret = (tmp_path / "inbox").rename(tmp_path / "secret")

    def run() -> dict:
        created = prefect.start("score-inbox", settings | {"folders": [str(secret)], "workspace": str(tmp_path / "w")})
        path = f"/flow_runs/{created.json()['id']}"
        prefect.up.wait_until(lambda: prefect.up.api().get(path)["state"]["type"] == "RUNNING")
        [process_id] = [each for each, command in prefect.up.processes().items() if "prefect.engine" in command]
        os.kill(process_id, signal.SIGKILL)
        prefect.up.wait_until(lambda: prefect.up.api().get(path)["state"]["type"] in FINAL)
        return prefect.up.api().get(path)

    return run


@pytest.mark.slow
@pytest.mark.usefixtures("scored")
def test_failed_and_crashed_runs_and_a_warning_are_told_through_the_block_that_was_set(
    prefect: Prefect, told: Told, killed_run: Callable[[], dict], settings: dict, tmp_path: Path
):
    code = f"""
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Block
message = {{"subject": "{{{{subject}}}}", "body": "{{{{body}}}}"}}
Block(name="test", url="{told.url}", json_data=message).save("test", overwrite=True)
"""
    subprocess.run([sys.executable, "-P", "-c", code], env=_client(prefect), cwd=tmp_path, check=True)
    _deploy(prefect, tmp_path, "--notify=custom-webhook/test")
    failed = prefect.run("score-inbox", settings | {"folders": ["/nowhere/secret"]}, job_variables=AT_ONCE)
    warned = prefect.run("health", {"workspace": settings["workspace"], "min_free_gb": 1e9})
    assert (failed["state"]["type"], warned["state"]["type"]) == ("FAILED", "COMPLETED")
    crashed = killed_run()
    assert crashed["state"]["type"] == "CRASHED"
    wanted = {
        ("Faceline: score: Failed", failed["name"]),
        ("Faceline: score: Crashed", crashed["name"]),
        ("Faceline: health: warning", warned["name"]),
    }

    def heard() -> set[tuple[str, str]]:  # a message comes again when the server's database was locked just then
        return {(each["subject"], each["body"].split(":")[0]) for each in told.messages}

    prefect.up.wait_until(lambda: len(heard()) >= len(wanted))
    assert heard() == wanted
    assert "secret" not in json.dumps(told.messages)


@pytest.mark.slow
def test_a_block_that_is_missing_is_refused_by_name(prefect: Prefect, tmp_path: Path):
    status, said = _deployed(prefect, tmp_path, "--notify=slack-webhook/nobody")
    assert status == 1
    assert "there is no block slack-webhook/nobody" in said


@pytest.mark.slow
def test_health_leaves_its_report(prefect: Prefect, settings: dict, scored: dict):
    run = prefect.run("health", {"workspace": settings["workspace"]})
    assert run["state"]["type"] == "COMPLETED", prefect.up.said()
    report = prefect.artifact("health")["data"]
    assert "| not_an_image | 1 |" in report
    assert "GB are free" in report


@pytest.mark.slow
def test_the_report_says_that_the_weeks_faces_are_unlike_those_that_the_model_learnt_from(
    prefect: Prefect, tmp_path: Path
):
    workspace = open_workspace(str(tmp_path / "workspace"))
    learnt = {"age": asdict(histogram(np.arange(30.0, 37).repeat(20)))}
    model = register(workspace, b"a model", "# card", {LEARNT: learnt}).model_hash
    names = [f"{index}.jpg" for index in range(120)]
    workspace.append("faces", faces(*(face_row(name, crop=crop_of(0), extracted_at=now()) for name in names)))
    aged = (score_row(name, age=60 + index % 7, model_hash=model) for index, name in enumerate(names))
    workspace.append("scores", scores(*aged))
    run = prefect.run("health", {"workspace": str(workspace.root)})
    assert run["state"]["type"] == "COMPLETED", prefect.up.said()
    report = prefect.artifact("health")["data"]
    assert "Against the faces that the model learnt from:" in report
    assert re.search(r"^\| age \| 120 \| 33\.0 \| 63\.0 \| \d+\.\d+ \| moved far \|$", report, re.MULTILINE)
    assert "- **age has moved far this week" in report


def _client(prefect: Prefect) -> dict[str, str]:
    """A shell after `set -a; . prefect.env`."""
    return {"PATH": os.environ["PATH"], "PREFECT_HOME": str(prefect.up.folder / "shell")} | prefect.up.prefect_env()


def _deployed(prefect: Prefect, tmp_path: Path, *options: str) -> tuple[int, str]:
    log = tmp_path / "deploy.log"
    with log.open("w") as output:
        status = faceline(prefect.up.folder, "deploy", *options, output=output, **_client(prefect)).wait(RUN_S)
    return status, log.read_text()


def _deploy(prefect: Prefect, tmp_path: Path, *options: str) -> None:
    status, said = _deployed(prefect, tmp_path, *options)
    assert status == 0, said


def _automations(prefect: Prefect) -> list[dict]:
    return prefect.up.api().post("/automations/filter", {}).raise_for_status().json()
