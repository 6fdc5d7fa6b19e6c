"""Export: a finished training run to one ONNX file, checked against Keras on real crops, and registered."""

import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from upath import UPath

from flows.steps import log_to_prefect, publish, stage_flow
from models.calibration import Calibration
from models.card import model_card
from models.contract import UTKFACE_MARGIN, About
from storage.registry import register
from storage.reviews import open_reviews
from storage.settings import ExportSettings, TrainSettings
from storage.workspace import BadWorkspace, Workspace, existing_workspace
from tasks.dataset import Dataset, labelled_faces, plain_crops, with_sides

logger = logging.getLogger(__name__)
_PARITY_FACES = 64


@stage_flow("export")
def export(settings: ExportSettings) -> dict:
    """Turns a training run into one checked, self-contained ONNX file in the registry."""
    log_to_prefect()
    counts = export_run(settings)
    publish("export", counts)
    return counts


def export_run(settings: ExportSettings) -> dict:
    """Raises BadWorkspace for a run that isn't there or isn't finished, BadModel when ONNX and Keras differ."""
    from models import vgg16
    from models.export import check_parity, to_onnx

    workspace = existing_workspace(settings.workspace)
    run = _finished_run(workspace, settings.run)
    about, metrics = _json(run / "about.json"), _json(run / "metrics.json")
    trained = TrainSettings.model_validate(
        {name: value for name, value in _json(run / "settings.json").items() if name != "data_hash"}
    )
    network = vgg16.build(
        {}, unfrozen_blocks=trained.unfrozen_blocks, targets=trained.targets, recipe=trained.recipe, half=False
    )
    with TemporaryDirectory(prefix="faceline-") as scratch:
        weights = Path(scratch) / "network.weights.h5"
        weights.write_bytes((run / "network.weights.h5").read_bytes())
        network.load(weights)
    calibration = Calibration(**_json(run / "calibration.json"))
    shown = metrics["test"]["overall"] or metrics["val"]["overall"]
    description = About(
        targets=trained.targets,
        recipe=trained.recipe,
        detector="centerface",
        margin=UTKFACE_MARGIN,
        data_hash=about["data_hash"],
        licence=settings.licence,
        metrics=shown,
    )
    content = to_onnx(network, calibration, description)
    dataset = _dataset(workspace, trained)
    crops = plain_crops(dataset, dataset.side("val")[:_PARITY_FACES])
    parity = check_parity(content, network, calibration, crops)
    logger.info("%s: ONNX and Keras differ by at most %s", run.name, parity)
    facts = about | {"data": settings.data, "licence": settings.licence, "faces": _faces_by_side(dataset)}
    card = model_card(trained, facts, metrics, parity)
    version = register(workspace, content, card, metrics | {"run": run.name, "parity": parity})
    return {"version": version.name, "model_hash": version.model_hash, "size_bytes": len(content), "parity": parity}


def _finished_run(workspace: Workspace, name: str) -> UPath:
    runs = sorted(run.name for run in workspace.runs.iterdir()) if workspace.runs.exists() else []
    finished = [run for run in runs if (workspace.runs / run / "metrics.json").exists()]
    chosen = finished[-1] if name == "latest" and finished else name
    if chosen not in finished:
        state = "not finished" if chosen in runs else "not there"
        raise BadWorkspace(f"run {name} is {state}; finished runs: {', '.join(finished) or 'none'}")
    return workspace.runs / chosen


def _dataset(workspace: Workspace, trained: TrainSettings) -> Dataset:
    reviews = open_reviews(workspace) if workspace.is_local else None
    return with_sides(labelled_faces(workspace, reviews, trained.min_face_side))


def _faces_by_side(dataset: Dataset) -> dict[str, int]:
    return {side: len(dataset.side(side)) for side in ("train", "val", "test")}


def _json(file: UPath) -> dict:
    return json.loads(file.read_text())
