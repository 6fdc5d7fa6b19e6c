"""Extraction: list the folders, read what isn't in the tables yet, commit chunk by chunk, then read the labels.

flows/extract.py is its Prefect flow: Prefect takes a second to import, for which the command line need not wait."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import numpy as np

from flows.crews import crew_of
from flows.steps import Crew, in_window, progress
from models.contract import CROP_SIDE, UTKFACE_MARGIN
from storage.forget import finish_forgetting
from storage.scratch import scratch_folder
from storage.settings import ExtractSettings, PhotoSettings
from storage.workspace import Workspace, new_run_id, open_workspace
from tasks.bucket import Bucket, is_in_bucket
from tasks.chunk import ReadChunk, ScoreNew, commit_chunk, read_chunk
from tasks.contents import Contents, drop_unread, still_to_do
from tasks.detect import detector_file
from tasks.extract import Extraction
from tasks.folder import BadFolder, Found, check_folder, growing, list_files
from tasks.labels import label_folders, label_reader
from tasks.outpost import Job, Scoring, read_there, supplied
from tasks.read import finding_of, photo_workers

logger = logging.getLogger(__name__)
ReadFiles = Callable[[list[Found]], ReadChunk]


def extract_here(settings: ExtractSettings) -> dict:
    """Finds the faces in folders of photos and stores them, with labels where the photos have some."""
    with crew_of(settings, as_tasks=False) as crew:
        return extract_folders(settings, crew)


def extract_folders(settings: ExtractSettings, crew: Crew) -> dict:
    labels = label_reader(settings.labels) if settings.labels else None
    workspace = workspace_for(settings)
    with workspace.only_writer():
        extraction = new_extraction(settings, workspace, UTKFACE_MARGIN, CROP_SIDE)
        listed = list_folders(settings.folders, workspace)
        with job_of(crew, settings, extraction) as job:
            reader = reader_here(settings, extraction) if job is None else reader_there(job)
            counts = read_photos(settings, extraction, listed, crew, reader)
        if labels is not None:
            counts |= label_folders(workspace, sorted({found.source for found in listed}), labels)
    return counts


def workspace_for(settings: PhotoSettings) -> Workspace:
    """Made when missing, but not for a folder that isn't there. Raises BadFolder and BadWorkspace."""
    for folder in settings.folders:
        if not is_in_bucket(folder):
            check_folder(folder)
    return open_workspace(settings.workspace)


def list_folders(folders: list[str], workspace: Workspace) -> list[Found]:
    """Every file of the folders or buckets, each once: where one lies in another, as a file of the outer one. Raises
    BadFolder and Unreachable."""
    root = str(workspace.root)
    found: dict[bytes, Found] = {}
    for folder in folders:
        if _is_same(folder, root):
            raise BadFolder(f"{folder}: is the workspace itself; give the folder that the photos are in")
        files = list(
            Bucket().list(folder, leave_out=root) if is_in_bucket(folder) else list_files(folder, leave_out=root)
        )
        if not files:
            logger.warning("%s: no file is there; is it the right folder, its disk mounted?", folder)
        for file in files:
            before = found.setdefault(file.full_path(), file)
            if len(file.source) < len(before.source):
                found[file.full_path()] = file
    return list(found.values())


def _is_same(folder: str, other: str) -> bool:
    if is_in_bucket(folder) or is_in_bucket(other):
        return folder.rstrip("/") == other.rstrip("/")
    return os.path.realpath(folder) == os.path.realpath(other)


def read_photos(
    settings: PhotoSettings,
    extraction: Extraction,
    listed: list[Found],
    crew: Crew,
    reader: AbstractContextManager[ReadFiles],
    *,
    keep_crops: bool = True,
) -> dict:
    """Reads the files that have no row yet and commits them by chunks: faces, scores, and last files."""
    drop_unread(extraction.workspace, sorted({found.source for found in listed}))
    unread = still_to_do(listed, extraction.workspace, extraction.finding.fingerprints())
    todo = [found for found in unread if not growing(found, settings.settle_s)]
    counts: Counter[str] = Counter(files=len(listed), skipped=len(listed) - len(unread), read=0, faces=0)
    counts.update(left_growing=len(unread) - len(todo), forgotten=0)
    if not todo:
        return dict(counts)
    with reader as read, progress("photos", len(todo)) as advance:
        steps = (
            partial(read, todo[start : start + settings.chunk_files])
            for start in range(0, len(todo), settings.chunk_files)
        )
        for chunk in in_window(crew, steps, "read photos"):
            counts.update(commit_chunk(chunk, extraction, keep_crops=keep_crops))
            counts["forgotten"] += chunk.forgotten
            advance(chunk.files.num_rows + chunk.forgotten)
    return dict(counts)


@contextmanager
def reader_here(
    settings: PhotoSettings, extraction: Extraction, score_new: ScoreNew | None = None
) -> Iterator[ReadFiles]:
    """Reads chunks with worker processes of this machine."""
    with scratch_folder() as folder:
        known = folder / "known.npy"
        np.save(known, extraction.contents.prefixes)
        with photo_workers(settings, extraction.finding, known, extraction.contents.tombstones) as photos:
            yield partial(read_chunk, photos=photos, extraction=extraction, score_new=score_new)


@contextmanager
def reader_there(job: Job) -> Iterator[ReadFiles]:
    """Reads chunks on a cluster."""
    yield partial(read_there, job=job)


@contextmanager
def job_of(
    crew: Crew,
    settings: PhotoSettings,
    extraction: Extraction,
    scoring: Scoring | None = None,
    *,
    keep_crops: bool = True,
) -> Iterator[Job | None]:
    """What a cluster's workers must know, with what they need laid out for them; None where the crew is here."""
    if crew.cores is None:
        yield None
        return
    job = Job(settings, extraction.finding, extraction.run_id, crew.cores, keep_crops, scoring)
    with supplied(job, extraction) as sent:
        yield sent


def new_extraction(settings: PhotoSettings, workspace: Workspace, margin: float, crop_side: int) -> Extraction:
    """Finishes a `forget` that was interrupted, so that nothing of it is relied on. Raises NoDetector."""
    finish_forgetting(workspace)
    detector = detector_file(settings.detector, settings.detector_model, fetch=settings.fetch_detector)
    finding = finding_of(settings, detector, margin, crop_side)
    return Extraction(workspace, finding, Contents(workspace, finding.fingerprints()), new_run_id("photos"))
