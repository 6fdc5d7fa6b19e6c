from pathlib import Path

import pytest

from storage.runs import run_history, training_runs
from storage.workspace import BadWorkspace, open_workspace


def test_a_run_without_metrics_is_listed_as_unfinished(tmp_path: Path) -> None:
    opened = open_workspace(str(tmp_path / "workspace"))
    folder = opened.runs / "train-1"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text('{"recipe": "classic", "targets": "age"}')
    [run] = training_runs(opened).to_dicts()
    assert (run["run"], run["finished"], run["recipe"], run["age_mae"]) == ("train-1", False, "classic", None)
    assert run_history(opened, "train-1") is None


def test_a_run_whose_notes_are_damaged_is_refused_by_name(tmp_path: Path) -> None:
    opened = open_workspace(str(tmp_path / "workspace"))
    (opened.runs / "train-1").mkdir(parents=True)
    (opened.runs / "train-1" / "settings.json").write_text("{")
    with pytest.raises(BadWorkspace, match=r"settings\.json"):
        training_runs(opened)


def test_a_history_that_is_damaged_is_refused_by_name(tmp_path: Path) -> None:
    opened = open_workspace(str(tmp_path / "workspace"))
    (opened.runs / "train-1").mkdir(parents=True)
    (opened.runs / "train-1" / "history.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(BadWorkspace, match=r"history\.parquet"):
        run_history(opened, "train-1")


def test_a_workspace_without_runs_lists_none(tmp_path: Path) -> None:
    assert training_runs(open_workspace(str(tmp_path / "empty"))).is_empty()
