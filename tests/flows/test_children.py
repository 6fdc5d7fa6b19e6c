"""Real processes that live and end together."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.children import ChildEnded, Children, children
from tests.patience import wait_for

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
# Starts a process in a session of its own, as a worker does with a run, writes down its number, and sleeps.
WORKER = """
import pathlib, subprocess, sys, time
run = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(run.pid))
time.sleep(600)
"""
# Has a child, writes down its number, and sleeps.
PARENT = """
import os, pathlib, sys, time
from flows.children import Children
processes = Children(pathlib.Path(sys.argv[1]), os.environ)
processes.start("child", [sys.executable, "-c", sys.argv[2], sys.argv[3]])
time.sleep(600)
"""
NOTER = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Children]:
    with children(tmp_path / "logs", os.environ) as started:
        yield started


def number_in(file: Path) -> int:
    wait_for(lambda: file.exists() and file.read_text() != "")
    return int(file.read_text())


def runs(process_id: int) -> bool:
    """A process that ended and was waited for by nobody (its parent is gone) may stand there as a zombie."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_worker_started_ends_with_it(tmp_path: Path) -> None:
    with children(tmp_path / "logs", os.environ) as processes:
        processes.start("server", SLEEPER)
        processes.start("worker", [sys.executable, "-c", WORKER, str(tmp_path / "run")])
        run = number_in(tmp_path / "run")
        assert runs(run)
    assert not runs(run)


def test_what_a_killed_worker_left_ends_too(tmp_path: Path) -> None:
    with children(tmp_path / "logs", os.environ) as processes:
        processes.start("server", SLEEPER)
        processes.start("worker", [sys.executable, "-c", WORKER, str(tmp_path / "run")])
        run = number_in(tmp_path / "run")
        os.kill(_parent(run), signal.SIGKILL)
        with pytest.raises(ChildEnded, match="worker ended with status -9"):
            processes.wait_until(lambda: False)
        assert runs(run)
    assert not runs(run)


def _parent(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_one_that_ends_is_told_with_the_end_of_its_log(processes: Children) -> None:
    processes.start("server", SLEEPER)
    processes.start("worker", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])
    with pytest.raises(ChildEnded, match=r"(?s)worker ended with status 3; the end of .*worker\.log:\nthe reason"):
        processes.wait_until(lambda: False)


def test_one_that_should_go_on_may_not_end_in_peace_either(processes: Children) -> None:
    processes.start("server", [sys.executable, "-c", ""])
    with pytest.raises(ChildEnded, match="server ended with status 0"):
        processes.wait_until(lambda: False)


def test_one_that_finishes_is_waited_for(processes: Children, tmp_path: Path) -> None:
    processes.start("server", SLEEPER)
    processes.finish("deploy", [sys.executable, "-c", f"open({str(tmp_path / 'done')!r}, 'w')"])
    assert (tmp_path / "done").exists()
    with pytest.raises(ChildEnded, match="deploy ended with status 1"):
        processes.finish("deploy", [sys.executable, "-c", "raise SystemExit(1)"])


def test_a_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    arguments = [str(tmp_path / "logs"), NOTER, str(tmp_path / "child")]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *arguments], cwd=Path(__file__).parent.parent.parent)
    child = number_in(tmp_path / "child")
    parent.kill()
    parent.wait()
    wait_for(lambda: not runs(child))
