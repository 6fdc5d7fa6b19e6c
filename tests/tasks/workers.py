"""Workers for the tests of tasks/spread.py: what runs in other processes must be importable there."""

import os
import signal
import sys
import time
from collections.abc import Callable

import numpy as np

from tasks.spread import Spread

Deed = tuple[str, float]  # what to do, and how long or how much


class Obedient:
    """Does what an item says: the ways in which a decoder can go wrong, and answering with its process id."""

    def __call__(self, deed: Deed) -> tuple[Deed, int]:
        match deed[0]:
            case "sleep":
                time.sleep(deed[1])
            case "abort":
                os.abort()
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "sigkill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "spin":
                while True:
                    pass
            case "allocate":
                np.ones(int(deed[1] * 2**30), np.uint8)
            case "raise":
                raise ZeroDivisionError("of the test")
        return deed, os.getpid()


def obedient() -> Callable[[Deed], tuple[Deed, int]]:
    return Obedient()


def never_built() -> Callable[[Deed], tuple[Deed, int]]:
    raise RuntimeError("this worker can't be built")


def main() -> None:
    """A parent whose workers are busy for a long time: it prints their process ids and waits."""
    with Spread(obedient, workers=2, timeout_s=600, memory_mb=4096) as pool:
        pids = {pid for _, (_, pid) in pool.each([("sleep", 0.3)] * 4)}
        print(*pids, flush=True)
        list(pool.each([("spin", 0), ("sleep", 500)]))


if __name__ == "__main__":
    sys.exit(main())
