"""What the review pages ask of the tables: lazy scans of the few columns needed, one page of rows at a time.

A photo scored twice by one model, with other settings each time, shows as it was scored last. Crops are read for the
faces on the page only: a gallery of 300,000 faces takes about a second on two cores, most of it sorting numbers."""

import json
from dataclasses import dataclass
from typing import Literal

import polars as pl
from upath import UPath

from storage.schemas import LONGEST_LIFE_YEARS, FileStatus
from storage.workspace import BadWorkspace, Workspace

Order = Literal["least certain", "lowest quality", "youngest", "oldest", "newest"]
ReviewState = Literal["all", "reviewed", "unreviewed"]
SURE_FROM = 0.75  # a gender is named from this probability on; below it, the face counts as uncertain
GENDERS = ("female", "male", "uncertain")
FACE_KEY = ("file_hash", "face_index", "fingerprint")

_WIDTH = pl.col("age_high") - pl.col("age_low")
_ORDERS: dict[Order, tuple[pl.Expr, bool]] = {  # what to sort by, and whether the highest comes first
    "least certain": (_WIDTH, True),
    "lowest quality": (pl.col("quality"), False),
    "youngest": (pl.col("age"), False),
    "oldest": (pl.col("age"), True),
    "newest": (pl.col("scored_at"), True),
}


@dataclass(frozen=True)
class FaceFilter:
    """Which scored faces to show. Ranges include both ends; a face without a quality or a gender passes those."""

    model_hash: str
    ages: tuple[float, float] = (0, LONGEST_LIFE_YEARS)  # years
    widths: tuple[float, float] = (0, LONGEST_LIFE_YEARS)  # of the 90 % interval, years
    qualities: tuple[float, float] = (0, 1)
    genders: tuple[str, ...] = GENDERS
    source: str | None = None  # None: every folder
    path_part: str = ""  # in the file's path, in any case of letters
    review: ReviewState = "all"


def faces_by_age(workspace: Workspace, chosen: FaceFilter, reviews: pl.DataFrame) -> pl.DataFrame:
    """How many faces pass, by whole years of age and by gender: age, gender, faces. `reviews` is Reviews.newest().
    Raises BadWorkspace, as all of these do."""
    faces = _matching(workspace, chosen, reviews)
    ages = faces.group_by(pl.col("age").floor().cast(pl.Int16), "gender").agg(faces=pl.len())
    return _collect(workspace, ages.sort("age", "gender"))


def faces_page(
    workspace: Workspace, chosen: FaceFilter, reviews: pl.DataFrame, order: Order, rows: slice
) -> pl.DataFrame:
    """Those of the faces that pass, in that order, as rows of `scores` with gender, source, path, path_count and the
    newest review: verdict, review_age, review_gender."""
    key, descending = _ORDERS[order]
    faces = _matching(workspace, chosen, reviews)
    ordered = faces.sort(key, *FACE_KEY, descending=[descending, False, False, False], nulls_last=True)
    found = _collect(workspace, ordered.slice(rows.start, rows.stop - rows.start))
    places = _collect(workspace, _places(_files(workspace, chosen), found["file_hash"]))
    return found.unique(FACE_KEY, maintain_order=True).join(places, on="file_hash", maintain_order="left")


def no_reviews() -> pl.DataFrame:
    """What Reviews.newest() gives where there are none."""
    said = {"verdict": pl.String, "age": pl.Float32, "gender": pl.String}
    return pl.DataFrame(schema={"file_hash": pl.String, "face_index": pl.Int16} | said)


def scored_models(workspace: Workspace) -> pl.DataFrame:
    """A row for each model that scored faces, the latest first: model_hash, model_version, faces, scored_at."""
    models = workspace.scan("scores").group_by("model_hash")
    last = models.agg(pl.col("model_version").last(), faces=pl.len(), scored_at=pl.col("scored_at").max())
    return _collect(workspace, last.sort("scored_at", descending=True))


def pictures_of(workspace: Workspace, faces: pl.DataFrame) -> pl.DataFrame:
    """The crops of those faces, by FACE_KEY; null where they weren't kept."""
    if faces.is_empty():
        return workspace.scan("faces").select(*FACE_KEY, "crop").head(0).collect()
    few = pl.col("file_hash").is_in(faces["file_hash"].unique().implode())
    found = workspace.scan("faces").filter(few).select(*FACE_KEY, "crop")
    keys = faces.lazy().select(FACE_KEY)
    return _collect(workspace, found.join(keys, on=FACE_KEY, how="semi").unique(FACE_KEY))


def status_counts(workspace: Workspace) -> pl.DataFrame:
    """How many files have each status, as they were met last: status, files, faces; the most frequent first."""
    counts = _files_now(workspace).group_by("status").agg(files=pl.len(), faces=pl.col("face_count").cast(int).sum())
    return _collect(workspace, counts.sort("files", "status", descending=[True, False]))


def failures(counts: pl.DataFrame) -> int:
    """How many of `status_counts` gave no pixels."""
    return int(counts.filter(pl.col("status") != FileStatus.OK)["files"].sum())


def files_with(workspace: Workspace, statuses: tuple[str, ...], most: int) -> pl.DataFrame:
    """The files of those statuses, at most so many: status, detail, path, source, size, seen_at; the latest first."""
    files = _files_now(workspace).filter(pl.col("status").is_in(statuses))
    columns = ("status", "detail", "path", "source", "size", "seen_at")
    newest_first = files.select(columns).sort("seen_at", "source", "path", descending=[True, False, False])
    return _collect(workspace, newest_first.head(most))


