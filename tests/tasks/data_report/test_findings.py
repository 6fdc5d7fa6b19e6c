"""Each kind of finding is found where it was planted, and nowhere else."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from storage.schemas import FINDINGS
from storage.values import LabelStatus
from storage.workspace import Workspace, open_workspace
from tasks.data_report.findings import (
    contents_labelled_twice,
    contradictions,
    invalid_labels,
    near_duplicates_among,
    parted,
    suspicious_labels,
)
from tasks.data_report.suspects import Expected
from tasks.dataset import Truth
from tasks.duplicates import perceptual_hashes
from tests.rows import content_hash, crop_of, file_row, files, label_row, labels


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def faces_of(*rows: tuple[int, float | None, str | None]) -> pl.DataFrame:
    """Labelled faces as training has them: what each looks like, its age and gender; all on the train side."""
    looks = perceptual_hashes([crop_of(look) for look, _, _ in rows])
    columns = {
        "file_hash": [content_hash(str(index)) for index in range(len(rows))],
        "face_index": pl.Series([0] * len(rows), dtype=pl.Int16),
        "age": pl.Series([age for _, age, _ in rows], dtype=pl.Float32),
        "gender": pl.Series([gender for _, _, gender in rows], dtype=pl.String),
        "side": ["train"] * len(rows),
    }
    return pl.DataFrame(columns | {"look": looks})


def names(found: pl.DataFrame) -> set[str]:
    """The numbers of the faces found."""
    numbers = {content_hash(str(index)): str(index) for index in range(20)}
    return {numbers[file_hash] for file_hash in found["file_hash"]}


def test_crops_that_look_alike_are_a_group() -> None:
    found = near_duplicates_among(faces_of((1, 30, "female"), (2, 30, "male"), (1, 31, "female")))
    assert names(found) == {"0", "2"}
    assert found["group"].n_unique() == 1
    assert found["score"].to_list() == [1.0, 1.0]
    assert found["detail"][0] == "one of 2 that look alike"


@pytest.mark.parametrize(
    ("second", "score"),
    [
        ((1, 32.0, "female"), None),
        ((1, 34.0, "female"), 4 / 6),
        ((1, 30.0, "male"), 1.0),
        ((1, None, None), None),
        ((2, 60.0, "male"), None),
    ],
    ids=["two years apart", "four years apart", "another gender", "unknown", "another person"],
)
def test_labels_of_one_look_contradict_each_other(second: tuple, score: float | None) -> None:
    found = contradictions(near_duplicates_among(faces_of((1, 30.0, "female"), second)), years_apart=2)
    assert names(found) == ({"0", "1"} if score else set())
    assert found["score"].to_list() == ([pytest.approx(score)] * 2 if score else [])


def test_what_most_of_a_look_say_is_expected() -> None:
    faces = faces_of((1, 30.0, "female"), (1, 30.0, "female"), (1, 70.0, "male"))
    found = contradictions(near_duplicates_among(faces), years_apart=2)
    assert set(found.select("expected_age", "expected_gender").rows()) == {(30.0, "female")}
    assert found["detail"][0] == "one of 3 that look alike; ages 30 to 70; both genders"


def test_a_shot_on_two_sides_is_counted() -> None:
    faces = faces_of((1, 30, "female"), (1, 30, "female"), (2, 40, "male"), (2, 40, "male"))
    duplicates = near_duplicates_among(faces)
    assert parted(duplicates, faces) == 0
    assert parted(duplicates, faces.with_columns(side=pl.Series(["train", "test", "val", "val"]))) == 1


def test_a_shot_is_not_parted_by_another_face_of_its_photo() -> None:
    faces = faces_of((1, 30, None), (1, 30, None), (2, 30, None)).with_columns(
        file_hash=pl.Series([content_hash(name) for name in "001"]),
        face_index=pl.Series([0, 1, 0], dtype=pl.Int16),
        side=pl.Series(["train", "train", "test"]),
    )
    assert parted(near_duplicates_among(faces), faces) == 0
    assert parted(near_duplicates_among(faces), faces.with_columns(side=pl.Series(["train", "test", "test"]))) == 1


def test_a_photo_that_two_sources_label_differently_has_a_row_for_each(workspace: Workspace) -> None:
    workspace.append("files", files(*(file_row(name) for name in "abc")))
    for name, other in (("a", 60.0), ("b", 30.0)):
        mine, theirs = label_row(name, age=30.0), label_row(name, age=other, label_source="table:theirs.csv")
        workspace.append("labels", labels(mine, theirs))
    workspace.append("labels", labels(label_row("c")))
    found = contents_labelled_twice(workspace, years_apart=2).sort("age")
    assert found.select("file_hash", "face_index", "age", "detail").rows() == [
        (content_hash("a"), 0, 30.0, "wiki; ages 30 to 60"),
        (content_hash("a"), 0, 60.0, "table:theirs.csv; ages 30 to 60"),
    ]


def test_an_invalid_label_is_found_with_its_reason(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("a"), file_row("b", face_count=2), file_row("c")))
    wrong = {"status": LabelStatus.INVALID, "age": None, "detail": "an age of 200"}
    workspace.append("labels", labels(label_row("a", **wrong), label_row("b", **wrong), label_row("c")))
    found = invalid_labels(workspace)
    assert set(found.select("file_hash", "face_index", "detail").rows()) == {
        (content_hash("a"), 0, "an age of 200"),
        (content_hash("b"), None, "an age of 200"),
    }


def test_suspicious_labels_are_those_far_from_what_is_expected() -> None:
    faces = faces_of((1, 30.0, "female"), (2, 30.0, "female"), (3, None, "male"), (4, 30.0, None))
    truth = Truth(np.array([30.0, 30.0, np.nan, 30.0]), np.array([1.0, 1.0, 0.0, np.nan]))
    answers = Expected(np.array([32.0, 60.0, np.nan, 31.0]), np.full(4, 5.0), np.array([0.9, 0.9, 0.97, np.nan]))
    found = suspicious_labels(faces, truth, answers)
    assert found.select("kind", "expected_age", "expected_gender", "detail").rows() == [
        ("suspicious_age", 60.0, None, "about 60 years, give or take 5.0"),
        ("suspicious_gender", None, "female", "of such a face, the other labels say female"),
    ]
    assert found["score"].to_list() == pytest.approx([6 / 7, 0.97])
    assert [content_hash("1"), content_hash("2")] == found["file_hash"].to_list()


def test_every_kind_has_the_columns_of_the_schema(workspace: Workspace) -> None:
    faces = faces_of((1, 30.0, "female"), (1, 60.0, "male"))
    duplicates = near_duplicates_among(faces)
    assert len(duplicates)
    kinds = [
        duplicates,
        contradictions(duplicates, 2),
        invalid_labels(workspace),
        contents_labelled_twice(workspace, 2),
    ]
    assert pl.concat(kinds).to_arrow().cast(FINDINGS).num_rows == 4


def test_no_faces_have_no_findings() -> None:
    nothing = faces_of((1, 30.0, "female")).head(0)
    duplicates = near_duplicates_among(nothing)
    assert duplicates.is_empty()
    assert contradictions(duplicates, 2).is_empty()
    assert parted(duplicates, nothing) == 0
