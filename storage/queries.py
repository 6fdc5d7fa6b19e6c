"""What the review pages ask of the tables: lazy scans of the few columns needed, one page of rows at a time.

A photo scored twice by one model, with other settings each time, shows as it was scored last. Crops are read for the
faces on the page only: a gallery of 300,000 faces takes about a second on two cores, most of it sorting numbers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from storage.registry import champion
from storage.values import LONGEST_LIFE_YEARS, SMALLEST_JUDGED_SIDE, FileStatus
from storage.workspace import BadWorkspace, Workspace

Order = Literal["least certain", "most worth a look", "lowest quality", "youngest", "oldest", "newest"]
ReviewState = Literal["all", "reviewed", "unreviewed"]
FaceSize = Literal["all", "large", "small"]
SURE_FROM = 0.75  # a gender is named from this probability on, else it's uncertain: 98 % of UTKFace's val are right
GENDERS = ("female", "male", "uncertain")
FACE_KEY = ("file_hash", "face_index", "fingerprint")
_FACE = ("file_hash", "face_index")

WIDTH = pl.col("age_high") - pl.col("age_low")
TOO_SMALL = pl.max_horizontal("width", "height") < SMALLEST_JUDGED_SIDE  # of the table `faces`
_ORDERS: dict[Order, tuple[pl.Expr, bool]] = {  # what to sort by, and whether the highest comes first
    "least certain": (WIDTH, True),
    "most worth a look": (pl.col("worth"), True),
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
    size: FaceSize = "all"  # to be judged well: see SMALLEST_JUDGED_SIDE


def faces_by_age(workspace: Workspace, chosen: FaceFilter, reviews: pl.DataFrame) -> pl.DataFrame:
    """How many faces pass, by whole years of age and by gender: age, gender, faces. `reviews` is Reviews.newest().
    Raises BadWorkspace, as all of these do."""
    return collect(workspace, count_by_age(_matching(workspace, chosen, reviews)))


def count_by_age(faces: pl.LazyFrame) -> pl.LazyFrame:
    """The same of any faces with an age and a probability of female."""
    ages = pl.col("age").floor().cast(pl.Int16), gender_of(pl.col("female")).alias("gender")
    return faces.group_by(*ages).agg(faces=pl.len()).sort("age", "gender")


def all_by_age(workspace: Workspace, chosen: FaceFilter) -> pl.DataFrame:
    """As faces_by_age, where the filter doesn't ask for reviews."""
    assert chosen.review == "all", chosen
    return faces_by_age(workspace, chosen, no_reviews())


