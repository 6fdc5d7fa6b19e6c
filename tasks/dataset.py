"""The faces that can be trained on, and why the others can't."""

import hashlib
import logging
from dataclasses import dataclass

import cv2
import numpy as np
import polars as pl

from storage.queries import FACE_KEY
from storage.refusal import Refusal
from storage.reviews import Reviews, reviews_of
from storage.values import SIDES, FileStatus, LabelStatus
from storage.workspace import Workspace
from tasks.crop import decode_crops, encode_crop
from tasks.reviewed import said_of_faces, with_reviews
from tasks.split import draw_sides, groups_of

logger = logging.getLogger(__name__)
AUGMENTATION = "2"  # raise it when `augment` changes what it gives
_FACE_COLUMNS = ["file_hash", "face_index", "fingerprint", "width", "height", "crop_hash"]
_LABEL_COLUMNS = ["file_hash", "label_source", "subject_id", "age", "gender", "groups", "label_status"]
_KNOWN_COLUMNS = ["label_source", "age", "gender", "subject_id", "groups", "given_side"]
_REASONS = [  # why a face isn't trained on: the later, the less is missing
    *(str(status) for status in FileStatus if status != FileStatus.OK),
    "no_face",
    "not_a_face",
    "several_faces",
    "no_label",
    "invalid_label",
    "no_age_or_gender",
    "crop_not_kept",
    "face_too_small",
]


class NothingToLearn(Refusal):
    """The labelled faces can't teach anything; the message says why and what is missing."""


@dataclass(frozen=True)
class Truth:
    """What is known of n faces: years and 0 or 1, float32 [n] each, NaN where unknown. `people` is int [n], equal for
    faces of one person; None: nobody is there twice."""

    age: np.ndarray
    female: np.ndarray
    people: np.ndarray | None = None

    def take(self, chosen: np.ndarray) -> "Truth":
        people = None if self.people is None else self.people[chosen]
        return Truth(self.age[chosen], self.female[chosen], people)


@dataclass(frozen=True)
class Dataset:
    """Labelled faces, one row each: file_hash, face_index, crop, crop_hash, label_source (as in the table `labels`, or
    `review`), age, gender, subject_id (of the photo: among several faces, of one of them), groups (null where the
    photo's label isn't the face's), given_side, side. `left_out` counts the photos that gave none, by reason."""

    rows: pl.DataFrame
    left_out: dict[str, int]

    def side(self, name: str) -> np.ndarray:
        return np.flatnonzero((self.rows["side"] == name).to_numpy())

    def learnt_from(self) -> list[str]:
        """Hashes of the photos that a training sees: to train on, and to calibrate on."""
        return self.rows.filter(pl.col("side") != "test")["file_hash"].unique().to_list()

    def ages(self) -> np.ndarray:
        """Years, float32 [n]; NaN where unknown."""
        return self.rows["age"].fill_null(float("nan")).to_numpy().astype(np.float32)

    def female(self) -> np.ndarray:
        """1 for female, 0 for male, NaN where unknown; float32 [n]."""
        known = self.rows["gender"].replace_strict({"female": 1.0, "male": 0.0}, default=None, return_dtype=pl.Float32)
        return known.fill_null(float("nan")).to_numpy()

    def truth(self, indices: np.ndarray) -> Truth:
        return Truth(self.ages()[indices], self.female()[indices], people_of(self.rows["subject_id"])[indices])

    def groups(self, indices: np.ndarray) -> list[dict[str, str]]:
        """The further label columns of those faces."""
        return [dict(self.rows["groups"][int(index)] or {}) for index in indices]

    def label_sources(self) -> dict[str, dict[str, int]]:
        """For each side how many faces have their age or gender from which source; `review` is what people said where
        the labels say something else, or nothing."""
        counts = self.rows.group_by("side", "label_source").len().sort("len", "label_source", descending=[True, False])
        return {side: dict(counts.filter(side=side).drop("side").iter_rows()) for side in SIDES}

    def faces_by_side(self) -> dict[str, int]:
        return {side: len(self.side(side)) for side in SIDES}

    def data_hash(self) -> str:
        """SHA-256 over crops and labels: two runs on equal data have equal hashes."""
        digest = hashlib.sha256()
        for row in self.rows.select("crop_hash", "age", "gender", "side").iter_rows():
            digest.update(repr(row).encode())
        return digest.hexdigest()


