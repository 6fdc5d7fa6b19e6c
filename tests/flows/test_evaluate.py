"""`faceline evaluate`, on a workspace's labelled faces and on a table of answers: figures, files, and refusals."""

import json
from pathlib import Path

import polars as pl
import pytest

from flows.cli import run
from storage.workspace import Workspace
from tests.labelled import grey_faces

FILES = {"figures.json", "figures.parquet", "evaluation.html"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return grey_faces(str(tmp_path_factory.mktemp("work") / "workspace"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    ages = [float(age) for age in range(20, 60)]
    frame = pl.DataFrame({"true_age": ages, "age": [age + 2 for age in ages], "site": ["<b>x</b>", "y"] * 20})
    frame.write_csv(tmp_path / "answers.csv")
    return tmp_path / "answers.csv"


def last_line(capsys: pytest.CaptureFixture) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_workspace_keeps_its_evaluation(
    workspace: Workspace, model_file: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(["evaluate", "--workspace", str(workspace.root), "--model", str(model_file)]) == 0
    said = last_line(capsys)
    folder = Path(str(workspace.root)) / "evaluations" / "tiny-test"
    assert (said["report"], {file.name for file in folder.iterdir()}) == (str(folder), FILES)
    assert (said["overall"]["faces"], said["overall"]["gender_accuracy"], said["overall"]["cs5"]) == (30, 1, 1)
    assert said["overall"]["age_mae"] < 0.5  # the crops are JPEGs
    kept = json.loads((folder / "figures.json").read_text())
    assert {name: kept[name] for name in ("overall", "bands", "groups", "model", "split")} == {
        name: said[name] for name in ("overall", "bands", "groups", "model", "split")
    }
    assert pl.read_parquet(folder / "figures.parquet")["column"].unique().to_list().count("camera") == 1


def test_a_run_without_a_split_is_of_every_labelled_face(
    workspace: Workspace, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--workspace", str(workspace.root), "--model", str(model_file), "--report", str(tmp_path / "all")]
    assert run(["evaluate", *arguments, "--split", "None"]) == 0
    assert last_line(capsys)["overall"]["faces"] == 60
    assert {file.name for file in (tmp_path / "all").iterdir()} == FILES


def test_any_models_table_is_evaluated(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["evaluate", "--table", str(table), "--report", str(tmp_path / "report")]) == 0
    said = last_line(capsys)
    assert (said["model"], said["split"], said["overall"]["age_bias"], said["overall"]["cs5"]) == (
        "answers",
        None,
        2,
        1,
    )
    assert [(row["column"], row["group"], row["faces"]) for row in said["groups"]] == [
        ("site", "<b>x</b>", 20), ("site", "y", 20),
    ]  # fmt: skip
    assert "&lt;b&gt;x&lt;/b&gt;" in (tmp_path / "report" / "evaluation.html").read_text()


def test_a_table_needs_a_folder_for_its_report(table: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["evaluate", "--table", str(table)]) == 2
    assert "--report FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "missing.csv", "--report", "x"], "missing.csv: there is no such table"),
        (["--workspace", "nowhere"], "there is no workspace"),
    ],
)
def test_what_is_not_there_is_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_side_without_a_face_is_named(workspace: Workspace, model_file: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["--workspace", str(workspace.root), "--model", str(model_file), "--split", "train"]
    assert run(["evaluate", *arguments]) == 1
    assert "no labelled face on the train side" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["evaluate", "--table", str(table), "--report", str(table / "inside")]) == 1
    assert "can't be written there" in capsys.readouterr().err
