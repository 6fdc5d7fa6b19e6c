"""Which labelled faces are trained on, why the others aren't, and what the same seed gives."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from storage.reviews import Reviews, Shown, open_reviews
from storage.values import FileStatus, LabelStatus
from storage.workspace import Workspace, open_workspace
from tasks.dataset import (
    Dataset,
    NothingToLearn,
    augment,
    check_learnable,
    crops_for,
    gather,
    labelled_faces,
    people_of,
    plain_crops,
    with_sides,
)
from tests.rows import content_hash, face_row, faces, file_row, files, label_row, labels


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


@pytest.fixture
def reviews(workspace: Workspace) -> Reviews:
    return open_reviews(workspace)


def add(workspace: Workspace, name: str, *, file: dict | None = None, face: dict | None = None, **label) -> None:
    """One photo with one face and one label."""
    workspace.append("files", files(file_row(name, **(file or {}))))
    workspace.append("faces", faces(face_row(name, **(face or {}))))
    workspace.append("labels", labels(label_row(name, **label)))


def dataset_of(*rows: dict) -> Dataset:
    """Rows of `labels` with a face each and a side, as if chosen already."""
    frame = pl.DataFrame(
        [
            {"crop": face_row(name)["crop"], "crop_hash": name, "age": row.get("age", 30.0 + index)}
            | {"gender": row.get("gender", "female" if index % 2 else "male"), "side": row.get("side", "train")}
            for index, row in enumerate(rows)
            for name in [f"{index}.jpg"]
        ],
        schema={"crop": pl.Binary, "crop_hash": pl.String, "age": pl.Float32, "gender": pl.String, "side": pl.String},
    )
    return Dataset(frame, {})


LEFT_OUT = {
    "no_face": ({"face_count": 0}, {}, {}),
    "several_faces": ({"face_count": 2}, {}, {}),
    "truncated": ({"status": FileStatus.TRUNCATED, "face_count": 0}, {}, {}),
    "invalid_label": ({}, {}, {"status": LabelStatus.INVALID, "age": None, "detail": "why"}),
    "no_age_or_gender": ({}, {}, {"age": None, "gender": None}),
    "face_too_small": ({}, {"width": 31.0}, {}),
    "crop_not_kept": ({}, {"crop": None, "crop_hash": None}, {}),
}


def test_a_labelled_face_is_trained_on(workspace: Workspace) -> None:
    add(workspace, "a.jpg", groups=[("camera", "Leica")])
    dataset = labelled_faces(workspace, None, 32)
    assert dataset.left_out == {}
    assert dataset.rows.select("file_hash", "face_index", "age", "gender", "subject_id").rows() == [
        (content_hash("a.jpg"), 0, 30.0, "female", "a.jpg")
    ]
    assert dataset.groups(np.array([0])) == [{"camera": "Leica"}]


def test_an_empty_workspace_has_nothing_to_train_on(workspace: Workspace) -> None:
    assert labelled_faces(workspace, None, 32).rows.is_empty()


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_what_is_left_out_is_counted_by_its_reason(workspace: Workspace, reason: str) -> None:
    file, face, label = LEFT_OUT[reason]
    row = face_row("a.jpg") | face
    workspace.append("files", files(file_row("a.jpg", **file)))
    workspace.append("faces", faces(row))
    workspace.append("labels", labels(label_row("a.jpg", **label)))
    add(workspace, "good.jpg")
    dataset = labelled_faces(workspace, None, 32)
    assert dataset.left_out == {reason: 1}
    assert dataset.rows["file_hash"].to_list() == [content_hash("good.jpg")]


def test_a_photo_without_a_label_is_left_out(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("a.jpg")))
    workspace.append("faces", faces(face_row("a.jpg")))
    assert labelled_faces(workspace, None, 32).left_out == {"no_label": 1}


def test_one_photo_at_two_paths_is_one_face(workspace: Workspace) -> None:
    add(workspace, "a.jpg")
    workspace.append("files", files(file_row("copy.jpg", file_hash=content_hash("a.jpg"))))
    assert len(labelled_faces(workspace, None, 32).rows) == 1


def test_the_newest_settings_count(workspace: Workspace) -> None:
    add(workspace, "a.jpg")
    workspace.append("files", files(file_row("a.jpg", fingerprint="0" * 16)))
    workspace.append("faces", faces(face_row("a.jpg", fingerprint="0" * 16, crop=face_row("other")["crop"])))
    assert labelled_faces(workspace, None, 32).rows["crop"].to_list() == [face_row("other")["crop"]]


def test_the_newest_label_counts(workspace: Workspace) -> None:
    add(workspace, "a.jpg", age=20.0)
    workspace.append("labels", labels(label_row("a.jpg", age=40.0, label_source="table:x.csv")))
    assert labelled_faces(workspace, None, 32).rows["age"].to_list() == [40.0]


def test_what_a_person_corrected_replaces_the_label(workspace: Workspace, reviews: Reviews) -> None:
    add(workspace, "a.jpg", age=20.0)
    reviews.add((content_hash("a.jpg"), 0), "corrected", "anna", age=25.0)
    rows = labelled_faces(workspace, reviews, 32).rows
    assert rows.select("age", "gender").rows() == [(25.0, "female")]


def test_a_withdrawn_correction_replaces_nothing(workspace: Workspace, reviews: Reviews) -> None:
    add(workspace, "a.jpg", age=20.0)
    reviews.add((content_hash("a.jpg"), 0), "corrected", "anna", age=25.0)
    reviews.add((content_hash("a.jpg"), 0), "withdrawn", "anna")
    assert labelled_faces(workspace, reviews, 32).rows["age"].to_list() == [20.0]


def test_a_correction_heals_an_invalid_label(workspace: Workspace, reviews: Reviews) -> None:
    add(workspace, "a.jpg", age=None, status=LabelStatus.INVALID)
    reviews.add((content_hash("a.jpg"), 0), "corrected", "anna", age=25.0)
    assert labelled_faces(workspace, reviews, 32).rows["age"].to_list() == [25.0]


@pytest.mark.parametrize(("age", "gender"), [(25.0, None), (None, "male"), (25.0, "male")])
def test_a_correction_labels_a_photo_that_had_no_label(
    workspace: Workspace, reviews: Reviews, age: float | None, gender: str | None
) -> None:
    workspace.append("files", files(file_row("a.jpg")))
    workspace.append("faces", faces(face_row("a.jpg")))
    reviews.add((content_hash("a.jpg"), 0), "corrected", "anna", age=age, gender=gender)
    assert labelled_faces(workspace, reviews, 32).rows.select("age", "gender").rows() == [(age, gender)]


ESTIMATE = Shown("uncertain gender", 30.0, "female", "pretrained")
GALLERY = Shown(None, 30.0, "female", "pretrained")
LABEL = Shown("suspicious label", 60.0, "male")
UNKNOWN = Shown()  # as in reviews of earlier versions
SHOWN_AND_SAID = {  # of a face labelled male, 60: what was shown and said, and the age and gender to train on
    "right of an estimate": (ESTIMATE, "right", {}, (60.0, "female")),
    "right in the gallery": (GALLERY, "right", {}, (60.0, "female")),
    "right of the label": (LABEL, "right", {}, (60.0, "male")),
    "right of what isn't known": (UNKNOWN, "right", {}, (60.0, "male")),
    "another age than the estimate's": (ESTIMATE, "corrected", {"age": 34}, (34.0, "female")),
    "another gender than the estimate's": (ESTIMATE, "corrected", {"gender": "male"}, (60.0, "male")),
    "both": (ESTIMATE, "corrected", {"age": 34, "gender": "male"}, (34.0, "male")),
    "an age in the gallery, no gender": (GALLERY, "corrected", {"age": 34}, (34.0, "male")),
    "wrong in the gallery, and nothing else": (GALLERY, "corrected", {}, (60.0, "male")),
    "another age than the label's": (LABEL, "corrected", {"age": 34}, (34.0, "male")),
}


@pytest.mark.parametrize("case", SHOWN_AND_SAID)
def test_what_was_said_counts_of_what_was_shown(workspace: Workspace, reviews: Reviews, case: str) -> None:
    shown, verdict, said, known = SHOWN_AND_SAID[case]
    add(workspace, "a.jpg", age=60.0, gender="male")
    reviews.add((content_hash("a.jpg"), 0), verdict, "anna", shown=shown, **said)
    assert labelled_faces(workspace, reviews, 32).rows.select("age", "gender").rows() == [known]


def test_what_people_said_is_counted_as_a_source_of_labels(workspace: Workspace, reviews: Reviews) -> None:
    """Who confirms what the label says leaves it its source."""
    for name in ("as it was", "confirmed", "repeated", "other age", "other gender", "no face"):
        add(workspace, name, age=60.0, gender="female", groups=[("split", "train")])
    reviews.add((content_hash("confirmed"), 0), "right", "anna", shown=ESTIMATE)
    reviews.add((content_hash("repeated"), 0), "corrected", "anna", age=60)
    reviews.add((content_hash("other age"), 0), "corrected", "anna", age=34)
    reviews.add((content_hash("other gender"), 0), "corrected", "anna", gender="male")
    reviews.add((content_hash("no face"), 0), "not_a_face", "anna")
    add_group_photo(workspace, "several", 2, groups=[("split", "val")])
    reviews.add((content_hash("several"), 1), "corrected", "anna", age=34)
    workspace.append("files", files(file_row("no label")))
    workspace.append("faces", faces(face_row("no label")))
    reviews.add((content_hash("no label"), 0), "right", "anna", shown=ESTIMATE)
    assert gather(workspace, 32).label_sources() == {
        "train": {"review": 3, "wiki": 3},
        "val": {"review": 1},
        "test": {},
    }


def test_an_estimate_called_right_gives_its_gender_and_never_its_age(workspace: Workspace, reviews: Reviews) -> None:
    workspace.append("files", files(file_row("a.jpg"), file_row("b.jpg", face_count=2)))
    workspace.append("faces", faces(face_row("a.jpg"), face_row("b.jpg"), face_row("b.jpg", 1)))
    for name, index in (("a.jpg", 0), ("b.jpg", 1)):
        reviews.add((content_hash(name), index), "right", "anna", shown=ESTIMATE)
    rows = labelled_faces(workspace, reviews, 32).rows.sort("face_index")
    assert rows.select("face_index", "age", "gender").rows() == [(0, None, "female"), (1, None, "female")]


def test_right_of_a_model_that_judges_age_alone_says_nothing(workspace: Workspace, reviews: Reviews) -> None:
    add(workspace, "a.jpg", gender="male")
    reviews.add((content_hash("a.jpg"), 0), "right", "anna", shown=Shown("wide interval", 30.0, None, "pretrained"))
    assert labelled_faces(workspace, reviews, 32).rows.select("age", "gender").rows() == [(30.0, "male")]


def test_a_gender_heals_an_invalid_label_without_its_age(workspace: Workspace, reviews: Reviews) -> None:
    add(workspace, "a.jpg", age=None, gender="male", status=LabelStatus.INVALID)
    reviews.add((content_hash("a.jpg"), 0), "right", "anna", shown=ESTIMATE)
    assert labelled_faces(workspace, reviews, 32).rows.select("age", "gender").rows() == [(None, "female")]


def test_what_a_person_called_no_face_is_left_out(workspace: Workspace, reviews: Reviews) -> None:
    add(workspace, "a.jpg")
    reviews.add((content_hash("a.jpg"), 0), "not_a_face", "anna")
    assert labelled_faces(workspace, reviews, 32).left_out == {"not_a_face": 1}


def add_group_photo(workspace: Workspace, name: str, count: int, **label) -> None:
    """One photo with several faces and one label."""
    workspace.append("files", files(file_row(name, face_count=count)))
    workspace.append("faces", faces(*(face_row(name, index) for index in range(count))))
    workspace.append("labels", labels(label_row(name, **label)))


def test_what_was_said_of_a_face_counts_in_a_photo_of_several(workspace: Workspace, reviews: Reviews) -> None:
    """The label is of one of the three, and which one isn't known."""
    add_group_photo(workspace, "a.jpg", 3, age=60.0, groups=[("camera", "Leica"), ("split", "val")])
    reviews.add((content_hash("a.jpg"), 0), "corrected", "anna", age=25.0)
    reviews.add((content_hash("a.jpg"), 2), "corrected", "anna", gender="male")
    dataset = labelled_faces(workspace, reviews, 32)
    assert sorted(dataset.rows.select("face_index", "age", "gender").rows()) == [(0, 25.0, None), (2, None, "male")]
    assert dataset.left_out == {}
    assert dataset.groups(np.array([0, 1])) == [{}, {}]
    assert with_sides(dataset).rows["side"].to_list() == ["val", "val"]


