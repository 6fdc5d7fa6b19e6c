"""Scoring: extraction with the model run on each chunk's new faces, then on faces that only lack this model's score."""

from functools import partial

import polars as pl
import pyarrow as pa

from flows.extract import list_folders, new_extraction, read_photos
from flows.steps import Submit, in_window, log_to_prefect, prefect_task, progress, publish, stage_flow
from models.contract import Model
from models.session import OnnxModel
from storage.registry import model_content
from storage.settings import ScoreSettings
from storage.workspace import open_workspace
from tasks.extract import Extraction
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
    """Raises BadModel, UnknownModel, BadFolder, NoDetector and BadWorkspace."""
    workspace = open_workspace(settings.workspace)
    content, version = model_content(workspace, settings.model)
    model = OnnxModel(content, version, settings.device, batch=settings.batch)
    with workspace.only_writer():
        extraction = new_extraction(settings, workspace, model.about.margin, model.about.crop_side)
        score_new = partial(score_faces, model=model, run_id=extraction.run_id)
        listed = list_folders(settings.folders, workspace)
        counts = read_photos(settings, extraction, listed, submit, score_new=score_new, keep_crops=settings.keep_crops)
        sources = sorted({found.source for found in listed})
        counts["rescored"] = score_stored(extraction, sources, model, submit)
    return counts | {"model": version, "model_hash": model.hash, "provider": model.provider}


def score_stored(extraction: Extraction, sources: list[str], model: Model, submit: Submit) -> int:
    """Scores faces from their stored crops, without opening a photo: those of earlier runs that this model hasn't
    seen. Returns how many."""
    workspace, fingerprint = extraction.workspace, extraction.finding.fingerprint()
    keys = unscored(workspace, sources, fingerprint, model.hash)
    if keys.is_empty():
        return 0

    def score_batch(batch: pl.DataFrame) -> pa.Table:
        return score_faces(faces_with_crops(workspace, batch, fingerprint), model, extraction.run_id)

    with progress("stored faces", len(keys)) as advance:
        steps = (partial(score_batch, batch) for batch in in_batches(keys, _FACES_A_STEP))
        for scores in in_window(submit, steps, "score stored faces"):
            workspace.append("scores", scores)
            advance(scores.num_rows)
    return len(keys)
