"""Training: gather the labelled faces, cache what the frozen blocks make of them, tune the rest, calibrate, measure.

A run leaves `runs/<run>/`: settings, history, curves, weights and metrics. TensorFlow is imported only where
a run starts: it takes seconds and a gigabyte that scoring must not pay."""

import hashlib
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from upath import UPath

from flows.stage import log_to_prefect, publish, stage_flow
from flows.steps import progress
from models.calibration import Calibration, calibrate
from models.contract import Answers, BadModel
from models.plots import draw_ages, draw_curves
from storage.provenance import made_with
from storage.registry import model_content
from storage.scratch import scratch_folder
from storage.settings import TrainSettings
from storage.trained_on import note_trained_on
from storage.workspace import Workspace, existing_workspace, new_run_id, write_whole
from tasks.data_report.cautions import doubts_of_training
from tasks.dataset import (
    AUGMENTATION,
    Dataset,
    NothingToLearn,
    check_learnable,
    crops_for,
    gather,
    plain_crops,
)
from tasks.evaluation.evaluate import report

if TYPE_CHECKING:
    from models.vgg16 import LayerWeights, Network

logger = logging.getLogger(__name__)
NO_FIGURES: dict = {"overall": {}, "intervals": {}, "bands": [], "groups": []}  # of no faces


@dataclass(frozen=True)
class Places:
    """Folders on this machine: of the run, and of cached features."""

    run: Path
    cache: Path


@dataclass(frozen=True)
class Start:
    """The weights to start from: `version` is a model's, or the file; `sha256` is of the file, in hex, and None for
    ImageNet's, which Keras checks itself. `load` needs TensorFlow."""

    version: str
    sha256: str | None
    load: Callable[[], "LayerWeights"]

    def noted(self) -> dict[str, str | None]:
        return {"version": self.version, "sha256": self.sha256}


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
    start = starting_weights(settings.starts_from, workspace)
    if settings.resume:
        _check_started(workspace.runs / settings.resume)
    dataset = gather(workspace, settings.min_face_side)
    check_learnable(dataset, settings.targets)
    for doubt in doubts_of_training(dataset, settings.targets):
        logger.warning("%s", doubt)
    from models.fit import check_device  # after all that can be refused without TensorFlow

    device = check_device(settings.device)
    run = settings.resume or new_run_id("train")
    logger.info("run %s on %s: %d faces, left out: %s", run, device, len(dataset.rows), dataset.left_out or "none")
    with scratch_folder() as scratch:
        root = Path(str(workspace.root)) if workspace.is_local else scratch
        places = Places(root / "runs" / run, root / "cache")
        places.run.mkdir(parents=True, exist_ok=True)
        note_trained_on(workspace, UPath(places.run), dataset.learnt_from())
        metrics = _run(settings, dataset, start, places, device)
        if not workspace.is_local:
            _copy(places.run, workspace, run)
    sides = dataset.rows["side"].value_counts()
    return {"run": run, "device": device, **dict(sides.iter_rows()), "left_out": dataset.left_out, **metrics}


def _run(settings: TrainSettings, dataset: Dataset, starting: Start, places: Places, device: str) -> dict:
    from models import vgg16
    from models.fit import seed_everything

    folder = places.run
    seed_everything(settings.seed)
    data = {"label_sources": dataset.label_sources(), "left_out": dataset.left_out, "faces": dataset.faces_by_side()}
    about = {"data_hash": dataset.data_hash(), "device": device, **data, "starts_from": starting.noted()}
    _same_run(folder, settings, about | {"with": made_with()})
    start = starting.load()
    build = builder(settings)
    network = build(_thinned(start, dataset, settings) if settings.network == "fast" else start, half=settings.half)
    history = _fit(network, start, dataset, settings, places)
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


def builder(settings: TrainSettings) -> Callable[..., "Network"]:
    """What builds a run's network from weights, and `half`."""
    from models import thin_vgg16, vgg16

    build = thin_vgg16.build if settings.network == "fast" else vgg16.build
    return partial(build, unfrozen_blocks=settings.unfrozen_blocks, targets=settings.targets, recipe=settings.recipe)


def _thinned(whole: "LayerWeights", dataset: Dataset, settings: TrainSettings) -> "LayerWeights":
    from models import thin_vgg16, vgg16

    vgg16.check_whole(whole, settings.targets, settings.recipe)
    logger.info("cutting VGG16 down, by its answers to %d crops", thin_vgg16.CROPS)
    side = dataset.side("train")
    chosen = np.random.default_rng(settings.seed).choice(side, min(thin_vgg16.CROPS, len(side)), replace=False)
    return thin_vgg16.thinned(whole, plain_crops(dataset, chosen))


def _cached(what: str, model: Any, dataset: Dataset, settings: TrainSettings, places: Places) -> list[np.ndarray]:
    """What a Keras model that isn't trained answers for each copy of each face."""
    from models.features import Copies, cache_key, cached_features

    wanted = Copies(len(dataset.rows), settings.copies, partial(crops_for, dataset, settings.seed))
    key = cache_key(model, dataset.rows["crop_hash"].to_list(), settings.seed, AUGMENTATION)
    with progress(what, wanted.faces * wanted.copies) as advance:
        return cached_features(model, wanted, places.cache, key, advance)


