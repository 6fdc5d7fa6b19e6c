"""What a card counts and measures is what the run was trained on, whatever has happened to the workspace since."""

import json
from pathlib import Path

import pytest

from flows.cli import run
from storage.registry import find
from storage.settings import TrainSettings
from storage.workspace import Workspace
from tasks.dataset import gather
from tests.labelled import grey_faces
from tests.rows import label_row, labels


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return grey_faces(str(tmp_path / "work"), 24, sides=("train", "train", "val", "test"))


def correct_a_label(workspace: Workspace) -> None:
    """The first face, one to train on, goes to the faces to test on, at another age."""
    workspace.append("labels", labels(label_row("0.jpg", age=99.0, groups=[("split", "test")])))


def finished_run(workspace: Workspace, **about: object) -> str:
    """A run as far as export reads it before it loads a network."""
    folder = workspace.runs / "train-1"
    folder.mkdir(parents=True)
    noted = {"data_hash": gather(workspace, 32).data_hash(), "device": "cpu"} | about
    for name, content in (("settings", TrainSettings().model_dump()), ("about", noted), ("metrics", {})):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder.name


def test_a_model_is_not_calibrated_for_8_bits_on_other_faces_than_it_was_trained_on(
    workspace: Workspace, capsys: pytest.CaptureFixture
) -> None:
    name = finished_run(workspace, faces={"train": 12, "val": 6, "test": 6})
    correct_a_label(workspace)
    assert run(["export", name, "--int8", "--workspace", str(workspace.root)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "faceline: train-1: faces or labels of the workspace have changed since it was trained, and --int8 would "
        "calibrate on others: train again, or export without --int8"
    )


@pytest.mark.slow
def test_a_card_counts_what_a_run_was_trained_on_whatever_was_corrected_since(
    workspace: Workspace, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    root = ["--workspace", str(workspace.root)]
    assert run(["train", "--epochs", "1", "--copies", "1", *root]) == 0
    cards = []
    for change in (lambda _: None, correct_a_label):
        change(workspace)
        assert run(["export", "latest", "--robustness-faces", "2", *root]) == 0
        version = json.loads(capsys.readouterr().out.strip().splitlines()[-1])["version"]
        cards.append(find(workspace, version).card())
    assert ["On worse pictures" in card for card in cards] == [True, False]
    assert "its card will have no figures on worse pictures; to have them, train again" in caplog.text
    assert ["12 faces to train on, 6 to tune and calibrate on, 6 to test on" in card for card in cards] == [True] * 2
    assert ["## Figures on the 6 faces of the test split" in card for card in cards] == [True, True]
