"""Score faces: stored crops in, one row of the `scores` table per face out, in the same order."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from models.contract import BadModel, Model
from storage.frames import cast_to
from storage.schemas import FACES, SCORES
from storage.workspace import BadWorkspace, Workspace, now, rows_of
from tasks.crop import crop_hash, decode_crops
from tasks.extract import Extraction
from tasks.quality import Quality

_AT_ONCE = 1024  # crops that are pixels at a time: 50 MB


def score_faces(faces: pa.Table, model: Model, quality: Quality, run_id: str) -> pa.Table:
    """`faces` are rows of that table, with crops. Raises BadModel on a wrong answer: rows are matched by position,
    so a missing one would give a face its neighbour's age."""
    starts = range(0, faces.num_rows, _AT_ONCE)
    parts = [_score(faces.slice(start, _AT_ONCE), model, quality, run_id) for start in starts]
    return pa.concat_tables([rows_of("scores", []), *parts])


def _score(faces: pa.Table, model: Model, quality: Quality, run_id: str) -> pa.Table:
    crops = decode_crops(faces["crop"].to_pylist())
    answers, usable = model(crops), quality(crops)
    if len(answers.age) != faces.num_rows:
        raise BadModel(f"model {model.version}: {faces.num_rows} faces, {len(answers.age)} answers")
    same = {"model_hash": model.hash, "model_version": model.version, "provider": model.provider, "run_id": run_id}
    rows = pl.DataFrame(faces.select(["file_hash", "face_index", "fingerprint"])).with_columns(
        age=pl.Series(answers.age),
        age_low=pl.Series(answers.age_low),
        age_high=pl.Series(answers.age_high),
        female=pl.lit(None) if answers.female is None else pl.Series(answers.female),
        quality=pl.lit(None) if usable is None else pl.Series(usable),
        scored_at=pl.lit(now()),
        **{name: pl.lit(value) for name, value in same.items()},
    )
    return cast_to(SCORES, rows.select(SCORES.names))


def unscored(workspace: Workspace, sources: list[str], fingerprint: str, model_hash: str) -> pl.DataFrame:
    """Keys of the faces in `sources` that this model hasn't scored, and whose crop is kept; `row` is where each lies in
    the table, from the first on."""
    ours = pl.col("fingerprint") == fingerprint
    contents = workspace.scan("files").filter(ours, pl.col("source").is_in(sources)).select("file_hash").unique()
    scored = workspace.scan("scores").filter(ours, pl.col("model_hash") == model_hash).select("file_hash", "face_index")
    return (
        workspace.scan("faces")
        .with_row_index("row")
        .filter(ours, pl.col("crop_hash").is_not_null())
        .select("file_hash", "face_index", "row")
        .join(contents, on="file_hash", how="semi")
        .join(scored, on=["file_hash", "face_index"], how="anti")
        .sort("row")
        .collect()
    )


def faces_with_crops(workspace: Workspace, keys: pl.DataFrame, fingerprint: str) -> pa.Table:
    """The `faces` rows of those keys of `unscored`. Raises BadWorkspace when a crop isn't the one that was stored: a
    flipped bit in a Parquet file goes unnoticed by every reader, and would be scored."""
    table, first = workspace.scan("faces"), keys["row"][0]
    rows = _rows_of(keys, table.slice(first, keys["row"][-1] + 1 - first), fingerprint)
    if len(rows) < len(keys):  # the table lies otherwise than when the keys were taken
        rows = _rows_of(keys, table, fingerprint)
    damaged = [
        row["file_hash"]
        for row in rows.select("file_hash", "crop", "crop_hash").iter_rows(named=True)
        if crop_hash(row["crop"]) != row["crop_hash"]
    ]
    if damaged:
        raise BadWorkspace(
            f"{workspace.root}/faces: {len(damaged)} stored crops are damaged: the table's files were changed on "
            "disk. `faceline doctor --repair` drops them, and the next run reads those photos again"
        )
    return cast_to(FACES, rows.select(FACES.names))


def _rows_of(keys: pl.DataFrame, faces: pl.LazyFrame, fingerprint: str) -> pl.DataFrame:
    found = faces.filter(pl.col("fingerprint") == fingerprint)
    return found.join(keys.lazy(), on=["file_hash", "face_index"], how="semi").collect()


def score_stored_faces(keys: pl.DataFrame, extraction: Extraction, model: Model, quality: Quality) -> pa.Table:
    """Rows of `scores` for those faces, from their stored crops. Raises BadWorkspace and BadModel."""
    faces = faces_with_crops(extraction.workspace, keys, extraction.finding.fingerprint())
    return score_faces(faces, model, quality, extraction.run_id)


def in_batches(keys: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
