"""Extraction: list the folders, read what isn't in the tables yet, commit chunk by chunk, then read the labels."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from flows.steps import Submit, in_window, log_to_prefect, prefect_task, progress, publish, stage_flow
from models.contract import CROP_SIDE, UTKFACE_MARGIN
from storage.settings import ExtractSettings, PhotoSettings
from storage.workspace import Workspace, new_run_id, open_workspace
from tasks.contents import Contents
from tasks.detect import detector_file
from tasks.extract import Extraction, look_at
from tasks.folder import Found, list_files, still_to_do
from tasks.labels import label_folders, label_reader
from tasks.read import Ask, Looked, finding_of, photo_workers
from tasks.spread import Spread

ScoreNew = Callable[[pa.Table], pa.Table]  # rows of `faces` to rows of `scores`


@dataclass(frozen=True)
class ReadChunk:
    """A chunk of files that was read, and its new faces scored, but not committed yet."""

    looked: list[tuple[Found, Looked]]
    faces: pa.Table
    scores: pa.Table | None


@stage_flow("extract")
def extract(settings: ExtractSettings) -> dict:
    """Finds the faces in folders of photos and stores them, with labels where the photos have some."""
    log_to_prefect()
    counts = extract_folders(settings, prefect_task)
    publish("extract", counts)
    return counts


def extract_folders(settings: ExtractSettings, submit: Submit) -> dict:
    reader = label_reader(settings.labels) if settings.labels else None
    workspace = open_workspace(settings.workspace)
    with workspace.only_writer():
        extraction = new_extraction(settings, workspace, UTKFACE_MARGIN, CROP_SIDE)
        listed = list_folders(settings.folders, workspace)
        counts = read_photos(settings, extraction, listed, submit)
        if reader is not None:
            counts |= label_folders(workspace, sorted({found.source for found in listed}), reader)
    return counts


def list_folders(folders: list[str], workspace: Workspace) -> list[Found]:
    """Every file of the folders, each once, though one folder may lie in another. Raises BadFolder."""
    leave_out = str(workspace.root) if workspace.is_local else None
    found = {file.full_path(): file for folder in folders for file in list_files(folder, leave_out=leave_out)}
    return list(found.values())


def read_photos(
    settings: PhotoSettings,
    extraction: Extraction,
    listed: list[Found],
    submit: Submit,
    *,
    score_new: ScoreNew | None = None,
    keep_crops: bool = True,
) -> dict:
    """Reads the files that have no row yet and commits them by chunks: faces, scores, and last files."""
    todo = still_to_do(listed, extraction.workspace, extraction.finding.fingerprint())
    counts: Counter[str] = Counter(files=len(listed), skipped=len(listed) - len(todo), read=0, faces=0)
    if not todo:
        return dict(counts)
    with _readers(settings, extraction) as photos, progress("photos", len(todo)) as advance:
        steps = (
            partial(_read_chunk, todo[start : start + settings.chunk_files], photos, extraction, score_new)
            for start in range(0, len(todo), settings.chunk_files)
        )
        for chunk in in_window(submit, steps, "read photos"):
            counts.update(_commit(chunk, extraction, keep_crops=keep_crops))
            advance(len(chunk.looked))
    return dict(counts)


def new_extraction(settings: PhotoSettings, workspace: Workspace, margin: float, crop_side: int) -> Extraction:
    """Raises NoDetector."""
    detector = detector_file(settings.detector, settings.detector_model, fetch=settings.fetch_detector)
    finding = finding_of(settings, detector, margin, crop_side)
    return Extraction(workspace, finding, Contents(workspace, finding.fingerprint()), new_run_id("photos"))


@contextmanager
def _readers(settings: PhotoSettings, extraction: Extraction) -> Iterator[Spread[Ask, Looked]]:
    with tempfile.TemporaryDirectory(prefix="faceline-") as folder:
        known = Path(folder) / "known.npy"
        np.save(known, extraction.contents.prefixes)
        with photo_workers(settings, extraction.finding, known) as photos:
            yield photos


def _read_chunk(
    files: list[Found], photos: Spread[Ask, Looked], extraction: Extraction, score_new: ScoreNew | None
) -> ReadChunk:
    looked = look_at(files, photos, extraction.contents)
    faces = extraction.new_faces(looked)
    return ReadChunk(looked, faces, score_new(faces) if score_new else None)


def _commit(chunk: ReadChunk, extraction: Extraction, *, keep_crops: bool) -> Counter[str]:
    """Commits a chunk. Chunks are read two at a time, so what the one before has committed since is left out."""
    workspace, contents = extraction.workspace, extraction.contents
    hashes = chunk.faces["file_hash"].unique().to_pylist()
    new = {file_hash for file_hash in hashes if contents.is_new(file_hash)}
    keep = pa.array([file_hash in new for file_hash in chunk.faces["file_hash"].to_pylist()], pa.bool_())
    faces = chunk.faces.filter(keep)
    workspace.append("faces", faces if keep_crops else without_crops(faces))
    if chunk.scores is not None:
        workspace.append("scores", chunk.scores.filter(keep))
    files = extraction.file_rows(chunk.looked)
    workspace.append("files", files)
    contents.remember([seen.file_hash for _, seen in chunk.looked if seen.file_hash])
    statuses = pl.Series(files["status"]).value_counts()
    return Counter(dict(statuses.iter_rows()) | {"read": files.num_rows, "faces": faces.num_rows})


def without_crops(faces: pa.Table) -> pa.Table:
    """The rows without their pictures, for those who may not keep faces."""
    for name in ("crop", "crop_hash"):
        index, field = faces.schema.get_field_index(name), faces.schema.field(name)
        faces = faces.set_column(index, field, pa.nulls(faces.num_rows, field.type))
    return faces
