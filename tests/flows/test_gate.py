"""Two models on the same faces, and the gate: only a better one becomes champion, unless somebody says why not."""

import getpass
import json
from pathlib import Path

import polars as pl
import pytest

from flows.cli import run
from storage.forgotten import read_tombstones, write_tombstones
from storage.registry import champion, promote, register
from storage.trained_on import note_trained_on
from storage.workspace import Workspace
from tests.labelled import grey_faces
from tests.rows import content_hash
from tests.tiny_model import tiny_model

EXACT, OFF, FAR_OFF = 4, 4.5, 6  # levels of grey a year; the faces have 4


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return grey_faces(str(tmp_path / "workspace"))


def registered(workspace: Workspace, levels: float, folder: Path) -> str:
    content = tiny_model(folder / f"{levels}.onnx", levels_a_year=levels).read_bytes()
    return register(workspace, content, "# card", {}).name


def last_line(capsys: pytest.CaptureFixture) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def log_of(workspace: Workspace) -> list[dict]:
    return [json.loads(line) for line in (workspace.registry / "log.jsonl").read_text().splitlines()]


def champion_name(workspace: Workspace) -> str:
    found = champion(workspace)
    assert found is not None
    return found.name


def test_a_comparison_is_a_table_and_a_json_line(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    off, exact = (registered(workspace, levels, tmp_path) for levels in (OFF, EXACT))
    assert run(["models", "compare", off, exact, "--workspace", str(workspace.root)]) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    said = json.loads(printed[-1])
    assert (said["before"], said["after"], said["split"], said["worse"]) == (off, exact, "test", [])
    assert said["changes"]["age_mae"]["verdict"] == "better"
    assert said["changes"]["gender_accuracy"]["change"] == 0
    assert any("age MAE" in line and "better" in line for line in printed[:-1])


def test_two_tables_are_compared_without_a_workspace(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ages = [float(age) for age in range(20, 60)]
    frame = pl.DataFrame({"path": [f"{age}.jpg" for age in ages], "true_age": ages, "site": ["x", "y"] * 20})
    frame.with_columns(age=pl.col("true_age") + pl.Series([1.0, 2.0] * 20)).write_csv("before.csv")
    frame.with_columns(age=pl.col("true_age") + pl.Series([2.0, 1.0] * 20)).reverse().write_parquet("after.parquet")
    assert run(["models", "compare", "before.csv", "after.parquet"]) == 0
    said = last_line(capsys)
    assert (said["before"], said["after"], said["split"]) == ("before.csv", "after.parquet", None)
    assert said["changes"]["age_mae"]["change"] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"before.csv", "after.parquet"}


def test_a_table_is_not_compared_with_a_model(capsys: pytest.CaptureFixture) -> None:
    assert run(["models", "compare", "before.csv", "pretrained"]) == 2
    assert "one is a table and the other a model" in capsys.readouterr().err


def test_groups_that_fare_worse_are_a_warning(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    exact, off = (registered(workspace, levels, tmp_path) for levels in (EXACT, OFF))
    assert run(["models", "compare", exact, off, "--workspace", str(workspace.root), "--split", "None"]) == 0
    worse = last_line(capsys)["worse"]
    assert any(line.startswith("camera a: age MAE, years: +") for line in worse)
    assert f"camera a is worse with {off}" in caplog.text


def test_a_better_model_takes_over_and_the_log_says_who_and_why(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    off, exact = (registered(workspace, levels, tmp_path) for levels in (OFF, EXACT))
    promote(workspace, off, "the first")
    assert run(["models", "promote", exact, "--workspace", str(workspace.root)]) == 0
    assert (last_line(capsys)["before"], champion_name(workspace)) == (off, exact)
    entry = log_of(workspace)[-1]
    assert (entry["by"], entry["promoted"]) == (getpass.getuser(), exact)
    assert entry["reason"].startswith(f"better than {off}. On the same 30 faces: age MAE, years: -")


def test_the_latest_is_promoted_under_its_own_name(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    off, exact = (registered(workspace, levels, tmp_path) for levels in (OFF, EXACT))
    promote(workspace, off, "the first")
    assert run(["models", "promote", "latest", "--workspace", str(workspace.root)]) == 0
    assert (last_line(capsys)["champion"], champion_name(workspace)) == (exact, exact)


def test_a_worse_model_stays_out_and_the_message_has_the_interval(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    exact, far_off = (registered(workspace, levels, tmp_path) for levels in (EXACT, FAR_OFF))
    promote(workspace, exact, "the first")
    assert run(["models", "promote", far_off, "--workspace", str(workspace.root)]) == 1
    message = capsys.readouterr().err
    assert f"{far_off} stays out: its age MAE is worse" in message
    assert "(95 % interval +" in message
    assert (champion_name(workspace), len(log_of(workspace))) == (exact, 1)


def test_a_reason_promotes_it_anyway_and_is_kept_with_the_name(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    _, far_off = (registered(workspace, levels, tmp_path) for levels in (EXACT, FAR_OFF))
    assert (
        run(["models", "promote", far_off, "--force", "the labels are wrong", "--workspace", str(workspace.root)]) == 0
    )
    entry = log_of(workspace)[-1]
    assert (champion_name(workspace), entry["reason"], entry["by"]) == (
        far_off, "forced: the labels are wrong", getpass.getuser(),
    )  # fmt: skip


@pytest.mark.parametrize("blank", ["", "   "])
def test_a_blank_reason_promotes_nothing(
    blank: str, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    far_off = registered(workspace, FAR_OFF, tmp_path)
    assert run(["models", "promote", far_off, "--force", blank, "--workspace", str(workspace.root)]) == 2
    assert capsys.readouterr().err == "faceline: promote force: blank: say why, for the registry's log\n"
    assert champion(workspace) is None


def test_models_without_test_faces_are_not_compared(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture
) -> None:
    workspace = grey_faces(str(tmp_path / "one"), count=1)
    assert run(["models", "compare", str(model_file), str(model_file), "--workspace", str(workspace.root)]) == 1
    assert "no labelled face on the test side" in capsys.readouterr().err


def learnt_from(workspace: Workspace, version: str, test_faces: range) -> None:
    """Notes the photos of those test faces, by their order, as what the version was trained on."""
    note_trained_on(workspace, workspace.registry / version, [content_hash(f"{2 * i + 1}.jpg") for i in test_faces])


def test_test_faces_that_either_model_learnt_from_are_left_out(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    off, exact = (registered(workspace, levels, tmp_path) for levels in (OFF, EXACT))
    learnt_from(workspace, off, range(2))
    learnt_from(workspace, exact, range(1, 4))
    promote(workspace, off, "the first")
    assert run(["models", "promote", exact, "--workspace", str(workspace.root)]) == 0
    assert "On the same 26 faces" in log_of(workspace)[-1]["reason"]
    assert f"4 of 30 test faces are left out: {off} or {exact} learnt from them" in caplog.text


def test_faces_of_a_photo_on_the_list_by_its_mark_alone_are_left_out(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    off, exact = (registered(workspace, levels, tmp_path) for levels in (OFF, EXACT))
    write_tombstones(workspace, read_tombstones(workspace).with_contents([content_hash("1.jpg")]))
    learnt_from(workspace, exact, range(3))
    listed = (workspace.registry / exact / "trained_on.parquet").read_bytes()
    assert content_hash("1.jpg").encode() not in listed
    assert run(["models", "compare", off, exact, "--workspace", str(workspace.root)]) == 0
    assert "the same 27 test faces" in capsys.readouterr().out


def test_models_that_know_most_test_faces_are_not_compared(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    off, exact = (registered(workspace, levels, tmp_path) for levels in (OFF, EXACT))
    learnt_from(workspace, exact, range(11))
    promote(workspace, off, "the first")
    assert run(["models", "promote", exact, "--workspace", str(workspace.root)]) == 1
    assert "11 of 30 test faces are of photos that one of them learnt from, and 19 are left" in capsys.readouterr().err
    assert champion_name(workspace) == off