def test_the_label_is_of_the_only_face_that_is_left(workspace: Workspace, reviews: Reviews) -> None:
    add_group_photo(workspace, "a.jpg", 3, age=60.0)
    for index in (0, 1):
        reviews.add((content_hash("a.jpg"), index), "not_a_face", "anna")
    assert labelled_faces(workspace, reviews, 32).rows.select("face_index", "age").rows() == [(2, 60.0)]


def test_a_label_is_given_to_none_of_the_faces_that_are_left(workspace: Workspace, reviews: Reviews) -> None:
    add_group_photo(workspace, "a.jpg", 3)
    reviews.add((content_hash("a.jpg"), 0), "not_a_face", "anna")
    dataset = labelled_faces(workspace, reviews, 32)
    assert (len(dataset.rows), dataset.left_out) == (0, {"several_faces": 1})


def test_a_photo_of_which_some_faces_are_used_is_not_left_out(workspace: Workspace, reviews: Reviews) -> None:
    add_group_photo(workspace, "a.jpg", 2)
    add_group_photo(workspace, "b.jpg", 2)
    reviews.add((content_hash("a.jpg"), 1), "corrected", "anna", age=25.0)
    dataset = labelled_faces(workspace, reviews, 32)
    assert dataset.rows["face_index"].to_list() == [1]
    assert dataset.left_out == {"several_faces": 1}


