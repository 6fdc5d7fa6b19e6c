"""Another process that holds a workspace, wherever that is."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REPOSITORY = Path(__file__).parent.parent
_HOLDER = """
import sys, time
from storage.workspace import open_workspace
with open_workspace(sys.argv[1]).only_writer():
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_elsewhere(url: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", _HOLDER, url]
    process = subprocess.Popen(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
