"""A workspace of many scored faces, to see how the review pages bear it: made-up answers, and real crops if wanted.

Run with: python -m benchmarks.review_scale WORKSPACE [--scores N] [--crops-from ANOTHER_WORKSPACE], then
`faceline review --workspace WORKSPACE`, or --measure for the times of what the pages ask of the tables."""

import argparse
import hashlib
import resource
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from storage import queries
from storage.photo import photo_record
from storage.queries import FaceFilter, FileFilter
from storage.reviews import open_reviews
from storage.schemas import TABLES
from storage.values import FileStatus
from storage.workspace import Workspace, existing_workspace, now, open_workspace
from storage.worth import next_faces, pool_of, waiting

_CHUNK = 5000  # rows a commit, as after a compaction
_SOURCES = ("/photos/archive", "/photos/inbox", "/photos/parade")
_DAYS = 60
_MODELS = {"a" * 64: "20260101-000000-aaaaaaaa", "b" * 64: "20260201-000000-bbbbbbbb"}
_FAILED_SHARE, _SCORED_TWICE_SHARE = 0.03, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace")
    parser.add_argument("--scores", type=int, default=1_000_000)
    parser.add_argument("--crops-from", help="a workspace whose crops are used again and again; unset: no crops")
    parser.add_argument("--measure", action="store_true", help="time the pages' questions instead of making rows")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(existing_workspace(arguments.workspace))
        return
    crops = _some_crops(existing_workspace(arguments.crops_from)) if arguments.crops_from else []
    fill(open_workspace(arguments.workspace), arguments.scores, crops)


def fill(
    workspace: Workspace,
    count: int,
    crops: list[bytes],
    *,
    models: dict[str, str] = _MODELS,
    chunk: int = _CHUNK,
) -> None:
    """Appends `count` photos with a face and a score each, and as many failed files as a messy archive has. The first
    of the two `models`, versions by their hash, scores them all, the second some; a commit is of `chunk` rows."""
    random = np.random.default_rng(0)
    for start in range(0, count, chunk):
        rows = min(chunk, count - start)
        hashes = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(start, start + rows)]
        at = now() - timedelta(days=_DAYS * (1 - start / count))
        keys = {"file_hash": hashes, "fingerprint": ["f" * 16] * rows, "run_id": [f"run-{start}"] * rows}
        _append(workspace, "faces", keys | _faces(rows, crops, random), at)
        answers = _answers(rows, random)
        first, second = ({"model_hash": [one] * rows, "model_version": [name] * rows} for one, name in models.items())
        _append(workspace, "scores", keys | answers | first, at)
        few = pl.DataFrame(keys | _answers(rows, random) | second).head(round(rows * _SCORED_TWICE_SHARE))
        _append(workspace, "scores", few.to_dict(as_series=False), at)
        _append(workspace, "files", keys | _files(rows, start, random), at)


def measure(workspace: Workspace) -> None:
    """Prints what each question of the pages takes, and the memory at the end."""
    print("| question | seconds | of them computing |\n|---|---|---|")
    for name, question in _questions(workspace).items():
        started, computed = time.monotonic(), time.process_time()
        question()
        print(f"| {name} | {time.monotonic() - started:.2f} | {time.process_time() - computed:.2f} |")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def _questions(workspace: Workspace) -> dict[str, Callable[[], object]]:
    said = open_reviews(workspace).newest()
    model = queries.model_in_use(workspace, queries.scored_models(workspace))
    assert model is not None, "no scores: make some first"
    pool, chosen = pool_of(workspace, model.model_hash), FaceFilter(model.model_hash)
    page = slice(0, 24)
    return {
        "overview: files by status": lambda: queries.status_counts(workspace),
        "overview: files by day": lambda: queries.arrivals(workspace),
        "overview: ages": lambda: queries.faces_by_age(workspace, chosen, said),
        "overview: the models": lambda: queries.scored_models(workspace),
        "overview, review: the faces' worth": lambda: pool_of(workspace, model.model_hash),
        "overview: what waits of them": lambda: waiting(pool, said),
        "review: a block of faces of them": lambda: next_faces(pool, None, said, (), 100),
        "gallery: a page of cards": lambda: queries.pictures_of(
            workspace, queries.faces_page(workspace, chosen, said, "least certain", page)
        ),
        "photo: one photo": lambda: photo_record(workspace, hashlib.sha256(b"0").hexdigest()),
        "data quality: failed files": lambda: queries.files_with(workspace, FileFilter(("truncated",)), 5000),
    }


def _files(rows: int, start: int, random: np.random.Generator) -> dict[str, Any]:
    failed = random.random(rows) < _FAILED_SHARE
    return {
        "source": [_SOURCES[index % len(_SOURCES)] for index in range(start, start + rows)],
        "path": [f"{(start + index) // 1000:04}/{start + index}.jpg" for index in range(rows)],
        "size": random.integers(10_000, 5_000_000, rows),
        "mtime_ns": np.arange(start, start + rows),
        "status": [str(FileStatus.TRUNCATED if each else FileStatus.OK) for each in failed],
        "detail": ["its data ends early" if each else None for each in failed],
        "face_count": (~failed).astype(np.int16),
    }


def _faces(rows: int, crops: list[bytes], random: np.random.Generator) -> dict[str, Any]:
    chosen = [crops[index] for index in random.integers(0, len(crops), rows)] if crops else [None] * rows
    return {
        "face_index": np.zeros(rows, np.int16),
        **{name: random.uniform(20, 400, rows) for name in ("x", "y", "width", "height")},
        "rotation": np.zeros(rows, np.int16),
        "detector": ["centerface"] * rows,
        "detector_score": random.uniform(0.5, 1, rows),
        "sharpness": random.uniform(10, 2000, rows),
        "crop": chosen,
        "crop_hash": [crop and hashlib.sha256(crop).hexdigest() for crop in chosen],
    }


def _answers(rows: int, random: np.random.Generator) -> dict[str, Any]:
    ages, half = random.gamma(6, 6, rows).clip(0, 100), random.gamma(4, 3, rows)
    return {
        "face_index": np.zeros(rows, np.int16),
        "age": ages,
        "age_low": (ages - half).clip(0),
        "age_high": ages + half,
        "female": random.beta(0.25, 0.25, rows),
        "quality": random.beta(4, 2, rows),
        "provider": ["CPUExecutionProvider"] * rows,
    }


def _append(workspace: Workspace, table: str, columns: dict[str, Any], at: datetime) -> None:
    schema = TABLES[table]
    rows = len(columns["file_hash"])
    times = {field.name: [at] * rows for field in schema if pa.types.is_timestamp(field.type)}
    given = columns | times
    workspace.append(table, pa.table({field.name: pa.array(given[field.name], field.type) for field in schema}))


def _some_crops(workspace: Workspace) -> list[bytes]:
    crops = workspace.scan("faces").select("crop").filter(pl.col("crop").is_not_null()).head(2000)
    return crops.collect()["crop"].to_list()


if __name__ == "__main__":
    main()
