"""What the speed tables stand on: whole processes measured, and photos that are the same to look at."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.measured import measured
from benchmarks.speed import Bench, copies_of, table_of

EATER = "import sys, time; held = bytearray(80_000_000); sys.stdin.read(); time.sleep(1); print('done')"


def test_a_commands_time_and_memory_are_measured() -> None:
    took = measured([sys.executable, "-c", EATER])
    assert took.said == "done\n"
    assert took.seconds >= 1
    assert 80 < took.peak_mb < 200


def test_files_are_given_on_stdin(tmp_path: Path) -> None:
    took = measured([sys.executable, "-c", "import json, sys; print(json.load(sys.stdin))"], [tmp_path / "a.jpg"])
    assert took.said == f"{[str(tmp_path / 'a.jpg')]}\n"


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        measured([sys.executable, "-c", "raise SystemExit(3)"])


def test_copies_look_the_same_and_are_other_files(hopper: Path, tmp_path: Path) -> None:
    copies = copies_of([hopper], 3, tmp_path)
    assert len({copy.read_bytes() for copy in copies}) == 3
    pixels = [np.asarray(Image.open(file)) for file in [hopper, *copies]]
    assert all(np.array_equal(pixels[0], each) for each in pixels[1:])


def test_both_sides_run_in_turns(tmp_path: Path) -> None:
    order: list[str] = []
    sides = {name: lambda name=name: float(len(order.append(name) or order)) for name in ("ours", "theirs")}
    found = Bench([], 2, tmp_path, "pretrained").in_turns(sides)
    assert order == ["ours", "theirs"] * 2
    assert found == {"ours": [1, 3], "theirs": [2, 4]}


@pytest.mark.parametrize(("bar", "verdict"), [(3.0, "met"), (3.1, "missed")])
def test_the_ratio_is_of_medians_and_held_against_the_bar(bar: float, verdict: str) -> None:
    lines = list(table_of("photos a second", {"ours": [8, 9, 100], "theirs": [3, 3, 1]}, "ours", bar))
    assert lines[1] == "| ours | 9.00 | 8.00 to 100.00 |"
    assert lines[-1] == f"ratio 3.00, bar {bar:g}: {verdict}\n"
