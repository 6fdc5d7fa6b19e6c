"""Retraining: report on all labels and corrections so far, train on them, export, and let the new model take over if
it is better."""

import logging
from base64 import b64encode

import numpy as np
from prefect.artifacts import create_markdown_artifact

from flows.data_report import report_data
from flows.export import export_run
from flows.gate import compare_versions
from flows.stage import log_to_prefect, stage_flow
from flows.train import starting_weights, train_model
from models.plots import errors_by_age
from storage.registry import find, promote
from storage.settings import CardSettings, DataReportSettings, ExportSettings, RetrainSettings, TrainSettings
from storage.values import FindingKind
from storage.workspace import existing_workspace
from tasks.dataset import NothingToLearn
from tasks.evaluation.compare import Change, in_words, overall, why_not_better

logger = logging.getLogger(__name__)


@stage_flow("retrain")
def retrain(settings: RetrainSettings) -> dict:
    """Reports on the labels, trains, exports, and promotes the new model if it is better on the same test rows."""
    log_to_prefect()
    result, changes = _retrained(settings)
    curves = existing_workspace(settings.workspace).runs / result["run"] / "curves.png"
    story = _story(result, changes, curves.read_bytes())
    create_markdown_artifact(story, key="retrain", description="what the retraining did, and why")
    return result


def retrain_model(settings: RetrainSettings) -> dict:
    """Raises what the report, training and export raise; a model that isn't better is registered, but not promoted."""
    return _retrained(settings)[0]


def _retrained(settings: RetrainSettings) -> tuple[dict, list[Change]]:
    workspace = existing_workspace(settings.workspace)
    before = find(workspace, "champion")
    starting_weights(settings.starts_from, workspace)  # refused now, and not after the report
    labels = report_data(
        DataReportSettings(workspace=settings.workspace, targets=settings.targets, min_face_side=settings.min_face_side)
    )
    trained = train_model(settings.part(TrainSettings))
    exported = export_run(settings.part(CardSettings).part(ExportSettings, run=trained["run"]))
    decision, changes = _decide(settings, before.name, exported["version"])
    logger.info("the champion is %s: %s", decision["champion"], decision["why"])
    found = {str(kind): labels[kind] for kind in FindingKind if kind in labels}
    return {**trained, **exported, "report": labels["page"], "findings": found, **decision}, changes


def _decide(settings: RetrainSettings, before: str, challenger: str) -> tuple[dict, list[Change]]:
    workspace = existing_workspace(settings.workspace)
    try:
        changes = compare_versions(workspace, before, challenger)
    except NothingToLearn as error:
        return {"champion": before, "why": f"kept: {error}"}, []
    if reason := why_not_better(changes):
        return {"champion": before, "why": f"kept: of the new model, {reason}. {in_words(changes)}"}, changes
    promote(workspace, challenger, in_words(changes))
    return {"champion": challenger, "why": f"replaced {before}. {in_words(changes)}"}, changes


def _story(result: dict, changes: list[Change], curves: bytes) -> str:
    """In Markdown. Prefect's page shows pictures that are in the text itself; it has no place for files, and the
    workspace isn't served."""
    found = [f"| {kind.replace('_', ' ')} | {count} |" for kind, count in result["findings"].items()]
    sides = ", ".join(f"{result[side]} {side}" for side in ("train", "val", "test") if side in result)
    return "\n".join(
        [
            f"# Retraining {result['run']}",
            f"\nChampion: `{result['champion']}`, {result['why']}",
            f"\n## Labels\n\nFaces: {sides}. To look at on the review pages:\n",
            *(["| finding | rows |\n|---|---|", *found] if found else ["Nothing."]),
            "\n## The new model beside the champion, on the same test faces\n",
            "| figure | champion | new | change | |\n|---|---|---|---|---|",
            *(_row(change) for change in overall(changes)),
            *_errors(changes),
            f"\n## How it learnt\n\n{_picture('Loss and validation metrics over the epochs', curves)}",
        ]
    )


def _errors(changes: list[Change]) -> list[str]:
    by_age = [change for change in changes if (change.column, change.name) == ("age", "age_mae")]
    if not by_age:
        return []
    before, after = (np.array([getattr(each, side) for each in by_age], float) for side in ("before", "after"))
    drawn = errors_by_age([str(change.group) for change in by_age], before, after)
    return [f"\n{_picture('Mean absolute age error of the champion and of the new model, by age', drawn)}"]


def _picture(what: str, png: bytes) -> str:
    return f"![{what}](data:image/png;base64,{b64encode(png).decode()})"


def _row(change: Change) -> str:
    before, after, difference, interval, verdict = change.written()
    between = f" ({interval})" if interval else ""
    return f"| {change.figure.title} | {before} | {after} | {difference}{between} | {verdict} |"
