"""Processes that live and end together: servers and workers of one command, each with a log file of its own."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.refusal import ManyLines

_PR_SET_PDEATHSIG = 1
_MARK = "FACELINE_CHILD_OF"
_PATIENCE_S = 40  # with runs, with those that start and watch them, and with the server
_LOOK_EVERY_S = 0.5
_LINES_SHOWN = 15


class ChildEnded(ManyLines):
    """A process ended that should have gone on; the message has the last lines of its log."""


class Children:
    """The processes of one command. Their environment bears a mark, by which those are found that a killed worker
    leaves behind."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment) | {_MARK: os.urandom(8).hex()}
        self._mark = f"{_MARK}={self._environment[_MARK]}".encode()
        self._running: dict[str, subprocess.Popen] = {}
        self._lasting: set[str] = set()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Runs a command for as long as this process goes on."""
        self._launch(name, command)
        self._lasting.add(name)

    def finish(self, name: str, command: Sequence[str]) -> None:
        """Runs a command that ends by itself. Raises ChildEnded when it fails, or another one ends."""
        self._launch(name, command)
        self.wait_until(lambda: self._running[name].poll() == 0)
        del self._running[name]

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Raises ChildEnded when a process ends that shouldn't, or fails."""
        while not ready():
            for name, process in self._running.items():
                if process.poll() or (process.returncode == 0 and name in self._lasting):
                    raise self._ended(name)
            time.sleep(_LOOK_EVERY_S)

    def end(self) -> None:
        """Ends all: the runs before their workers, so that each can say that it ended, and the process that was started
        first after the others, which report to it."""
        self._end_runs()
        first, others = list(self._running.values())[:1], list(self._running.values())[1:]
        for group in (others, first):
            for process in group:
                process.terminate()
            _wait_for(lambda: all(process.poll() is not None for process in group))  # noqa: B023  it ends in here
            for process in group:
                process.kill()
                process.wait()
        for process_id in self._marked():
            _send(process_id, signal.SIGKILL)

    def _end_runs(self) -> None:
        asked: set[int] = set()

        def none_is_left() -> bool:
            runs = set(self._runs())
            for run in runs - asked:
                _send(run, signal.SIGTERM)
            asked.update(runs)
            return not runs

        _wait_for(none_is_left)

    def _launch(self, name: str, command: Sequence[str]) -> None:
        """In a session of its own: Ctrl-C reaches only this process, which ends the others in order."""
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  this process has no other thread
            )

    def _runs(self) -> list[int]:
        """What the processes started in sessions of their own, as a Prefect worker does with each flow run."""
        ours = {process.pid for process in self._running.values()}
        return [each for each in self._marked() if each not in ours and _leads_its_session(each)]

    def _marked(self) -> list[int]:
        """The processes with our mark in their environment. Elsewhere than on Linux they aren't found: a run whose
        worker was killed goes on there until it misses the server."""
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # gone, or somebody else's
                if self._mark in environ.read_bytes().split(b"\0"):
                    found.append(int(environ.parent.name))
        return found

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _ended(self, name: str) -> ChildEnded:
        log, status = self._log(name), self._running[name].returncode
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES_SHOWN:]
        return ChildEnded("\n".join([f"{name} ended with status {status}; the end of {log}:", *last]))


@contextmanager
def children(logs: Path, environment: Mapping[str, str]) -> Iterator[Children]:
    """Ends all of them on leaving, whatever the reason; further signals can't stop that."""
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    started = Children(logs, environment)
    try:
        yield started
    finally:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        started.end()
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for(ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not ended() and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)


def _leads_its_session(process_id: int) -> bool:
    try:
        return os.getsid(process_id) == process_id
    except ProcessLookupError:
        return False


def _send(process_id: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process_id, number)


def _end_with_parent() -> None:
    """Between fork and exec: asks the kernel to end this process with its parent, should that be killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
