"""What the first page asks is read before anybody visits."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from review import ahead
from review.opened import as_they_are
from storage.workspace import Workspace, open_workspace
from tests.rows import file_row, files

_PAGE = """
if __name__ == "__main__":
    from review.app import main

    main([{root!r}, "--read-only"])
"""


class _Enough(Exception):
    pass


def test_what_a_run_left_is_read_once_it_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = open_workspace(str(tmp_path / "workspace"))
    commits = iter(["a run commits", "it commits again", "for the last time", None, None])
    read = []

    def look_away(_seconds: float) -> None:
        read_by_now.append(len(read))
        commit = next(commits, "no more")
        if commit == "no more":
            raise _Enough
        if commit:
            workspace.append("files", files(file_row(f"{commit}.jpg")))

    read_by_now: list[int] = []
    monkeypatch.setattr(ahead, "sleep", look_away)
    monkeypatch.setattr(ahead, "read_ahead", read.append)
    with pytest.raises(_Enough):
        ahead._keep_reading(str(workspace.root))
    assert read_by_now == [1, 1, 1, 1, 2, 2]
    assert read[-1] == as_they_are(workspace)


@pytest.mark.slow
def test_the_first_page_asks_nothing_more_of_the_tables(scored: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead._read(as_they_are(scored))

    def asked(_workspace: Workspace, table: str) -> None:
        raise AssertionError(f"{table} was read for a visitor")

    monkeypatch.setattr(Workspace, "scan", asked)
    app = AppTest.from_string(_PAGE.format(root=str(scored.root)), default_timeout=60).run()
    assert not app.exception
    assert [metric.value for metric in app.metric if metric.label == "Files"] == ["5"]


def test_a_workspace_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    assert ahead._as_they_are(str(tmp_path / "none")) is None
