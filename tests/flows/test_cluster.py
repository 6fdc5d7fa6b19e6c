"""Real clusters of Dask and Ray on this machine, a real S3 endpoint, real faces: the rows of one machine, whoever
dies."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl
import psutil
import pytest
from dask import config
from distributed import Client, LocalCluster
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows import crews
from flows.crews import NoCluster
from flows.extraction import extract_here
from flows.score import score
from flows.scoring import score_here
from storage.settings import ExtractSettings, ScoreSettings
from storage.workspace import existing_workspace
from tests.bucket import environment_of, upload
from tests.patience import wait_for
from tests.ports import free_port, listens

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parent.parent.parent
PHOTOS = 24
RAYS_OWN = 20_000  # Ray gives its workers ports up to about here
TOKEN = secrets.token_hex(32)  # of every cluster: a process of Ray keeps the first that it reads
KEYS = {"files": ["path"], "faces": ["file_hash", "face_index"], "scores": ["file_hash", "face_index"]}
RUN_ONLY = ("run_id", "seen_at", "extracted_at", "scored_at", "source", "mtime_ns")


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, one of them at two paths, a cut file and one that is none."""
    folder = tmp_path_factory.mktemp("photos")
    chosen = sorted((shared / "data" / "lfw" / "images").iterdir())[:PHOTOS]
    for photo in chosen:
        shutil.copy(photo, folder)
    shutil.copy(chosen[0], folder / "zz-again.jpg")
    (folder / "cut.jpg").write_bytes(chosen[1].read_bytes()[:4000])
    (folder / "text.jpg").write_text("no photo\n")
    return folder


@pytest.fixture(scope="module")
def embedded(photos: Path, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    workspace = tmp_path_factory.mktemp("embedded")
    score_here(ScoreSettings(folders=[str(photos)], workspace=str(workspace), model=str(model_file), workers=2))
    return rows_of(str(workspace))


def rows_of(workspace: str) -> dict[str, pl.DataFrame]:
    """What a run has found, in a fixed order, without what tells one run from another."""
    tables = {name: existing_workspace(workspace).scan(name).collect() for name in KEYS}
    return {name: rows.sort(KEYS[name]).drop(RUN_ONLY, strict=False) for name, rows in tables.items()}


def same(found: dict[str, pl.DataFrame], wanted: dict[str, pl.DataFrame]) -> dict[str, bool]:
    return {name: found[name].equals(wanted[name]) for name in KEYS}


ALL_SAME = {"files": True, "faces": True, "scores": True}


@pytest.fixture(scope="module")
def dask(endpoint: str) -> Iterator[LocalCluster]:
    """Two workers with a thread each, on 127.0.0.1 alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of(endpoint).items():
            patch.setenv(name, value)
        with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
            yield cluster


def settings(dask: LocalCluster, folder: Path | str, workspace: Path | str, model: Path, **changed) -> ScoreSettings:
    address = dask.scheduler_address
    where = {"folders": [str(folder)], "workspace": str(workspace), "model": str(model)}
    return ScoreSettings(**where, runner="dask", address=address, **({"chunk_files": 3} | changed))


def test_photos_and_workspace_in_buckets_give_the_rows_of_one_machine(
    dask: LocalCluster, photos: Path, embedded: dict[str, pl.DataFrame], bucket: str, model_file: Path
) -> None:
    folder = upload(photos, bucket.replace("archive", "photos"))
    counts = score_here(settings(dask, folder + "/", bucket, model_file))
    assert same(rows_of(bucket), embedded) == ALL_SAME
    assert (counts["files"], counts["truncated"], counts["not_an_image"]) == (PHOTOS + 3, 1, 1)
    again = score_here(settings(dask, folder, bucket, model_file))
    assert (again["read"], again["skipped"], again["rescored"]) == (0, PHOTOS + 3, 0)


def test_a_worker_killed_in_the_middle_costs_no_row(
    dask: LocalCluster, photos: Path, embedded: dict[str, pl.DataFrame], tmp_path: Path, model_file: Path
) -> None:
    """It dies at a chunk, after others were committed; the scheduler gives its chunk to another."""
    workspace, killed = str(tmp_path / "work"), []

    def kill_one(client: Client) -> bool:
        busy = [worker for worker, chunks in client.processing().items() if chunks]
        if not busy or not (tmp_path / "work" / "files").exists():
            return False
        killed.extend(client.run(os.getpid, workers=busy[:1]).values())
        os.kill(killed[0], signal.SIGKILL)
        return True

    with watched(dask, kill_one):
        score_here(settings(dask, photos, workspace, model_file, chunk_files=1))
    assert len(killed) == 1
    assert same(rows_of(workspace), embedded) == ALL_SAME


def test_so_many_chunks_are_in_flight_and_no_more(
    dask: LocalCluster, photos: Path, tmp_path: Path, model_file: Path
) -> None:
    seen: list[int] = []

    def count(client: Client) -> bool:
        seen.append(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
        return False

    with watched(dask, count):
        score_here(settings(dask, photos, tmp_path / "work", model_file, chunk_files=1))
    assert max(seen) == 3 * 2  # two workers of a thread each, of 27 chunks


def test_extraction_and_then_scoring_from_stored_crops_give_the_same_scores(
    dask: LocalCluster, photos: Path, embedded: dict[str, pl.DataFrame], tmp_path: Path, model_file: Path
) -> None:
    workspace, address = str(tmp_path / "work"), dask.scheduler_address
    extract_here(ExtractSettings(folders=[str(photos)], workspace=workspace, runner="dask", address=address))
    counts = score_here(settings(dask, photos, workspace, model_file))
    assert (counts["read"], counts["rescored"]) == (0, len(embedded["scores"]))
    assert same(rows_of(workspace), embedded) == ALL_SAME


def test_crops_that_are_not_kept_are_nowhere(
    dask: LocalCluster, photos: Path, embedded: dict[str, pl.DataFrame], tmp_path: Path, model_file: Path
) -> None:
    score_here(settings(dask, photos, tmp_path / "work", model_file, keep_crops=False))
    found = rows_of(str(tmp_path / "work"))
    assert found["faces"]["crop"].null_count() == len(embedded["faces"])
    assert found["scores"].equals(embedded["scores"])
    assert not any(b"\xff\xd8\xff" in file.read_bytes() for file in (tmp_path / "work").rglob("*.parquet"))


def test_a_cluster_that_is_not_there_is_named(photos: Path, tmp_path: Path, model_file: Path) -> None:
    nowhere = ScoreSettings(folders=[str(photos)], workspace=str(tmp_path), runner="dask", address="tcp://127.0.0.1:9")
    with config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(NoCluster, match=r"127\.0\.0\.1:9"):
        score_here(nowhere)


@pytest.mark.timeout(120)
def test_a_cluster_whose_only_worker_was_killed_is_given_up(
    tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its scheduler keeps the step for the next worker, and the run would wait for that without end or word."""
    monkeypatch.setattr(crews, "_LOOKS_EVERY_S", 0.5)
    monkeypatch.setattr(crews, "_WITHOUT_WORKERS_S", 2)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        lone_worker(cluster) as worker,
        crews.crew_of(settings(cluster, tmp_path, tmp_path, model_file), as_tasks=False) as crew,
    ):
        step = crew.submit(partial(time.sleep, 600), "sleep")
        worker.kill()
        with pytest.raises(NoCluster, match="no worker left"):
            step.result()
    assert "waiting 2 s" in caplog.text


