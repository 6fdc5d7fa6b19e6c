"""Checks that other tests are already: they are run, and stand in the scorecard with how many of their cases passed."""

import re
import subprocess
import sys

import pytest

from tests.faults.runs import REPOSITORY
from tests.faults.scorecard import Line

ELSEWHERE = {
    ("R03", "cut and damaged pictures of every format, through the decoder alone"): [
        "tests/tasks/test_decode.py -k cut_or_end_marker_or_lost_its_last_or_damaged_in"
    ],
    ("R06", "a pipe, an endless device, a folder that can't be listed"): [
        "tests/tasks/test_decode.py -k pipe_or_endless",
        "tests/tasks/test_folder.py -k listed_or_odd",
    ],
    ("R09", "workers that abort, spin, run out of memory, or are killed at random, through the pool alone"): [
        "tests/tasks/test_spread.py"
    ],
    ("R10", "SIGKILL between commits of a bare table; in `forget`"): [
        "tests/storage/test_ledger.py -k kills",
        "tests/flows/test_forget.py -k killed",
    ],
    ("R12", "a file limit and a full tmpfs under the tables alone"): [
        "tests/storage/test_workspace.py -k grow_or_full"
    ],
    ("R13", "a second writer is refused, a killed one holds nothing; two people review at once"): [
        "tests/storage/test_workspace.py -k second_run_or_holds_nothing",
        "tests/storage/test_reviews.py -k at_once",
    ],
    ("R14", "40 flipped bits in a table of made-up rows; each kind of table repaired"): [
        "tests/storage/test_repair.py -k flipped",
        "tests/tasks/test_score.py -k damaged_crop",
    ],
    ("R15", "first, middle and last commits, checkpoints and data files, each broken in every way"): [
        "tests/storage/test_repair.py -k damaged_or_lost_or_hint"
    ],
    ("R17", "the newest review is the one committed last"): ["tests/storage/test_reviews.py -k newest"],
    ("R21", "models of another contract, cut, or with weights elsewhere, through the session alone"): [
        "tests/models/test_session.py"
    ],
    ("R22", "training on a GPU that isn't there"): ["tests/models/test_fit.py -k gpu"],
    ("R23", "a loss that is no number; a damaged checkpoint; the best epoch is kept over a stop"): [
        "tests/models/test_fit.py -k no_number_or_damaged_or_stopped_or_best"
    ],
}


@pytest.mark.faults
@pytest.mark.parametrize(
    "tests", [pytest.param(tests, marks=pytest.mark.check(*key), id=key[0]) for key, tests in ELSEWHERE.items()]
)
def test_elsewhere(tests: list[str], line: Line) -> None:
    passed = failed = 0
    for each in tests:
        file, _, chosen = each.partition(" -k ")
        choice = ["-k", chosen.replace("_or_", " or ")] if chosen else []
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", file, *choice]
        said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout
        counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error)", said)}
        passed, failed = passed + counts.get("passed", 0), failed + counts.get("failed", 0) + counts.get("error", 0)
        line.want(passed > 0, f"no test of {each} ran")
    line.tried = passed + failed
    line.want(failed == 0, f"{failed} failed")
    files = sorted({each.split(" ")[0] for each in tests})
    line.notes.append(f"{passed} cases of {', '.join(files)}")
    assert line.holds(), line.verdict()
