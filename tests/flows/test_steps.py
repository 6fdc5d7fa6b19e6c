"""Steps of a stage, in a bounded window, and how far it is."""

import logging
import signal
import subprocess
import sys
import time

import pytest

from flows.steps import Crew, in_window, progress


def test_no_more_than_the_window_is_in_flight() -> None:
    flying, most = [0], [0]

    class Landed:
        def result(self) -> int:
            flying[0] -= 1
            return flying[0]

    def submit(step: object, name: str) -> Landed:
        flying[0] += 1
        most[0] = max(most[0], flying[0])
        return Landed()

    assert len(list(in_window(Crew(submit, 5), (lambda: 0 for _ in range(100)), "count"))) == 100
    assert (most[0], flying[0]) == (5, 0)


def test_ctrl_c_ends_the_wait_for_a_step_after_polars_was_asked() -> None:
    """Polars takes the signal over: see `Awaited`."""
    waiting = """
import os, time
import polars as pl
from flows.steps import in_window, threads

pl.LazyFrame({"n": [1]}).collect()
try:
    with threads() as crew:
        print("ready", flush=True)
        list(in_window(crew, [lambda: time.sleep(600)], "wait"))
except KeyboardInterrupt:
    os._exit(130)
"""
    with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        time.sleep(0.5)  # until it waits
        run.send_signal(signal.SIGINT)
        try:
            assert run.wait(60) == 130
        finally:
            run.kill()


def test_what_was_there_before_does_not_count_as_fast(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(1000, 2000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    with caplog.at_level(logging.INFO, "flows"), progress("steps", 100) as advance:
        advance(40)
        advance(20, "loss 0.5")
    first, second = caplog.messages
    assert first == "steps: 40 of 100"
    assert second.startswith("steps: 60 of 100, ")
    assert second.endswith(" s left, loss 0.5")
    rate, left = (float(part.split()[0]) for part in second.split(", ")[1:3])
    elapsed = next(seconds) - 1000
    assert 20 / elapsed <= rate <= 20 / 10  # of the 20 that were done, not of all 60
    assert left == pytest.approx(40 / rate, rel=0.2)
