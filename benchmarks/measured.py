"""Commands run as whole processes, with what they took."""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOOK_S = 0.2


@dataclass(frozen=True)
class Took:
    """Seconds of wall time from start to end, and the most memory that its processes held together, in MB: shared
    pages count in each of them."""

    seconds: float
    peak_mb: float
    said: str  # on stdout


def measured(command: Sequence[str | Path], files: Sequence[Path] = ()) -> Took:
    """`files` are given on stdin, as a JSON list. Raises CalledProcessError."""
    started = time.monotonic()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps([str(file.resolve()) for file in files]))
        process.stdin.close()
        process.stdin = None
        peak = 0.0
        while True:
            peak = max(peak, _memory_mb(process.pid))
            try:
                said, _ = process.communicate(timeout=_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                continue
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(map(str, command)), said)
    return Took(time.monotonic() - started, peak, said)


def _memory_mb(pid: int) -> float:
    try:
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0
    for each in family:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6
