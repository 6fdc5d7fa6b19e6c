"""Scoring: extraction with the model run on each chunk's new faces, then on faces that only lack this model's score.

flows/score.py is the Prefect flow of it."""

from collections.abc import Callable
from functools import partial

import polars as pl
import pyarrow as pa

from flows.crews import crew_of
from flows.extraction import (
    job_of,
    list_folders,
    new_extraction,
    read_photos,
    reader_here,
    reader_there,
    workspace_for,
)
from flows.steps import Crew, in_window, progress
from models.session import OnnxModel
from storage.registry import model_content
from storage.settings import ScoreSettings
from storage.workspace import Workspace
from tasks.outpost import Scoring, rescore_there
from tasks.quality import make_quality
from tasks.score import in_batches, score_faces, score_stored_faces, unscored

_FACES_A_STEP = 2048  # 10 to 30 s of VGG16 on two cores, about 12 MB of crops


def score_here(settings: ScoreSettings) -> dict:
    """Scores every face in folders of photos; what is scored already is skipped."""
    with crew_of(settings, as_tasks=False) as crew:
        return score_folders(settings, crew)


def score_folders(settings: ScoreSettings, crew: Crew) -> dict:
    """Raises BadModel, UnknownModel, BadFolder, NoDetector and BadWorkspace."""
    workspace = workspace_for(settings)
    content, version = model_content(workspace, settings.model)
    here = crew.cores is None
    model = OnnxModel(content, version, settings.device if here else "cpu", batch=settings.batch)
    scoring = Scoring(content, model.hash, version, settings.device, settings.batch)
    with workspace.only_writer():
        extraction = new_extraction(settings, workspace, model.about.margin, model.about.crop_side)
        listed = list_folders(settings.folders, workspace)
        sources = sorted({found.source for found in listed})
        keep_crops = settings.keep_crops
        with job_of(crew, settings, extraction, scoring, keep_crops=keep_crops) as job:
            if job is None:
                quality = make_quality()
                score_new = partial(score_faces, model=model, quality=quality, run_id=extraction.run_id)
                reader = reader_here(settings, extraction, score_new)
                rescore = partial(score_stored_faces, extraction=extraction, model=model, quality=quality)
            else:
                reader, rescore = reader_there(job), partial(rescore_there, job=job)
            counts = read_photos(settings, extraction, listed, crew, reader, keep_crops=keep_crops)
            keys = unscored(workspace, sources, extraction.finding.fingerprint(), model.hash)
            counts["rescored"] = score_stored(workspace, keys, crew, rescore)
    provider = {"provider": model.provider} if here else {}  # on a cluster, each score has its worker's
    return counts | {"model": version, "model_hash": model.hash} | provider


def score_stored(
    workspace: Workspace, keys: pl.DataFrame, crew: Crew, rescore: Callable[[pl.DataFrame], pa.Table]
) -> int:
    """Scores faces from their stored crops, without opening a photo: those of earlier runs that this model hasn't
    seen. Returns how many."""
    if keys.is_empty():
        return 0
    with progress("stored faces", len(keys)) as advance:
        steps = (partial(rescore, batch) for batch in in_batches(keys, _FACES_A_STEP))
        for scores in in_window(crew, steps, "score stored faces"):
            workspace.append("scores", scores)
            advance(scores.num_rows)
    return len(keys)
