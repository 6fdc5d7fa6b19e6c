"""Two tables are compared on the faces that both answer, in whatever order these are, or refused with the reason."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.evaluation.bootstrap import draws
from tasks.evaluation.compare import Change, compare, overall
from tasks.evaluation.judged import Judged, read_answers
from tasks.evaluation.pair import judge_pair
from tasks.table import BadTable

FACES = 40
TRUTH = pl.DataFrame(
    {
        "path": [f"{number}.jpg" for number in range(FACES)],
        "true_age": [20.0 + number for number in range(FACES)],
        "true_gender": ["female", "male"] * (FACES // 2),
        "camera": ["a", "b"] * (FACES // 2),
    }
)


def of_model(off: float, **columns: Any) -> pl.DataFrame:
    return TRUTH.with_columns(age=pl.col("true_age") + off).with_columns(**columns)


def pair(
    before: pl.DataFrame, after: pl.DataFrame, folder: Path, *, split: str | None = None, names=("a.csv", "b.parquet")
) -> tuple[Judged, Judged]:
    before.write_csv(folder / names[0])
    after.write_parquet(folder / names[1])
    paths = (folder / names[0], folder / names[1])
    return judge_pair((read_answers(paths[0]), read_answers(paths[1])), split, paths)


def change_of(both: tuple[Judged, Judged], name: str) -> Change:
    return next(change for change in overall(compare(*both)) if change.name == name)


def test_rows_are_matched_by_their_key_and_not_by_their_place(tmp_path: Path) -> None:
    noise = pl.Series(np.random.default_rng(0).normal(0, 9, FACES))
    before = of_model(0).with_columns(age=pl.col("age") + noise)
    both = pair(before, before.with_columns(pl.col("age") + 1).reverse(), tmp_path)
    assert np.allclose(both[1].answers.age - both[0].answers.age, 1)
    change = change_of(both, "age_bias")
    assert (change.difference, change.faces) == (pytest.approx(1), FACES)


def test_only_faces_that_both_answer_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first knows the hard faces, the second is silent there: it isn't better for that."""
    hard = pl.col("true_age") >= 50
    before = of_model(2).with_columns(age=pl.when(hard).then(pl.col("age") + 20).otherwise("age"))
    after = of_model(2).with_columns(age=pl.when(hard).then(None).otherwise("age"))
    with caplog.at_level(logging.WARNING):
        both = pair(before, after.head(FACES - 1), tmp_path)
    change = change_of(both, "age_mae")
    assert (change.before, change.after, change.faces) == (2, 2, 30)
    assert "1 rows are left out" in caplog.text


def test_what_only_one_of_them_says_is_named_and_not_compared(tmp_path: Path) -> None:
    before = of_model(2, female=pl.when(pl.col("true_gender") == "female").then(0.9).otherwise(0.1))
    both = pair(before, of_model(1), tmp_path)
    change = change_of(both, "gender_accuracy")
    assert (change.before, change.after, change.difference) == (1, None, None)
    assert change_of(both, "age_mae").difference == -1


def test_groups_are_those_of_the_first_table(tmp_path: Path) -> None:
    changes = compare(*pair(of_model(2), of_model(1).drop("camera"), tmp_path))
    assert {change.group for change in changes if change.column == "camera"} == {"a", "b"}


@pytest.mark.parametrize("which", [0, 1])
def test_both_see_the_same_draws_of_people_whichever_table_names_them(which: int, tmp_path: Path) -> None:
    tables = [of_model(2), of_model(1)]
    tables[which] = tables[which].with_columns(subject_id=pl.Series([f"p{number // 4}" for number in range(FACES)]))
    first, second = pair(tables[0], tables[1], tmp_path)
    assert len(set(first.people())) == FACES // 4
    assert all((one == other).all() for one, other in zip(draws(first.people()), draws(second.people()), strict=True))


def test_a_split_that_one_of_them_names_is_of_both(tmp_path: Path) -> None:
    sides = pl.Series(["test", "train"] * (FACES // 2))
    both = pair(of_model(2, split=sides), of_model(1), tmp_path, split="test")
    assert change_of(both, "age_mae").faces == FACES // 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.drop("path"), "both need a column path, or both file_hash"),
        (lambda table: table.with_columns(path=pl.lit("0.jpg")), r"b\.parquet: 0\.jpg is there more than once \(40 "),
        (lambda table: table.with_columns(path=pl.col("path") + "x"), "no row of one has the path of one of the other"),
        (
            lambda table: table.with_columns(true_age=pl.when(path="3.jpg").then(99).otherwise("true_age")),
            r"true_age of 3\.jpg differs \(1 such rows\)",
        ),
        (lambda table: table.with_columns(true_gender=pl.lit("f")), r"true_gender of 1\.jpg differs \(20 such rows\)"),
        (lambda table: table.with_columns(age=pl.lit("old")), r"b\.parquet: age `old` is no number"),
    ],
)
def test_tables_that_are_not_of_the_same_faces_are_refused(spoil, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadTable, match=message):
        pair(of_model(2), spoil(of_model(1)), tmp_path)
