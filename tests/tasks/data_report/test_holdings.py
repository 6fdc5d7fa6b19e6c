"""The numbers of a workspace add up: every file, label and face is counted once."""

from pathlib import Path

import pytest

from storage.reviews import open_reviews
from storage.values import FileStatus, LabelStatus
from storage.workspace import Workspace, open_workspace
from tasks.data_report.holdings import Holdings, holdings
from tasks.data_report.report import faces_to_train_on
from tasks.dataset import labelled_faces, with_sides
from tasks.duplicates import perceptual_hashes
from tasks.split import groups_by_look
from tests.rows import face_row, faces, file_row, files, label_row, labels

UNREAD = {"status": FileStatus.TRUNCATED, "face_count": 0}
WRONG = {"status": LabelStatus.INVALID, "age": None}
PEOPLE = [
    ("anna", 3.0, "female"),
    ("anna", 12.0, "female"),
    ("ben", 44.9, "male"),
    (None, None, "male"),
    ("eve", 90, None),
]


REASONS = {
    "x": "x: an age of 117.5 years is outside 0 to 116",
    "y": "a: b/y: an age of -3 years is outside 0 to 116",
}


def groups_of(number: int) -> list[tuple[str, str]]:
    return [("camera", "Leica" if number else "Kodak"), ("split", "train")]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Five faces to train on; a cut file, two invalid labels, a photo of two, and one that stands at two places."""
    made = open_workspace(str(tmp_path / "workspace"))
    file_rows = [
        *(file_row(f"{number}.jpg") for number in range(len(PEOPLE))),
        file_row("0.jpg", path="copy of 0.jpg"),
        file_row("cut", **UNREAD),
        file_row("two", face_count=2),
        file_row("x"),
        file_row("y"),
    ]
    face_rows = [face_row(f"{number}.jpg") for number in range(len(PEOPLE))]
    label_rows = [
        label_row(f"{number}.jpg", subject_id=subject, age=age, gender=gender, groups=groups_of(number))
        for number, (subject, age, gender) in enumerate(PEOPLE)
    ]
    label_rows += [label_row(name, **WRONG, detail=why) for name, why in REASONS.items()]
    made.append("files", files(*file_rows))
    made.append("faces", faces(*face_rows, face_row("two"), face_row("two", 1), face_row("x"), face_row("y")))
    made.append("labels", labels(*label_rows))
    return made


@pytest.fixture
def held(workspace: Workspace) -> Holdings:
    return holdings(workspace, with_sides(faces_to_train_on(workspace, 32), []))


def test_every_file_label_and_face_is_counted_once(held: Holdings) -> None:
    assert held.files == {"ok": 9, "truncated": 1}
    assert held.labels == {"ok": 5, "invalid": 2}
    assert (held.faces_found, held.usable) == (9, 5)
    assert held.left_out == {"invalid_label": 2, "truncated": 1, "several_faces": 1}


def test_reasons_of_one_kind_are_counted_together(held: Holdings) -> None:
    assert held.invalid == {"an age of … years is outside … to …": 2}


def test_faces_are_counted_by_age_gender_and_side(held: Holdings) -> None:
    assert {band.name: (band.female, band.male, band.unknown) for band in held.bands if band.faces} == {
        "0-4": (1, 0, 0),
        "5-15": (1, 0, 0),
        "30-44": (0, 1, 0),
        "75-116": (0, 0, 1),
        "unknown": (0, 1, 0),
    }
    assert [(side.name, side.faces) for side in held.sides] == [("train", 5), ("val", 0), ("test", 0)]


def test_people_are_counted_by_their_ids(held: Holdings) -> None:
    people = held.people
    assert (people.people, people.faces_without_id, people.median_faces, people.most_faces) == (3, 1, 1, 2)


def test_further_columns_are_counted_by_value(held: Holdings) -> None:
    (column,) = held.columns
    assert (column.name, column.values, column.faces_without) == ("camera", 2, 0)
    assert column.most == {"Leica": 4, "Kodak": 1}


def test_an_empty_workspace_holds_nothing(tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "empty"))
    held = holdings(workspace, with_sides(faces_to_train_on(workspace, 32)))
    assert (held.files, held.labels, held.usable, held.people.people) == ({}, {}, 0, 0)


def test_the_faces_and_their_sides_are_those_of_a_training(workspace: Workspace) -> None:
    """Read without crops, and grouped by hashes, it's the same faces on the same sides."""
    workspace.append("labels", labels(label_row("two")))
    training = with_sides(labelled_faces(workspace, open_reviews(workspace), 32))
    lean = faces_to_train_on(workspace, 32)
    looks = perceptual_hashes(training.rows["crop"])
    subjects, photos = (lean.rows[name].to_list() for name in ("subject_id", "file_hash"))
    reported = with_sides(lean, groups_by_look(subjects, photos, looks))
    assert reported.rows.equals(training.rows.drop("crop"))