@contextmanager
def lone_worker(cluster: LocalCluster) -> Iterator[subprocess.Popen]:
    """A worker that nobody starts anew."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
    command += ["--no-nanny", "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard"]
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=REPOSITORY)
    try:
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=120)
        yield worker
    finally:
        worker.kill()
        worker.wait()


@contextmanager
def watched(cluster: LocalCluster, look: Callable[[Client], bool]) -> Iterator[None]:
    """Looks at the cluster again and again, until the look was enough."""
    stop = threading.Event()

    def watch() -> None:
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            while not look(client) and not stop.wait(0.02):
                pass

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def test_a_cluster_of_ray_whose_only_worker_was_killed_is_given_up(
    endpoint: str, tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its head, which does no step, keeps the step for the next worker."""
    monkeypatch.setattr(crews, "_LOOKS_EVERY_S", 0.5)
    monkeypatch.setattr(crews, "_WITHOUT_WORKERS_S", 2)
    with (
        ray_head(0, endpoint, tmp_path),
        lone_node(tmp_path / "node") as node,
        crews.crew_of(ray_settings(tmp_path, tmp_path, model_file), as_tasks=False) as crew,
    ):
        step = crew.submit(partial(time.sleep, 600), "sleep")
        for process in [*node.children(recursive=True), node]:
            process.kill()
        with pytest.raises(NoCluster, match="no worker left"):
            step.result()
    assert "waiting 2 s" in caplog.text


@contextmanager
def lone_node(log: Path) -> Iterator[psutil.Process]:
    """A node of Ray with a CPU, that nobody starts anew."""
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus", "1"]
    command += ["--address", os.environ["FACELINE_TEST_RAY"], "--node-ip-address", "127.0.0.1"]
    with log.open("w") as said:
        started = subprocess.Popen([*command, "--object-store-memory", "100000000"], stdout=said, stderr=said)
    node = psutil.Process(started.pid)
    try:
        wait_for(lambda: "Ray runtime started" in log.read_text())
        yield node
    finally:
        if node.is_running():
            for process in [*node.children(recursive=True), node]:
                process.kill()
        started.wait()


