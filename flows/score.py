"""Scoring: extraction with the model run on each chunk's new faces, then on faces that only lack this model's score."""

from functools import partial

import polars as pl

from flows.extract import list_folders, photo_finding, read_photos
from flows.steps import Submit, in_window, log_to_prefect, prefect_task, progress, publish, stage_flow
from models.contract import Model
from models.session import OnnxModel
from storage.registry import model_content
from storage.settings import Finding, ScoreSettings
from storage.workspace import Workspace, new_run_id, open_workspace
from tasks.score import faces_with_crops, in_batches, score_faces, unscored

_FACES_A_STEP = 2048  # 10 to 30 s of VGG16 on two cores, about 12 MB of crops


@stage_flow("score")
def score(settings: ScoreSettings) -> dict:
    """Scores every face in folders of photos; what is scored already is skipped."""
    log_to_prefect()
    counts = score_folders(settings, prefect_task)
    publish("score", counts)
    return counts


def score_folders(settings: ScoreSettings, submit: Submit) -> dict:
    workspace = open_workspace(settings.workspace)
    content, version = model_content(workspace, settings.model)
    model = OnnxModel(content, version, settings.device, batch=settings.batch)
    finding = photo_finding(settings, model.about.margin, model.about.crop_side)
    run_id = new_run_id("score")
    with workspace.only_writer():
        listed = list_folders(settings.folders, workspace)
        counts = read_photos(
            settings,
            finding,
            workspace,
            listed,
            submit,
            score_new=partial(score_faces, model=model, run_id=run_id),
            keep_crops=settings.keep_crops,
        )
        sources = sorted({found.source for found in listed})
        counts["rescored"] = score_stored(workspace, sources, finding, model, submit, run_id)
    return counts | {"model": version, "model_hash": model.hash, "provider": model.provider}


def score_stored(
    workspace: Workspace, sources: list[str], finding: Finding, model: Model, submit: Submit, run_id: str
) -> int:
    """Scores faces from their stored crops, without opening a photo: those of earlier runs that this model hasn't
    seen. Returns how many."""
    keys = unscored(workspace, sources, finding.fingerprint(), model.hash)
    if keys.is_empty():
        return 0

    def score_batch(batch: pl.DataFrame):
        return score_faces(faces_with_crops(workspace, batch, finding.fingerprint()), model, run_id)

    with progress("stored faces", len(keys)) as advance:
        steps = (partial(score_batch, batch) for batch in in_batches(keys, _FACES_A_STEP))
        for scores in in_window(submit, steps, "score stored faces"):
            workspace.append("scores", scores)
            advance(scores.num_rows)
    return len(keys)
