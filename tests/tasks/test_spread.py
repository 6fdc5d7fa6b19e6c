"""Worker processes die, hang and run out of memory here, and it costs no one but the item at fault."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.values import FileStatus
from tasks.spread import _MOST_LOST_POOLS, Lost, NoWorkers, Spread
from tests.patience import wait_for
from tests.tasks.workers import Deed, never_built, obedient

REPOSITORY = Path(__file__).parent.parent.parent
QUICK = [("sleep", index / 1e6) for index in range(100)]
Pool = Spread[Deed, tuple[Deed, int]]


def pool_of(workers: int, *, timeout_s: float = 30) -> Pool:
    return Spread(obedient, workers=workers, timeout_s=timeout_s, memory_mb=2048)


def answers(pool: Pool, deeds: list[Deed]) -> list[Deed | FileStatus]:
    """For each deed itself, where it was done, or why it wasn't."""
    return [answer.status if isinstance(answer, Lost) else answer[0] for _, answer in pool.each(deeds)]


def pids(pool: Pool) -> set[int]:
    return {answer[1] for _, answer in pool.each([("sleep", 0.04)] * 8) if not isinstance(answer, Lost)}


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture(autouse=True, scope="module")
def importable_workers() -> Iterator[None]:
    """Spawned processes get this process's sys.path, on which pytest doesn't put the repository."""
    sys.path.insert(0, str(REPOSITORY))
    yield
    sys.path.remove(str(REPOSITORY))


@pytest.fixture(scope="module")
def pool(importable_workers: None) -> Iterator[Pool]:
    with pool_of(2, timeout_s=1) as shared:
        yield shared


def test_every_item_is_answered_in_order(pool: Pool) -> None:
    assert answers(pool, QUICK) == QUICK


def test_no_item_is_no_work(pool: Pool) -> None:
    assert answers(pool, []) == []


@pytest.mark.parametrize("death", ["abort", "segfault"])
def test_an_item_that_kills_its_worker_costs_only_itself(pool: Pool, death: str) -> None:
    deeds: list[Deed] = [*QUICK[:7], (death, 0), *QUICK[7:20]]
    assert answers(pool, deeds) == [*QUICK[:7], FileStatus.CRASHED_DECODER, *QUICK[7:20]]


@pytest.mark.parametrize(("death", "status"), [("abort", -6), ("segfault", -11), ("sigkill", -9)])
def test_an_item_is_tried_twice_more_as_its_worker_may_have_been_killed_from_outside(
    pool: Pool, death: str, status: int
) -> None:
    ((_, lost),) = pool.each([(death, 0)])
    assert lost == Lost(FileStatus.CRASHED_DECODER, f"reading it ended its process 3 times (exit code {status})")


def test_an_item_that_hangs_costs_only_itself(pool: Pool) -> None:
    deeds: list[Deed] = [*QUICK[:7], ("spin", 0), *QUICK[7:20]]
    assert answers(pool, deeds) == [*QUICK[:7], FileStatus.TIMED_OUT, *QUICK[7:20]]


def test_an_item_that_needs_too_much_memory_costs_only_itself(pool: Pool) -> None:
    deeds: list[Deed] = [*QUICK[:3], ("allocate", 8), *QUICK[3:5]]
    assert answers(pool, deeds) == [*QUICK[:3], FileStatus.TOO_LARGE, *QUICK[3:5]]


def test_an_error_that_nobody_foresaw_is_told(pool: Pool) -> None:
    ((_, lost),) = pool.each([("raise", 0)])
    assert lost == Lost(FileStatus.UNREADABLE, "unforeseen: ZeroDivisionError: of the test")


def test_a_pool_has_all_its_workers_again_after_deaths(pool: Pool) -> None:
    """One worker may be quick enough to answer for both, so it's asked until the other has answered too."""
    answers(pool, [("abort", 0), ("spin", 0)])
    seen: set[int] = set()

    def both() -> bool:
        seen.update(pids(pool))
        return len(seen) == 2

    wait_for(both)


