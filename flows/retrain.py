"""Retraining: train on all labels and corrections so far, export, and let the new model take over if it is better."""

import logging

from prefect.artifacts import create_markdown_artifact

from flows.evaluate import compare_versions, in_words, why_not_better
from flows.export import export_run
from flows.steps import log_to_prefect, stage_flow
from flows.train import train_model
from storage.registry import champion, promote
from storage.settings import ExportSettings, RetrainSettings, TrainSettings
from storage.workspace import existing_workspace
from tasks.dataset import NothingToLearn

logger = logging.getLogger(__name__)


@stage_flow("retrain")
def retrain(settings: RetrainSettings) -> dict:
    """Trains, exports, and promotes the new model if it is better on the same test rows."""
    log_to_prefect()
    result = retrain_model(settings)
    create_markdown_artifact(_story(result), key="retrain", description="what the retraining did, and why")
    return result


def retrain_model(settings: RetrainSettings) -> dict:
    """Raises what training and export raise; a model that isn't better is registered, but not promoted."""
    workspace = existing_workspace(settings.workspace)
    before = champion(workspace)
    trained = train_model(TrainSettings.model_validate(settings.model_dump()))
    exported = export_run(ExportSettings(workspace=settings.workspace, run=trained["run"]))
    decision = {"champion": exported["version"], "why": "it is the first model of this workspace"}
    if before is not None:
        decision = _decide(settings, before.name, exported["version"])
    logger.info("the champion is %s: %s", decision["champion"], decision["why"])
    return {**trained, **exported, **decision}


def _decide(settings: RetrainSettings, before: str, challenger: str) -> dict:
    workspace = existing_workspace(settings.workspace)
    try:
        change = compare_versions(workspace, before, challenger)
    except NothingToLearn as error:
        return {"champion": before, "why": f"kept: {error}"}
    if reason := why_not_better(change):
        return {"champion": before, "why": f"kept: of the new model, {reason}. {in_words(change)}"}
    promote(workspace, challenger, in_words(change))
    return {"champion": challenger, "why": f"replaced {before}. {in_words(change)}"}


def _story(result: dict) -> str:
    figures = [f"| {name} | {value:.4g} |" for name, value in result.items() if isinstance(value, float)]
    heading = f"# Retraining {result['run']}\n\nChampion: `{result['champion']}`, since {result['why']}\n\n"
    return heading + "\n".join(["| figure | value |", "|---|---|", *figures])
