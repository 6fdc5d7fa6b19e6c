"""A folder that is being filled while it is scored: what is still written waits for the next run, and is counted."""

import os
import shutil
from pathlib import Path

import pytest

from flows.scoring import score_folders
from flows.steps import threads
from storage.settings import ScoreSettings
from storage.workspace import existing_workspace

AN_HOUR_S = 3600


@pytest.fixture
def inbox(tmp_path: Path, hopper: Path, coffee: Path) -> Path:
    """A photo that has been there for an hour, and one of which half has arrived."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    shutil.copy(coffee, folder / "coffee.png")
    _age(folder / "coffee.png")
    content = hopper.read_bytes()
    (folder / "hopper.jpg").write_bytes(content[: len(content) // 2])
    return folder


def _age(file: Path) -> None:
    before = file.stat().st_mtime - AN_HOUR_S
    os.utime(file, (before, before))


@pytest.mark.slow
def test_a_growing_file_waits_for_the_next_run_and_then_is_read_whole(
    inbox: Path, tmp_path: Path, hopper: Path, model_file: Path
) -> None:
    settings = ScoreSettings(
        folders=[str(inbox)], workspace=str(tmp_path / "work"), model=str(model_file), workers=1, settle_s=60
    )
    with threads() as submit:
        first = score_folders(settings, submit)
        shutil.copy(hopper, inbox / "hopper.jpg")
        _age(inbox / "hopper.jpg")
        second = score_folders(settings, submit)
    assert [(run["files"], run["read"], run["left_growing"]) for run in (first, second)] == [(2, 1, 1), (2, 1, 0)]
    rows = existing_workspace(settings.workspace).scan("files").select("path", "status").collect()
    assert rows.sort("path").rows() == [("coffee.png", "ok"), ("hopper.jpg", "ok")]
