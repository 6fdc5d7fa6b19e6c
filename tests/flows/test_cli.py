"""The command line's contract: exit status, one JSON object last on stdout, everything else on stderr."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from flows.cli import run
from flows.verbs import Faceline
from storage.registry import register
from storage.workspace import existing_workspace, open_workspace

NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def folder(tmp_path: Path, hopper: Path) -> Path:
    (tmp_path / "photos").mkdir()
    shutil.copy(hopper, tmp_path / "photos" / "3999_1906-12-09_1984.jpg")
    return tmp_path / "photos"


def test_the_last_line_is_one_json_object(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    status = run(["extract", str(folder), "--labels", "wiki", "--workspace", str(tmp_path / "work")])
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert (status, last["faces"], last["labels"]) == (0, 1, 1)


@pytest.mark.parametrize("command", sorted(Faceline.model_fields))
def test_help_says_what_each_command_is_for(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    purpose = " ".join((get_args(Faceline.model_fields[command].annotation)[0].__doc__ or "").split())
    assert ended.value.code == 0
    assert f" {command} {purpose} " in f"{said} "
    assert purpose


def test_predict_prints_a_line_a_photo(folder: Path, model_file: Path, capsys: pytest.CaptureFixture) -> None:
    photo = next(folder.iterdir())
    run(["predict", str(photo), str(folder / "missing.jpg"), "--model", str(model_file)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["status"], len(line["faces"])) for line in lines[:2]] == [("ok", 1), ("unreadable", 0)]
    assert (lines[0]["faces"][0]["rotation"], lines[0]["faces"][0]["too_small"]) == (0, False)


@pytest.mark.parametrize(("grey", "gender"), [(230, "female"), (128, "uncertain"), (25, "male")])
def test_predict_names_the_gender_that_it_is_sure_of(
    grey: int, gender: str, tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture
) -> None:
    Image.new("L", (200, 200), grey).save(tmp_path / "face.png")
    run(["predict", str(tmp_path / "face.png"), "--faces", "whole", "--model", str(model_file)])
    [face] = json.loads(capsys.readouterr().out.splitlines()[0])["faces"]
    assert face["female"] == pytest.approx(grey / 255, abs=0.01)
    assert face["gender"] == gender


def test_predict_gives_a_line_to_what_it_cannot_have(
    folder: Path, model_file: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(folder / "nowhere"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    unreachable = "s3://bucket/a.jpg"
    assert run(["predict", unreachable, str(folder), str(next(folder.iterdir())), "--model", str(model_file)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()][:3]
    assert [line["status"] for line in lines] == ["unreadable", "not_an_image", "ok"]
    assert lines[0]["detail"].startswith("s3://bucket/a.jpg: Unable to locate credentials")
    assert lines[1]["detail"] == "a folder; `faceline score` takes folders"


def test_predict_writes_names_as_the_tables_do(folder: Path, model_file: Path, capsys: pytest.CaptureFixture) -> None:
    names = [f"{NOT_UTF8} %FF.jpg", "Straße.jpg"]
    run(["predict", *(f"{folder}/{name}" for name in names), "--model", str(model_file)])
    printed = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["photo"] for line in printed[:2]] == [f"{folder}/caf%E9 %25FF.jpg", f"{folder}/Straße.jpg"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["score"], 2),
        (["score", "x", "--workers", "0"], 2),
        (["score", "x", "--no-such-option"], 2),
        (["score", "x", "--runner", "dask"], 2),
        (["evaluate", "--table", "x.csv"], 2),
        (["no-such-verb"], 2),
        (["models"], 2),
        (["extract", "no-such-folder"], 1),
        (["extract", ".", "--labels", "no-such-table.csv"], 1),
        (["extract", ".", "--detector", "yunet"], 1),
        (["score", ".", "--model", "no-such-model"], 1),
        (["train"], 1),
        (["export", "latest"], 1),
        (["evaluate"], 1),
        (["models", "list"], 1),
        (["models", "promote", "x"], 1),
        (["review"], 1),
    ],
)
def test_what_cannot_be_done_says_so_in_a_line(
    arguments: list[str], status: int, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        found = run(arguments)
    except SystemExit as exited:  # argparse ends by itself on words it doesn't know
        found = exited.code
    message = capfd.readouterr().err
    assert found == status
    assert "faceline" in message
    assert "Traceback" not in message
    assert "Value error" not in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", ""],
        ["extract", ".", ""],
        ["label", "", "--labels", "wiki"],
        ["predict", ""],
        ["forget", ""],
        ["score", ".", "--workspace", ""],
        ["predict", "photo.jpg", "--workspace="],
        ["demo", "--folder", ""],
    ],
)
def test_an_empty_name_is_not_the_current_folder(
    arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    assert run(arguments) == 2
    assert capsys.readouterr().err.endswith(": empty: is a variable not set?\n")
    assert [path.name for path in folder.iterdir()] == ["3999_1906-12-09_1984.jpg"]


def test_to_forget_nobody_is_wrong_usage(capsys: pytest.CaptureFixture) -> None:
    assert run(["forget"]) == 2
    assert "name photos, by path or SHA-256, or a person with --subject" in capsys.readouterr().err


def test_a_list_of_models_has_their_whole_names(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    workspace = open_workspace(str(tmp_path / "work"))
    version = register(workspace, model_file.read_bytes(), "# A card", {"test": {"overall": {"age_mae": 5.0}}})
    assert run(["models", "list", "--workspace", str(workspace.root)]) == 0
    assert version.name in capsys.readouterr().out


def test_the_workspace_is_no_folder_of_photos(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    work = str(tmp_path / "work")
    run(["extract", str(folder), "--workspace", work, "--workers", "1"])
    assert run(["extract", work, "--workspace", work]) == 1
    assert "is the workspace itself; give the folder that the photos are in" in capsys.readouterr().err


def test_a_table_that_labels_no_photo_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    work, labels = str(tmp_path / "work"), tmp_path / "labels.csv"
    run(["extract", str(folder), "--workspace", work, "--workers", "1"])
    labels.write_text("path,age\nsomebody.jpg,30\n")
    assert run(["label", str(folder), "--labels", str(labels), "--workspace", work]) == 1
    said = capsys.readouterr().err
    assert "faceline: table:labels.csv: no row is of a photo in those folders; rows: 1; photos: 1" in said
    labels.write_text("path,age\n3999_1906-12-09_1984.jpg,77\n")
    assert run(["label", str(folder), "--labels", str(labels), "--workspace", work]) == 0


@pytest.mark.parametrize(
    ("what_is_being_imported", "number", "status"),
    [("pydantic_core", signal.SIGINT, 130), ("numpy", signal.SIGINT, 130), ("pydantic_core", signal.SIGTERM, 143)],
)
def test_a_signal_during_the_imports_ends_a_command_in_a_line(
    what_is_being_imported: str, number: signal.Signals, status: int, folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-P", "-m", "flows.cli", "extract", str(folder), "--workspace", str(tmp_path / "work")]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while what_is_being_imported not in Path(f"/proc/{running.pid}/maps").read_text() and running.poll() is None:
        time.sleep(0.001)
    running.send_signal(number)
    printed, said = running.communicate(timeout=60)
    assert (running.returncode, printed, said) == (status, '{"interrupted": true}\n', "")


@pytest.mark.parametrize(
    ("arguments", "streams", "status", "said"),
    [
        (["models", "show", "pretrained"], "| true", 141, ""),
        (["models", "list"], "| true", 141, ""),
        (["--help"], "| true", 141, ""),
        (["models", "show", "pretrained"], "> /dev/full", 1, "faceline: what it prints could not be written"),
        (["--help"], "> /dev/full", 1, "faceline: what it prints could not be written"),
        (["models", "show", "pretrained"], "<&- >&-", 0, ""),
        (["models", "show", "pretrained"], "<&- >&- 2>&-", 0, ""),
        (["score", "nowhere"], ">&- 2>&-", 1, ""),
        (["score"], "2> /dev/full", 2, ""),
    ],
)
def test_an_output_that_takes_nothing_ends_a_command_quietly_or_in_a_line(
    arguments: list[str], streams: str, status: int, said: str, tmp_path: Path
) -> None:
    open_workspace(str(tmp_path / "work"))
    command = shlex.join([sys.executable, "-P", "-m", "flows.cli", *arguments])
    environment = os.environ | {"FACELINE_WORKSPACE": str(tmp_path / "work")}
    script = ["bash", "-c", f"{command} {streams}; exit ${{PIPESTATUS[0]}}"]
    ended = subprocess.run(script, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (status, "", 1 if said else 0)
    assert ended.stderr.startswith(said)


def test_a_card_is_read_and_printed_whatever_the_locale() -> None:
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-P", "-m", "flows.cli", "models", "show", "pretrained"]
    ended = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"to 5.14" in ended.stdout


@pytest.mark.parametrize("is_there", [True, False])
def test_what_can_be_refused_at_once_does_not_wait_for_tensorflow(is_there: bool, tmp_path: Path) -> None:
    if is_there:
        open_workspace(str(tmp_path / "work"))
    refused = (
        ["train"],
        ["train", "--trunk", "no-such-model"],
        ["train", "--trunk", "nowhere/vgg16.weights.h5"],
        ["train", "--resume", "train-nowhere"],
        ["export", "latest"],
        ["export", "train-nowhere"],
    )
    commands = [[*arguments, "--workspace", str(tmp_path / "work")] for arguments in refused]
    code = f"import sys; from flows.cli import run; print(*map(run, {commands}), 'tensorflow' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "1 1 1 1 1 1 False\n"
    assert ended.stderr.count("faceline: ") == len(refused)


@pytest.mark.slow
def test_doctor_says_which_devices_there_are_and_nothing_else(capfd: pytest.CaptureFixture) -> None:
    assert run(["doctor"]) == 0
    printed, said = capfd.readouterr()
    [line] = printed.splitlines()
    assert (json.loads(line)["cuda"] != "", json.loads(line)["tensorflow_gpus"].isdigit(), said) == (True, True, "")


def test_the_workspace_may_come_from_the_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACELINE_WORKSPACE", str(tmp_path / "elsewhere"))
    assert run(["extract", str(folder)]) == 0
    assert (tmp_path / "elsewhere" / "files").is_dir()


@pytest.mark.parametrize(
    "name", ["Holidays, 2020", "[old]", '"quoted"', "back\\slash", "line\nend", "true", " x ", NOT_UTF8]
)
def test_a_folder_may_have_any_name(name: str, folder: Path, tmp_path: Path) -> None:
    odd = folder.rename(tmp_path / name)
    assert run(["extract", str(odd), "--workspace", str(tmp_path / "work"), "--workers", "1"]) == 0
    assert existing_workspace(str(tmp_path / "work")).scan("files").collect()["status"].to_list() == ["ok"]


def test_a_mistyped_folder_makes_no_workspace(tmp_path: Path) -> None:
    assert run(["score", str(tmp_path / "nowhere"), "--workspace", str(tmp_path / "work")]) == 1
    assert list(tmp_path.iterdir()) == []


def test_every_verb_is_in_the_readme() -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    missing = [verb for verb in Faceline.model_fields if f"faceline {verb}" not in readme]
    assert missing == []