def sources(workspace: Workspace) -> list[str]:
    """The folders whose files have rows."""
    found = workspace.scan("files").select("source").unique().sort("source")
    return _collect(workspace, found)["source"].to_list()


def training_runs(workspace: Workspace) -> pl.DataFrame:
    """A row for each run that began, the latest first: run, finished, targets, recipe, device, and the figures of its
    test faces (of its validation faces where it has none). Null where a run has no such figure."""
    names = sorted((folder.name for folder in _folders(workspace.runs) if _is_run(folder)), reverse=True)
    schema = {
        "run": pl.String,
        "finished": pl.Boolean,
        "targets": pl.String,
        "recipe": pl.String,
        "device": pl.String,
        "age_mae": pl.Float64,
        "gender_accuracy": pl.Float64,
    }
    return pl.DataFrame([_run_row(workspace, name) for name in names], schema=schema, orient="row")


def run_history(workspace: Workspace, run: str) -> pl.DataFrame | None:
    """A row an epoch, counted from 0; None while the run hasn't got that far."""
    file = workspace.runs / run / "history.parquet"
    return pl.read_parquet(file.read_bytes()) if file.exists() else None


def run_notes(workspace: Workspace, run: str, name: str) -> dict:
    """One of a run's JSON files, such as `settings`, `about` or `metrics`; empty where it isn't there. Raises
    BadWorkspace when it can't be read."""
    file = workspace.runs / run / f"{name}.json"
    if not file.exists():
        return {}
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise BadWorkspace(f"{file}: can't be read: {error}") from error


def gender_of(female: pl.Expr) -> pl.Expr:
    """A probability in words: one of GENDERS, or null where the model judges age alone."""
    named = pl.when(female >= SURE_FROM).then(pl.lit("female"))
    named = named.when(female <= 1 - SURE_FROM).then(pl.lit("male"))
    return named.when(female.is_not_null()).then(pl.lit("uncertain"))


def _matching(workspace: Workspace, chosen: FaceFilter, reviews: pl.DataFrame) -> pl.LazyFrame:
    said = {"age": "review_age", "gender": "review_gender"}
    scores = workspace.scan("scores").filter(pl.col("model_hash") == chosen.model_hash)
    last = pl.col("fingerprint").sort_by("scored_at").last().over("file_hash")
    faces = (
        scores.filter(pl.col("fingerprint") == last)
        .with_columns(gender=gender_of(pl.col("female")))
        .filter(*_conditions(chosen))
        .join(_files(workspace, chosen), on="file_hash", how="semi")
        .join(reviews.lazy().rename(said), on=["file_hash", "face_index"], how="left")
    )
    match chosen.review:
        case "reviewed":
            return faces.filter(pl.col("verdict").is_not_null())
        case "unreviewed":
            return faces.filter(pl.col("verdict").is_null())
        case "all":
            return faces


def _conditions(chosen: FaceFilter) -> list[pl.Expr]:
    return [
        pl.col("age").is_between(*chosen.ages),
        _WIDTH.is_between(*chosen.widths),
        pl.col("quality").is_null() | pl.col("quality").is_between(*chosen.qualities),
        pl.col("gender").is_null() | pl.col("gender").is_in(chosen.genders),
    ]


def _files(workspace: Workspace, chosen: FaceFilter) -> pl.LazyFrame:
    """The paths that pass, with the contents found there."""
    files = workspace.scan("files").filter(pl.col("file_hash").is_not_null()).select("file_hash", "source", "path")
    if chosen.source is not None:
        files = files.filter(pl.col("source") == chosen.source)
    if chosen.path_part:
        wanted = chosen.path_part.lower()
        files = files.filter(pl.col("path").str.to_lowercase().str.contains(wanted, literal=True))
    return files


def _places(files: pl.LazyFrame, few: pl.Series) -> pl.LazyFrame:
    """Where each of a few contents is found: its first path, and how many there are."""
    paths = files.filter(pl.col("file_hash").is_in(few.unique().implode())).unique().sort("source", "path")
    return paths.group_by("file_hash").agg(
        pl.col("source").first(), pl.col("path").first(), path_count=pl.len().cast(pl.Int64)
    )


def _files_now(workspace: Workspace) -> pl.LazyFrame:
    """The newest row of each path: a file that changed, or was read with other settings, has several."""
    others = pl.all().exclude("source", "path", "seen_at")
    return (
        workspace.scan("files")
        .group_by("source", "path")
        .agg(others.sort_by("seen_at").last(), pl.col("seen_at").max())
    )


def _run_row(workspace: Workspace, run: str) -> dict:
    metrics = run_notes(workspace, run, "metrics")
    settings = run_notes(workspace, run, "settings")
    figures = metrics.get("test", {}).get("overall") or metrics.get("val", {}).get("overall") or {}
    return {
        "run": run,
        "finished": bool(metrics),
        "targets": settings.get("targets"),
        "recipe": settings.get("recipe"),
        "device": run_notes(workspace, run, "about").get("device"),
        "age_mae": figures.get("age_mae"),
        "gender_accuracy": figures.get("gender_accuracy"),
    }


def _folders(parent: UPath) -> list[UPath]:
    return [child for child in parent.iterdir() if child.is_dir()] if parent.exists() else []


def _is_run(folder: UPath) -> bool:
    return (folder / "settings.json").exists()


def _collect(workspace: Workspace, query: pl.LazyFrame) -> pl.DataFrame:
    """Runs the query. Raises BadWorkspace for a damaged table."""
    try:
        return query.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadWorkspace(f"{workspace.root}: its tables can't be read: {error}") from error
