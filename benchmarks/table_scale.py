"""The table layer at size: rows of `scores` in many commits, then what a run does with them, before and after
compaction. Row by row as a run writes them (forced to disk, written down in the ledger), but of made-up faces.

50 million rows take about 3.5 GB. Run with: python -m benchmarks.table_scale [--rows N] [--commits N]"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from storage.compact import compact
from storage.schemas import SCORES
from storage.workspace import Workspace, now, open_workspace

MODEL_HASH = "0" * 64
FINGERPRINT = "0" * 16
_ASKED = 1_000_000  # keys that the anti-join asks for, half of them scored
_MARKS = 10  # lines that the table of commits gets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--commits", type=int, default=5_000)
    parser.add_argument(
        "--minutes", type=float, default=60, help="commit no longer than this, and measure what there is"
    )
    parser.add_argument("--folder", type=Path, help="where the workspace is made, and deleted after")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faceline-scale-", dir=arguments.folder) as folder:
        workspace = open_workspace(str(Path(folder) / "workspace"))
        print(f"{arguments.rows:,} rows of scores in {arguments.commits:,} commits, {os.cpu_count()} cores")
        asked = fill(workspace, arguments.rows // arguments.commits, arguments.commits, 60 * arguments.minutes)
        measure("as committed", workspace, asked)
        print(f"compaction: {_seconds(lambda: compact(workspace)):.1f} s")
        measure("compacted", workspace, asked)
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")


def fill(workspace: Workspace, rows: int, commits: int, limit_s: float) -> pl.DataFrame:
    """Commits so many rows so many times; returns keys to ask for later, half of them committed."""
    print("| commits | ms a commit (Delta, fsync and ledger) | log, MB | ledger, MB |\n|---|---|---|---|", flush=True)
    a_mark, kept = max(1, commits // _MARKS), -(-_ASKED // 2 // commits)
    known, ends = [], time.monotonic() + limit_s
    for start in range(0, commits, a_mark):
        if time.monotonic() > ends:
            break
        numbers = range(start, min(start + a_mark, commits))
        spent = 0.0
        for _ in numbers:
            scores = made_up(rows)
            known.append(_keys(scores.slice(0, kept)))
            spent += _seconds(lambda scores=scores: workspace.append("scores", scores))
        log, ledger = (_megabytes(Path(str(workspace.root)) / part) for part in ("scores/_delta_log", "checksums"))
        print(f"| {numbers[-1] + 1} | {1000 * spent / len(numbers):.0f} | {log:.1f} | {ledger:.1f} |", flush=True)
    return pl.concat([*known, _keys(made_up(_ASKED // 2))])


def made_up(count: int) -> pa.Table:
    """Rows of `scores` for faces that don't exist: hashes and answers as hard to compress as real ones."""
    chance = np.random.default_rng()
    age = chance.gamma(4, 9, count).astype(np.float32)
    columns = {
        "file_hash": random_hashes(count),
        "face_index": pa.array(np.zeros(count, np.int16)),
        "fingerprint": [FINGERPRINT] * count,
        "model_hash": [MODEL_HASH] * count,
        "model_version": ["pretrained"] * count,
        "age": age,
        "age_low": age - 10,
        "age_high": age + 10,
        "female": chance.random(count, np.float32),
        "quality": chance.random(count, np.float32),
        "provider": ["CPUExecutionProvider"] * count,
        "run_id": ["photos-20260101-000000-0000"] * count,
        "scored_at": [now()] * count,
    }
    return pa.table(columns, schema=SCORES)


def random_hashes(count: int) -> pa.Array:
    text = pa.py_buffer(os.urandom(32 * count).hex().encode())
    offsets = pa.py_buffer(np.arange(0, 64 * (count + 1), 64, dtype=np.int32))
    return pa.Array.from_buffers(pa.string(), count, [None, offsets, text])


def measure(state: str, workspace: Workspace, asked: pl.DataFrame) -> None:
    url = str(workspace.root / "scores")
    files = DeltaTable(url).file_uris()
    size = sum(os.path.getsize(file) for file in files) / 1e9
    log = Path(url) / "_delta_log"
    print(
        f"{state}: {len(files):,} data files, {size:.2f} GB; log {_megabytes(log):.1f} MB, {len(list(log.iterdir()))}"
    )
    opened, checked = _seconds(lambda: DeltaTable(url)), _seconds(lambda: workspace.scan("scores"))
    print(f"{state}: opened in {opened:.2f} s, with the ledger compared in {checked:.2f} s")
    count = workspace.scan("scores").select(pl.len())
    print(f"{state}: counted in {_seconds(count.collect):.1f} s")
    scored = workspace.scan("scores").filter(pl.col("model_hash") == MODEL_HASH).select("file_hash", "face_index")
    anti = asked.lazy().join(scored, on=["file_hash", "face_index"], how="anti").select(pl.len())
    left = []
    seconds = _seconds(lambda: left.append(anti.collect(engine="streaming").item()))
    print(f"{state}: anti-join of {len(asked):,} keys: {seconds:.1f} s, {left[0]:,} are to do", flush=True)


def _keys(scores: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(scores.select(["file_hash", "face_index"]))


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


if __name__ == "__main__":
    main()
