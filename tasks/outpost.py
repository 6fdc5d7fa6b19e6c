"""What a worker of a Dask or Ray cluster does: a chunk of file references comes, rows without pixels go back.

A worker reads the photos itself, lays the crops down in the workspace itself, and takes the model and the hashes of
known contents from there, so that what passes through the scheduler is a few hundred bytes a photo. It decodes in
processes of its own with the limits of a run on one machine, and keeps them and the model from chunk to chunk."""

import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from upath import UPath

from models.contract import Model
from models.session import Device, OnnxModel
from storage.choices import Finding
from storage.refusal import Refusal
from storage.scratch import scratch_folder
from storage.settings import PhotoSettings
from storage.workspace import Workspace, existing_workspace, write_whole
from tasks.chunk import ReadChunk, read_chunk, without_crops
from tasks.contents import Contents
from tasks.detect import detector_file
from tasks.extract import Extraction
from tasks.folder import Found
from tasks.quality import make_quality
from tasks.read import finding_of, photo_workers
from tasks.score import score_faces, score_stored_faces

logger = logging.getLogger(__name__)
_IDLE_S = 60  # without a chunk for so long, an outpost is given up: the run is over, or its driver was killed
Result = TypeVar("Result")
_KNOWN, _MODEL = "known.npy", "model.onnx"


class BadWorker(Refusal):
    """A worker of the cluster that would give other rows than the driver."""


@dataclass(frozen=True)
class Scoring:
    """The model that a run scores with."""

    content: bytes  # of its file: left behind when a job is sent, workers read it in the workspace
    model_hash: str
    version: str
    device: Device
    batch: int | None


@dataclass(frozen=True)
class Job:
    """What workers must know of a run. It goes along with every chunk, so it is small."""

    settings: PhotoSettings
    finding: Finding
    run_id: str
    cores: int  # that a worker may use
    keep_crops: bool
    scoring: Scoring | None


@contextmanager
def supplied(job: Job, extraction: Extraction) -> Iterator[Job]:
    """Lays in the workspace what each worker needs once, for as long as the run goes; what a killed run left goes too.
    Gives the job to send. Raises BadWorkspace."""
    workspace = extraction.workspace
    _clear(workspace)
    supplies = _supplies(workspace, job.run_id)
    supplies.mkdir(parents=True, exist_ok=True)
    array = BytesIO()
    np.save(array, extraction.contents.prefixes)
    write_whole(supplies / _KNOWN, array.getvalue())
    try:
        if job.scoring is None:
            yield job
        else:
            write_whole(supplies / _MODEL, job.scoring.content)
            yield replace(job, scoring=replace(job.scoring, content=b""))
    finally:
        _clear(workspace)


def read_there(files: Sequence[Found], job: Job) -> ReadChunk:
    """On a worker: reads and scores a chunk, and lays its crops down. Raises BadWorker and what reading raises."""
    with _manned(job) as outpost:
        return outpost.read(files)


def rescore_there(keys: pl.DataFrame, job: Job) -> pa.Table:
    """On a worker: rows of `scores` for those stored faces."""
    with _manned(job) as outpost:
        return outpost.rescore(keys)


def do(step: Callable[[], Result]) -> Result:
    """Ray sends functions, and a step is a partial one."""
    return step()


class Outpost:
    """The decoders and the model of one run in one worker process."""

    def __init__(self, job: Job) -> None:
        # A nanny starts Dask's workers as daemons, which may have no children, lest these outlive them; ours don't.
        multiprocessing.current_process().daemon = False
        self.busy = 0  # chunks that are being read
        self.rounds = 0  # chunks that were read
        self._job = job
        self._workspace = existing_workspace(job.settings.workspace)
        supplies = _supplies(self._workspace, job.run_id)
        _check_finding(job)
        self._model = _load(supplies, job)
        self._quality = make_quality()
        self._ends = ExitStack()
        known = self._ends.enter_context(scratch_folder()) / _KNOWN
        known.write_bytes((supplies / _KNOWN).read_bytes())
        contents = Contents(self._workspace, job.finding.fingerprints(), np.load(known, mmap_mode="r"))
        self._extraction = Extraction(self._workspace, job.finding, contents, job.run_id)
        settings = job.settings.model_copy(update={"workers": job.cores})
        self._photos = photo_workers(settings, job.finding, known, contents.tombstones)

    def read(self, files: Sequence[Found]) -> ReadChunk:
        score_new = None
        if self._model:
            score_new = partial(score_faces, model=self._model, quality=self._quality, run_id=self._job.run_id)
        chunk = read_chunk(files, self._photos, self._extraction, score_new)
        laid_down = None
        if self._job.keep_crops and chunk.faces.num_rows:
            laid_down = self._workspace.lay_down("faces", chunk.faces)
        return replace(chunk, faces=without_crops(chunk.faces), laid_down=laid_down)

    def rescore(self, keys: pl.DataFrame) -> pa.Table:
        assert self._model is not None
        return score_stored_faces(keys, self._extraction, self._model, self._quality)

    def close(self) -> None:
        self._photos.__exit__(None, None, None)
        self._ends.close()


# A cluster's worker process outlives its chunks, and gives a chunk no place to keep what the next one needs.
_outposts: dict[str, Outpost] = {}  # by run
_lock = threading.Lock()


@contextmanager
def _manned(job: Job) -> Iterator[Outpost]:
    with _lock:
        if job.run_id not in _outposts:
            _outposts[job.run_id] = Outpost(job)
        outpost = _outposts[job.run_id]
        outpost.busy += 1
    try:
        yield outpost
    finally:
        with _lock:
            outpost.busy -= 1
            outpost.rounds += 1
        timer = threading.Timer(_IDLE_S, _give_up_idle, (job.run_id, outpost.rounds))
        timer.daemon = True
        timer.start()


def _give_up_idle(run_id: str, rounds: int) -> None:
    with _lock:
        outpost = _outposts.get(run_id)
        if outpost is None or outpost.busy or outpost.rounds != rounds:
            return
        del _outposts[run_id]
    outpost.close()


def _check_finding(job: Job) -> None:
    settings = job.settings
    detector = detector_file(settings.detector, settings.detector_model, fetch=settings.fetch_detector)
    ours = finding_of(settings, detector, job.finding.margin, job.finding.crop_side)
    if ours != job.finding:
        raise BadWorker("a worker of the cluster has another version of Faceline, or another file of the detector")


def _load(supplies: UPath, job: Job) -> Model | None:
    if job.scoring is None:
        return None
    content, scoring = (supplies / _MODEL).read_bytes(), job.scoring
    model = OnnxModel(content, scoring.version, scoring.device, batch=scoring.batch, threads=job.cores)
    if model.hash != scoring.model_hash:
        raise BadWorker(f"{supplies / _MODEL}: not the model that this run began with; start it again")
    return model


def _supplies(workspace: Workspace, run_id: str) -> UPath:
    return _cluster_cache(workspace) / run_id


def _cluster_cache(workspace: Workspace) -> UPath:
    return workspace.root / "cache" / "cluster"


def _clear(workspace: Workspace) -> None:
    folder = _cluster_cache(workspace)
    for file in folder.rglob("*") if folder.exists() else []:
        if file.is_file():
            file.unlink()
