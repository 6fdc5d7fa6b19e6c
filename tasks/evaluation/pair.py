"""Two tables of answers to the same faces, as `faceline models compare` takes them: matched by key, never by place.

What only one of them answers is left out: a difference of two figures on different faces is none of two models."""

import logging
from pathlib import Path

import numpy as np
import polars as pl

from models.contract import AGE_OUTPUTS, Answers
from tasks.dataset import Truth
from tasks.evaluation.judged import Judged, judge_table, of_split
from tasks.table import BadTable

logger = logging.getLogger(__name__)
_KEY = ("path", "file_hash", "face_index")  # those that both tables have; one of the first two at the least


def judge_pair(
    tables: tuple[pl.DataFrame, pl.DataFrame], split: str | None, paths: tuple[Path, Path]
) -> tuple[Judged, Judged]:
    """Two tables of `read_answers`, in one order and with one truth. Of one that has a column split, only the rows of
    that `split` count; None: all. Raises BadTable, also where a face is told twice, or its truth in two ways."""
    key = [name for name in _KEY if all(name in table.columns for table in tables)]
    if key in ([], ["face_index"]):
        raise BadTable(f"{paths[0]}, {paths[1]}: to match their rows, both need a column path, or both file_hash")
    chosen = [
        of_split(table, split if "split" in table.columns else None, path)
        for table, path in zip(tables, paths, strict=True)
    ]
    faces = [judge_table(table, None, path) for table, path in zip(chosen, paths, strict=True)]
    first, second = (_keys(table, key, path) for table, path in zip(chosen, paths, strict=True))
    rows = first.join(second, on=key, maintain_order="left")
    if rows.is_empty():
        raise BadTable(f"{paths[0]}, {paths[1]}: no row of one has the {', '.join(key)} of one of the other")
    if alone := len(first) + len(second) - 2 * len(rows):
        logger.warning("%d rows are left out: their faces are in one of the tables only", alone)
    old, new = (_at(each, rows[name].to_numpy()) for each, name in zip(faces, ("row", "row_right"), strict=True))
    truth = _one_truth(old.truth, new.truth, rows.select(key), paths)
    both = _asked_of_both(old.answers, new.answers), _asked_of_both(new.answers, old.answers)
    return Judged(truth, both[0], old.groups), Judged(truth, both[1], old.groups)


def _keys(table: pl.DataFrame, key: list[str], path: Path) -> pl.DataFrame:
    """The key of each row, and its number; those without one are nobody's pair."""
    keys = table.select(key).with_row_index("row").drop_nulls()
    twice = keys.filter(pl.struct(key).is_duplicated())
    if len(twice):
        named = ", ".join(twice.select(key).row(0))
        raise BadTable(f"{path}: {named} is there more than once ({len(twice)} such rows); keep one row a face")
    return keys


def _at(faces: Judged, rows: np.ndarray) -> Judged:
    return Judged(faces.truth.take(rows), faces.answers.take(rows), faces.groups[rows])


def _one_truth(old: Truth, new: Truth, keys: pl.DataFrame, paths: tuple[Path, Path]) -> Truth:
    """With the people of whichever knows them: both models must see the same draws."""
    for name, one, other in (("true_age", old.age, new.age), ("true_gender", old.female, new.female)):
        differ = np.flatnonzero((one != other) & ~(np.isnan(one) & np.isnan(other)))
        if len(differ):
            where = ", ".join(keys.row(int(differ[0])))
            raise BadTable(f"{paths[0]}, {paths[1]}: {name} of {where} differs ({len(differ)} such rows)")
    return new if old.people is None else old


def _asked_of_both(mine: Answers, theirs: Answers) -> Answers:
    ages = (_where_both(getattr(mine, name), getattr(theirs, name)) for name in AGE_OUTPUTS)
    women = mine.female
    if women is not None and theirs.female is not None:
        women = _where_both(women, theirs.female)
    return Answers(*ages, female=women)


def _where_both(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """NaN where the other says nothing; if it never says anything, the figure is of one model, and stays as it is."""
    silent = np.isnan(theirs)
    return mine if silent.all() else np.where(silent, np.nan, mine)
