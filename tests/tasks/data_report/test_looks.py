"""What is seen of each crop, once: kept, gone on with, and refused where a crop isn't the one that was stored."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.contract import Answers
from models.session import OnnxModel
from storage.workspace import BadWorkspace, Workspace, open_workspace
from tasks.crop import decode_crops
from tasks.data_report.looks import answers_of, look_at
from tasks.duplicates import perceptual_hashes
from tests.rows import crop_of, face_row, faces

FACES = 700  # more than two batches


class Asked(OnnxModel):
    """The model itself, which remembers how many crops it was asked about."""

    crops = 0

    def __call__(self, crops: np.ndarray) -> Answers:
        self.crops += len(crops)
        return super().__call__(crops)


@pytest.fixture
def model(model_file: Path) -> Asked:
    return Asked(model_file.read_bytes(), "tiny", "cpu")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [face_row(f"{index}.jpg", crop=crop_of(index % 40)) for index in range(FACES)]


@pytest.fixture
def workspace(tmp_path: Path, rows: list[dict]) -> Workspace:
    """Of 700 faces with 40 different crops."""
    made = open_workspace(str(tmp_path / "workspace"))
    made.append("faces", faces(*rows))
    return made


def hashes_of(rows: list[dict]) -> pl.Series:
    return pl.Series("crop_hash", [row["crop_hash"] for row in rows], dtype=pl.String)


def unheard(_count: int) -> None:
    pass


def test_each_crop_has_its_hash_and_answers_in_the_order_given(
    workspace: Workspace, rows: list[dict], model: Asked
) -> None:
    some = rows[37:3:-1]
    looks = look_at(workspace, hashes_of(some), model, unheard)
    crops = [row["crop"] for row in some]
    assert looks["look"].to_list() == perceptual_hashes(crops).tolist()
    assert answers_of(looks).age == pytest.approx(model(decode_crops(crops)).age, abs=1e-4)


def test_equal_crops_are_looked_at_once(workspace: Workspace, rows: list[dict], model: Asked) -> None:
    looks = look_at(workspace, hashes_of(rows), model, unheard)
    assert (len(looks), model.crops) == (FACES, 40)


def test_progress_ends_at_the_number_of_faces(workspace: Workspace, rows: list[dict], model: Asked) -> None:
    for _ in range(2):  # from the crops, then from what is kept
        done: list[int] = []
        look_at(workspace, hashes_of(rows), model, done.append)
        assert sum(done) == FACES


def test_what_was_seen_is_not_looked_at_again(workspace: Workspace, rows: list[dict], model: Asked) -> None:
    before = look_at(workspace, hashes_of(rows[:30]), model, unheard)
    again = look_at(workspace, hashes_of(rows[:40]), model, unheard)
    assert model.crops == 40
    assert again[:30].equals(before)


def test_damage_to_what_is_kept_only_costs_time(
    workspace: Workspace, rows: list[dict], model: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    before = look_at(workspace, hashes_of(rows), model, unheard)
    (kept,) = (workspace.root / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert look_at(workspace, hashes_of(rows), model, unheard).equals(before)
    assert "made anew" in caplog.text


def test_without_a_model_there_are_hashes_alone(workspace: Workspace, rows: list[dict], model: Asked) -> None:
    alone = look_at(workspace, hashes_of(rows), None, unheard)
    assert alone.select("age", "female").null_count().row(0) == (FACES, FACES)
    look_at(workspace, hashes_of(rows), model, unheard)  # and the model is asked afterwards all the same
    assert model.crops == 40


def test_a_crop_that_is_not_the_stored_one_is_refused(workspace: Workspace, model: Asked) -> None:
    workspace.append("faces", faces(face_row("bad.jpg", crop=crop_of(1), crop_hash="0" * 64)))
    with pytest.raises(BadWorkspace, match="damaged"):
        look_at(workspace, pl.Series("crop_hash", ["0" * 64]), model, unheard)


def test_no_crops_need_no_look(workspace: Workspace, model: Asked) -> None:
    assert look_at(workspace, hashes_of([]), model, unheard).is_empty()
    assert not (workspace.root / "cache").exists()
