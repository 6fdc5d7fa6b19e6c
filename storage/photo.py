"""All that the tables say of one photo, and its history through them."""

from dataclasses import dataclass

import polars as pl

from storage.queries import FACE_KEY, collect
from storage.workspace import Workspace

_HISTORY = {"at": pl.Datetime("us", "UTC"), "what": pl.String, "detail": pl.String}


@dataclass(frozen=True)
class PhotoRecord:
    """A content's rows of each table, in order of time; `faces` are those of the last extraction, by face_index."""

    file_hash: str
    files: pl.DataFrame
    faces: pl.DataFrame
    labels: pl.DataFrame
    scores: pl.DataFrame

    def places(self) -> list[tuple[str, str]]:
        """Where the content was found: source and path, each once."""
        return self.files.select("source", "path").unique().sort("source", "path").rows()

    def last_scores(self) -> pl.DataFrame:
        """For each face on show the score given last, if any: a row of `faces` with the columns of `scores`."""
        last = self.scores.unique(FACE_KEY, keep="last", maintain_order=True).drop("run_id")
        return self.faces.join(last, on=FACE_KEY, how="left", maintain_order="left")


def photo_record(workspace: Workspace, file_hash: str) -> PhotoRecord | None:
    """None where the tables have nothing of it. Raises BadWorkspace."""
    rows = {
        table: collect(workspace, workspace.scan(table).filter(pl.col("file_hash") == file_hash).sort(at))
        for table, at in (("files", "seen_at"), ("faces", "extracted_at"), ("labels", "labelled_at"))
    }
    scores = collect(workspace, workspace.scan("scores").filter(pl.col("file_hash") == file_hash).sort("scored_at"))
    if all(table.is_empty() for table in rows.values()):
        return None
    last = rows["faces"].filter(pl.col("fingerprint") == pl.col("fingerprint").last())
    faces = last.unique("face_index", keep="last").sort("face_index")
    return PhotoRecord(file_hash, rows["files"], faces, rows["labels"], scores)


def history(photo: PhotoRecord, reviews: pl.DataFrame | None) -> pl.DataFrame:
    """What happened to a photo, the latest first: at, what, detail. `reviews` is Reviews.of_photo()."""
    number = pl.format("face {}", pl.col("face_index") + 1)
    answer = pl.format(", {} years", pl.col("age").round(0).cast(pl.Int64)).fill_null("")
    gender = pl.format(", {}", "gender").fill_null("")
    events = [
        photo.files.select(
            at="seen_at",
            what=pl.format("met: {}", pl.col("status").str.replace_all("_", " ")),
            detail=pl.format("{}/{}", "source", "path"),
        ),
        photo.faces.group_by("run_id", "detector")
        .agg(pl.col("extracted_at").max(), faces=pl.len())
        .select(at="extracted_at", what=pl.lit("faces found"), detail=pl.format("{}, by {}", "faces", "detector")),
        photo.labels.select(
            at="labelled_at",
            what=pl.format("label: {}", "status"),
            detail=pl.format("from {}{}{}", "label_source", answer, gender),
        ),
        photo.scores.select(
            at="scored_at",
            what=pl.lit("scored"),
            detail=pl.format("{} by {}{}", number, "model_version", answer),
        ),
    ]
    if reviews is not None:
        verdict = pl.format("review: {}", pl.col("verdict").str.replace_all("_", " "))
        detail = pl.format("{} by {}{}{}", number, "reviewer", answer, gender)
        events.append(reviews.select(at="reviewed_at", what=verdict, detail=detail))
    return pl.concat([event.cast(pl.Schema(_HISTORY)) for event in events]).sort(
        "at", descending=True, maintain_order=True
    )
