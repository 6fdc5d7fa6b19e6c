"""Work on worker processes that may crash or hang: each photo is a task of its own, so a photo that kills its worker
or runs over its time costs only itself. pebble's pool does that; a task costs it about 0.5 ms, against 10 ms and
more for a photo, which is why photos aren't bundled (a bundle would have to be halved to find the bad one)."""

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import resource_tracker
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from storage.refusal import Refusal
from storage.values import FileStatus

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 1.0
_MOST_LOST_POOLS = 5
_MOST_DEATHS = 3  # of workers at one item; with two, kills at random struck one photo twice in a run of 18
_CLOCK_DRIFT_S = 1.0
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Lost:
    """What stands for an answer that never came: the status to record, and the reason."""

    status: FileStatus
    reason: str


class NoWorkers(Refusal):
    """Worker processes end before they answer anything."""


@dataclass(frozen=True)
class _Call:
    """An item that was given to a pool."""

    pool: ProcessPool
    future: ProcessFuture
    clock: float = field(default_factory=lambda: time.time() - time.monotonic())

    def clock_jumped(self) -> bool:
        """pebble measures time by the clock of the day: when that is set ahead, all that runs is over its limit."""
        return abs(time.time() - time.monotonic() - self.clock) > _CLOCK_DRIFT_S


class _Pool(ProcessPool):
    """pebble unlinks the pool's locks before it ends the workers: one that is just starting shows a traceback then."""

    def _stop_pool(self) -> None:
        if self._pool_manager_loop is not None:
            self._pool_manager_loop.join()  # it starts workers
        self._pool_manager.worker_manager.force_stop_workers()
        super()._stop_pool()


class Spread(Generic[Item, Answer]):
    """A pool of processes that each build one worker with `make_worker` and feed it items.

    `make_worker` and the items must be picklable. Use as a context manager; leaving it ends the processes.

    pebble gives its pool up when a worker dies that was at no task: killed while it waits, or while it starts. Then
    what is left goes to a new pool."""

    def __init__(
        self,
        make_worker: Callable[[], Callable[[Item], Answer]],
        *,
        workers: int | None,
        timeout_s: float,
        memory_mb: int,
    ) -> None:
        self._timeout_s = timeout_s
        self._new_pool = partial(
            _Pool,
            max_workers=workers or os.cpu_count() or 1,
            initializer=_start_worker,
            initargs=(make_worker, memory_mb * 2**20, os.getpid()),
            context=multiprocessing.get_context("spawn"),  # a fork would copy this process's threads' locks, held
        )
        self._pool = self._new_pool()
        self._lost_pools = 0  # since the last answer
        self._closed = False
        self._lock = threading.Lock()
        # The kernel ends a worker with the *thread* that started it, so one starts them that lives as long as we do.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="spread", initializer=_ignore_interrupts)

    def __enter__(self) -> "Spread[Item, Answer]":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            self._end_pool()
        self._starter.shutdown()

    def each(self, items: Sequence[Item]) -> Iterator[tuple[Item, Answer | Lost]]:
        """Every item with its answer, in order. An item whose worker died is tried twice more, as the death may have
        come from outside; one that ran over its time isn't. Raises NoWorkers."""
        calls = [self._call(item) for item in items]
        for index, item in enumerate(items):
            if calls[index].pool is not self._pool and not calls[index].future.done():
                calls[index:] = [self._call(left) for left in items[index:]]
            yield item, self._answer(item, calls[index])

    def _answer(self, item: Item, call: _Call) -> Answer | Lost:
        deaths, forgiven = 0, False
        while True:
            try:
                return self._result(call)
            except FutureTimeout:
                if forgiven or not call.clock_jumped():
                    return Lost(FileStatus.TIMED_OUT, f"reading it took longer than {self._timeout_s:g} s")
                forgiven = True
            except ProcessExpired as error:
                deaths += 1
                if deaths >= _MOST_DEATHS:
                    reason = f"reading it ended its process {deaths} times (exit code {error.exitcode})"
                    return Lost(FileStatus.CRASHED_DECODER, reason)
            except BrokenProcessPool:
                pass  # no worker was at this item: nothing is known of it
            call = self._call(item)

    def _result(self, call: _Call) -> Answer | Lost:
        # A pool that breaks forgets what waits in its queue, so its futures aren't waited for without end.
        while not wait([call.future], timeout=_LOOK_EVERY_S).done:
            if not call.pool.active and not call.future.done():
                raise BrokenProcessPool
        answer = call.future.result()
        self._lost_pools = 0
        return answer

    def _call(self, item: Item) -> _Call:
        with self._lock:
            while True:
                if self._closed:
                    raise RuntimeError("the pool was left")
                if not self._starter.submit(lambda: self._pool.active).result():
                    self._renew()
                with suppress(RuntimeError):  # it broke just now
                    return _Call(self._pool, self._pool.schedule(_work, args=(item,), timeout=self._timeout_s))

    def _renew(self) -> None:
        self._lost_pools += 1
        if self._lost_pools > _MOST_LOST_POOLS:
            raise NoWorkers(
                f"the processes that read photos end before they read any, {_MOST_LOST_POOLS} times in a row: they "
                "can't be started, or something kills them; look at the lines above, or give --worker-memory-mb more"
            )
        self._end_pool()
        self._pool = self._new_pool()

    def _end_pool(self) -> None:
        self._pool.stop()
        self._pool.join()


def _ignore_interrupts() -> None:
    """What this thread starts never sees Ctrl-C, which a terminal sends to all: the parent decides, and ends the pool.
    A worker that ignored it by itself would still show a traceback for one that comes while it imports."""
    resource_tracker.ensure_running()  # first: when it is started, Python unblocks the signal again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


# A worker process builds its worker once and keeps it here for the tasks that come: pebble hands a task nothing
# from the initializer. Nothing in the parent process ever sets it.
_worker: Callable | None = None


def _start_worker(make_worker: Callable[[], Callable], memory_bytes: int, parent: int) -> None:
    global _worker  # noqa: PLW0603  see above
    if hasattr(resource, "RLIMIT_AS") and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _end_with_parent(parent)
    _worker = make_worker()


def _work(item: Any) -> Any:
    assert _worker is not None
    try:
        return _worker(item)
    except Refusal:
        raise  # not of this item: nothing could be read, such as from a bucket that doesn't answer
    except MemoryError:
        return Lost(FileStatus.TOO_LARGE, "it needs more memory than a worker may use")
    except Exception as error:  # the one place for what nobody foresaw: it costs this file, and its row says so
        return Lost(FileStatus.UNREADABLE, f"unforeseen: {type(error).__name__}: {error}")


def _end_with_parent(parent: int) -> None:
    """A busy worker outlives a parent that was killed, so the kernel is asked to end it, or the parent watched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