def test_all_faces_of_a_photo_and_of_its_person_are_on_one_side(workspace: Workspace, reviews: Reviews) -> None:
    for number in range(12):
        add_group_photo(workspace, f"{number}.jpg", 3, subject_id="anna" if number < 4 else None)
        for index in range(3):
            reviews.add((content_hash(f"{number}.jpg"), index), "corrected", "anna", age=20.0 + index)
    rows = with_sides(labelled_faces(workspace, reviews, 32)).rows
    assert len(rows) == 36
    assert rows.filter(subject_id="anna")["side"].n_unique() == 1
    assert rows.group_by("file_hash").agg(pl.col("side").n_unique())["side"].to_list() == [1] * 12
    assert rows["side"].n_unique() > 1


def test_a_photo_of_several_faces_is_named_once_among_those_learnt_from(workspace: Workspace, reviews: Reviews) -> None:
    add_group_photo(workspace, "a.jpg", 2, groups=[("split", "train")])
    for index in range(2):
        reviews.add((content_hash("a.jpg"), index), "corrected", "anna", age=25.0)
    assert gather(workspace, 32).learnt_from() == [content_hash("a.jpg")]


def test_a_review_of_a_photo_without_a_label_leaves_the_labels_split_as_it_is(
    workspace: Workspace, reviews: Reviews
) -> None:
    for name, side in (("a.jpg", "test"), ("b.jpg", "train"), ("c.jpg", "val")):
        add(workspace, name, groups=[("split", side)])
    workspace.append("files", files(file_row("new.jpg", face_count=2)))
    workspace.append("faces", faces(face_row("new.jpg"), face_row("new.jpg", 1)))
    for index in (0, 1):
        reviews.add((content_hash("new.jpg"), index), "corrected", "anna", age=25.0)
    rows = with_sides(labelled_faces(workspace, reviews, 32)).rows
    assert dict(rows.drop_nulls("subject_id").select("subject_id", "side").rows()) == {
        "a.jpg": "test",
        "b.jpg": "train",
        "c.jpg": "val",
    }
    assert rows.filter(pl.col("subject_id").is_null())["side"].to_list() == ["train", "train"]


