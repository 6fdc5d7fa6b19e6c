"""The alterations alter what is there: one that names something renamed would make a check of a guard worthless.
Each is applied in a process of its own, forked from one that has imported the modules."""

import subprocess
import sys

import pytest

from tests.faults.altered import ALTERATIONS, _replace
from tests.faults.runs import REPOSITORY

EACH_IN_A_FORK = """
import os
import flows.scoring
from tests.faults.altered import ALTERATIONS
for name, alteration in ALTERATIONS.items():
    if not (child := os.fork()):
        alteration()
        os._exit(0)
    print(name, os.waitpid(child, 0)[1], flush=True)
"""


def test_every_alteration_applies() -> None:
    command = [sys.executable, "-c", EACH_IN_A_FORK]
    done = subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True)
    assert set(done.stdout.splitlines()) == {f"{name} 0" for name in ALTERATIONS}, done.stderr


def test_what_is_not_there_is_not_replaced() -> None:
    with pytest.raises(AssertionError, match="has no no_such_name"):
        _replace(subprocess, "no_such_name", None)
