"""Who can reach a run on Dask: a cluster started by the commands of docs/scale.md, the command line as its driver, and
the kernel's tables of what listens."""

import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import Client

from tests.flows.serving import faceline, last_line
from tests.listening import LOOPBACK, listens_at, processes_with
from tests.ports import free_port

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parent.parent.parent
MARK = "FACELINE_TEST_CLUSTER"
PHOTOS, WORKERS, PATIENCE_S = 24, 2, 120


@dataclass(frozen=True)
class Cluster:
    """A scheduler and workers with their nannies. Their environment bears the mark, and so does that of what they
    start."""

    mark: dict[str, str]
    address: str
    dashboard_port: int


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    ports = {port: free_port() for port in (8786, 8787)}
    mark = {MARK: secrets.token_hex(8)}
    environment = dict(os.environ) | {"PYTHONPATH": str(REPOSITORY)} | mark
    folder = tmp_path_factory.mktemp("cluster")
    with (folder / "log").open("w") as log:
        started = [
            subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            for command in documented(ports)
        ]
    try:
        with Client(f"tcp://127.0.0.1:{ports[8786]}", timeout=PATIENCE_S) as client:
            client.wait_for_workers(WORKERS, timeout=PATIENCE_S)
        yield Cluster(mark, f"tcp://127.0.0.1:{ports[8786]}", ports[8787])
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(PATIENCE_S)


def documented(ports: dict[int, int]) -> list[list[str]]:
    """The commands that start a cluster which nobody else can reach, with other ports."""
    said = re.findall(r"^dask (?:scheduler|worker tcp://127).*$", (REPOSITORY / "docs/scale.md").read_text(), re.M)
    assert len(said) == 2
    for before, port in ports.items():
        said = [
            command.replace(f":{before}", f":{port}").replace(f"--port {before}", f"--port {port}") for command in said
        ]
    return [[str(Path(sys.executable).parent / "dask"), *shlex.split(command)[1:]] for command in said]


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for photo in sorted((shared / "data" / "lfw" / "images").iterdir())[:PHOTOS]:
        shutil.copy(photo, folder)
    return folder


@pytest.mark.parametrize("verb", ["extract", "score"])
def test_no_port_can_be_reached_from_elsewhere_while_it_runs(
    verb: str, cluster: Cluster, photos: Path, model_file: Path, tmp_path: Path
) -> None:
    where = [str(photos), f"--workspace={tmp_path / 'work'}", "--runner=dask", f"--address={cluster.address}"]
    model = [f"--model={model_file}"] if verb == "score" else []
    found: set[tuple[str, int]] = set()
    with (tmp_path / "log").open("w") as log:
        driver = faceline(tmp_path, verb, *where, *model, "--chunk-files=2", output=log, **cluster.mark)
    ends = time.monotonic() + PATIENCE_S
    while driver.poll() is None and time.monotonic() < ends:
        found |= listens_at(processes_with(f"{MARK}={cluster.mark[MARK]}"))
        time.sleep(0.02)
    assert driver.wait(1) == 0, (tmp_path / "log").read_text()
    assert last_line(tmp_path / "log")["read"] == PHOTOS
    scheduler_port = int(cluster.address.rpartition(":")[2])
    assert {("127.0.0.1", scheduler_port), ("127.0.0.1", cluster.dashboard_port)} <= found
    assert len(found) >= 2 + 3 * WORKERS  # each worker with its nanny and its dashboard
    assert {address for address, _ in found} <= LOOPBACK
