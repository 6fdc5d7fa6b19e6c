"""What a second Dask worker brings on one machine: photos a second of `faceline score --runner dask` with two workers
of one thread each, against one.

    python -m benchmarks.dask_workers PHOTOS [--photos 600] [--turns 3] [--model fast] [--pinned]

The cluster is started anew for each turn by the commands of docs/scale.md, on 127.0.0.1. Start-up isn't counted: a
first run has the workers load the model, and the seconds of half of the photos are taken off. What is compared is the
pace of a long run. Each worker has a decoder of its own, and its model runs on one core."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from distributed import Client

from benchmarks.measured import measured
from benchmarks.speed import Bench, table_of
from tests.ports import free_port

_PATIENCE_S = 120
_WORKERS = {"two workers": 2, "one worker": 1}
_BAR = 1.6
_CHUNK_FILES = 32  # dozens of chunks for each worker, as in a long run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=600, help="how many of them, at most")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model", default="fast", help="pretrained, fast, or an .onnx file")
    parser.add_argument("--pinned", action="store_true", help="each worker to a core of its own")
    asked = parser.parse_args()
    photos = sorted(each for each in asked.folder.iterdir() if each.is_file())[: asked.photos]
    with tempfile.TemporaryDirectory(prefix="faceline-bench-") as scratch:
        bench = Bench(photos, asked.turns, Path(scratch), asked.model)
        folders = bench.folder_of(photos), bench.folder_of(photos[::2])
        sides = {name: partial(_pace, bench, *folders, count, pinned=asked.pinned) for name, count in _WORKERS.items()}
        for line in table_of("photos a second", bench.in_turns(sides), "two workers", _BAR):
            print(line, flush=True)


def _pace(bench: Bench, all_photos: Path, half: Path, workers: int, *, pinned: bool) -> float:
    with _cluster(workers, pinned=pinned) as address:
        _, less, more = (_seconds(bench, folder, address) for folder in (half, half, all_photos))
    return len(list(all_photos.iterdir())) / 2 / (more - less)


def _seconds(bench: Bench, folder: Path, address: str) -> float:
    where = ["score", str(folder), "--workspace", bench.fresh(), "--model", bench.model]
    how = ["--runner", "dask", "--address", address, "--chunk-files", str(_CHUNK_FILES)]
    return measured([sys.executable, "-m", "flows.cli", *where, *how]).seconds


@contextmanager
def _cluster(workers: int, *, pinned: bool) -> Iterator[str]:
    """The address of its scheduler."""
    dask, host = (sys.executable, "-m", "dask"), ("--host", "127.0.0.1")
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = ("scheduler", *host, "--port", address.rpartition(":")[2], "--dashboard-address", "127.0.0.1:0")
    worker = (*dask, "worker", address, *host, "--dashboard-address", "127.0.0.1:0", "--nthreads", "1")
    cores = [("taskset", "--cpu-list", str(core)) if pinned else () for core in range(workers)]
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in ((*dask, *scheduler), *((*core, *worker) for core in cores))
    ]
    try:
        with Client(address, timeout=_PATIENCE_S) as client:
            client.wait_for_workers(workers, timeout=_PATIENCE_S)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(_PATIENCE_S)


if __name__ == "__main__":
    main()
