"""`make bench-...` without more words runs on the data beside the repository, or says what to give."""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.model_times import accuracy, ratios
from storage.registry import shipped

ROOT = Path(__file__).parent.parent.parent


def made(*arguments: str) -> subprocess.CompletedProcess:
    """What make would run, which it only prints; not as a part of the make that may run these tests."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-n", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, env=alone, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("target", "command"),
    [
        (
            "bench-quality",
            "benchmarks.quality D/utkface/images D/utkface/labels.csv --split test "
            "--photos D/lfw/images D/lfw/labels.csv",
        ),
        ("bench-speed", "benchmarks.speed D/lfw/images"),
    ],
)
def test_a_benchmark_has_the_shared_data_to_run_on(target: str, command: str, tmp_path: Path) -> None:
    for name in ("utkface", "lfw"):
        (tmp_path / name / "images").mkdir(parents=True)
    done = made(target, f"DATA={tmp_path}")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0, f".venv/bin/python -m {command.replace('D/', f'{tmp_path}/')}",
    )  # fmt: skip
    assert made(target, "ARGS=mine").stdout.splitlines()[-1].endswith(" mine")


@pytest.mark.parametrize("target", ["bench-quality", "bench-speed"])
def test_a_benchmark_without_data_says_in_a_line_what_to_give(target: str) -> None:
    done = made(target, "DATA=/nowhere")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"give: make {target} ARGS=" in done.stderr


def test_the_default_folders_are_those_of_the_shared_data(shared: Path) -> None:
    words = made("bench-quality").stdout.split()
    assert [word for word in words if word.startswith("../shared") and not (ROOT / word).exists()] == []


def test_a_shipped_model_has_its_size_time_and_accuracy(model_file: Path) -> None:
    taken = ratios({"tiny": model_file.read_bytes()}, rounds=1, crops=2)["tiny"]
    assert taken["size_mb"] == pytest.approx(model_file.stat().st_size / 1e6)
    assert taken["ms_a_crop"] > 0
    assert accuracy("tiny") == {}
    assert accuracy("fast")["age_mae"] == shipped("fast").metrics()["test"]["overall"]["age_mae"]