def people_of(subjects: pl.Series) -> np.ndarray:
    """A number for each person, int [n]; a face without a subject_id is of nobody else."""
    alone = pl.when(pl.col("subject").is_null()).then("index").alias("alone")
    rows = pl.DataFrame({"subject": subjects}).with_row_index()
    return rows.select(person=pl.struct("subject", alone).rank("dense"))["person"].to_numpy()


def gather(workspace: Workspace, min_face_side: int) -> Dataset:
    """The labelled faces of a workspace with their reviews and their sides: what training, export and evaluation all
    start from. It may be empty. Raises NothingToLearn as `with_sides` does."""
    return with_sides(labelled_faces(workspace, reviews_of(workspace), min_face_side))


def labelled_faces(
    workspace: Workspace, reviews: Reviews | None, min_face_side: int, *, with_crops: bool = True
) -> Dataset:
    """The faces of which an age or a gender is known, without a side yet. A photo's label can't belong to several
    faces, so it is given to the only one (the original's rule), whereby what a person called no face isn't counted;
    what a person said of a face replaces the label, in a photo of several too. Without crops, the rows have no such
    column."""
    files = workspace.scan("files").filter(pl.col("file_hash").is_not_null()).sort("seen_at")
    files = files.unique("file_hash", keep="last").select("file_hash", "status", "face_count", "fingerprint")
    labels = workspace.scan("labels").sort("labelled_at").unique("file_hash", keep="last")
    labels = labels.rename({"status": "label_status"}).select(_LABEL_COLUMNS)
    photos = files.join(labels, on="file_hash", how="left").collect()
    said = said_of_faces(reviews)
    faces = with_reviews(_with_faces(workspace, photos, said["file_hash"]), said)
    faces = faces.with_columns(reason=_reason_left_out(min_face_side))
    usable = faces.filter(pl.col("reason").is_null())
    given = [dict(groups or {}).get("split") for groups in usable["split_of"].to_list()]
    usable = usable.with_columns(given_side=pl.Series(given, dtype=pl.String))
    if with_crops:
        crops = workspace.scan("faces").select(*FACE_KEY, "crop")
        usable = usable.lazy().join(crops, on=FACE_KEY).collect()
    columns = ["file_hash", "face_index", "crop_hash", *_KNOWN_COLUMNS, *(["crop"] if with_crops else [])]
    return Dataset(usable.sort("crop_hash", "file_hash", "face_index").select(columns), _left_out(faces))


def with_sides(dataset: Dataset, groups: list[str] | None = None) -> Dataset:
    """Sides from the labels' `split` column where they have one, else drawn so that no person is on two of them;
    `groups` are those of tasks/split.py, where they are known already. Raises NothingToLearn where that column says
    something else than train, val and test."""
    rows = dataset.rows
    given, labelled = rows["given_side"], rows["groups"].is_not_null()
    if strangers := set(given) - {None, *SIDES}:
        raise NothingToLearn(
            f"the labels' split column says {sorted(map(str, strangers))[:3]}; it may say {', '.join(SIDES)}"
        )
    if not given.null_count():
        return Dataset(rows.with_columns(side=given), dataset.left_out)
    if groups is None:
        groups = groups_of(rows["subject_id"].to_list(), rows["file_hash"].to_list(), rows["crop"].to_list())
    without = given.filter(labelled).null_count()
    if not without and given.is_not_null().any():
        return Dataset(rows.with_columns(side=pl.Series(_joining(groups, given.to_list()))), dataset.left_out)
    if given.is_not_null().any():
        logger.warning("the labels' split column is left aside: %d of %d faces have none", without, labelled.sum())
    return Dataset(rows.with_columns(side=pl.Series(draw_sides(groups), dtype=pl.String)), dataset.left_out)


def check_learnable(dataset: Dataset, targets: str) -> None:
    """Raises NothingToLearn for what can't work; tasks/data_report/cautions.py has what hardly can."""
    train, validation = dataset.side("train"), dataset.side("val")
    why_not = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items()) or "there are no photos"
    if dataset.rows.is_empty():
        raise NothingToLearn(f"no labelled face to train on ({why_not}); label photos with `faceline label`")
    if not len(train) or not len(validation):
        raise NothingToLearn(
            f"{len(train)} faces to train on and {len(validation)} to validate on: all are of one person, or of one "
            "side of the labels' split column (train, val, test). At least two people are needed"
        )
    ages, female = dataset.ages(), dataset.female()
    for name, side in (("train", train), ("val", validation)):
        if np.isnan(ages[side]).all():
            raise NothingToLearn(f"none of the {len(side)} faces on the {name} side has an age")
    if targets == "age+gender" and len(set(female[train][~np.isnan(female[train])])) < 2:
        raise NothingToLearn("gender can't be learnt: the training faces are all of one; use --targets age")
    if np.nanmin(ages[train]) == np.nanmax(ages[train]):
        raise NothingToLearn(f"age can't be learnt: every training face is {np.nanmin(ages[train]):.0f}")


