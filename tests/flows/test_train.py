"""Training to scoring on real faces: small runs, whose figures say nothing, through every step."""

import hashlib
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest

from flows.cli import run
from flows.demo import make_photos
from models.session import OnnxModel
from storage.registry import champion, find, pretrained
from storage.settings import TrainSettings
from storage.workspace import existing_workspace
from tasks.dataset import gather
from tests.alone import run_alone
from tests.labelled import grey_faces
from tests.patience import wait_for

pytestmark = pytest.mark.slow
QUICK = ("--epochs", "2", "--batch", "8", "--copies", "1")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> str:
    """A workspace of 80 labelled faces."""
    folder = tmp_path_factory.mktemp("faces")
    for file in sorted((shared / "data/utkface/images").glob("*.chip.jpg"))[::250]:
        shutil.copy(file, folder)
    workspace = str(tmp_path_factory.mktemp("work") / "workspace")
    assert run(["extract", str(folder), "--labels", "utkface", "--faces", "whole", "--workspace", workspace]) == 0
    return workspace


@pytest.fixture(scope="module")
def trained(labelled: str) -> Callable[[str, str], dict]:
    """What the command says of a quick run of that recipe and those targets, which is made once."""

    def train(recipe: str, targets: str) -> dict:
        with redirect_stdout(io.StringIO()) as printed:
            assert run(["train", "--workspace", labelled, "--recipe", recipe, "--targets", targets, *QUICK]) == 0
        return json.loads(printed.getvalue().strip().splitlines()[-1])

    return cache(train)


def last_line(capsys: pytest.CaptureFixture) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("recipe", "targets"), [("distribution", "age+gender"), ("classic", "age+gender"), ("classic", "age")]
)
def test_a_run_leaves_all_that_is_needed_to_judge_and_export_it(
    labelled: str, trained: Callable[[str, str], dict], recipe: str, targets: str, capsys: pytest.CaptureFixture
) -> None:
    folder = Path(labelled) / "runs" / trained(recipe, targets)["run"]
    assert {file.name for file in folder.iterdir()} >= {
        "settings.json", "history.parquet", "curves.png", "ages-val.png", "metrics.json", "network.weights.h5",
        "trained_on.parquet",
    }  # fmt: skip
    assert run(["export", folder.name, "--workspace", labelled, "--robustness-faces", "2"]) == 0
    name = last_line(capsys)["version"]
    registered = Path(labelled) / "registry" / name
    assert OnnxModel((registered / "model.onnx").read_bytes(), name, "cpu").about.targets == targets
    assert "On worse pictures" in (registered / "card.md").read_text()
    faces = {side: len(rows) for side, rows in sides_of(labelled).items()}
    about = json.loads((folder / "about.json").read_text())
    assert {side: counts for side, counts in about["label_sources"].items() if counts} == {
        side: {"utkface": count} for side, count in faces.items()
    }
    lock = hashlib.sha256((Path(__file__).parent.parent.parent / "requirements.lock").read_bytes()).hexdigest()
    assert about["data_hash"] == gather(existing_workspace(labelled), 32).data_hash()
    assert about["starts_from"] == {"version": "pretrained", "sha256": pretrained().model_hash}
    assert (about["with"]["python"], about["with"]["lock_sha256"]) == (platform.python_version(), lock)
    assert about["with"]["tensorflow"] == version("tensorflow")
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["recipe"], settings["targets"], settings["epochs"], settings["seed"]) == (
        recipe, targets, 2, TrainSettings().seed,
    )  # fmt: skip
    assert f"| utkface | {faces['train']} |" in (registered / "card.md").read_text()
    assert len(pl.read_parquet(registered / "trained_on.parquet")) == faces["train"] + faces["val"]


