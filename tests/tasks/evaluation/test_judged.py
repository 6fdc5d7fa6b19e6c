"""A table of any model's answers is read as it's meant, or refused with the reason and the row."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest

from tasks.evaluation.evaluate import measure
from tasks.evaluation.judged import Judged, judge, judge_table, read_answers
from tasks.table import BadTable
from tests.judged import known_model

ROWS = {
    "true_age": [30.0, 40.0, None],
    "true_gender": ["female", "Man", None],
    "age": [32.0, 35.0, 20.0],
    "age_low": [25.0, 30.0, 15.0],
    "age_high": [39.0, 39.5, 25.0],
    "female": [0.9, 0.2, 0.5],
    "camera": ["x", "y", None],
}


def read(frame: pl.DataFrame, split: str | None = None) -> Judged:
    with TemporaryDirectory() as folder:
        return judge_table(read_answers(written(Path(folder) / "answers.parquet", frame)), split, Path("answers.csv"))


def numbers(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def written(path: Path, frame: pl.DataFrame) -> Path:
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


@pytest.mark.parametrize("name", ["answers.csv", "answers.parquet"])
def test_a_table_is_read_with_nothing_lost(name: str, tmp_path: Path) -> None:
    faces = judge_table(read_answers(written(tmp_path / name, pl.DataFrame(ROWS))), None, tmp_path / name)
    assert numbers(faces.truth.age) == [30, 40, None]
    assert numbers(faces.truth.female) == [1, 0, None]
    assert numbers(faces.answers.age_high) == [39, 39.5, 25]
    assert numbers(faces.probability()) == [0.9, 0.2, 0.5]
    assert faces.groups.to_dict(as_series=False) == {"camera": ["x", "y", None]}


def test_genders_may_be_named_without_a_probability() -> None:
    frame = pl.DataFrame({"true_gender": ["f", "m", "m"], "gender": ["Female", "uncertain", "man"]})
    assert numbers(read(frame).probability()) == [1, 0.5, 0]


def test_a_model_without_intervals_has_no_coverage() -> None:
    frame = pl.DataFrame({"true_age": [float(age) for age in range(20)], "age": [10.0] * 20})
    assert not {"interval_coverage", "gender_accuracy"} & set(measure(read(frame))["figure"])


def test_only_rows_of_the_split_count() -> None:
    frame = pl.DataFrame(ROWS | {"split": ["test", "train", "test"]})
    assert (len(read(frame, "test")), len(read(frame))) == (2, 3)
    with pytest.raises(BadTable, match=r"`val`.*test, train"):
        read(frame, "val")


def test_a_split_may_be_a_number_and_a_column_of_lists_is_left_out() -> None:
    frame = pl.DataFrame(ROWS | {"split": [1, 2, 1]})
    assert len(read(frame, "1")) == 2
    assert len(read(frame.with_columns(box=pl.lit([1, 2])))) == 3
    with pytest.raises(BadTable, match="split"):
        read(frame.with_columns(split=pl.lit([1, 2])), "1")


def test_an_empty_row_is_no_face(tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text("true_age,age\n30,31\n\n,\n40,NA\n")
    assert numbers(judge_table(read_answers(tmp_path / "answers.csv"), None, tmp_path).answers.age) == [31, None]


def test_bounds_without_an_age_say_nothing() -> None:
    answers = read(pl.DataFrame(ROWS | {"age": [32.0, None, 20.0]})).answers
    assert (numbers(answers.age_low), numbers(answers.age_high)) == ([25, None, 15], [39, None, 25])


def test_photos_of_one_subject_are_of_one_person() -> None:
    people = read(pl.DataFrame(ROWS | {"subject_id": ["7", None, " 7"]})).people()
    assert people[0] == people[2] != people[1]
    assert len(set(read(pl.DataFrame(ROWS)).people())) == 3


def test_numbers_are_groups_too_but_identifiers_are_not(caplog: pytest.LogCaptureFixture) -> None:
    count = 120
    frame = pl.DataFrame({"true_age": [20.0] * count, "age": [20.0] * count}).with_columns(
        year=pl.int_range(count) % 3, path=pl.lit("x"), photo=pl.int_range(count), box=pl.lit([1, 2])
    )
    with caplog.at_level(logging.WARNING):
        groups = read(frame).groups
    assert (groups.columns, sorted(groups["year"].unique())) == (["year"], ["0", "1", "2"])
    assert "photo" in caplog.text


def test_faces_without_an_answer_are_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    frame = pl.DataFrame({"true_age": [30.0, 40.0], "age": [31.0, None]})
    with caplog.at_level(logging.WARNING):
        assert numbers(read(frame).age_errors()) == [1, None]
    assert "1 of 2 faces with a known age have no answer" in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"true_age": ["30", "old", None]}, "true_age `old` .*row 2"),
        ({"true_age": [30.0, 130.0, None]}, "true_age `130`.*0 to 116.*row 2"),
        ({"age": [30.0, float("inf"), 3.0]}, "age `inf`"),
        ({"female": [0.5, 90.0, 0.1]}, "female `90`.*0 to 1.*row 2"),
        ({"true_gender": ["female", "uncertain", None]}, "true_gender `uncertain`.*row 2"),
        ({"age_low": [25.0, 45.0, 15.0]}, "age_low `45` is above age_high.*row 2"),
        ({"gender": ["female", "?", None]}, r"gender `\?`.*row 2"),
    ],
)
def test_nonsense_is_refused_with_its_row(changed: dict, message: str) -> None:
    with pytest.raises(BadTable, match=message):
        read(pl.DataFrame(ROWS | changed))


@pytest.mark.parametrize(
    "columns", [["true_age"], ["age", "female"], ["true_age", "female"], ["true_gender", "age"], ["camera"]]
)
def test_a_table_without_a_truth_and_its_answer_is_refused(columns: list[str]) -> None:
    with pytest.raises(BadTable, match="true_age and age"):
        read(pl.DataFrame(ROWS).select(columns))


@pytest.mark.parametrize("name", ["missing.csv", "missing.parquet", "broken.parquet", "empty.csv"])
def test_a_table_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(BadTable, match=name):
        read_answers(tmp_path / name)


def test_a_table_gives_the_figures_of_the_run_that_it_was_written_from() -> None:
    run = known_model(200, 0)
    labels = [{"camera": "ab"[index % 2]} for index in range(200)]
    frame = pl.DataFrame(
        {
            "true_age": run.truth.age,
            "true_gender": np.where(run.truth.female > 0, "female", "male"),
            "age": run.answers.age,
            "age_low": run.answers.age_low,
            "age_high": run.answers.age_high,
            "female": run.answers.female,
            "camera": [each["camera"] for each in labels],
        }
    )
    assert measure(read(frame)).equals(measure(judge(run.truth, run.answers, labels)))
