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
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from storage.schemas import FileStatus

_PR_SET_PDEATHSIG = 1
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Lost:
    """What stands for an answer that never came: the status to record, and the reason."""

    status: FileStatus
    reason: str


class Spread(Generic[Item, Answer]):
    """A pool of processes that each build one worker with `make_worker` and feed it items.

    `make_worker` and the items must be picklable. Use as a context manager; leaving it ends the processes."""

    def __init__(
        self,
        make_worker: Callable[[], Callable[[Item], Answer]],
        *,
        workers: int | None,
        timeout_s: float,
        memory_mb: int,
    ) -> None:
        self._timeout_s = timeout_s
        self._pool = ProcessPool(
            max_workers=workers or os.cpu_count() or 1,
            initializer=_start_worker,
            initargs=(make_worker, memory_mb * 2**20, os.getpid()),
            context=multiprocessing.get_context("spawn"),  # a fork would copy this process's threads' locks, held
        )

    def __enter__(self) -> "Spread[Item, Answer]":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.stop()
        self._pool.join()

    def each(self, items: Sequence[Item]) -> Iterator[tuple[Item, Answer | Lost]]:
        """Every item with its answer, in order. An item whose worker died is tried once more, as the death may have
        come from outside; one that ran over its time isn't."""
        futures = [self._pool.schedule(_work, args=(item,), timeout=self._timeout_s) for item in items]
        for item, future in zip(items, futures, strict=True):
            try:
                yield item, future.result()
            except ProcessExpired:
                yield item, self._once_more(item)
            except FutureTimeout:
                yield item, self._timed_out()

    def _once_more(self, item: Item) -> Answer | Lost:
        try:
            return self._pool.schedule(_work, args=(item,), timeout=self._timeout_s).result()
        except ProcessExpired as error:
            return Lost(FileStatus.CRASHED_DECODER, f"reading it ended its process twice (exit code {error.exitcode})")
        except FutureTimeout:
            return self._timed_out()

    def _timed_out(self) -> Lost:
        return Lost(FileStatus.TIMED_OUT, f"reading it took longer than {self._timeout_s:g} s")


# A worker process builds its worker once and keeps it here for the tasks that come: pebble hands a task nothing
# from the initializer. Nothing in the parent process ever sets it.
_worker: Callable | None = None


def _start_worker(make_worker: Callable[[], Callable], memory_bytes: int, parent: int) -> None:
    global _worker  # noqa: PLW0603  see above
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and ends the pool
    if hasattr(resource, "RLIMIT_AS") and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _end_with_parent(parent)
    _worker = make_worker()


def _work(item: Any) -> Any:
    assert _worker is not None
    try:
        return _worker(item)
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