@pytest.mark.slow
def test_a_clock_that_is_set_ahead_costs_no_item_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with pool_of(1, timeout_s=10) as own, ThreadPoolExecutor(1) as threads:
        pids(own)
        true_time, ahead_s = time.time, [0]
        monkeypatch.setattr(time, "time", lambda: true_time() + ahead_s[0])
        found = threads.submit(answers, own, [("sleep", 1.0)])
        time.sleep(0.3)
        ahead_s[0] = 3600
        assert found.result() == [("sleep", 1.0)]


def test_two_threads_can_share_a_pool(pool: Pool) -> None:
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda deeds: answers(pool, deeds), [QUICK[:50], QUICK[50:]]))
    assert both == [QUICK[:50], QUICK[50:]]


def test_a_worker_killed_between_two_chunks_is_replaced(pool: Pool) -> None:
    for pid in pids(pool):
        os.kill(pid, signal.SIGKILL)
    assert answers(pool, QUICK) == QUICK


def test_workers_outlive_the_thread_that_asked_first() -> None:
    with pool_of(1) as own:
        first: set[int] = set()
        thread = threading.Thread(target=lambda: first.update(pids(own)))
        thread.start()
        thread.join()
        time.sleep(0.3)
        assert pids(own) == first


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run_with_a_reason() -> None:
    with (
        Spread(never_built, workers=2, timeout_s=30, memory_mb=2048) as hopeless,
        pytest.raises(NoWorkers, match="can't be started"),
    ):
        list(hopeless.each(QUICK))


def test_leaving_ends_the_workers() -> None:
    with pool_of(1) as own:
        started = pids(own)
    assert [pid for pid in started if is_alive(pid)] == []


def test_ctrl_c_is_nothing_to_a_worker_that_is_starting(capfd: pytest.CaptureFixture) -> None:
    with pool_of(1) as own, ThreadPoolExecutor(1) as other:
        asked = other.submit(answers, own, QUICK[:1])
        while not asked.done():
            for worker in multiprocessing.active_children():
                os.kill(worker.pid or os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        assert asked.result() == QUICK[:1]
    assert capfd.readouterr().err == ""


def test_a_pool_that_was_left_takes_no_more_work() -> None:
    with pool_of(1) as own:
        pass
    with pytest.raises(RuntimeError):
        list(own.each(QUICK))


@contextmanager
def killing(every_s: float) -> Iterator[list[int]]:
    """SIGKILL to a random worker again and again, also to one that is only just starting. Gives those it killed;
    workers that run when it begins are left alone."""
    chance, ours, stop = random.Random(0), {child.pid for child in multiprocessing.active_children()}, threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not stop.wait(every_s):
            strangers = [child.pid for child in multiprocessing.active_children() if child.pid not in ours]
            if strangers:
                killed.append(chance.choice(strangers) or 0)
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        stop.set()
        killer.join()


def seconds_to_start() -> float:
    began = time.monotonic()
    with pool_of(1) as own:
        answers(own, QUICK[:1])
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, _MOST_LOST_POOLS + 3])
def test_workers_killed_at_random_lose_nothing(kills: int) -> None:
    """Workers that die before they have done anything, time and again, end a run, and should. So kills leave time to
    start, on a busy machine too, and there is as much to do as they take."""
    every_s = max(1.0, 3 * seconds_to_start())
    wanted: list[Deed] = [("sleep", 0.02 + index / 1e7) for index in range(int((kills + 1) * every_s * 2 / 0.02))]
    with killing(every_s) as killed, pool_of(2) as own:
        found = answers(own, wanted)
    assert len(killed) >= kills
    assert found == wanted


def test_a_parent_that_is_killed_leaves_no_worker() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.tasks.workers"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not any(map(is_alive, workers)))


LEFT_EARLY = """
import time
from pebble.pool.process import WorkerManager
from tasks.spread import Spread
from tests.tasks.workers import obedient

close = WorkerManager.close_channels

def close_slowly(manager):
    close(manager)
    time.sleep(0.5)  # as long as a busy machine may take from here to the end of the last worker

WorkerManager.close_channels = close_slowly
with Spread(obedient, workers=2, timeout_s=30, memory_mb=2048) as pool:
    pool._call(("sleep", 0))
"""


def test_a_worker_that_is_still_starting_when_its_pool_is_left_says_nothing() -> None:
    command = [sys.executable, "-c", LEFT_EARLY]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
