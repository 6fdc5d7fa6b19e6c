"""What a retraining decides, and its story as Prefect's page is given it: with its pictures inside, and small. The
whole flow is run in test_deployments.py."""

import json
import re
from base64 import b64decode
from pathlib import Path

import polars as pl
import pytest

from flows.gate import compare_versions
from flows.retrain import _decide, _story
from models.plots import draw_curves
from storage.registry import champion, promote, register
from storage.settings import RetrainSettings
from storage.workspace import Workspace
from tests.labelled import grey_faces
from tests.tiny_model import tiny_model

RESULT = {"run": "train-1", "champion": "b", "why": "replaced a", "findings": {"near_duplicate": 2}, "train": 9}
EPOCHS = 40
EXACT, OFF, FAR_OFF = 4, 4.5, 6  # levels of grey a year; the faces have 4


def registered(workspace: Workspace, levels: float, folder: Path) -> str:
    content = tiny_model(folder / f"{levels}.onnx", levels_a_year=levels).read_bytes()
    return register(workspace, content, "# card", {}).name


def decided(workspace: Workspace, before: str, challenger: str) -> tuple[dict, str, list[dict]]:
    """The decision, who is champion after it, and the registry's log."""
    promote(workspace, before, "the first")
    decision, _ = _decide(RetrainSettings(workspace=str(workspace.root)), before, challenger)
    present = champion(workspace)
    assert present is not None
    log = (workspace.registry / "log.jsonl").read_text().splitlines()
    return decision, present.name, [json.loads(line) for line in log]


def test_a_better_model_is_promoted_and_the_registrys_log_says_why(tmp_path: Path) -> None:
    workspace = grey_faces(str(tmp_path / "workspace"))
    off, exact = (registered(workspace, levels, tmp_path) for levels in (OFF, EXACT))
    decision, present, log = decided(workspace, off, exact)
    assert (decision["champion"], present, log[-1]["promoted"], len(log)) == (exact, exact, exact, 2)
    assert re.match(r"On the same 30 faces: age MAE, years: -\d", log[-1]["reason"])
    assert decision["why"] == f"replaced {off}. {log[-1]['reason']}"


def test_a_worse_model_is_kept_out_with_the_reason(tmp_path: Path) -> None:
    workspace = grey_faces(str(tmp_path / "workspace"))
    exact, far_off = (registered(workspace, levels, tmp_path) for levels in (EXACT, FAR_OFF))
    decision, present, log = decided(workspace, exact, far_off)
    assert (decision["champion"], present, len(log)) == (exact, exact, 1)
    assert decision["why"].startswith("kept: of the new model, its age MAE is worse. On the same 30 faces: age MAE, ye")


def test_without_test_faces_the_champion_is_kept(tmp_path: Path) -> None:
    workspace = grey_faces(str(tmp_path / "workspace"), sides=("train", "val"))
    off, exact = (registered(workspace, levels, tmp_path) for levels in (OFF, EXACT))
    decision, present, _ = decided(workspace, off, exact)
    assert (decision["champion"], present) == (off, off)
    assert decision["why"].startswith("kept: no labelled face on the test side")


@pytest.fixture
def curves(tmp_path: Path) -> bytes:
    history = pl.DataFrame({"epoch": range(EPOCHS)}).with_columns(
        loss=9 / (pl.col("epoch") + 1), val_loss=10 / (pl.col("epoch") + 1), val_age_mae=5.0, val_gender_accuracy=0.9
    )
    draw_curves(history, tmp_path / "curves.png")
    return (tmp_path / "curves.png").read_bytes()


def test_the_story_has_both_models_errors_by_age_and_the_curves_as_pictures(tmp_path: Path, curves: bytes) -> None:
    workspace = grey_faces(str(tmp_path / "workspace"), 200)
    names = [registered(workspace, levels, tmp_path) for levels in (OFF, EXACT)]
    story = _story(RESULT, compare_versions(workspace, *names), curves)
    drawn = [b64decode(each) for each in re.findall(r"!\[[^\]]+\]\(data:image/png;base64,([^)]+)\)", story)]
    assert len(drawn) == 2
    assert drawn[1] == curves
    assert drawn[0].startswith(b"\x89PNG")
    assert len(story) < 100_000
    assert "| near duplicate | 2 |" in story


def test_without_test_faces_the_story_has_the_curves_alone(curves: bytes) -> None:
    assert _story(RESULT, [], curves).count("data:image/png") == 1
