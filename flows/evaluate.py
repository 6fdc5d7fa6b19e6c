"""Evaluation: a model on the workspace's labelled faces, from their stored crops, or any model's table of answers;
written as JSON, as Parquet and as one page."""

import json
import logging
from pathlib import Path

import numpy as np
from upath import UPath

from flows.stage import log_to_prefect, publish, stage_flow
from flows.steps import progress
from models.contract import AGE_OUTPUTS, Answers, Model
from models.session import Device, OnnxModel
from storage.registry import model_content
from storage.settings import EvaluateSettings, TrainSettings
from storage.workspace import Workspace, existing_workspace, ours, write_parquet, write_whole
from tasks.dataset import Dataset, NothingToLearn, gather, plain_crops
from tasks.evaluation.bootstrap import RESAMPLES
from tasks.evaluation.evaluate import as_metrics, measure
from tasks.evaluation.judged import Judged, judge, judge_table, read_answers
from tasks.evaluation.page import evaluation_page

logger = logging.getLogger(__name__)
_FACES_A_STEP = 512


@stage_flow("evaluate")
def evaluate(settings: EvaluateSettings) -> dict:
    """Measures a model on labelled faces, by age band and by group."""
    log_to_prefect()
    figures = evaluate_model(settings)
    publish("evaluate", figures["overall"])
    return figures


def evaluate_model(settings: EvaluateSettings) -> dict:
    """Raises NothingToLearn where no face is labelled, BadModel, UnknownModel, and BadTable."""
    if settings.table is not None:
        return _evaluate_table(Path(settings.table), settings)
    workspace = existing_workspace(settings.workspace)
    model = load_model(workspace, settings.model, settings.device)
    dataset, indices = labelled_side(workspace, settings.split)
    about = {"model": model.version, "model_hash": model.hash, "provider": model.provider, "split": settings.split}
    default = workspace.root / "evaluations" / f"{model.version}-{settings.split or 'all'}"
    folder = UPath(settings.report) if settings.report else default
    return _written(folder, about | {"left_out": dataset.left_out}, judged_by(model, dataset, indices))


def _evaluate_table(path: Path, settings: EvaluateSettings) -> dict:
    frame = read_answers(path)
    split = settings.split if "split" in frame.columns else None
    assert settings.report is not None, "EvaluateSettings refuses a table without it"
    return _written(UPath(settings.report), {"model": path.stem, "split": split}, judge_table(frame, split, path))


def load_model(workspace: Workspace, name: str, device: Device) -> OnnxModel:
    content, version = model_content(workspace, name)
    return OnnxModel(content, version, device)


def labelled_side(workspace: Workspace, split: str | None) -> tuple[Dataset, np.ndarray]:
    """The labelled faces, and which of them are on that side; None: all. Raises NothingToLearn where none is."""
    dataset = gather(workspace, TrainSettings().min_face_side)
    indices = dataset.side(split) if split else np.arange(len(dataset.rows))
    if not len(indices):
        where = f"on the {split} side of {workspace.root}" if split else f"in {workspace.root}"
        raise NothingToLearn(f"no labelled face {where}; left out: {dataset.left_out or 'none'}")
    return dataset, indices


def judged_by(model: Model, dataset: Dataset, indices: np.ndarray) -> Judged:
    """A model's answers for some of the labelled faces, beside the truth."""
    parts = []
    with progress(f"faces to {model.version}", len(indices)) as advance:
        for start in range(0, len(indices), _FACES_A_STEP):
            step = indices[start : start + _FACES_A_STEP]
            parts.append(model(plain_crops(dataset, step)))
            advance(len(step))
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in AGE_OUTPUTS]
    women = [part.female for part in parts if part.female is not None]
    answers = Answers(*columns, female=np.concatenate(women) if women else None)
    return judge(dataset.truth(indices), answers, dataset.groups(indices))


def _written(folder: UPath, about: dict, judged: Judged) -> dict:
    """Leaves figures.json, figures.parquet and evaluation.html in the folder. Raises BadWorkspace where it can't."""
    measured = measure(judged)
    figures = about | as_metrics(measured)
    said = json.dumps(figures | {"resamples": RESAMPLES}, indent=2)
    page = evaluation_page(about, judged, measured)
    with ours(f"{folder}: the evaluation can't be written there"):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "figures.json", said.encode())
        write_parquet(folder / "figures.parquet", measured)
        write_whole(folder / "evaluation.html", page.encode())
    logger.info("the evaluation is in %s", folder / "evaluation.html")
    return {**figures, "report": str(folder)}
