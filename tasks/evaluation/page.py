"""The page of an evaluation: one HTML file that needs neither network nor script, for the screen and for A4 paper."""

from dataclasses import dataclass

import polars as pl

from models.figures import ABOUT_COLUMNS, FIGURES
from tasks.evaluation.bootstrap import RESAMPLES
from tasks.evaluation.judged import Judged
from tasks.evaluation.measures import FEW
from tasks.evaluation.pictures import pictures_of
from tasks.page import render

_TILES = ("age_mae", "cs5", "interval_coverage", "gender_accuracy", "gender_accuracy_from_16", "gender_ece")
_BY_AGE = ("faces", "age_mae", "age_bias", "cs5", "interval_coverage", "gender_accuracy", "uncertain_share")
_BY_GROUP = (*_BY_AGE[:-1], "gender_accuracy_from_16", _BY_AGE[-1])
_WEAKEST = {
    "age_mae": "The age is farthest off for {}: by {} years on average",
    "gender_accuracy": "The gender is wrong most often for {}: it is right for {}",
}
_FACTS = {"model_hash": "model's SHA-256", "provider": "ran on", "split": "split", "left_out": "photos left out"}


@dataclass(frozen=True)
class Cell:
    """A figure as a person reads it; `between` is empty where it has no interval."""

    title: str
    value: str
    between: str
    faces: str
    meaning: str


@dataclass(frozen=True)
class Row:
    group: str
    cells: list[Cell | None]


@dataclass(frozen=True)
class Table:
    """`about` is what must be known to read it; mostly nothing."""

    column: str
    about: str
    titles: list[str]
    rows: list[Row]


def evaluation_page(about: dict, judged: Judged, measured: pl.DataFrame) -> str:
    """`about` has model, and what is known of model_hash, provider, split and left_out; `measured` is rows of
    MEASURED. Whatever came with the data is escaped."""
    everybody = _cells(measured.filter(pl.col("column").is_null()))
    columns = measured["column"].drop_nulls().unique(maintain_order=True)
    return render(
        "evaluation.html",
        about=about,
        summary=_summary(about, everybody),
        weakest=_weakest(measured),
        tiles=[everybody[name] for name in _TILES if name in everybody],
        pictures=pictures_of(judged, measured),
        overall=list(everybody.values())[1:],
        tables=[_table(column, measured.filter(pl.col("column") == column)) for column in columns],
        facts=[(title, _said(about[name])) for name, title in _FACTS.items() if about.get(name)],
        resamples=RESAMPLES,
        few=FEW,
    )


def _cells(rows: pl.DataFrame) -> dict[str, Cell]:
    """By figure, in the order of models/figures.py."""
    return {row["figure"]: _cell(row) for row in rows.iter_rows(named=True)}


def _cell(row: dict) -> Cell:
    figure = FIGURES[row["figure"]]
    value, *ends = (_minus(figure.written(row[name])) for name in ("value", "low", "high") if row[name] is not None)
    return Cell(_together(figure.title), value, " to ".join(ends), f"{row['faces']:,}", _together(figure.meaning))


def _table(column: str, rows: pl.DataFrame) -> Table:
    groups = [(group, _cells(part)) for (group,), part in rows.group_by("group", maintain_order=True)]
    shown = [name for name in (_BY_AGE if column == "age" else _BY_GROUP) if any(name in cells for _, cells in groups)]
    lines = [Row(str(group), [cells.get(name) for name in shown]) for group, cells in groups]
    return Table(column, ABOUT_COLUMNS.get(column, ""), [_together(FIGURES[name].title) for name in shown], lines)


def _summary(about: dict, everybody: dict[str, Cell]) -> str:
    faces = f"On {everybody['faces'].value} {about.get('split') or 'labelled'} faces"
    said = []
    if "age_mae" in everybody:
        age, near = everybody["age_mae"], everybody["cs5"]
        said.append(f"the estimated age is {age.value} years off on average, and {near.value} are within five years")
    if "gender_accuracy" in everybody:
        said.append(f"the gender is right for {everybody['gender_accuracy'].value}")
    return f"{faces}, {'; '.join(said) or 'nothing could be measured'}."


def _weakest(measured: pl.DataFrame) -> list[str]:
    """In which group each of the two main figures is worst."""
    sentences = []
    for name, words in _WEAKEST.items():
        rows = measured.filter(pl.col("column").is_not_null(), pl.col("figure") == name)
        if not rows.is_empty():
            worst = rows.sort("value", descending=FIGURES[name].better == "lower").row(0, named=True)
            cell = _cell(worst)
            interval = f" (95 % interval {cell.between})" if cell.between else ""
            sentences.append(words.format(f"{worst['column']} {worst['group']}", cell.value) + f"{interval}.")
    return sentences


def _said(value: object) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in value.items()) if isinstance(value, dict) else str(value)


def _minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _together(words: str) -> str:
    """A number and its per cent sign stay on one line."""
    return words.replace(" %", "\N{NO-BREAK SPACE}%")
