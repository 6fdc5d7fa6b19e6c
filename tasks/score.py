"""Score faces: stored crops in, one row of the `scores` table per face out, in the same order."""

import hashlib
from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from models.contract import BadModel, Model
from storage.schemas import FACES, SCORES
from storage.workspace import BadWorkspace, Workspace, now
from tasks.crop import decode_crops

_SHARP = 100.0  # variance of the Laplacian from which a 128x128 crop counts as sharp
_LARGE = 64.0  # pixels of the box's shorter side from which a face counts as large


def score_faces(faces: pa.Table, model: Model, run_id: str) -> pa.Table:
    """`faces` are rows of that table, with crops. Raises BadModel on a wrong answer: rows are matched by position,
    so a missing one would give a face its neighbour's age."""
    if faces.num_rows == 0:
        return SCORES.empty_table()
    answers = model(decode_crops(faces["crop"].to_pylist()))
    if len(answers.age) != faces.num_rows:
        raise BadModel(f"model {model.version}: {faces.num_rows} faces, {len(answers.age)} answers")
    count = faces.num_rows
    columns = {name: faces[name] for name in ("file_hash", "face_index", "fingerprint")} | {
        "model_hash": [model.hash] * count,
        "model_version": [model.version] * count,
        "age": answers.age,
        "age_low": answers.age_low,
        "age_high": answers.age_high,
        "female": [None] * count if answers.female is None else answers.female,
        "quality": _quality_of_rows(faces),
        "provider": [model.provider] * count,
        "run_id": [run_id] * count,
        "scored_at": [now()] * count,
    }
    return pa.table(columns, schema=SCORES)


def quality(detector_score: np.ndarray, sharpness: np.ndarray, face_side: np.ndarray) -> np.ndarray:
    """How usable each crop is, float32 [n] in 0 to 1: the least of the detector's score (1 where it gives none),
    sharpness and size (the box's shorter side, pixels), the latter two as shares of what is plenty. A low value says
    look, not wrong."""
    return np.clip(np.minimum.reduce([detector_score, sharpness / _SHARP, face_side / _LARGE]), 0, 1).astype(np.float32)


def _quality_of_rows(faces: pa.Table) -> np.ndarray:
    side = np.minimum(faces["width"].to_numpy(), faces["height"].to_numpy())
    return quality(faces["detector_score"].fill_null(1.0).to_numpy(), faces["sharpness"].to_numpy(), side)


def unscored(workspace: Workspace, sources: list[str], fingerprint: str, model_hash: str) -> pl.DataFrame:
    """Keys of the faces in `sources` that this model hasn't scored, and whose crop is kept."""
    ours = pl.col("fingerprint") == fingerprint
    contents = workspace.scan("files").filter(ours, pl.col("source").is_in(sources)).select("file_hash").unique()
    scored = workspace.scan("scores").filter(ours, pl.col("model_hash") == model_hash).select("file_hash", "face_index")
    return (
        workspace.scan("faces")
        .filter(ours, pl.col("crop_hash").is_not_null())
        .select("file_hash", "face_index")
        .join(contents, on="file_hash", how="semi")
        .join(scored, on=["file_hash", "face_index"], how="anti")
        .collect()
    )


def faces_with_crops(workspace: Workspace, keys: pl.DataFrame, fingerprint: str) -> pa.Table:
    """The `faces` rows of those keys. Raises BadWorkspace when a crop isn't the one that was stored: a flipped bit in
    a Parquet file goes unnoticed by every reader, and would be scored."""
    ours = pl.col("fingerprint") == fingerprint
    few = pl.col("file_hash").is_in(keys["file_hash"].unique().implode())
    rows = (
        workspace.scan("faces")
        .filter(ours, few)
        .join(keys.lazy(), on=["file_hash", "face_index"], how="semi")
        .collect()
    )
    damaged = [
        row["file_hash"]
        for row in rows.select("file_hash", "crop", "crop_hash").iter_rows(named=True)
        if _sha256(row["crop"]) != row["crop_hash"]
    ]
    if damaged:
        raise BadWorkspace(
            f"{workspace.root}/faces: {len(damaged)} stored crops are damaged, the first of photo {damaged[0]}; "
            "the table's files were changed on disk. Extract into a new workspace"
        )
    return rows.select(FACES.names).to_arrow().cast(FACES)


def in_batches(keys: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
