"""What processes leave in the temporary folder, and that the next one deletes it."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from storage import scratch
from storage.scratch import delete_left_over, scratch_folder

_HOLD = """
import time
from storage.scratch import scratch_folder

with scratch_folder() as folder:
    (folder / "hashes").write_text("of photos")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_YOUNG_S", -1)
    return tmp_path


def test_a_folder_ends_with_its_use(temporary: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == temporary
        (folder / "more").mkdir()
        delete_left_over()
        assert (folder / "more").exists()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_deleted_and_a_living_ones_is_not(temporary: Path) -> None:
    other_peoples = temporary / "faceline-notes"
    other_peoples.mkdir()
    with subprocess.Popen([sys.executable, "-c", _HOLD], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            held = Path(holder.stdout.readline().strip())
            with scratch_folder():
                assert (held / "hashes").exists()
        finally:
            os.kill(holder.pid, signal.SIGKILL)
    assert (held / "hashes").exists()
    delete_left_over()
    assert list(temporary.iterdir()) == [other_peoples]
