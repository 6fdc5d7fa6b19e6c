"""The data report: what there is to train on, what of it can't work, and which labels someone should look at."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from storage.reviews import reviews_of
from storage.settings import DataReportSettings
from storage.workspace import Workspace
from tasks.data_report.cautions import Caution, cautions
from tasks.data_report.findings import (
    contents_labelled_twice,
    contradictions,
    invalid_labels,
    near_duplicates_among,
    parted,
    suspicious_labels,
)
from tasks.data_report.holdings import Holdings, holdings
from tasks.data_report.looks import answers_of
from tasks.data_report.pictures import ages_expected, ages_labelled
from tasks.data_report.suspects import expected
from tasks.dataset import Dataset, labelled_faces, with_sides
from tasks.evaluation.pictures import Picture
from tasks.split import groups_by_look


@dataclass(frozen=True)
class DataReport:
    """`findings` is rows of FINDINGS."""

    held: Holdings
    cautions: list[Caution]
    findings: pl.DataFrame
    pictures: list[Picture]


def faces_to_train_on(workspace: Workspace, min_face_side: int) -> Dataset:
    """Those that a training would take, without a side yet and without their crops, which of 100,000 faces are 600 MB.
    Raises BadWorkspace."""
    return labelled_faces(workspace, reviews_of(workspace), min_face_side, with_crops=False)


def data_report(workspace: Workspace, faces: Dataset, looks: pl.DataFrame, settings: DataReportSettings) -> DataReport:
    """`looks` is what looks.py saw of those faces, in their order. Raises NothingToLearn for a split column that no
    training accepts."""
    subjects, photos = (faces.rows[name].to_list() for name in ("subject_id", "file_hash"))
    names = groups_by_look(subjects, photos, looks["look"].to_numpy())
    dataset = with_sides(faces, names)
    truth = dataset.truth(np.arange(len(dataset.rows)))
    rows = dataset.rows.with_columns(looks["look"])
    duplicates = near_duplicates_among(rows)
    findings = [
        contents_labelled_twice(workspace, settings.years_apart),
        contradictions(duplicates, settings.years_apart),
        invalid_labels(workspace),
        duplicates,
    ]
    pictures = [ages_labelled(truth)]
    if settings.check_labels and len(rows):
        found = expected(truth, answers_of(looks), np.unique(names, return_inverse=True)[1])
        findings.insert(0, suspicious_labels(rows, truth, found))
        pictures.append(ages_expected(truth, found))
    held = holdings(workspace, dataset)
    doubts = cautions(dataset, held, settings.targets, parted(duplicates, dataset.rows))
    return DataReport(held, doubts, pl.concat(findings), pictures)
