"""The story of a retraining as Prefect's page is given it: with its pictures inside, and small."""

import re
from base64 import b64decode
from pathlib import Path

import polars as pl
import pytest

from flows.gate import compare_versions
from flows.retrain import _story
from models.plots import draw_curves
from storage.registry import register
from tests.labelled import grey_faces
from tests.tiny_model import tiny_model

RESULT = {"run": "train-1", "champion": "b", "why": "replaced a", "findings": {"near_duplicate": 2}, "train": 9}
EPOCHS = 40


@pytest.fixture
def curves(tmp_path: Path) -> bytes:
    history = pl.DataFrame({"epoch": range(EPOCHS)}).with_columns(
        loss=9 / (pl.col("epoch") + 1), val_loss=10 / (pl.col("epoch") + 1), val_age_mae=5.0, val_gender_accuracy=0.9
    )
    draw_curves(history, tmp_path / "curves.png")
    return (tmp_path / "curves.png").read_bytes()


def test_the_story_has_both_models_errors_by_age_and_the_curves_as_pictures(tmp_path: Path, curves: bytes) -> None:
    workspace = grey_faces(str(tmp_path / "workspace"), 200)
    names = []
    for levels in (4.5, 4):
        content = tiny_model(tmp_path / f"{levels}.onnx", levels_a_year=levels).read_bytes()
        names.append(register(workspace, content, "# card", {}).name)
    story = _story(RESULT, compare_versions(workspace, *names), curves)
    drawn = [b64decode(each) for each in re.findall(r"!\[[^\]]+\]\(data:image/png;base64,([^)]+)\)", story)]
    assert len(drawn) == 2
    assert drawn[1] == curves
    assert drawn[0].startswith(b"\x89PNG")
    assert len(story) < 100_000
    assert "| near duplicate | 2 |" in story


def test_without_test_faces_the_story_has_the_curves_alone(curves: bytes) -> None:
    assert _story(RESULT, [], curves).count("data:image/png") == 1