def faces_page(
    workspace: Workspace,
    chosen: FaceFilter,
    reviews: pl.DataFrame,
    order: Order,
    rows: slice,
    *,
    worths: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Those of the faces that pass, in that order, as rows of `scores` with gender, source, path, path_count and the
    newest review: verdict, review_age, review_gender. `worths`, the faces of the model's Pool, is for the order by
    them alone."""
    key, descending = _ORDERS[order]
    faces = _matching(workspace, chosen, reviews)
    if order == "most worth a look":
        assert worths is not None, order
        faces = faces.join(worths.lazy().select(*FACE_KEY, "worth"), on=FACE_KEY, how="left")
    ordered = faces.sort(key, *FACE_KEY, descending=[descending, False, False, False], nulls_last=True)
    found = collect(workspace, ordered.drop("worth", strict=False).slice(rows.start, rows.stop - rows.start))
    said = reviews.select(*_FACE, "verdict", review_age="age", review_gender="gender")
    found = found.unique(FACE_KEY, maintain_order=True).join(said, on=_FACE, how="left", maintain_order="left")
    where = collect(workspace, _places(_files(workspace, chosen), found["file_hash"]))
    return found.join(where, on="file_hash", how="left", maintain_order="left")


def places(workspace: Workspace, few: pl.Series) -> pl.DataFrame:
    """Where each of a few contents is found: file_hash, source and path of its first path, path_count."""
    return collect(workspace, _places(_files(workspace), few))


def no_reviews() -> pl.DataFrame:
    """What Reviews.newest() gives where there are none."""
    said = {"verdict": pl.String, "age": pl.Float32, "gender": pl.String, "reason": pl.String}
    shown = {"old_gender": pl.String, "model_version": pl.String}
    return pl.DataFrame(schema={"file_hash": pl.String, "face_index": pl.Int16} | said | shown)


@dataclass(frozen=True)
class ModelInUse:
    """The model whose scores are shown first."""

    model_hash: str
    model_version: str
    faces: int  # that it scored
    is_champion: bool | None  # None: the workspace has no champion yet, so the shipped model scores


def model_in_use(workspace: Workspace, models: pl.DataFrame) -> ModelInUse | None:
    """The champion, where it scored faces, else the model that scored last; None before the first score. `models` is
    scored_models."""
    best = champion(workspace)
    by_best = models.filter(pl.col("model_hash") == (best.model_hash if best else ""))
    chosen = models.head(1) if by_best.is_empty() else by_best
    for row in chosen.iter_rows(named=True):
        is_champion = None if best is None else not by_best.is_empty()
        return ModelInUse(row["model_hash"], row["model_version"], row["faces"], is_champion)
    return None


def scored_models(workspace: Workspace) -> pl.DataFrame:
    """A row for each model that scored faces, the latest first: model_hash, model_version, faces, scored_at."""
    models = workspace.scan("scores").group_by("model_hash")
    last = models.agg(pl.col("model_version").last(), faces=pl.len(), scored_at=pl.col("scored_at").max())
    return collect(workspace, last.sort("scored_at", descending=True))


def pictures_of(workspace: Workspace, faces: pl.DataFrame) -> pl.DataFrame:
    """The crops of those faces, by FACE_KEY; null where they weren't kept."""
    if faces.is_empty():
        return workspace.scan("faces").select(*FACE_KEY, "crop").head(0).collect()
    few = pl.col("file_hash").is_in(faces["file_hash"].unique().implode())
    found = workspace.scan("faces").filter(few).select(*FACE_KEY, "crop")
    keys = faces.lazy().select(FACE_KEY)
    return collect(workspace, found.join(keys, on=FACE_KEY, how="semi").unique(FACE_KEY))


def status_counts(workspace: Workspace) -> pl.DataFrame:
    """How many files have each status, as they were met last: status, files, faces; the most frequent first."""
    counts = _files_now(workspace).group_by("status").agg(files=pl.len(), faces=pl.col("face_count").cast(int).sum())
    return collect(workspace, counts.sort("files", "status", descending=[True, False]))


def failures(counts: pl.DataFrame) -> int:
    """How many of `status_counts` gave no pixels."""
    return int(counts.filter(pl.col("status") != FileStatus.OK)["files"].sum())


@dataclass(frozen=True)
class FileFilter:
    """Which files to list."""

    statuses: tuple[str, ...]
    source: str | None = None  # None: every folder
    path_part: str = ""  # in the file's path, in any case of letters


def files_with(workspace: Workspace, chosen: FileFilter, most: int | None = None) -> pl.DataFrame:
    """The files that pass, the latest first, at most so many (None: all): status, detail, path, source, size, seen_at,
    file_hash."""
    files = _at(_files_now(workspace), chosen.source, chosen.path_part)
    columns = ("status", "detail", "path", "source", "size", "seen_at", "file_hash")
    passing = files.filter(pl.col("status").is_in(chosen.statuses)).select(columns)
    newest_first = passing.sort("seen_at", "source", "path", descending=[True, False, False])
    return collect(workspace, newest_first.slice(0, most))


def failure_reasons(workspace: Workspace, most: int) -> pl.DataFrame:
    """Why files gave no pixels, the most frequent reason first: status, detail, files, and a path as an example."""
    failed = _files_now(workspace).filter(pl.col("status") != FileStatus.OK)
    counts = failed.group_by("status", "detail").agg(files=pl.len(), example=pl.col("path").min())
    return collect(workspace, counts.sort("files", "status", "detail", descending=[True, False, False]).head(most))


def arrivals(workspace: Workspace) -> pl.DataFrame:
    """How many rows of `files` came on each day (UTC): day, source, status, files. A path read again counts again."""
    rows = workspace.scan("files").group_by(pl.col("seen_at").dt.date().alias("day"), "source", "status")
    return collect(workspace, rows.agg(files=pl.len()).sort("day", "source", "status"))


@dataclass(frozen=True)
class News:
    """What came in since some moment."""

    files: int
    failed: int  # of them
    scores: int


def news_since(workspace: Workspace, moment: datetime) -> News:
    files = workspace.scan("files").filter(pl.col("seen_at") > moment)
    scores = workspace.scan("scores").filter(pl.col("scored_at") > moment)
    counts = files.select(files=pl.len(), failed=(pl.col("status") != FileStatus.OK).sum())
    row = collect(workspace, pl.concat([counts, scores.select(scores=pl.len())], how="horizontal")).row(0)
    return News(*map(int, row))


def sources(workspace: Workspace) -> list[str]:
    """The folders whose files have rows."""
    found = workspace.scan("files").select("source").unique().sort("source")
    return collect(workspace, found)["source"].to_list()


def gender_of(female: pl.Expr) -> pl.Expr:
    """A probability in words: one of GENDERS, or null where the model judges age alone."""
    named = pl.when(female >= SURE_FROM).then(pl.lit("female"))
    named = named.when(female <= 1 - SURE_FROM).then(pl.lit("male"))
    return named.when(female.is_not_null()).then(pl.lit("uncertain"))


def gender_named(female: float | None) -> str | None:
    """The same of one face."""
    if female is None:
        return None
    if female >= SURE_FROM:
        return "female"
    return "male" if female <= 1 - SURE_FROM else "uncertain"


def scores_of(workspace: Workspace, model_hash: str) -> pl.LazyFrame:
    """A model's scores, of each photo the last scoring: with other settings other faces may have been found."""
    scores = workspace.scan("scores").filter(pl.col("model_hash") == model_hash)
    if len(collect(workspace, scores.select(pl.col("fingerprint").unique()))) <= 1:
        return scores  # as nearly always; of a million faces, the comparison below takes ten times as long as the rest
    last = pl.col("fingerprint").sort_by("scored_at").last().over("file_hash")
    return scores.filter(pl.col("fingerprint") == last)


def _matching(workspace: Workspace, chosen: FaceFilter, reviews: pl.DataFrame) -> pl.LazyFrame:
    faces = scores_of(workspace, chosen.model_hash).with_columns(gender=gender_of(pl.col("female")))
    faces = faces.filter(*_conditions(chosen))
    if chosen.source is not None or chosen.path_part:
        faces = faces.join(_files(workspace, chosen), on="file_hash", how="semi")
    if chosen.size != "all":
        of_size = TOO_SMALL if chosen.size == "small" else ~TOO_SMALL
        faces = faces.join(workspace.scan("faces").filter(of_size).select(FACE_KEY), on=FACE_KEY, how="semi")
    match chosen.review:
        case "reviewed":
            return faces.join(reviews.lazy(), on=_FACE, how="semi")
        case "unreviewed":
            return faces.join(reviews.lazy(), on=_FACE, how="anti")
        case "all":
            return faces


def _conditions(chosen: FaceFilter) -> list[pl.Expr]:
    return [
        pl.col("age").is_between(*chosen.ages),
        WIDTH.is_between(*chosen.widths),
        pl.col("quality").is_null() | pl.col("quality").is_between(*chosen.qualities),
        pl.col("gender").is_null() | pl.col("gender").is_in(chosen.genders),
    ]


def _files(workspace: Workspace, chosen: FaceFilter | None = None) -> pl.LazyFrame:
    """The paths that pass, with the contents found there."""
    files = workspace.scan("files").filter(pl.col("file_hash").is_not_null()).select("file_hash", "source", "path")
    return files if chosen is None else _at(files, chosen.source, chosen.path_part)


def _at(files: pl.LazyFrame, source: str | None, path_part: str) -> pl.LazyFrame:
    if source is not None:
        files = files.filter(pl.col("source") == source)
    if path_part:
        files = files.filter(pl.col("path").str.to_lowercase().str.contains(path_part.lower(), literal=True))
    return files


def _places(files: pl.LazyFrame, few: pl.Series) -> pl.LazyFrame:
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


def collect(workspace: Workspace, query: pl.LazyFrame) -> pl.DataFrame:
    """Runs the query. Raises BadWorkspace for a damaged table."""
    try:
        return query.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadWorkspace(f"{workspace.root}: its tables can't be read: {error}") from error
