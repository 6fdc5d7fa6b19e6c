"""How good a model is on labelled faces: each figure with its bootstrap 95 % interval, overall, by age band, by gender
and by group."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.contract import Answers
from models.figures import FIGURES
from storage.frames import frame_of
from storage.schemas import MEASURED
from tasks.dataset import Truth
from tasks.evaluation.bootstrap import Drawn, drawn_figures
from tasks.evaluation.judged import Judged, judge
from tasks.evaluation.measures import BAND_NAMES, FEW, bands_of


@dataclass(frozen=True)
class Part:
    """Some of the faces, by a mask: those of one group of a column. All of them have neither."""

    column: str | None
    group: str | None
    mask: np.ndarray


def report(truth: Truth, answers: Answers, labels: list[dict[str, str]]) -> dict:
    """What metrics.json holds of a set of faces; `labels` are the further label columns of each."""
    return as_metrics(measure(judge(truth, answers, labels)))


def measure(judged: Judged) -> pl.DataFrame:
    """Every figure of every part, as rows of MEASURED. Parts of FEW faces or less, and figures that the labels don't
    allow, have no rows."""
    parts = parts_of(judged)
    drawn = drawn_figures(judged, [part.mask for part in parts])
    rows = [row for part, figures in zip(parts, drawn, strict=True) for row in _rows(part, figures)]
    return frame_of(MEASURED, rows)


def parts_of(judged: Judged) -> list[Part]:
    """All faces, then the age bands, the genders and the groups of each further column, those of FEW faces or more."""
    band, female = bands_of(judged.truth.age), judged.truth.female
    parts = [Part("age", name, band == place) for place, name in enumerate(BAND_NAMES)]
    parts += [Part("gender", name, female == value) for name, value in (("female", 1), ("male", 0))]
    for column in judged.groups:
        values = column.drop_nulls().unique().sort()
        parts += [Part(column.name, value, (column == value).fill_null(False).to_numpy()) for value in values]
    return [Part(None, None, np.ones(len(judged), bool)), *(part for part in parts if part.mask.sum() >= FEW)]


def as_metrics(measured: pl.DataFrame) -> dict:
    """The same as metrics.json has it: `overall` and `intervals` by figure, and a row for each of the `bands` of age
    and for each of the `groups` of the other columns, with `intervals` of its own."""
    whole, bands, groups = (
        measured.filter(chosen)
        for chosen in (pl.col("column").is_null(), pl.col("column") == "age", pl.col("column") != "age")
    )
    return {
        "overall": _values(whole),
        "intervals": _intervals(whole),
        "bands": [{"band": group} | _in_one(rows) for (_, group), rows in _by_part(bands)],
        "groups": [{"column": column, "group": group} | _in_one(rows) for (column, group), rows in _by_part(groups)],
    }


def _rows(part: Part, figures: dict[str, Drawn]) -> list[dict]:
    faces = int(part.mask.sum())
    of_part = {"column": part.column, "group": part.group}
    rows = [of_part | {"figure": "faces", "value": faces, "low": None, "high": None, "faces": faces}]
    for name in FIGURES:
        if name in figures:
            drawn = figures[name]
            low, high = drawn.interval() or (None, None)
            rows.append(
                of_part | {"figure": name, "value": drawn.value, "low": low, "high": high, "faces": drawn.faces}
            )
    return rows


def _by_part(rows: pl.DataFrame):
    return rows.group_by("column", "group", maintain_order=True)


def _in_one(rows: pl.DataFrame) -> dict:
    return _values(rows) | {"intervals": _intervals(rows)}


def _values(rows: pl.DataFrame) -> dict[str, float]:
    return dict(rows.select("figure", "value").iter_rows())


def _intervals(rows: pl.DataFrame) -> dict[str, tuple[float, float]]:
    known = rows.drop_nulls("low")
    return {name: (low, high) for name, low, high in known.select("figure", "low", "high").iter_rows()}