def crops_for(dataset: Dataset, seed: int, copy: int, indices: np.ndarray) -> np.ndarray:
    """Crops as uint8 [n, side, side, 3]; copy 0 is plain, the others are augmented, the same way each time."""
    crops = decode_crops([dataset.rows["crop"][int(index)] for index in indices])
    if copy == 0:
        return crops
    return np.stack(
        [augment(crop, np.random.default_rng((seed, copy, int(i)))) for crop, i in zip(crops, indices, strict=True)]
    )


def plain_crops(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    return crops_for(dataset, 0, 0, indices)


def augment(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What photos in the wild differ by: mirrored, turned, closer or farther, off centre, darker, flatter, of another
    tint, grey, of low resolution, or saved as a poor JPEG."""
    side = len(crop)
    if random.random() < 0.5:
        crop = crop[:, ::-1]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(-15, 15), random.uniform(0.8, 1.3))
    turn[:, 2] += random.uniform(-0.08, 0.08, 2) * side
    changed = cv2.warpAffine(np.ascontiguousarray(crop), turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    tint = random.uniform(0.85, 1.15, 3) * random.uniform(0.8, 1.2)
    values = (changed.astype(np.float32) - 128) * random.uniform(0.7, 1.25) + 128 * tint.astype(np.float32)
    if random.random() < 0.3:
        values = values.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    if random.random() < 0.3:
        small = int(random.integers(side // 4, side * 4 // 5))
        values = cv2.resize(cv2.resize(values, (small, small), interpolation=cv2.INTER_AREA), (side, side))
    changed = np.clip(values, 0, 255).astype(np.uint8)
    if random.random() < 0.25:
        changed = decode_crops([encode_crop(changed, quality=int(random.integers(15, 60)))])[0]
    return changed


def _with_faces(workspace: Workspace, photos: pl.DataFrame, reviewed: pl.Series) -> pl.DataFrame:
    """A row a face of each photo that a label or a review is of; one without a face for each other photo."""
    told = photos.filter(pl.col("label_status").is_not_null() | pl.col("file_hash").is_in(reviewed.unique().implode()))
    faces = workspace.scan("faces").select(_FACE_COLUMNS).join(told.lazy(), on="file_hash", how="semi").collect()
    return photos.with_columns(split_of="groups").join(faces, on=["file_hash", "fingerprint"], how="left")


def _joining(groups: list[str], given: list[str | None]) -> list[str]:
    """The given sides; those known from reviews alone join the side of their group, else those to train on, so that
    the given val and test stay what they are."""
    of_group = {group: side for group, side in zip(groups, given, strict=True) if side is not None}
    return [side or of_group.get(group, "train") for group, side in zip(groups, given, strict=True)]


def _reason_left_out(min_face_side: int) -> pl.Expr:
    """Of each face, one of _REASONS; null: it can be trained on."""
    nothing_said = pl.col("label_status").is_null()
    return (
        pl.when(pl.col("status") != FileStatus.OK)
        .then(pl.col("status"))
        .when(pl.col("face_count") == 0)
        .then(pl.lit("no_face"))
        .when(pl.col("verdict") == "not_a_face")
        .then(pl.lit("not_a_face"))
        .when((pl.col("real_faces") > 1) & nothing_said)
        .then(pl.lit("several_faces"))
        .when(nothing_said)
        .then(pl.lit("no_label"))
        .when(pl.col("label_status") == LabelStatus.INVALID)
        .then(pl.lit("invalid_label"))
        .when(pl.col("age").is_null() & pl.col("gender").is_null())
        .then(pl.lit("no_age_or_gender"))
        .when(pl.col("crop_hash").is_null())
        .then(pl.lit("crop_not_kept"))
        .when(pl.min_horizontal("width", "height") < min_face_side)
        .then(pl.lit("face_too_small"))
    ).cast(pl.Enum(_REASONS))


def _left_out(faces: pl.DataFrame) -> dict[str, int]:
    """The photos that gave no face, by the reason of the face that came nearest."""
    photos = faces.group_by("file_hash").agg(pl.col("reason").max(), used=pl.col("reason").is_null().any())
    return dict(photos.filter(~pl.col("used"))["reason"].cast(pl.String).value_counts().iter_rows())