def test_a_fast_model_is_made_from_a_whole_one_and_scores(
    labelled: str, hopper: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(["train", "--workspace", labelled, "--network", "fast", *QUICK]) == 0
    assert last_line(capsys)["val_age_mae"] < 9  # years: the shipped model's answers are in it from the start
    assert run(["export", "latest", "--workspace", labelled, "--robustness-faces", "0"]) == 0
    exported = last_line(capsys)
    assert exported["size_bytes"] < 6_500_000
    assert run(["predict", str(hopper), "--model", exported["version"], "--workspace", labelled]) == 0
    [face] = json.loads(capsys.readouterr().out.splitlines()[0])["faces"]
    assert face["age_low"] <= face["age"] <= face["age_high"]


def sides_of(workspace: str) -> dict[str, pl.DataFrame]:
    rows = gather(existing_workspace(workspace), 32).rows
    return {str(side): part for (side,), part in rows.group_by("side")}


@pytest.mark.timeout(1800)  # two trainings, on a machine that other work may keep busy
def test_equal_runs_give_equal_figures(labelled: str) -> None:
    """Each in a process of its own, without what the other cached, and with crops that are augmented."""
    results = []
    for _ in range(2):
        shutil.rmtree(Path(labelled) / "cache", ignore_errors=True)
        command = [sys.executable, "-m", "flows.cli", "train", "--workspace", labelled, *QUICK, "--copies", "2"]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        results.append(json.loads(said.splitlines()[-1]))
    first, second = (
        {name: value for name, value in result.items() if name.startswith(("val_", "test_"))} for result in results
    )
    assert {"val_age_mae", "val_gender_accuracy", "test_age_mae", "test_gender_accuracy"} <= set(first)
    assert first == pytest.approx(second, abs=1e-3)  # years, and shares


def test_a_retraining_reports_first_and_a_worse_model_stays_out(
    labelled: str, shared: Path, capsys: pytest.CaptureFixture
) -> None:
    assert champion(existing_workspace(labelled)) is None  # so it's the shipped model
    imagenet = str(shared / "weights/vgg16_imagenet_notop.weights.h5")
    rates = ["--epochs", "1", "--copies", "1", "--block-rate", "1e-9", "--head-rate", "1e-9", "--robustness-faces", "0"]
    assert run(["retrain", "--workspace", labelled, "--trunk", imagenet, "--licence", "Ours.", *rates]) == 0
    untrained = last_line(capsys)
    assert untrained["champion"] == "pretrained"
    assert untrained["why"].startswith("kept: of the new model, its age MAE is worse")
    assert Path(untrained["report"]).exists()
    assert "Licence: Ours." in find(existing_workspace(labelled), untrained["version"]).card()
    assert champion(existing_workspace(labelled)) is None
    assert run(["models", "promote", untrained["version"], "--force", "a test", "--workspace", labelled]) == 0


LONG = ("--epochs", "6", "--batch", "8", "--copies", "1", "--patience", "9")


def started(labelled: str, *options: str, log: Path | None = None) -> tuple[subprocess.Popen, Path]:
    """A training in a process of its own, and its folder, once its first epoch is kept. `log` is for its stderr."""
    runs = Path(labelled) / "runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    command = [sys.executable, "-m", "flows.cli", "train", "--workspace", labelled, *options]
    with open(log or os.devnull, "w") as said:
        running = subprocess.Popen(command, stderr=said, start_new_session=True)

    def with_an_epoch() -> list[Path]:
        now = set(runs.iterdir()) if runs.exists() else set()
        return [each for each in now - before if (each / "checkpoint.npz").exists()]

    wait_for(lambda: with_an_epoch() != [] or running.poll() is not None)
    return running, with_an_epoch()[0]


def test_a_killed_run_goes_on_where_it_was(labelled: str, capsys: pytest.CaptureFixture) -> None:
    options = ["--epochs", "3", "--batch", "8", "--copies", "1", "--patience", "9"]
    running, folder = started(labelled, *options)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (folder / "metrics.json").exists()
    assert run(["train", "--workspace", labelled, *options, "--resume", folder.name]) == 0
    assert pl.read_parquet(folder / "history.parquet")["epoch"].to_list() == [0, 1, 2]


def test_ctrl_c_ends_a_run_after_its_epoch_and_finishes_it(labelled: str) -> None:
    running, folder = started(labelled, *LONG)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(300) == 0
    assert json.loads((folder / "metrics.json").read_text())["val"]["overall"]["faces"] > 0
    assert 0 < len(pl.read_parquet(folder / "history.parquet")) < 6


def test_a_second_ctrl_c_ends_it_at_once_and_the_run_can_be_resumed(
    labelled: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    running, folder = started(labelled, *LONG, log=tmp_path / "log")
    os.kill(running.pid, signal.SIGINT)
    wait_for(lambda: "once more ends at once" in (tmp_path / "log").read_text())  # signals that wait together are one
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(300) == 130
    assert not (folder / "metrics.json").exists()
    assert run(["train", "--workspace", labelled, *LONG, "--resume", folder.name]) == 0
    assert pl.read_parquet(folder / "history.parquet")["epoch"].to_list() == list(range(6))


def test_a_run_is_not_resumed_with_other_settings(labelled: str, capsys: pytest.CaptureFixture) -> None:
    finished = sorted((Path(labelled) / "runs").iterdir())[-1].name
    assert run(["train", "--workspace", labelled, "--seed", "7", "--resume", finished]) == 1
    assert "seed" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_refused(labelled: str, capsys: pytest.CaptureFixture) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA device")
    assert run(["train", "--workspace", labelled, "--device", "gpu"]) == 1
    assert "sees no GPU" in capsys.readouterr().err


def test_the_demo_goes_the_whole_way_and_speaks_to_nobody(tmp_path: Path) -> None:
    """Extraction, training, export and scoring, on a machine without a network."""
    done = run_alone(tmp_path, "-m", "flows.cli", "demo", "--folder", str(tmp_path / "demo"))
    assert (done.status, done.unsent) == (0, 0)
    result = json.loads(done.output.strip().splitlines()[-1])
    assert result["extracted"]["files"] == len(list((tmp_path / "demo" / "photos").iterdir()))
    assert result["scored"]["rescored"] == result["extracted"]["faces"]


def test_the_demo_leaves_a_folder_of_other_things_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["demo", "--folder", str(tmp_path)]) == 1
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_training_without_a_usable_label_says_what_is_missing(
    tmp_path: Path, coffee: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(coffee, tmp_path / "photos")
    workspace = str(tmp_path / "work")
    run(["extract", str(tmp_path / "photos"), "--workspace", workspace])
    assert run(["train", "--workspace", workspace]) == 1
    assert "1 no_face" in capsys.readouterr().err


def test_training_says_first_what_few_faces_make_rough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workspace = str(grey_faces(str(tmp_path / "work"), sides=("train", "train", "val")).root)
    no_weights = tmp_path / "none.weights.h5"
    no_weights.write_bytes(b"")
    assert run(["train", "--workspace", workspace, "--trunk", str(no_weights)]) == 1
    assert "Only 40 faces to train on" in caplog.text
    assert "Only 20 faces to validate on have an age" in caplog.text
    assert "Only 20 faces to validate on have a gender" in caplog.text


def test_training_on_one_person_says_that_two_are_needed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_photos(tmp_path / "photos")
    for photo in (tmp_path / "photos").iterdir():
        if not photo.name.startswith("10_"):
            photo.unlink()
    workspace = str(tmp_path / "work")
    run(["extract", str(tmp_path / "photos"), "--labels", "wiki", "--workspace", workspace])
    assert run(["train", "--workspace", workspace]) == 1
    assert "At least two people" in capsys.readouterr().err
