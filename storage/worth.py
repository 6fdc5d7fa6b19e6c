"""Which faces a person should look at first: those of which a look would teach most, and some drawn at random.

Each reason gives a face a worth from 0 to 1, and the highest is the face's own. A tenth of the faces is kept out of
that order and shown in a random one instead, a face in ten: what is said of those measures the model's error without
bias, as it would not if only doubtful faces were looked at. Photos with a label aren't drawn: the model may have learnt
from them, and how good it is on those that it didn't learn from, the test side tells. The draw is a part of the
content's SHA-256, another part for each model, so that it is the same on each machine and its faces are others for the
next model."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from storage.findings import last_crops, newest_findings, suspicious_labels
from storage.queries import FACE_KEY, WIDTH, collect, count_by_age, pictures_of, places, scores_of
from storage.workspace import Workspace

Reason = Literal["suspicious label", "uncertain gender", "models disagree", "wide interval", "low quality", "random"]
REASONS: tuple[Reason, ...] = (
    "suspicious label",
    "uncertain gender",
    "models disagree",
    "wide interval",
    "low quality",
    "random",
)
WORTH_A_LOOK = 0.5  # from here on a face waits for review; for gender that is a probability of 0.25 to 0.75
RANDOM_EVERY = 10  # one face in so many is drawn, and one look in so many is at a drawn face
_WEIGHTS = {
    "wide interval": 0.8,
    "low quality": 0.6,
}  # a blurred crop teaches less than a clear one that divides models
_FAR_APART_YEARS = 20  # two models' ages of one face: from here on they disagree wholly
_KEY = ("file_hash", "face_index")


@dataclass(frozen=True)
class Pool:
    """Every face that may be asked about, in memory: a row a face with its key, the model's answers, its worth and its
    reason, and whether it's `labelled`; `draw` is null but in the random share. Of a million faces, making it takes
    seconds, and asking it none."""

    workspace: Workspace
    faces: pl.DataFrame


def pool_of(workspace: Workspace, model_hash: str) -> Pool:
    """Of the faces that the model scored. Raises BadWorkspace, as all of these do."""
    return Pool(workspace, collect(workspace, _ranked(workspace, model_hash)))


def waiting(pool: Pool, said: pl.DataFrame) -> pl.DataFrame:
    """How many faces wait for review for each reason, the random share aside: reason, faces. `said` is
    Reviews.newest()."""
    open_faces = pool.faces.lazy().filter(pl.col("worth") >= WORTH_A_LOOK, pl.col("draw").is_null())
    counts = _without(open_faces, said).group_by("reason").agg(faces=pl.len())
    return counts.sort("faces", "reason", descending=[True, False]).collect()


def by_age(pool: Pool) -> pl.DataFrame:
    """How many faces the model scored, by age and gender: see queries.faces_by_age."""
    return count_by_age(pool.faces.lazy().filter(pl.col("model_version").is_not_null())).collect()


def is_all_labelled(pool: Pool) -> bool:
    """Whether no face can be drawn at random, since each one that the model scored is of a photo with a label."""
    scored = pool.faces.filter(pl.col("model_version").is_not_null())
    return not scored.is_empty() and bool(scored["labelled"].all())


def next_faces(
    pool: Pool, reason: Reason | None, said: pl.DataFrame, served: Iterable[tuple[str, int]], most: int
) -> pl.DataFrame:
    """The next faces to look at for that reason (None: for any), best first, at most so many; `served` are left out, as
    is what was `said` already. A random face may be one that was reviewed for another reason: left out, it would bias
    the measure.

    A row a face: FACE_KEY, the model's answers and model_version (null where it isn't scored), worth, reason, crop,
    label_age, label_gender, source, path, path_count."""
    left_out = pl.DataFrame(list(served), schema={"file_hash": pl.String, "face_index": pl.Int16}, orient="row")
    drawn = pl.col("draw").is_not_null()
    faces = pool.faces.lazy() if reason is None else pool.faces.lazy().filter(pl.col("reason") == reason)
    faces = _without(faces, left_out)
    others = _without(faces.filter(~drawn), said).top_k(most, by="worth")
    random = _without(faces.filter(drawn), said.filter(pl.col("reason") == "random"))
    random = random.bottom_k(most if reason == "random" else -(-most // RANDOM_EVERY), by="draw")
    in_order = pl.concat([others.sort("worth", *_KEY, descending=[True, False, False]), random.sort("draw", *_KEY)])
    return _described(pool.workspace, _interleaved(in_order.collect()).head(most))


def _ranked(workspace: Workspace, model_hash: str) -> pl.LazyFrame:
    """The rows of a Pool."""
    worths = {
        "uncertain gender": 1 - (2 * pl.col("female") - 1).abs(),
        "models disagree": pl.col("apart"),
        "wide interval": (WIDTH / WIDTH.median() - 1).clip(0, 1),
        "low quality": 1 - pl.col("quality"),
    }
    scored = _with_apart(workspace, model_hash).with_columns(
        (worth * _WEIGHTS.get(name, 1)).fill_null(0).alias(name) for name, worth in worths.items()
    )
    names = ["suspicious label", *worths]
    found = _with_suspicion(workspace, scored).with_columns(worth=pl.max_horizontal(names))
    reason = pl.coalesce(pl.when(pl.col(name) == pl.col("worth")).then(pl.lit(name)) for name in names)
    labels = collect(workspace, workspace.scan("labels").select("file_hash"))["file_hash"]
    found = found.with_columns(labelled=pl.col("file_hash").is_in(labels.unique().implode()))
    draw = pl.when(pl.col("model_hash").is_not_null() & ~pl.col("labelled")).then(_draw(model_hash))
    reasoned = found.with_columns(draw=pl.when(draw % RANDOM_EVERY == 0).then(draw)).with_columns(
        reason=pl.when(pl.col("draw").is_null()).then(reason).otherwise(pl.lit("random"))
    )
    answers = ("age", "age_low", "age_high", "female", "quality", "model_version")
    return reasoned.select(*FACE_KEY, *answers, "worth", "reason", "labelled", "draw")


def _with_apart(workspace: Workspace, model_hash: str) -> pl.LazyFrame:
    """The model's scores, with how far the model farthest from it is where another scored the face, 0 to 1."""
    scores = scores_of(workspace, model_hash)
    others = workspace.scan("scores").filter(pl.col("model_hash") != model_hash).group_by(FACE_KEY)
    names = ("age", "female")
    said = collect(workspace, others.agg(pl.min(*names).name.prefix("least_"), pl.max(*names).name.prefix("most_")))
    if said.is_empty():
        return scores.with_columns(apart=pl.lit(0.0))
    years, gender = (
        pl.max_horizontal(pl.col(name) - pl.col(f"least_{name}"), pl.col(f"most_{name}") - pl.col(name))
        for name in names
    )
    apart = pl.max_horizontal(years / _FAR_APART_YEARS, gender).clip(0, 1)
    return scores.join(said.lazy(), on=FACE_KEY, how="left").with_columns(apart=apart)


