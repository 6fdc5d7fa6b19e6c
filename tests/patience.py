"""Waiting for what another process or thread does, as long as the slowest machine may take."""

import time
from collections.abc import Callable


def wait_for(done: Callable[[], bool], limit_s: float = 300) -> None:
    """Asks again and again. Raises AssertionError when it isn't done within the limit."""
    ends = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < ends, f"not done within {limit_s} s"
        time.sleep(0.05)
