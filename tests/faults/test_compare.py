"""The comparison finds each kind of difference, and none where there is none: all of the scorecard stands on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.workspace import Workspace, open_workspace
from tests.faults.compare import Difference, compare, only, rows_in
from tests.rows import face_row, faces, file_row, files, score_row, scores

NAMES = ("a.jpg", "b.jpg", "c.jpg")


def filled(folder: Path, names: tuple[str, ...] = NAMES) -> Workspace:
    workspace = open_workspace(str(folder))
    workspace.append("faces", faces(*map(face_row, names)))
    workspace.append("scores", scores(*map(score_row, names)))
    workspace.append("files", files(*map(file_row, names), file_row("text.txt", file_hash=None, status="unreadable")))
    return workspace


def add_face(workspace: Workspace) -> None:
    workspace.append("faces", faces(face_row("a.jpg")))


def add_unknown(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("d.jpg")))


def add_unread(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("text.txt", file_hash=None, status="unreadable")))


def drop_score(workspace: Workspace) -> None:
    workspace.delete("scores", "age > 0 AND file_hash = '" + score_row("b.jpg")["file_hash"] + "'")


def other_age(workspace: Workspace) -> None:
    drop_score(workspace)
    workspace.append("scores", scores(score_row("b.jpg", age=30.01)))


def same_age(workspace: Workspace) -> None:
    drop_score(workspace)
    workspace.append("scores", scores(score_row("b.jpg", age=30.00001)))


def other_crop(workspace: Workspace) -> None:
    """Its column still says the hash of the old one."""
    workspace.delete("faces", "file_hash = '" + face_row("c.jpg")["file_hash"] + "'")
    workspace.append("faces", faces(face_row("c.jpg") | {"crop": b"another"}))


def other_status(workspace: Workspace) -> None:
    workspace.delete("files", "path = 'a.jpg'")
    workspace.append("files", files(file_row("a.jpg", status="truncated")))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda workspace: None, Difference()),
        (add_face, Difference(doubled=1)),
        (add_unread, Difference(doubled=1)),
        (add_unknown, Difference(wrong=1)),
        (drop_score, Difference(lost=1)),
        (other_age, Difference(wrong=1)),
        (same_age, Difference()),
        (other_crop, Difference(wrong=1)),
        (other_status, Difference(wrong=1)),
    ],
)
def test_a_difference_is_counted_by_its_kind(
    change: Callable[[Workspace], None], difference: Difference, tmp_path: Path
) -> None:
    filled(tmp_path / "reference")
    change(filled(tmp_path / "found"))
    assert compare(rows_in(tmp_path / "reference"), rows_in(tmp_path / "found")) == difference


def test_nothing_at_all_is_everything_lost(tmp_path: Path) -> None:
    filled(tmp_path / "reference")
    open_workspace(str(tmp_path / "found"))
    assert compare(rows_in(tmp_path / "reference"), rows_in(tmp_path / "found")) == Difference(lost=10)


def test_some_files_can_be_compared_alone(tmp_path: Path) -> None:
    filled(tmp_path / "reference", ("a.jpg", "b.jpg"))
    filled(tmp_path / "found")
    good = {"a.jpg", "b.jpg", "text.txt"}
    assert not compare(rows_in(tmp_path / "reference"), only(rows_in(tmp_path / "found"), good))
    assert compare(rows_in(tmp_path / "reference"), rows_in(tmp_path / "found")).wrong == 3
