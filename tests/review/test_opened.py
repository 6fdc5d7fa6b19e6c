from pathlib import Path

from review.opened import pool_here, told
from storage import queries
from storage.workspace import open_workspace
from tests.rows import content_hash, file_row, files, score_row, scores


def test_what_a_run_commits_is_seen_at_the_next_question(tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "workspace"))
    assert told(queries.sources, workspace) == []
    for number, folder in enumerate(("/a", "/b"), 1):
        workspace.append("files", files(file_row(f"{number}.jpg", source=folder)))
        workspace.append("scores", scores(score_row(f"{number}.jpg", model_hash="m" * 64)))
        assert len(told(queries.sources, workspace)) == number
        assert len(pool_here(workspace, "m" * 64).faces) == number
    workspace.delete("scores", f"file_hash = '{content_hash('1.jpg')}'")
    assert len(pool_here(workspace, "m" * 64).faces) == 1


def test_a_question_is_asked_once_as_long_as_nothing_is_committed(tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "workspace"))
    workspace.append("files", files(file_row("a.jpg")))
    assert told(queries.status_counts, workspace) is told(queries.status_counts, workspace)
    assert told(queries.status_counts, workspace) is not told(queries.arrivals, workspace)
