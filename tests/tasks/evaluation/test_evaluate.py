"""A report has every figure of every group, each with its interval, in the two forms that are kept."""

import numpy as np
import polars as pl
import pytest

from models.figures import FIGURES
from storage.schemas import MEASURED
from tasks.dataset import Truth
from tasks.evaluation.evaluate import as_metrics, measure, report
from tasks.evaluation.judged import Judged
from tests.judged import answers_with, judged, known_model


def of_groups(values: list[str | None], errors: np.ndarray) -> Judged:
    age = np.full(len(values), 40.0)
    return judged(Truth(age, np.full(len(values), np.nan)), answers_with(errors, age), camera=values)


def rows_of(measured: pl.DataFrame, column: str, figure: str) -> list[tuple[str, float]]:
    chosen = measured.filter(pl.col("column") == column, pl.col("figure") == figure)
    return list(chosen.select("group", "value").iter_rows())


def test_every_figure_is_there_with_its_interval_and_its_faces() -> None:
    everybody = measure(known_model(500, 0)).filter(pl.col("column").is_null())
    assert everybody["figure"].to_list() == list(FIGURES)
    without = everybody.filter(pl.col("low").is_null())["figure"].to_list()
    assert without == ["faces", "interval_width"]  # all intervals of this model are equally wide
    inside = everybody.drop_nulls("low").filter(pl.col("value").is_between("low", "high"))
    assert len(inside) == len(FIGURES) - 2


def test_the_rows_are_of_the_schema_that_is_promised() -> None:
    assert measure(known_model(50, 0)).to_arrow().schema.names == MEASURED.names


def test_bands_hold_each_face_once() -> None:
    age = np.repeat([0, 4.9, 5, 15.9, 16, 29, 30, 60, 75, 116], 10).astype(float)
    faces = judged(Truth(age, np.full(100, np.nan)), answers_with(np.zeros(100), age))
    assert rows_of(measure(faces), "age", "faces") == [
        ("0-4", 20), ("5-15", 20), ("16-29", 20), ("30-44", 10), ("60-74", 10), ("75-116", 20),
    ]  # fmt: skip


def test_a_group_of_few_faces_is_not_told() -> None:
    measured = measure(of_groups(["a"] * 9 + ["b"] * 10, np.zeros(19)))
    assert rows_of(measured, "camera", "faces") == [("b", 10)]


def test_groups_are_measured_each_for_itself() -> None:
    measured = measure(of_groups(["a"] * 10 + ["b"] * 10 + [None] * 10, np.repeat([1.0, 3.0, 9.0], 10)))
    assert rows_of(measured, "camera", "age_mae") == [("a", pytest.approx(1)), ("b", pytest.approx(3))]


def test_both_genders_are_groups() -> None:
    female = np.repeat([1.0, 0.0, np.nan], [20, 30, 10])
    age = np.full(60, 30.0)
    faces = judged(Truth(age, female), answers_with(np.zeros(60), age, female=np.full(60, 0.9)))
    assert rows_of(measure(faces), "gender", "gender_accuracy") == [("female", 1), ("male", 0)]


def test_metrics_say_the_same_as_the_rows() -> None:
    measured = measure(known_model(300, 0))
    metrics = as_metrics(measured)
    row = measured.row(by_predicate=pl.col("column").is_null() & (pl.col("figure") == "age_mae"), named=True)
    assert metrics["overall"]["age_mae"] == row["value"]
    assert metrics["intervals"]["age_mae"] == (row["low"], row["high"])
    band = measured.filter(pl.col("column") == "age", pl.col("figure") == "cs5").row(0, named=True)
    assert (metrics["bands"][0]["band"], metrics["bands"][0]["cs5"]) == (band["group"], band["value"])
    assert metrics["bands"][0]["intervals"]["cs5"] == (band["low"], band["high"])


def test_a_report_names_the_columns_of_the_labels_but_neither_split_nor_identifiers() -> None:
    faces = known_model(100, 5)
    labels = [{"race": "xy"[index % 2], "split": "test", "name": str(index)} for index in range(100)]
    groups = report(faces.truth, faces.answers, labels)["groups"]
    assert [(row["column"], row["group"]) for row in groups] == [
        ("gender", "female"), ("gender", "male"), ("race", "x"), ("race", "y"),
    ]  # fmt: skip


def test_labels_that_say_nothing_give_a_count_of_faces() -> None:
    nothing = np.full(10, np.nan)
    found = report(Truth(nothing, nothing), answers_with(np.zeros(10), np.full(10, 30.0)), [{}] * 10)
    assert found == {"overall": {"faces": 10.0}, "intervals": {}, "bands": [], "groups": []}
