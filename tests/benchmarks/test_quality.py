"""The table beside the peer is of the pictures that were asked for, and its figures are those of the answers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.quality import Labelled, faceline_answers, labelled_pictures, main, peer_answers, side_by_side
from models.contract import Answers
from models.session import OnnxModel
from tasks.dataset import Truth

AGE = np.arange(20, 60, dtype=np.float32)
FEMALE = np.tile(np.array([1, 0], np.float32), 20)


@pytest.fixture
def folder(tmp_path: Path, hopper: Path) -> Path:
    """Ten portraits of one person, and a table that labels nine of them: four of the split `val`."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with Image.open(hopper) as portrait:
        for number in range(10):
            portrait.save(pictures / f"{number}.jpg")
    rows = [f"{number}.jpg,{60 + number},female,{'val' if number % 2 else 'train'}" for number in range(9)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,age,gender,split", *rows]))
    return pictures


def pictures_of(folder: Path, split: str | None, limit: int | None) -> Labelled:
    return labelled_pictures(folder, str(folder.parent / "labels.csv"), split, limit)


def answers(age: np.ndarray, female: np.ndarray) -> Answers:
    return Answers(age, age - 5, age + 5, female)


def test_only_labelled_pictures_of_the_split_are_asked_for(folder: Path) -> None:
    chosen = pictures_of(folder, "val", None)
    assert [file.name for file in chosen.files] == ["1.jpg", "3.jpg", "5.jpg", "7.jpg"]
    assert chosen.truth.age.tolist() == [61, 63, 65, 67]
    assert chosen.truth.female.tolist() == [1] * 4


def test_a_limit_is_spread_over_all(folder: Path) -> None:
    assert [file.name for file in pictures_of(folder, None, 3).files] == ["0.jpg", "4.jpg", "8.jpg"]


def test_a_split_that_no_label_has_is_refused(folder: Path) -> None:
    with pytest.raises(SystemExit, match=r"none of 10 files has a label .*split: test"):
        pictures_of(folder, "test", None)


def test_the_figures_are_those_of_the_answers() -> None:
    table = side_by_side(Truth(AGE, FEMALE), {"ours": answers(AGE + 2, FEMALE), "theirs": answers(AGE - 6, 1 - FEMALE)})
    ours, theirs = (
        next(line for line in table.splitlines() if line.startswith(f"| {name}")) for name in ("ours", "theirs")
    )
    cells = [
        cell.strip().replace("\N{NO-BREAK SPACE}", " ") for line in (ours, theirs) for cell in line.split("|")[2:-1]
    ]
    assert cells == ["40", "2.00", "100.0 %", "100.0 %", "100.0 %", "40", "6.00", "0.0 %", "0.0 %", "0.0 %"]
    assert "ours instead of theirs. On the same 40 faces: age MAE, years" in table
    assert "-4.00" in table


def test_a_picture_without_a_face_for_one_counts_for_none() -> None:
    silent = AGE.copy()
    silent[:10] = np.nan
    table = side_by_side(Truth(AGE, FEMALE), {"ours": answers(AGE, FEMALE), "theirs": answers(silent, FEMALE)})
    assert table.startswith("30 of 40 pictures")
    assert "| ours | 40 |" in table
    assert "| theirs | 30 |" in table


@pytest.mark.slow
def test_faceline_answers_for_the_main_face_of_each_file(folder: Path, coffee: Path, model_file: Path) -> None:
    model = OnnxModel(model_file.read_bytes(), "tiny", "cpu")
    found = faceline_answers(model, [folder / "0.jpg", coffee, folder / "1.jpg"], "detect")
    assert np.isnan(found.age).tolist() == [False, True, False]
    assert found.age[0] == found.age[2]
    assert found.female is not None
    assert 0 < found.female[0] < 1


@pytest.mark.slow
@pytest.mark.peer
def test_the_peer_answers_in_each_way(
    folder: Path, coffee: Path, model_file: Path, capsys: pytest.CaptureFixture
) -> None:
    for way in ("as_crop", "bordered_crop", "photo"):
        told = peer_answers([folder / "0.jpg", folder / "1.jpg"], way)
        assert 20 < told.age[0] < 90
        assert told.age[0] == told.age[1]
        assert told.female is not None
        assert told.female[0] == told.female[1] in (0, 1)
    assert np.isnan(peer_answers([coffee], "photo").age).tolist() == [True]
    labels = str(folder.parent / "labels.csv")
    main([str(folder), labels, "--photos", str(folder), labels, "--model", str(model_file)])
    assert capsys.readouterr().out.count("| faceline | 9 |") == 2
