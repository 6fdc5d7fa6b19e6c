"""A workspace as `faceline score` leaves it: two public-domain portraits, one of them under two names, of which one
would be markup, a picture without a face, and a file that is no photo."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from flows.scoring import score_folders
from flows.steps import threads
from storage.registry import promote, register
from storage.settings import ScoreSettings
from storage.workspace import Workspace, existing_workspace, open_workspace

MARKUP_NAME = "<img src=x onerror=alert(1)> <b>x<_b> **bold** [a](b) $y$ :fire:.jpg"
REPORT = {
    "overall": {"faces": 40.0, "age_mae": 6.5, "age_bias": -0.25, "cs5": 0.5, "interval_coverage": 0.9},
    "intervals": {"age_mae": [5.5, 7.5]},
    "bands": [{"band": "16-29", "faces": 20.0, "age_mae": 6.0}],
    "groups": [{"column": "camera", "group": "![x](http://127.0.0.1/x)", "faces": 20.0, "age_mae": 7.0}],
}


@pytest.fixture(scope="session")
def scored_once(tmp_path_factory: pytest.TempPathFactory, hopper: Path, collins: Path, coffee: Path, model_file: Path):
    folder = tmp_path_factory.mktemp("review")
    photos = folder / "photos"
    photos.mkdir()
    shutil.copy(hopper, photos / "hopper.jpg")
    shutil.copy(hopper, photos / MARKUP_NAME)
    shutil.copy(collins, photos / "collins.png")
    shutil.copy(coffee, photos / "coffee.png")
    (photos / "notes.jpg").write_text("not a photo")
    workspace = open_workspace(str(folder / "workspace"))
    version = register(workspace, model_file.read_bytes(), "# A card\n\n![x](http://127.0.0.1/x) <b>", {"test": REPORT})
    promote(workspace, version.name, "a test's")
    settings = ScoreSettings(folders=[str(photos)], workspace=str(workspace.root), device="cpu", workers=1)
    with threads() as submit:
        score_folders(settings, submit)
    return workspace


@pytest.fixture
def scored(scored_once: Workspace, tmp_path: Path) -> Workspace:
    """A copy of its own for each test, since tests review."""
    shutil.copytree(str(scored_once.root), tmp_path / "workspace")
    return existing_workspace(str(tmp_path / "workspace"))


@pytest.fixture
def trained(scored: Workspace) -> Workspace:
    """The workspace with what flows/train.py leaves of a finished run, and of one that was stopped."""
    for name in ("train-20260101-120000-aaaa", "train-20260102-120000-bbbb"):
        folder = scored.runs / name
        folder.mkdir(parents=True)
        (folder / "settings.json").write_text(json.dumps({"recipe": "distribution", "targets": "age+gender"}))
        (folder / "about.json").write_text(json.dumps({"device": "CPU", "left_out": {"no face": 3}}))
    finished = Path(str(scored.runs)) / "train-20260102-120000-bbbb"
    (finished / "metrics.json").write_text(json.dumps({"val": REPORT, "test": REPORT}))
    losses = {"epoch": [0, 1, 2], "loss": [3.0, 2.0, 1.5], "val_loss": [2.5, 2.2, 2.1], "val_age_mae": [9.0, 8.0, 7.5]}
    pl.DataFrame(losses).write_parquet(finished / "history.parquet")
    return scored


@pytest.fixture
def challenged(scored: Workspace, model_file: Path) -> Workspace:
    """With a second version, which is better on its test faces."""
    better = REPORT | {"overall": REPORT["overall"] | {"age_mae": 6.0}, "intervals": {"age_mae": [5.0, 7.0]}}
    register(scored, model_file.read_bytes() + b"\n", "# Another card", {"test": better})
    return scored
