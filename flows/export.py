"""Export: a finished training run to one ONNX file, checked against Keras on real crops, and registered."""

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from upath import UPath

from flows.stage import log_to_prefect, publish, stage_flow
from flows.steps import progress
from flows.train import NO_FIGURES, builder, figures_of
from models.calibration import Calibration, calibrate
from models.card import model_card
from models.contract import UTKFACE_MARGIN, About
from models.session import OnnxModel
from storage.refusal import Refusal
from storage.registry import register
from storage.scratch import scratch_folder
from storage.settings import ExportSettings, TrainSettings
from storage.trained_on import TRAINED_ON
from storage.workspace import BadWorkspace, Workspace, existing_workspace
from tasks.dataset import Dataset, gather, plain_crops
from tasks.drift import LEARNT, answers_for
from tasks.evaluation.degrade import LEVELS, robustness, sample, smallest_face

if TYPE_CHECKING:
    from models.vgg16 import Network

logger = logging.getLogger(__name__)
_PARITY_FACES = 64
_LEARNT_FACES = 500  # whose answers the version's metrics sum up, at 0.1 to 0.2 s each on two cores


class OtherFaces(Refusal):
    """The workspace has other faces or labels than the run was trained on; the message says what to do."""


@stage_flow("export")
def export(settings: ExportSettings) -> dict:
    """Turns a training run into one checked, self-contained ONNX file in the registry."""
    log_to_prefect()
    counts = export_run(settings)
    publish("export", counts)
    return counts


def export_run(settings: ExportSettings) -> dict:
    """Raises BadWorkspace for a run that isn't there or isn't finished, OtherFaces, and BadModel when ONNX and Keras
    differ."""
    workspace = existing_workspace(settings.workspace)
    run = _finished_run(workspace, settings.run)
    about, metrics = _json(run / "about.json"), _json(run / "metrics.json")
    trained = TrainSettings.model_validate(
        {name: value for name, value in _json(run / "settings.json").items() if name != "data_hash"}
    )
    dataset = gather(workspace, trained.min_face_side)
    to_degrade = settings.robustness_faces if _is_as_trained(dataset, about, run.name, settings) else 0
    from models.export import check_parity, to_onnx  # after all that can be refused without TensorFlow
    from models.fit import check_device

    if settings.device == "cpu":
        check_device("cpu")  # or TensorFlow takes a GPU's whole memory
    network = _network(run, trained)
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
    parity = check_parity(content, network, calibration, plain_crops(dataset, dataset.side("val")[:_PARITY_FACES]))
    logger.info("%s: ONNX and Keras differ by at most %s", run.name, parity)
    if settings.int8:
        content, figures = _narrowed(network, dataset, description)
        metrics |= figures | {"int8": _cost(metrics["val"]["overall"], figures["val"]["overall"])}
    model = OnnxModel(content, "under test", settings.device)
    metrics |= {"run": run.name, "parity": parity, **_robustness(model, dataset, to_degrade)}
    metrics[LEARNT] = answers_for(model, plain_crops(dataset, _learnt_from(dataset)))
    facts = {"faces": dataset.faces_by_side()} | about | {"data": settings.data, "licence": settings.licence}
    noted = run / TRAINED_ON
    learnt_from = noted.read_bytes() if noted.exists() else None  # runs of older versions have none
    version = register(workspace, content, model_card(trained, facts, metrics), metrics, learnt_from)
    return {"version": version.name, "model_hash": version.model_hash, "size_bytes": len(content), "parity": parity}


def _is_as_trained(dataset: Dataset, about: dict, run: str, settings: ExportSettings) -> bool:
    """Whether the faces and labels are still those of the run: after a review, or a `forget`, they aren't, and figures
    on them would stand beside others. Raises OtherFaces where 8 bits would be calibrated on them."""
    if "faces" not in about or about["data_hash"] == dataset.data_hash():  # runs of older versions have no `faces`
        return True
    changed = f"{run}: faces or labels of the workspace have changed since it was trained"
    if settings.int8:
        raise OtherFaces(f"{changed}, and --int8 would calibrate on others: train again, or export without --int8")
    logger.warning("%s: its card will have no figures on worse pictures; to have them, train again", changed)
    return False