def _lessons(whole: "LayerWeights", dataset: Dataset, settings: TrainSettings, places: Places) -> list[np.ndarray]:
    """What the whole model answers for each copy of each face."""
    teacher = builder(settings.model_copy(update={"network": "vgg16"}))(whole, half=settings.half)
    return _cached("the whole model", teacher.taught(), dataset, settings, places)


def _fit(
    network: "Network", start: "LayerWeights", dataset: Dataset, settings: TrainSettings, places: Places
) -> pl.DataFrame:
    from models.fit import Split, Targets, Trainer

    features = _cached("frozen blocks", network.frozen, dataset, settings, places)
    lessons = _lessons(start, dataset, settings, places) if settings.network == "fast" else []
    targets = Targets(dataset.ages(), dataset.female(), lessons)
    split = Split(dataset.side("train"), dataset.side("val"))
    with progress("steps", settings.epochs * -(-len(split.train) // settings.batch)) as advance:
        trainer = Trainer(network, targets, split, features, settings)
        with _gentle_interrupt() as stop:
            return trainer.run(places.run / "checkpoint.npz", advance, stop)


@contextmanager
def _gentle_interrupt() -> Iterator[Event]:
    """The first Ctrl-C sets the event, so that the run ends after its epoch; the second ends it at once."""
    stop = Event()
    if threading.current_thread() is not threading.main_thread():  # of a Prefect worker, whose signals aren't ours
        yield stop
        return

    def on_interrupt(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        logger.warning("ending after this epoch; Ctrl-C once more ends at once")
        stop.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _calibrate(network: "Network", dataset: Dataset) -> Calibration:
    side = dataset.side("val")
    return calibrate(
        network.raw_answers(partial(plain_crops, dataset), side), dataset.ages()[side], dataset.female()[side]
    )


def _measure(network: "Network", calibration: Calibration, dataset: Dataset, side: str, folder: Path) -> dict:
    """The figures of one side, and a picture of its ages in the run's folder."""
    indices = dataset.side(side)
    if not len(indices):
        return NO_FIGURES
    answers = calibration.answers(network.raw_answers(partial(plain_crops, dataset), indices))
    draw_ages(dataset.ages()[indices], answers.age, folder / f"ages-{side}.png")
    return figures_of(dataset, indices, answers)


def figures_of(dataset: Dataset, indices: np.ndarray, answers: Answers) -> dict:
    return report(dataset.truth(indices), answers, dataset.groups(indices))


def starting_weights(name: str, workspace: Workspace) -> Start:
    """Raises UnknownModel and BadModel where there are none of that name."""
    if name.endswith(".h5") and not Path(name).is_file():
        raise BadModel(f"{name}: there is no such file")
    content, version, sha256 = b"", name, None
    if name.endswith(".h5"):
        with open(name, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    elif name != "imagenet":
        content, version = model_content(workspace, name)
        sha256 = hashlib.sha256(content).hexdigest()

    def load() -> "LayerWeights":
        from models import vgg16

        if name == "imagenet":
            return vgg16.imagenet_weights()
        return vgg16.weights_from_onnx(content) if content else vgg16.weights_from_file(Path(name))

    return Start(version, sha256, load)


def _check_started(folder: UPath) -> None:
    if not (folder / "settings.json").exists():
        raise NothingToLearn(f"{folder}: there is no such run to resume")


def _same_run(folder: Path, settings: TrainSettings, about: dict) -> None:
    """Notes what a run is of; a run is resumed with the same settings, on the same data and from the same weights only:
    names such as `champion` come to mean others. Raises NothingToLearn."""
    started = folder / "settings.json"
    now = settings.model_dump(exclude={"resume", "workspace", "device"}) | {"data_hash": about["data_hash"]}
    if settings.resume:
        _check_started(UPath(folder))
    if settings.resume and (before := json.loads(started.read_text(encoding="utf-8"))) != now:
        changed = sorted(name for name in now if before.get(name) != now[name])
        raise NothingToLearn(f"{folder.name}: can't be resumed: {', '.join(changed)} changed since; start a new run")
    if settings.resume:
        _check_start(folder, about["starts_from"])
    _write_json(started, now)
    _write_json(folder / "about.json", about)


def _check_start(folder: Path, now: dict) -> None:
    noted = folder / "about.json"
    about = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else {}
    before = about.get("starts_from")  # not noted by older runs
    if before and before["sha256"] != now["sha256"]:
        raise NothingToLearn(
            f"{folder.name}: can't be resumed: it started from {before['version']} (SHA-256 {before['sha256']}), and "
            f"would go on from {now['version']} (SHA-256 {now['sha256']}); start a new run"
        )


def _write_json(file: Path, content: dict) -> None:
    write_whole(UPath(file), json.dumps(content, indent=2).encode())


def _copy(folder: Path, workspace: Workspace, run: str) -> None:
    for file in folder.iterdir():
        write_whole(workspace.runs / run / file.name, file.read_bytes())
