"""What goes to a cluster's worker and what comes back is small and without a pixel; what it keeps, it gives up."""

import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from flows.extraction import new_extraction
from models.session import OnnxModel
from storage.settings import ScoreSettings
from storage.workspace import Workspace, open_workspace
from tasks import outpost
from tasks.chunk import commit_chunk
from tasks.extract import Extraction
from tasks.folder import Found, list_files
from tasks.outpost import BadWorker, Job, Scoring, read_there, supplied
from tests.patience import wait_for

REPOSITORY = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow
JPEG = b"\xff\xd8\xff"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "work"))


@pytest.fixture
def extraction(workspace: Workspace, hopper: Path) -> Extraction:
    return new_extraction(settings_of(workspace, hopper), workspace, 0.03, 128)


@pytest.fixture
def job(workspace: Workspace, extraction: Extraction, hopper: Path, model_file: Path) -> Iterator[Job]:
    content = model_file.read_bytes()
    scoring = Scoring(content, OnnxModel(content, "tiny", "cpu").hash, "tiny", "cpu", 64)
    sys.path.insert(0, str(REPOSITORY))  # for the processes that are started, as pytest doesn't
    settings = settings_of(workspace, hopper)
    with supplied(Job(settings, extraction.finding, extraction.run_id, 1, True, scoring), extraction) as sent:
        yield sent
    sys.path.remove(str(REPOSITORY))


def settings_of(workspace: Workspace, photo: Path) -> ScoreSettings:
    return ScoreSettings(folders=[str(photo.parent)], workspace=str(workspace.root))


def photo_of(hopper: Path) -> list[Found]:
    return [found for found in list_files(str(hopper.parent)) if found.path == hopper.name]


def test_no_pixel_goes_there_or_comes_back(job: Job, hopper: Path, workspace: Workspace) -> None:
    files = photo_of(hopper)
    sent, back = pickle.dumps((files, job)), pickle.dumps(read_there(files, job))
    assert JPEG not in sent + back
    assert max(len(sent), len(back)) < 8_000
    assert [file.suffix for file in Path(str(workspace.root), "faces").iterdir()] == [".parquet"]


def test_nothing_is_in_the_tables_until_the_driver_commits_and_then_once(
    job: Job, hopper: Path, extraction: Extraction
) -> None:
    """The second answer is that of a worker that was given up too early."""
    chunks = [read_there(photo_of(hopper), job) for _ in range(2)]
    assert extraction.workspace.scan("faces").collect().is_empty()
    for chunk in chunks:
        commit_chunk(chunk, extraction, keep_crops=True)
    faces = extraction.workspace.scan("faces").collect()
    assert len(faces) == 1
    assert faces["crop"][0].startswith(JPEG)
    assert len(extraction.workspace.scan("scores").collect()) == 1


def test_of_a_chunk_that_is_partly_known_only_the_rest_is_committed(
    job: Job, hopper: Path, collins: Path, extraction: Extraction
) -> None:
    both = [*photo_of(hopper), *photo_of(collins)]
    chunks = [read_there(photo_of(hopper), job), read_there(both, job)]
    counts = [commit_chunk(chunk, extraction, keep_crops=True)["faces"] for chunk in chunks]
    assert counts == [1, 1]
    assert extraction.workspace.scan("faces").select(pl.col("crop_hash").n_unique()).collect().item() == 2


def test_a_worker_of_another_version_is_refused(job: Job, hopper: Path) -> None:
    other = replace(job, run_id=job.run_id, finding=job.finding.model_copy(update={"stage_version": 99}))
    with pytest.raises(BadWorker, match="another version"):
        read_there(photo_of(hopper), other)


def test_what_a_run_laid_out_is_gone_after_it(workspace: Workspace, extraction: Extraction, hopper: Path) -> None:
    left = Path(str(workspace.root)) / "cache" / "cluster" / "of-a-killed-run" / "model.onnx"
    left.parent.mkdir(parents=True)
    left.touch()
    with supplied(
        Job(settings_of(workspace, hopper), extraction.finding, extraction.run_id, 1, True, None), extraction
    ):
        laid_out = [file.name for file in (left.parent.parent).rglob("*") if file.is_file()]
    assert laid_out == ["known.npy"]
    assert not any(file.is_file() for file in (left.parent.parent).rglob("*"))


def test_an_idle_outpost_ends_its_processes(job: Job, hopper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outpost, "_IDLE_S", 0.1)
    read_there(photo_of(hopper), job)
    kept = outpost._outposts.get(job.run_id)
    wait_for(lambda: job.run_id not in outpost._outposts)
    assert kept is not None
    with pytest.raises(RuntimeError, match="was left"):
        kept.read(photo_of(hopper))