def _with_suspicion(workspace: Workspace, scored: pl.LazyFrame) -> pl.LazyFrame:
    """Faces with a suspicious label come in even when no model scored them: they may be the training photos."""
    suspicious = suspicious_labels(newest_findings(workspace)).rename({"suspicion": "suspicious label"})
    if suspicious.is_empty():
        return scored.with_columns(pl.lit(None, pl.Float64).alias("suspicious label"))
    joined = scored.join(suspicious.lazy(), on=_KEY, how="full", coalesce=True)
    return joined.with_columns(pl.col("suspicious label") + 1)  # above all other worths


def _without(faces: pl.LazyFrame, keys: pl.DataFrame) -> pl.LazyFrame:
    """Joining a million faces to nothing takes as long as to something, so it isn't done."""
    return faces if keys.is_empty() else faces.join(keys.lazy(), on=_KEY, how="anti")


def _draw(model_hash: str) -> pl.Expr:
    """A number from 0 to 2**32 - 1 for each face, as good as random and always the same."""
    start = zlib.crc32(model_hash.encode()) % 57  # of 64 hex digits, eight are taken
    digits = pl.col("file_hash").str.slice(start, 8).str.to_integer(base=16, dtype=pl.Int64)
    return (digits + 2654435761 * pl.col("face_index").cast(pl.Int64)) % 2**32


def _interleaved(found: pl.DataFrame) -> pl.DataFrame:
    """Every RANDOM_EVERY-th of the rows is a drawn one, as long as there are both."""
    random = pl.col("draw").is_not_null()
    place = pl.int_range(pl.len()).over(random)
    turn = pl.when(random).then(place * RANDOM_EVERY + RANDOM_EVERY - 1).otherwise(place + place // (RANDOM_EVERY - 1))
    return found.sort(turn, maintain_order=True)


def _described(workspace: Workspace, faces: pl.DataFrame) -> pl.DataFrame:
    """With crops, labels and places, which are read for these few alone."""
    few = pl.col("file_hash").is_in(faces["file_hash"].unique().implode())
    labels = workspace.scan("labels").filter(few).sort("labelled_at").unique("file_hash", keep="last")
    known = collect(workspace, labels.select("file_hash", label_age="age", label_gender="gender"))
    found = _with_crops(workspace, faces).drop("draw", "labelled")
    for more in (known, places(workspace, faces["file_hash"])):
        found = found.join(more, on="file_hash", how="left", maintain_order="left")
    return found


def _with_crops(workspace: Workspace, faces: pl.DataFrame) -> pl.DataFrame:
    """The crop that was scored; of a face that wasn't, the one of its last extraction."""
    scored = pictures_of(workspace, faces)
    last = last_crops(workspace, faces.filter(pl.col("fingerprint").is_null())).rename({"crop": "last_crop"})
    found = faces.join(scored, on=FACE_KEY, how="left", maintain_order="left")
    found = found.join(last, on=_KEY, how="left", maintain_order="left")
    return found.with_columns(crop=pl.coalesce("crop", "last_crop")).drop("last_crop")
