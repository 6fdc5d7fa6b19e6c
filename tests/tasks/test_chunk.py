"""Reading a chunk and scoring it overlap with those of the next."""

import threading
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from flows.extraction import new_extraction, reader_here
from flows.steps import in_window, threads
from storage.schemas import SCORES
from storage.settings import ExtractSettings
from storage.workspace import open_workspace
from tasks.folder import list_files

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_decoders_read_the_next_chunk_while_a_slow_model_is_busy_with_the_last(
    hopper: Path, collins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place of a GPU stands a model that takes until the other chunk was read: for ever, were one waiting for
    the other."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    both_read = threading.Barrier(2, timeout=60)

    def slow_model_without_a_gpu(faces: pa.Table) -> pa.Table:
        both_read.wait()
        return SCORES.empty_table()

    settings = ExtractSettings(folders=["."], workers=1)
    extraction = new_extraction(settings, open_workspace(str(tmp_path / "work")), 0.03, 128)
    files = [[each for each in list_files(str(photo.parent)) if each.path == photo.name] for photo in (hopper, collins)]
    with reader_here(settings, extraction, slow_model_without_a_gpu) as read, threads() as crew:
        chunks = list(in_window(crew, [partial(read, one) for one in files], "read"))
    assert [chunk.faces.num_rows for chunk in chunks] == [1, 1]
