"""Training: gather the labelled faces, cache what the frozen blocks make of them, tune the rest, calibrate, measure.

A run leaves `runs/<run>/`: settings, history, curves, weights and metrics. TensorFlow is imported only where
a run starts: it takes seconds and a gigabyte that scoring must not pay."""

import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from upath import UPath

from flows.steps import log_to_prefect, progress, publish, stage_flow
from models.calibration import Calibration, interval_width, temperature
from models.plots import draw_ages, draw_curves
from storage.registry import pretrained
from storage.reviews import open_reviews
from storage.settings import TrainSettings
from storage.workspace import Workspace, existing_workspace, new_run_id, write_whole
from tasks.dataset import (
    AUGMENTATION,
    Dataset,
    NothingToLearn,
    check_learnable,
    crops_for,
    labelled_faces,
    plain_crops,
    with_sides,
)
from tasks.evaluate import report

if TYPE_CHECKING:
    from models.vgg16 import LayerWeights, Network

logger = logging.getLogger(__name__)


@stage_flow("train")
def train(settings: TrainSettings) -> dict:
    """Fine-tunes VGG16 on the labelled faces of a workspace."""
    log_to_prefect()
    counts = train_model(settings)
    publish("train", counts)
    return counts


def train_model(settings: TrainSettings) -> dict:
    """Raises NothingToLearn, CannotTrain, BadModel and BadWorkspace."""
    workspace = existing_workspace(settings.workspace)
    from models.fit import check_device

    device = check_device(settings.device)
    reviews = open_reviews(workspace) if workspace.is_local else None
    dataset = with_sides(labelled_faces(workspace, reviews, settings.min_face_side))
    check_learnable(dataset, settings.targets)
    run = settings.resume or new_run_id("train")
    logger.info("run %s on %s: %d faces, left out: %s", run, device, len(dataset.rows), dataset.left_out or "none")
    with TemporaryDirectory(prefix="faceline-") as scratch:
        folder = Path(str(workspace.runs / run)) if workspace.is_local else Path(scratch) / run
        cache = Path(str(workspace.root / "cache")) if workspace.is_local else Path(scratch) / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        metrics = _run(settings, dataset, folder, cache, device)
        if not workspace.is_local:
            _copy(folder, workspace, run)
    sides = dataset.rows["side"].value_counts()
    return {"run": run, "device": device, **dict(sides.iter_rows()), "left_out": dataset.left_out, **metrics}


def _run(settings: TrainSettings, dataset: Dataset, folder: Path, cache: Path, device: str) -> dict:
    from models import vgg16
    from models.fit import seed_everything

    seed_everything(settings.seed)
    about = {"data_hash": dataset.data_hash(), "device": device, "left_out": dataset.left_out}
    _same_run(folder, settings, about)
    build = partial(
        vgg16.build, unfrozen_blocks=settings.unfrozen_blocks, targets=settings.targets, recipe=settings.recipe
    )
    network = build(_trunk(settings.trunk), half=settings.half)
    history = _fit(network, dataset, settings, folder, cache)
    network = vgg16.rounded(network, build)
    calibration = _calibrate(network, dataset)
    metrics = {side: _measure(network, calibration, dataset, side, folder) for side in ("val", "test")}
    history.write_parquet(folder / "history.parquet")
    draw_curves(history, folder / "curves.png")
    network.save(folder / "network.weights.h5")
    _write_json(folder / "calibration.json", asdict(calibration))
    _write_json(folder / "metrics.json", metrics)  # last: a run without it isn't finished
    (folder / "checkpoint.npz").unlink(missing_ok=True)
    return {f"{side}_{name}": value for side, found in metrics.items() for name, value in found["overall"].items()}


def _fit(network: "Network", dataset: Dataset, settings: TrainSettings, folder: Path, cache: Path) -> pl.DataFrame:
    from models.features import Copies, cache_key, cached_features
    from models.fit import Split, Targets, Trainer

    wanted = Copies(len(dataset.rows), settings.copies, partial(crops_for, dataset, settings.seed))
    key = cache_key(network, dataset.rows["crop_hash"].to_list(), settings.seed, AUGMENTATION)
    with progress("frozen blocks", wanted.faces * wanted.copies) as advance:
        features = cached_features(network, wanted, cache, key, advance)
    targets, split = Targets(dataset.ages(), dataset.female()), Split(dataset.side("train"), dataset.side("val"))
    with progress("steps", settings.epochs * -(-len(split.train) // settings.batch)) as advance:
        return Trainer(network, targets, split, features, settings).run(folder / "checkpoint.npz", advance)


def _calibrate(network: "Network", dataset: Dataset) -> Calibration:
    side = dataset.side("val")
    raw = network.raw_answers(partial(plain_crops, dataset), side)
    age, female = dataset.ages()[side], dataset.female()[side]
    known, labelled = ~np.isnan(age), ~np.isnan(female)
    width = interval_width(raw.age[known], raw.spread[known], age[known])
    return Calibration(width, 1.0 if raw.gender is None else temperature(raw.gender[labelled], female[labelled]))


def _measure(network: "Network", calibration: Calibration, dataset: Dataset, side: str, folder: Path) -> dict:
    """The figures of one side, and a picture of its ages in the run's folder."""
    indices = dataset.side(side)
    if not len(indices):
        return {"overall": {}, "intervals": {}, "bands": [], "groups": []}
    answers = calibration.answers(network.raw_answers(partial(plain_crops, dataset), indices))
    draw_ages(dataset.ages()[indices], answers.age, folder / f"ages-{side}.png")
    return report(dataset.truth(indices), answers, dataset.groups(indices))


def _trunk(name: str) -> "LayerWeights":
    """VGG16's weights from where the user said. `auto` takes the shipped model's: they know faces already."""
    from models import vgg16

    if name == "imagenet":
        return vgg16.imagenet_weights()
    if name in ("auto", "pretrained"):
        return vgg16.weights_from_onnx(pretrained().model_bytes())
    return vgg16.weights_from_file(Path(name))


def _same_run(folder: Path, settings: TrainSettings, about: dict) -> None:
    """Notes what a run is of; a run is resumed with the same settings on the same data only. Raises NothingToLearn."""
    started = folder / "settings.json"
    now = settings.model_dump(exclude={"resume", "workspace", "device"}) | {"data_hash": about["data_hash"]}
    if settings.resume and not started.exists():
        raise NothingToLearn(f"{folder}: there is no such run to resume")
    if settings.resume and (before := json.loads(started.read_text())) != now:
        changed = sorted(name for name in now if before.get(name) != now[name])
        raise NothingToLearn(f"{folder.name}: can't be resumed: {', '.join(changed)} changed since; start a new run")
    _write_json(started, now)
    _write_json(folder / "about.json", about)


def _write_json(file: Path, content: dict) -> None:
    write_whole(UPath(file), json.dumps(content, indent=2).encode())


def _copy(folder: Path, workspace: Workspace, run: str) -> None:
    for file in folder.iterdir():
        write_whole(workspace.runs / run / file.name, file.read_bytes())