def test_a_reviewed_face_joins_the_given_side_of_what_looks_like_it(workspace: Workspace, reviews: Reviews) -> None:
    for name, side in (("a.jpg", "test"), ("b.jpg", "train")):
        add(workspace, name, subject_id=None, groups=[("split", side)])
    workspace.append("files", files(file_row("copy.jpg")))
    workspace.append("faces", faces(face_row("copy.jpg", crop=face_row("a.jpg")["crop"])))
    reviews.add((content_hash("copy.jpg"), 0), "corrected", "anna", age=25.0)
    rows = with_sides(labelled_faces(workspace, reviews, 32)).rows
    assert dict(rows.select("file_hash", "side").rows())[content_hash("copy.jpg")] == "test"


def test_equal_data_has_an_equal_hash_whatever_the_order(tmp_path: Path) -> None:
    first, second = (open_workspace(str(tmp_path / name)) for name in ("first", "second"))
    for name in ("a.jpg", "b.jpg"):
        add(first, name)
    for name in ("b.jpg", "a.jpg"):
        add(second, name)
    hashes = [with_sides(labelled_faces(workspace, None, 32)).data_hash() for workspace in (first, second)]
    assert hashes[0] == hashes[1]


def test_another_label_has_another_hash() -> None:
    assert dataset_of({"age": 3.0}).data_hash() != dataset_of({"age": 4.0}).data_hash()


