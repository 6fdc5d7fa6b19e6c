from pathlib import Path

from review.opened import as_they_are
from storage import queries
from storage.workspace import open_workspace
from tests.rows import content_hash, file_row, files, score_row, scores


def test_what_a_run_commits_is_seen_at_the_next_question(tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "workspace"))
    assert as_they_are(workspace).told(queries.sources) == []
    for number, folder in enumerate(("/a", "/b"), 1):
        workspace.append("files", files(file_row(f"{number}.jpg", source=folder)))
        workspace.append("scores", scores(score_row(f"{number}.jpg", model_hash="m" * 64)))
        assert len(as_they_are(workspace).told(queries.sources)) == number
        assert len(as_they_are(workspace).pool("m" * 64).faces) == number
    workspace.delete("scores", f"file_hash = '{content_hash('1.jpg')}'")
    assert len(as_they_are(workspace).pool("m" * 64).faces) == 1


def test_a_question_is_asked_once_as_long_as_nothing_is_committed(tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "workspace"))
    workspace.append("files", files(file_row("a.jpg")))
    first, second = as_they_are(workspace), as_they_are(workspace)
    assert first == second
    assert first.told(queries.status_counts) is second.told(queries.status_counts)
    assert first.told(queries.status_counts) is not second.told(queries.arrivals)
