"""A workspace as `faceline score` leaves it: two public-domain portraits, one of them under two names, of which one
would be markup, a picture without a face, and a file that is no photo."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from benchmarks.review_scale import fill
from flows.scoring import score_folders
from flows.steps import threads
from storage.registry import Version, champion, promote, register
from storage.settings import ScoreSettings
from storage.workspace import Workspace, existing_workspace, open_workspace

MANY = 100_000  # faces
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
    return _copied(scored_once, tmp_path / "workspace")


@pytest.fixture
def trained(scored: Workspace) -> Workspace:
    """With runs: see `_leave_runs`."""
    _leave_runs(scored)
    return scored


@pytest.fixture
def challenged(scored: Workspace, model_file: Path) -> Workspace:
    """With a second version, which is better on its test faces."""
    _register_challenger(scored, model_file)
    return scored


@pytest.fixture(scope="session")
def many_once(scored_once: Workspace, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same with both, and with MANY scored faces more, whose crops are those of the two portraits."""
    workspace = _copied(scored_once, tmp_path_factory.mktemp("many") / "workspace")
    _leave_runs(workspace)
    best, other = champion(workspace), _register_challenger(workspace, model_file)
    assert best is not None
    crops = workspace.scan("faces").select("crop").collect()["crop"].to_list()
    fill(workspace, MANY, crops, models={each.model_hash: each.name for each in (best, other)}, chunk=MANY // 2)
    return workspace


@pytest.fixture
def many(many_once: Workspace, tmp_path: Path) -> Workspace:
    """As `scored`."""
    return _copied(many_once, tmp_path / "many")


def _copied(workspace: Workspace, to: Path) -> Workspace:
    """Data files are never written to again, so the copy has the same ones."""

    def copy(source: str, target: str) -> None:
        (os.link if source.endswith(".parquet") else shutil.copy2)(source, target)

    shutil.copytree(workspace.local_root(), to, copy_function=copy)
    return existing_workspace(str(to))


def _leave_runs(workspace: Workspace) -> None:
    """What flows/train.py leaves of a finished run, and of one that was stopped."""
    for name in ("train-20260101-120000-aaaa", "train-20260102-120000-bbbb"):
        folder = workspace.runs / name
        folder.mkdir(parents=True)
        (folder / "settings.json").write_text(json.dumps({"recipe": "distribution", "targets": "age+gender"}))
        (folder / "about.json").write_text(json.dumps({"device": "CPU", "left_out": {"no face": 3}}))
    finished = Path(str(workspace.runs)) / "train-20260102-120000-bbbb"
    (finished / "metrics.json").write_text(json.dumps({"val": REPORT, "test": REPORT}))
    losses = {"epoch": [0, 1, 2], "loss": [3.0, 2.0, 1.5], "val_loss": [2.5, 2.2, 2.1], "val_age_mae": [9.0, 8.0, 7.5]}
    pl.DataFrame(losses).write_parquet(finished / "history.parquet")


def _register_challenger(workspace: Workspace, model_file: Path) -> Version:
    better = REPORT | {"overall": REPORT["overall"] | {"age_mae": 6.0}, "intervals": {"age_mae": [5.0, 7.0]}}
    return register(workspace, model_file.read_bytes() + b"\n", "# Another card", {"test": better})