@pytest.fixture(scope="module")
def ray(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psutil.Process]:
    """One node with two CPUs."""
    with ray_head(2, endpoint, tmp_path_factory.mktemp("ray")) as head:
        yield head


@contextmanager
def ray_head(cpus: int, endpoint: str, logs: Path) -> Iterator[psutil.Process]:
    """Ray listens on every address of the machine, so it gets a token that all must know."""
    ports = [free_port(above=RAYS_OWN), free_port(above=RAYS_OWN)]
    with pytest.MonkeyPatch.context() as patch:
        ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
        quick = {"RAY_worker_niceness": "0"}  # workers are as nice as can be, and on a busy machine hardly start
        for name, value in (environment_of(endpoint) | ours | quick | {"PYTHONPATH": str(REPOSITORY)}).items():
            patch.setenv(name, value)
        patch.setenv("FACELINE_TEST_RAY", f"127.0.0.1:{ports[0]}")  # as from a node; ray:// starts a server more
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus", str(cpus)]
        command += ["--node-ip-address", "127.0.0.1", "--include-dashboard", "false", "--port", str(ports[0])]
        command += ["--ray-client-server-port", str(ports[1]), "--object-store-memory", "100000000"]
        folder = tempfile.mkdtemp(prefix="ray-")  # its sockets' paths must be short
        with (logs / "log").open("w") as log:
            head = subprocess.Popen([*command, "--temp-dir", folder], stdout=log, stderr=log)
        try:
            wait_for(lambda: all(map(listens, ports)))
            yield psutil.Process(head.pid)
        finally:
            everyone = psutil.Process(head.pid).children(recursive=True)
            head.terminate()
            head.wait(300)
            for process in psutil.wait_procs(everyone, timeout=10)[1]:
                process.kill()
            shutil.rmtree(folder, ignore_errors=True)


def ray_settings(folder: Path | str, workspace: Path | str, model: Path) -> ScoreSettings:
    address = os.environ["FACELINE_TEST_RAY"]
    where = {"folders": [str(folder)], "workspace": str(workspace), "model": str(model)}
    return ScoreSettings(**where, runner="ray", address=address, chunk_files=2)


def test_ray_gives_the_rows_of_one_machine_from_bucket_to_bucket(
    ray: psutil.Process, photos: Path, embedded: dict[str, pl.DataFrame], bucket: str, model_file: Path
) -> None:
    folder = upload(photos, bucket.replace("archive", "photos"))
    score_here(ray_settings(folder, bucket, model_file))
    assert same(rows_of(bucket), embedded) == ALL_SAME


def test_a_worker_of_ray_killed_in_the_middle_costs_no_row(
    ray: psutil.Process, photos: Path, embedded: dict[str, pl.DataFrame], tmp_path: Path, model_file: Path
) -> None:
    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not killed and not over.wait(0.02):
            workers = [each for each in ray.children(recursive=True) if each.name().startswith("ray::do")]
            if workers and (tmp_path / "files").exists():
                killed.append(workers[0].pid)
                workers[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        score_here(ray_settings(photos, tmp_path, model_file))
    finally:
        over.set()
        killer.join()
    assert len(killed) == 1
    assert same(rows_of(str(tmp_path)), embedded) == ALL_SAME


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    """A Prefect server that tasks report to, on 127.0.0.1."""
    with prefect_test_harness(server_startup_timeout=600):
        yield


@pytest.mark.usefixtures("prefect_server")
def test_chunks_are_prefect_tasks_on_dask(
    dask: LocalCluster,
    photos: Path,
    embedded: dict[str, pl.DataFrame],
    tmp_path: Path,
    model_file: Path,
) -> None:
    score(settings(dask, photos, tmp_path / "work", model_file, chunk_files=9))
    assert same(rows_of(str(tmp_path / "work")), embedded) == ALL_SAME
    wait_for(lambda: finished_tasks() == 3)


@pytest.mark.usefixtures("prefect_server")
def test_chunks_are_prefect_tasks_on_ray(
    ray: psutil.Process,
    photos: Path,
    embedded: dict[str, pl.DataFrame],
    tmp_path: Path,
    model_file: Path,
) -> None:
    before = finished_tasks()
    score(ray_settings(photos, tmp_path, model_file).model_copy(update={"chunk_files": 9}))
    assert same(rows_of(str(tmp_path)), embedded) == ALL_SAME
    wait_for(lambda: finished_tasks() == before + 3)


def finished_tasks() -> int:
    """Task runs that the server knows as completed."""
    with get_client(sync_client=True) as server:
        return sum(run.state_name == "Completed" for run in server.read_task_runs())
