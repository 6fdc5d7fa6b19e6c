"""A model's answers beside the truth: what every figure is taken from. They come from a model run over labelled
faces, or from a table that any model may have filled."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from models.contract import AGE_OUTPUTS, GENDER_OUTPUT, Answers
from storage.values import LONGEST_LIFE_YEARS
from tasks.dataset import Truth, people_of
from tasks.labels import GENDER_WORDS
from tasks.table import BadTable, read_table, without_unknown

logger = logging.getLogger(__name__)
MOST_VALUES = 50  # a column of more values is an identifier, not a group
_NO_GROUPS = ("split", "subject_id", "path", "file_hash", "face_index")
_PROBABILITY = {"female": 1.0, "uncertain": 0.5, "male": 0.0}  # of a gender that's only named
_ANSWERS = (*AGE_OUTPUTS, GENDER_OUTPUT)
_COLUMNS = ("true_age", "true_gender", "gender", *_ANSWERS, "subject_id", "split")
_LIMITS = dict.fromkeys(AGE_OUTPUTS, (-1000, 1000)) | {"true_age": (0, LONGEST_LIFE_YEARS), GENDER_OUTPUT: (0, 1)}


@dataclass(frozen=True)
class Judged:
    """Faces with what is known of them and what a model says; NaN where it says nothing. `groups` has a row a face
    and a string column for each further label."""

    truth: Truth
    answers: Answers
    groups: pl.DataFrame

    def __len__(self) -> int:
        return len(self.truth.age)

    def take(self, chosen: np.ndarray) -> "Judged":
        """Some of the faces, by a mask."""
        return Judged(self.truth.take(chosen), self.answers.take(chosen), self.groups.filter(chosen))

    def people(self) -> np.ndarray:
        """Int [n], from 0: equal for faces of one person. A face of nobody known is a person of its own."""
        if self.truth.people is None:
            return np.arange(len(self))
        return np.unique(self.truth.people, return_inverse=True)[1]

    def age_errors(self) -> np.ndarray:
        """Estimate less truth, years; float [n], NaN where either is unknown."""
        return self.answers.age.astype(float) - self.truth.age

    def probability(self) -> np.ndarray:
        """Of female; float [n], NaN where there is none."""
        return np.full(len(self), np.nan) if self.answers.female is None else self.answers.female.astype(float)


def judge(truth: Truth, answers: Answers, labels: list[dict[str, str]]) -> Judged:
    """`labels` are the further label columns of each face."""
    names = sorted({name for each in labels for name in each})
    columns = [pl.Series(name, [each.get(name) for each in labels], pl.String) for name in names]
    return Judged(truth, answers, _only_groups(pl.DataFrame(height=len(labels)).with_columns(columns)))


def read_answers(path: Path) -> pl.DataFrame:
    """A .csv or .parquet file, all columns as text, without its empty rows. Raises BadTable."""
    frame = without_unknown(read_table(path, _COLUMNS), _COLUMNS)
    return frame.filter(pl.any_horizontal(pl.all().is_not_null()))


def judge_table(frame: pl.DataFrame, split: str | None, path: Path) -> Judged:
    """A table of `read_answers` with true_age and age (and age_low, age_high), true_gender and female (a probability)
    or gender (a word), and further columns to evaluate by. Only its rows of that `split` count; None: all. Where it
    has a subject_id, faces of one person count as such. Bounds without an age say nothing. Raises BadTable."""
    frame = of_split(frame, split, path)
    numbers = {name: _numbers(frame, name, path) for name in ("true_age", *_ANSWERS) if name in frame.columns}
    unknown = np.full(len(frame), np.nan)
    true_age, age = numbers.get("true_age", unknown), numbers.get("age", unknown)
    true_female = _genders(frame, "true_gender", path) if "true_gender" in frame.columns else unknown
    named = _genders(frame, "gender", path) if "gender" in frame.columns else None
    female = numbers.get(GENDER_OUTPUT, named)
    known = [~np.isnan(true_age) & ~np.isnan(age)] + ([] if female is None else [~np.isnan(true_female + female)])
    if not np.any(known):
        raise BadTable(
            f"{path}: no row has a truth and its answer: true_age and age, or true_gender and female (a probability) "
            f"or gender (a word); it has {len(frame)} rows of {', '.join(frame.columns)}"
        )
    _warn_of_silence(true_age, age, "age")
    _warn_of_silence(true_female, unknown if female is None else female, "gender")
    people = people_of(frame["subject_id"]) if "subject_id" in frame.columns else None
    low, high = (np.where(np.isnan(age), np.nan, numbers.get(name, unknown)) for name in AGE_OUTPUTS[1:])
    _refuse(frame, "age_low", pl.Series(low > high), "is above age_high", path)
    answers = Answers(age, low, high, female=female)
    groups = frame.drop("true_age", "true_gender", "gender", *_ANSWERS, strict=False)
    return Judged(Truth(true_age, true_female, people), answers, _only_groups(groups))


def _only_groups(columns: pl.DataFrame) -> pl.DataFrame:
    """Those that name groups; the others are named in the log."""
    columns = columns.drop(_NO_GROUPS, strict=False)
    many = [name for name in columns.columns if columns[name].n_unique() > MOST_VALUES]
    if many:
        logger.warning("not measured by %s: more than %d different values", ", ".join(many), MOST_VALUES)
    return columns.drop(many)


def of_split(frame: pl.DataFrame, split: str | None, path: Path) -> pl.DataFrame:
    """Its rows of that split; None: all. Raises BadTable where there are none."""
    if split is None:
        return frame
    chosen = frame.filter(pl.col("split") == split)
    if chosen.is_empty():
        there = sorted(map(str, frame["split"].unique()))[:5]
        raise BadTable(f"{path}: no row of the split `{split}`; its column split says {', '.join(there)}")
    return chosen


def _numbers(frame: pl.DataFrame, name: str, path: Path) -> np.ndarray:
    low, high = _LIMITS[name]
    values = frame[name].cast(pl.Float64, strict=False)
    said = frame[name].is_not_null() & ~values.is_nan().fill_null(False)
    wrong = said & ~values.is_between(low, high).fill_null(False)
    _refuse(frame, name, wrong, f"is no number from {low:g} to {high:g}", path)
    return values.fill_null(float("nan")).to_numpy()


def _genders(frame: pl.DataFrame, name: str, path: Path) -> np.ndarray:
    """1 for female, 0 for male, NaN where nothing is said; of an answer 0.5 for uncertain, which a truth can't be."""
    words = GENDER_WORDS | ({} if name == "true_gender" else {"uncertain": "uncertain"})
    lower = frame[name].str.to_lowercase()
    meant = lower.replace_strict(words, default=None, return_dtype=pl.String)
    _refuse(frame, name, lower.is_not_null() & meant.is_null(), f"is none of {', '.join(words)}", path)
    return meant.replace_strict(_PROBABILITY, return_dtype=pl.Float64).fill_null(float("nan")).to_numpy()


def _refuse(frame: pl.DataFrame, name: str, wrong: pl.Series, why: str, path: Path) -> None:
    if wrong.any():
        first = int(wrong.arg_true()[0])
        raise BadTable(f"{path}: {name} `{frame[name][first]}` {why} (row {first + 1}, {wrong.sum()} such rows)")


def _warn_of_silence(truth: np.ndarray, answer: np.ndarray, what: str) -> None:
    silent = int((~np.isnan(truth) & np.isnan(answer)).sum())
    if silent:
        logger.warning("%d of %d faces with a known %s have no answer, and are left out", silent, len(truth), what)