def _narrowed(network: "Network", dataset: Dataset, description: About) -> tuple[bytes, dict]:
    """The network's file in 8 bits, calibrated on what that answers itself, and its figures by side. Raises
    BadModel."""
    from models.export import check_alike, raw_to_onnx, to_onnx
    from models.quantise import CROPS, quantised, raw_answers

    train, val = dataset.side("train"), dataset.side("val")
    crops = plain_crops(dataset, train[sample(len(train), CROPS)])
    raw = quantised(raw_to_onnx(network), crops)
    answers_of_val = raw_answers(raw, plain_crops(dataset, val))
    calibration = calibrate(answers_of_val, dataset.ages()[val], dataset.female()[val])
    figures = {"val": figures_of(dataset, val, calibration.answers(answers_of_val)), "test": NO_FIGURES}
    if len(test := dataset.side("test")):
        answers = calibration.answers(raw_answers(raw, plain_crops(dataset, test)))
        figures["test"] = figures_of(dataset, test, answers)
    shown = figures["test"]["overall"] or figures["val"]["overall"]
    content = quantised(to_onnx(network, calibration, description.model_copy(update={"metrics": shown})), crops)
    some = np.arange(min(_PARITY_FACES, len(val)))
    check_alike(
        OnnxModel(content, "under test", "cpu")(plain_crops(dataset, val[some])),
        calibration.answers(answers_of_val).take(some),
    )
    return content, figures


def _cost(wide: dict, narrow: dict) -> dict[str, float]:
    """What 8 bits change: years, and a share."""
    return {name: narrow[name] - wide[name] for name in ("age_mae", "gender_accuracy") if name in wide}


def _network(run: UPath, trained: TrainSettings) -> "Network":
    """The network with the run's weights. Raises BadModel."""
    network = builder(trained)({}, half=False)
    with scratch_folder() as scratch:
        weights = scratch / "network.weights.h5"
        weights.write_bytes((run / "network.weights.h5").read_bytes())
        network.load(weights)
    return network


def _learnt_from(dataset: Dataset) -> np.ndarray:
    """Some of the faces, for `health` to compare those that come in with. First those to validate on, whose answers the
    model doesn't know by heart."""
    return np.concatenate([dataset.side("val"), dataset.side("train")])[:_LEARNT_FACES]


def _robustness(model: OnnxModel, dataset: Dataset, most: int) -> dict:
    """How the file's errors grow on degraded test faces (validation faces where there are none), for the card."""
    side = dataset.side("test") if len(dataset.side("test")) else dataset.side("val")
    chosen = side[sample(len(side), most)]
    if not len(chosen):
        return {}
    crops, truth = plain_crops(dataset, chosen), dataset.truth(chosen)
    with progress("degraded faces", len(LEVELS) * len(chosen)) as advance:
        table = robustness(model, crops, truth, advance=advance)
    smallest = smallest_face(table)
    return {"robustness": table.to_dicts(), "smallest_face": asdict(smallest) if smallest else None}


def _finished_run(workspace: Workspace, name: str) -> UPath:
    runs = sorted(run.name for run in workspace.runs.iterdir()) if workspace.runs.exists() else []
    finished = [run for run in runs if (workspace.runs / run / "metrics.json").exists()]
    chosen = finished[-1] if name == "latest" and finished else name
    if chosen not in finished:
        state = "not finished" if chosen in runs else "not there"
        raise BadWorkspace(f"run {name} is {state}; finished runs: {', '.join(finished) or 'none'}")
    return workspace.runs / chosen


def _json(file: UPath) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))