def test_given_sides_are_kept(workspace: Workspace) -> None:
    for name, side in (("a.jpg", "test"), ("b.jpg", "train"), ("c.jpg", "val")):
        add(workspace, name, groups=[("split", side)])
    rows = with_sides(labelled_faces(workspace, None, 32)).rows
    assert dict(rows.select("subject_id", "side").rows()) == {"a.jpg": "test", "b.jpg": "train", "c.jpg": "val"}


def test_a_side_that_does_not_exist_is_refused(workspace: Workspace) -> None:
    add(workspace, "a.jpg", groups=[("split", "valid")])
    with pytest.raises(NothingToLearn, match="valid"):
        with_sides(labelled_faces(workspace, None, 32))


def test_sides_that_only_some_faces_have_are_left_aside_with_a_warning(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    add(workspace, "a.jpg", groups=[("split", "test")])
    add(workspace, "b.jpg")
    with_sides(labelled_faces(workspace, None, 32))
    assert "1 of 2 faces have none" in caplog.text


def test_one_person_is_on_one_side(workspace: Workspace) -> None:
    for index in range(8):
        add(workspace, f"{index}.jpg", subject_id="anna" if index < 4 else f"person {index}")
    rows = with_sides(labelled_faces(workspace, None, 32)).rows
    assert rows.filter(subject_id="anna")["side"].n_unique() == 1


def test_what_is_unknown_is_nan() -> None:
    dataset = dataset_of(
        {"age": None, "gender": "female"}, {"age": 7.0, "gender": None}, {"age": 8.0, "gender": "male"}
    )
    assert np.array_equal(dataset.ages(), np.array([np.nan, 7, 8], np.float32), equal_nan=True)
    assert np.array_equal(dataset.female(), np.array([1, np.nan, 0], np.float32), equal_nan=True)


LEARNABLE = ({}, {}, {}, {"side": "val"}, {"side": "val"})


@pytest.mark.parametrize("targets", ["age+gender", "age"])
def test_a_few_people_can_be_learnt_from(targets: str) -> None:
    check_learnable(dataset_of(*LEARNABLE), targets)


@pytest.mark.parametrize(
    ("rows", "targets", "message"),
    [
        ((), "age", "no labelled face"),
        (({}, {}), "age", "At least two people"),
        (({"side": "val"},), "age", "At least two people"),
        (({"gender": "male"}, {"gender": "male"}, {"side": "val"}), "age+gender", "use --targets age"),
        (({"gender": None}, {"gender": None}, {"side": "val"}), "age+gender", "use --targets age"),
        (({"age": 30.0}, {"age": 30.0}, {"side": "val"}), "age", "every training face is 30"),
        (({"age": None}, {"age": None}, {"side": "val"}), "age", "none of the 2 faces on the train side has an age"),
        (({}, {}, {"side": "val", "age": None}), "age+gender", "none of the 1 faces on the val side has an age"),
    ],
)
def test_what_cannot_be_learnt_says_why(rows: tuple, targets: str, message: str) -> None:
    with pytest.raises(NothingToLearn, match=message):
        check_learnable(dataset_of(*rows), targets)


def test_what_was_left_out_is_told_where_nothing_is_left() -> None:
    with pytest.raises(NothingToLearn, match="3 no_face, 2 several_faces"):
        check_learnable(Dataset(dataset_of().rows, {"no_face": 3, "several_faces": 2}), "age")


def test_copies_are_the_same_each_time_and_in_any_batch() -> None:
    dataset = dataset_of({}, {}, {}, {})
    together = crops_for(dataset, 7, 1, np.array([0, 1, 2, 3]))
    alone = np.concatenate([crops_for(dataset, 7, 1, np.array([index])) for index in range(4)])
    assert np.array_equal(together, alone)


def test_another_copy_and_another_seed_differ() -> None:
    dataset, all_of_it = dataset_of({}, {}), np.array([0, 1])
    one = crops_for(dataset, 7, 1, all_of_it)
    assert not np.array_equal(one, crops_for(dataset, 7, 2, all_of_it))
    assert not np.array_equal(one, crops_for(dataset, 8, 1, all_of_it))


def test_the_first_copy_is_plain() -> None:
    dataset, all_of_it = dataset_of({}, {}), np.array([1, 0])
    assert np.array_equal(crops_for(dataset, 7, 0, all_of_it), plain_crops(dataset, all_of_it))


def test_an_augmented_crop_is_still_a_crop(hopper: Path) -> None:
    crop = np.asarray(Image.open(hopper).convert("RGB").resize((128, 128)))
    changed = [augment(crop, np.random.default_rng(seed)) for seed in range(30)]
    assert {(each.shape, each.dtype.name) for each in changed} == {((128, 128, 3), "uint8")}
    assert 5 < np.mean([np.abs(each.astype(float) - crop).mean() for each in changed]) < 80


def test_faces_of_one_subject_are_of_one_person_and_unnamed_ones_of_nobody_else() -> None:
    people = people_of(pl.Series(["b", None, "a", None, "b"])).tolist()
    assert people[0] == people[4]
    assert len(set(people)) == 4


def test_the_truth_of_some_faces_knows_who_they_are(workspace: Workspace) -> None:
    for index in range(4):
        add(workspace, f"{index}.jpg", subject_id=f"p{index // 2}")
    dataset = gather(workspace, 1)
    names = dataset.rows["subject_id"].to_list()
    chosen = np.array([names.index("p0"), names.index("p1"), 3 - names[::-1].index("p0")])
    first, other, again = dataset.truth(chosen).people.tolist()
    assert first == again != other


def test_gathering_brings_reviews_and_sides(workspace: Workspace, reviews: Reviews) -> None:
    for index in range(3):
        add(workspace, f"{index}.jpg", groups=[("split", "test")])
    reviews.add((content_hash("0.jpg"), 0), "not_a_face", "somebody")
    dataset = gather(workspace, 1)
    assert (len(dataset.side("test")), dataset.left_out) == (2, {"not_a_face": 1})
