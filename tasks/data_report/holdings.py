"""What a workspace holds for a training, in numbers: files, labels, and the faces that can be trained on."""

from collections import Counter
from dataclasses import dataclass
from statistics import median

import numpy as np
import polars as pl

from storage.queries import status_counts
from storage.values import SIDES, LabelStatus
from storage.workspace import Workspace
from tasks.dataset import Dataset
from tasks.evaluation.measures import BAND_NAMES, bands_of

_MOST_VALUES = 8  # of a group column that are named
UNKNOWN_AGE = "unknown"


@dataclass(frozen=True)
class Part:
    """Some of the usable faces, by the gender they are labelled with."""

    name: str
    female: int
    male: int
    unknown: int

    @property
    def faces(self) -> int:
        return self.female + self.male + self.unknown


@dataclass(frozen=True)
class People:
    """Who is on the usable faces, as far as subject ids tell."""

    people: int
    faces_without_id: int
    median_faces: float  # a person; 0 without ids
    most_faces: int  # of one person


@dataclass(frozen=True)
class Column:
    """One of the further columns of the labels; `most` has its most frequent values, and how many faces have each."""

    name: str
    values: int
    faces_without: int
    most: dict[str, int]


@dataclass(frozen=True)
class Holdings:
    """`files` and `labels` are counted by status, `invalid` and `left_out` by reason; the rest is of usable faces."""

    files: dict[str, int]
    faces_found: int
    labels: dict[str, int]
    invalid: dict[str, int]
    left_out: dict[str, int]
    bands: list[Part]
    sides: list[Part]
    people: People
    columns: list[Column]

    @property
    def usable(self) -> int:
        return sum(side.faces for side in self.sides)


def holdings(workspace: Workspace, dataset: Dataset) -> Holdings:
    """`dataset` has sides. Raises BadWorkspace."""
    statuses = status_counts(workspace)
    faces = workspace.scan("faces").select(pl.struct("file_hash", "face_index").n_unique()).collect()
    labels = workspace.scan("labels").select("status", "detail").collect()
    invalid = labels.filter(pl.col("status") == LabelStatus.INVALID)["detail"]
    return Holdings(
        files=dict(statuses.select("status", "files").iter_rows()),
        faces_found=faces.item(),
        labels=dict(labels["status"].value_counts(sort=True).iter_rows()),
        invalid=dict(_reasons(invalid).value_counts(sort=True).iter_rows()),
        left_out=dict(sorted(dataset.left_out.items(), key=lambda reason: -reason[1])),
        bands=_bands(dataset),
        sides=[_part(side, dataset.female()[dataset.side(side)]) for side in SIDES],
        people=_people(dataset.rows["subject_id"]),
        columns=_columns(dataset),
    )


def _reasons(details: pl.Series) -> pl.Series:
    """What is common to the details of one kind: without the file's name before, and values within."""
    without_name = details.str.replace(r"(?s)^.*: ", "")
    return without_name.str.replace_all(r"`.*`|-?\d+(\.\d+)?", "…").alias("reason")


def _bands(dataset: Dataset) -> list[Part]:
    places, female = bands_of(dataset.ages()), dataset.female()
    bands = [_part(name, female[places == place]) for place, name in enumerate(BAND_NAMES)]
    unknown = _part(UNKNOWN_AGE, female[places < 0])
    return [*bands, unknown] if unknown.faces else bands


def _part(name: str, female: np.ndarray) -> Part:
    return Part(name, int((female == 1).sum()), int((female == 0).sum()), int(np.isnan(female).sum()))


def _people(subjects: pl.Series) -> People:
    faces = subjects.drop_nulls().value_counts()["count"].to_list() or [0]
    return People(subjects.drop_nulls().n_unique(), subjects.null_count(), median(faces), max(faces))


def _columns(dataset: Dataset) -> list[Column]:
    labelled = dataset.groups(np.arange(len(dataset.rows)))
    names = sorted({name for labels in labelled for name in labels} - {"split"})
    return [_column(name, labelled) for name in names]


def _column(name: str, labelled: list[dict[str, str]]) -> Column:
    values = Counter(labels[name] for labels in labelled if name in labels)
    return Column(name, len(values), len(labelled) - values.total(), dict(values.most_common(_MOST_VALUES)))
