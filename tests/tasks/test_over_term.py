from datetime import timedelta
from pathlib import Path

import pytest

from storage.values import FileStatus
from storage.workspace import Workspace, now, open_workspace
from tasks.over_term import over_term
from tests.rows import content_hash, face_row, faces, file_row, files

BEFORE = now() - timedelta(days=30)
OLD, NEW = BEFORE - timedelta(days=1), BEFORE + timedelta(days=1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def test_what_was_met_before_is_over_its_term(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("old", seen_at=OLD), file_row("new", seen_at=NEW)))
    assert over_term(workspace, BEFORE).contents == {content_hash("old")}


def test_a_content_that_came_again_has_its_term_anew(workspace: Workspace) -> None:
    again = file_row("copy of it", file_hash=content_hash("old"), seen_at=NEW)
    workspace.append("files", files(file_row("old", seen_at=OLD), again))
    assert over_term(workspace, BEFORE).contents == set()


def test_faces_that_a_killed_run_left_are_found_too(workspace: Workspace) -> None:
    workspace.append("faces", faces(face_row("left", extracted_at=OLD)))
    assert over_term(workspace, BEFORE).contents == {content_hash("left")}


def test_the_rows_of_files_that_were_never_read_have_a_term(workspace: Workspace) -> None:
    unread = {"status": FileStatus.UNREADABLE, "file_hash": None}
    rows = files(file_row("old.jpg", seen_at=OLD, **unread), file_row("new.jpg", seen_at=NEW, **unread))
    workspace.append("files", rows)
    assert {(row.source, row.path) for row in over_term(workspace, BEFORE).unread} == {("/photos", "old.jpg")}
