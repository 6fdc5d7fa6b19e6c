"""The command line as a user starts it, each run in a session of its own, so that all of it can be killed at once."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.scorecard import SHARE

REPOSITORY = Path(__file__).parent.parent.parent
WITHOUT = os.environ.get("FACELINE_FAULT_WITHOUT", "")  # a guard of tests/faults/altered.py to take out of every run
LONGEST_S = 300 + 3600 * SHARE  # a run that takes longer hangs


@dataclass(frozen=True)
class Ended:
    """What a run left. `status` is negative where a signal ended it."""

    status: int
    out: str
    err: str
    seconds: float

    @property
    def counts(self) -> dict:
        """The JSON of the last line; empty where there is none."""
        return json.loads(self.out.splitlines()[-1]) if self.out.strip() else {}

    def problems(self) -> list[str]:
        """What no run may leave, whatever happened to it."""
        return ["a traceback"] if "Traceback" in self.err else []


@dataclass
class Run:
    """A run that was started. Its output goes to files: nobody need read pipes while it is watched or killed."""

    process: subprocess.Popen
    log: Path
    started: float = field(default_factory=time.monotonic)

    def kill_all(self) -> None:
        """SIGKILL to the whole process group, as a container that is stopped gets it; nothing where it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Fails when the run hangs."""
        try:
            status = self.process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            self.kill_all()
            self.process.wait()
            raise AssertionError(f"the run hung: it had not ended after {LONGEST_S} s") from None
        seconds = time.monotonic() - self.started
        out, err = (self.log.with_suffix(f".{name}").read_text(errors="replace") for name in ("out", "err"))
        return Ended(status, out, err, seconds)

    def processes(self) -> list[psutil.Process]:
        """Those of its session that are alive."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        """Its processes that read photos, once they have begun to."""
        others = [process for process in self.processes() if process.pid != self.process.pid]
        return [process for process in others if "spawn_main" in " ".join(_command(process))]


def start(
    log: Path,
    *arguments: object,
    altered: str = "",
    environment: dict[str, str] | None = None,
    prefix: tuple[str, ...] = (),
) -> Run:
    """Starts `faceline ARGUMENTS`, with something of tests/faults/altered.py where `altered` names it. `log` names the
    files for its output. `prefix` is a command that runs it, such as strace or prlimit."""
    changes = ",".join(name for name in (altered, WITHOUT) if name)
    module = "tests.faults.altered" if changes else "flows.cli"
    command = [*prefix, sys.executable, "-m", module, *map(str, arguments)]
    with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=os.environ | {"FACELINE_ALTERED": changes} | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    return Run(process, log)


def finish(log: Path, *arguments: object, **how: object) -> Ended:
    """Starts a run and waits for its end."""
    return start(log, *arguments, **how).wait()  # pyright: ignore[reportArgumentType]


def scoring(folder: Path, work: Path, model: Path | str, *options: object) -> list[object]:
    """The arguments that score a folder."""
    return ["score", folder, "--workspace", work, "--model", model, "--workers", 2, *options]


def left_over(run: Run, within_s: float = 5) -> int:
    """How many of its processes are still there so long after its end."""
    ends = time.monotonic() + within_s
    while (left := len(run.processes())) and time.monotonic() < ends:
        time.sleep(0.1)
    return left


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
