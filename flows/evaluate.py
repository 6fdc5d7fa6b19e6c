"""Evaluation: a model on the workspace's labelled faces, from their stored crops; and the gate to the champion."""

import logging

import numpy as np

from flows.steps import log_to_prefect, publish, stage_flow
from models.contract import AGE_OUTPUTS, Answers, Model
from models.session import Device, OnnxModel
from storage.refusal import Refusal
from storage.registry import champion, find, model_content, promote
from storage.reviews import open_reviews
from storage.settings import EvaluateSettings, PromoteSettings, TrainSettings
from storage.workspace import Workspace, existing_workspace
from tasks.dataset import Dataset, NothingToLearn, labelled_faces, plain_crops, with_sides
from tasks.evaluate import compare, report

logger = logging.getLogger(__name__)
_FACES_A_STEP = 512
_GENDER_LOSS_ALLOWED = 0.005  # of accuracy; less is within the noise of a few thousand faces


class NotBetter(Refusal):
    """The challenger isn't better than the champion on the same rows; the message shows by how much."""


@stage_flow("evaluate")
def evaluate(settings: EvaluateSettings) -> dict:
    """Measures a model on the labelled faces of the workspace, by age band and by group."""
    log_to_prefect()
    figures = evaluate_model(settings)
    publish("evaluate", figures["overall"])
    return figures


def evaluate_model(settings: EvaluateSettings) -> dict:
    """Raises NothingToLearn where no face is labelled, BadModel and UnknownModel."""
    workspace = existing_workspace(settings.workspace)
    model = load_model(workspace, settings.model, settings.device)
    dataset = labelled(workspace)
    indices = dataset.side(settings.split) if settings.split else np.arange(len(dataset.rows))
    if not len(indices):
        raise NothingToLearn(f"no labelled face on the {settings.split} side; left out: {dataset.left_out or 'none'}")
    answers = answers_for(model, dataset, indices)
    figures = report(dataset.truth(indices), answers, dataset.groups(indices))
    return {"model": model.version, "provider": model.provider, "split": settings.split, **figures}


def promote_model(settings: PromoteSettings) -> dict:
    """Makes a version the champion if its age error is lower on the test rows, by more than chance, and its gender
    accuracy not lower. Raises NotBetter, unless forced with a reason."""
    workspace = existing_workspace(settings.workspace)
    challenger = find(workspace, settings.version)
    present = champion(workspace)
    if settings.force is not None:
        promote(workspace, challenger.name, f"forced: {settings.force}")
        return {"champion": challenger.name, "forced": settings.force}
    if present is None or present.name == challenger.name:
        promote(workspace, challenger.name, "no other champion")
        return {"champion": challenger.name}
    change = compare_versions(workspace, present.name, challenger.name)
    if reason := why_not_better(change):
        raise NotBetter(f"{challenger.name} stays out: {reason}. {in_words(change)}. --force REASON promotes it anyway")
    promote(workspace, challenger.name, in_words(change))
    return {"champion": challenger.name, "before": present.name, **change}


def compare_versions(workspace: Workspace, champion_name: str, challenger_name: str) -> dict[str, float]:
    """Both models on the same test rows. Raises NothingToLearn when there are none."""
    dataset = labelled(workspace)
    test = dataset.side("test")
    if not len(test):
        raise NothingToLearn("there are no labelled test faces to compare on; --force REASON promotes without")
    before, after = (
        answers_for(load_model(workspace, name, "auto"), dataset, test) for name in (champion_name, challenger_name)
    )
    return compare(dataset.truth(test), before, after)


def why_not_better(change: dict[str, float]) -> str | None:
    """The reason why a challenger shouldn't take over; None: it should."""
    if not change["high"] < 0:
        return "its age error isn't lower by more than chance"
    if change.get("gender_accuracy_change", 0) < -_GENDER_LOSS_ALLOWED:
        return "its gender accuracy is lower"
    return None


def in_words(change: dict[str, float]) -> str:
    words = (
        f"On {change['faces']:.0f} test faces its age error changes by {change['age_mae_change']:+.2f} years "
        f"(95 % interval {change['low']:+.2f} to {change['high']:+.2f})"
    )
    if "gender_accuracy_change" in change:
        words += f", its gender accuracy by {change['gender_accuracy_change']:+.1%}"
    return words


def load_model(workspace: Workspace, name: str, device: Device) -> OnnxModel:
    content, version = model_content(workspace, name)
    return OnnxModel(content, version, device)


def labelled(workspace: Workspace) -> Dataset:
    """The labelled faces with their sides, as training has them."""
    reviews = open_reviews(workspace) if workspace.is_local else None
    dataset = labelled_faces(workspace, reviews, TrainSettings().min_face_side)
    if dataset.rows.is_empty():
        raise NothingToLearn(f"no labelled face in {workspace.root}; left out: {dataset.left_out or 'none'}")
    return with_sides(dataset)


def answers_for(model: Model, dataset: Dataset, indices: np.ndarray) -> Answers:
    parts = [
        model(plain_crops(dataset, indices[start : start + _FACES_A_STEP]))
        for start in range(0, len(indices), _FACES_A_STEP)
    ]
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in AGE_OUTPUTS]
    women = [part.female for part in parts if part.female is not None]
    return Answers(*columns, female=np.concatenate(women) if women else None)
