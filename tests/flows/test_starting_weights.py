"""A run notes which weights it starts from, as names such as `champion` come to mean others."""

import hashlib
import json
from pathlib import Path

import pytest

from flows.train import _same_run, starting_weights
from storage.registry import Version, pretrained, promote, register
from storage.settings import TrainSettings
from storage.workspace import Workspace, open_workspace
from tasks.dataset import NothingToLearn
from tests.tiny_model import tiny_model

CHAMPION = TrainSettings(trunk="champion")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def champion_of(workspace: Workspace, levels: float, folder: Path) -> Version:
    content = tiny_model(folder / f"{levels}.onnx", levels_a_year=levels).read_bytes()
    version = register(workspace, content, "# card", {})
    promote(workspace, version.name, "a test")
    return version


def begun(workspace: Workspace, folder: Path, settings: TrainSettings = CHAMPION) -> None:
    """As a run that begins, or goes on, at this moment."""
    start = starting_weights(settings.starts_from, workspace).noted()
    _same_run(folder, settings, {"data_hash": "f998", "starts_from": start})


def test_a_name_is_noted_as_the_version_and_the_hash_that_it_stands_for(workspace: Workspace, tmp_path: Path) -> None:
    start = starting_weights(TrainSettings().starts_from, workspace)
    assert start.noted() == {"version": "pretrained", "sha256": pretrained().model_hash}
    first = champion_of(workspace, 4, tmp_path)
    assert starting_weights("champion", workspace).noted() == {"version": first.name, "sha256": first.model_hash}
    file = tmp_path / "mine.weights.h5"
    file.write_bytes(b"weights")
    noted = {"version": str(file), "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert starting_weights(str(file), workspace).noted() == noted


def test_a_run_is_not_resumed_from_another_champion(workspace: Workspace, tmp_path: Path) -> None:
    first = champion_of(workspace, 4, tmp_path)
    begun(workspace, tmp_path)
    again = CHAMPION.model_copy(update={"resume": tmp_path.name})
    begun(workspace, tmp_path, again)
    second = champion_of(workspace, 5, tmp_path)
    with pytest.raises(NothingToLearn) as refused:
        begun(workspace, tmp_path, again)
    for version in (first, second):
        assert f"{version.name} (SHA-256 {version.model_hash})" in str(refused.value)
    assert json.loads((tmp_path / "about.json").read_text())["starts_from"]["version"] == first.name


def test_a_run_that_noted_no_start_is_resumed_as_before(workspace: Workspace, tmp_path: Path) -> None:
    begun(workspace, tmp_path)
    (tmp_path / "about.json").write_text(json.dumps({"data_hash": "f998"}))
    begun(workspace, tmp_path, CHAMPION.model_copy(update={"resume": tmp_path.name}))
