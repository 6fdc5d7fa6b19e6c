"""The page of a data report: one HTML file that needs neither network nor script. It names photos and shows none."""

from dataclasses import dataclass

import polars as pl

from storage.findings import with_places
from storage.settings import ReviewSettings
from storage.values import FindingKind
from storage.workspace import Workspace
from tasks.data_report.report import DataReport
from tasks.data_report.suspects import FEWEST_PEOPLE, TIMES_TYPICAL
from tasks.evaluation.judged import MOST_VALUES
from tasks.page import render

_PORT = ReviewSettings.model_fields["port"].default
_MOST_LINES = 15  # of a kind; the rest is in findings.parquet
_TITLES = {
    FindingKind.SUSPICIOUS_AGE: (
        "Ages that are probably wrong",
        f"{TIMES_TYPICAL} or more typical errors away from what the other labels let expect of such a face.",
    ),
    FindingKind.SUSPICIOUS_GENDER: (
        "Genders that are probably wrong",
        "The other gender is at least as probable as it is for those who are labelled so.",
    ),
    FindingKind.LABEL_CONFLICT: (
        "Labels that contradict each other",
        "Of crops that look alike, or of one photo in two sources of labels.",
    ),
    FindingKind.INVALID_LABEL: ("Invalid labels", "They can't be true, or can't be read; no training uses them."),
    FindingKind.NEAR_DUPLICATE: (
        "Crops that look alike",
        "Mostly one shot that is stored twice, which counts double in a training.",
    ),
}


@dataclass(frozen=True)
class Line:
    """One finding as a person reads it; `address` is its photo's on the review pages."""

    photo: str
    address: str
    label: str
    expected: str
    score: str
    why: str


@dataclass(frozen=True)
class Found:
    """The findings of a kind: how many rows, of how many groups (0: they have none), and the first of them."""

    title: str
    meaning: str
    rows: int
    groups: int
    lines: list[Line]


def data_page(about: dict[str, str], report: DataReport, workspace: Workspace) -> str:
    """`about` has run, made, workspace and judged_by. Whatever came with the data is escaped."""
    kinds = [_found(kind, report.findings, workspace) for kind in _TITLES]
    return render(
        "data_report.html",
        about=about,
        held=report.held,
        cautions=report.cautions,
        pictures=report.pictures,
        faces_to_look_at=report.findings.filter(pl.col("kind") != FindingKind.NEAR_DUPLICATE)["file_hash"].n_unique(),
        kinds=kinds,
        shown=_MOST_LINES,
        port=_PORT,
        most_values=MOST_VALUES,
        fewest=FEWEST_PEOPLE,
    )


def _found(kind: FindingKind, findings: pl.DataFrame, workspace: Workspace) -> Found:
    rows = findings.filter(pl.col("kind") == kind)
    lines = with_places(workspace, rows.head(_MOST_LINES))
    title, meaning = _TITLES[kind]
    groups = rows["group"].drop_nulls().n_unique()
    return Found(title, meaning, len(rows), groups, [_line(row) for row in lines.iter_rows(named=True)])


def _line(row: dict) -> Line:
    return Line(
        photo=row["path"] or row["file_hash"][:16],
        address=f"http://127.0.0.1:{_PORT}/photo?photo={row['file_hash']}",
        label=_said(row["age"], row["gender"]),
        expected=_said(row["expected_age"], row["expected_gender"]),
        score=f"{row['score']:.2f}",
        why=row["detail"] or "",
    )


def _said(age: float | None, gender: str | None) -> str:
    return ", ".join(part for part in (None if age is None else f"{age:.0f}", gender) if part)
