"""How a stage's steps are run and shown, with Prefect or without: a stage is a plain function that is handed a
`Crew`. On the command line that is a pool of threads; in a Prefect flow, each step becomes a Prefect task
(flows/stage.py); and flows/crews.py has those of clusters."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future as StepOfThread
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)
Result_co = TypeVar("Result_co", covariant=True)
T = TypeVar("T")
CONSOLE = Console(stderr=True)  # one for bars and log lines, or they would write over each other
_SECONDS_A_LINE = 10
_LOOK_EVERY_S = 0.5  # for a Ctrl-C
WINDOW = 2  # steps in flight: one reads photos while the other is scored; more would only hold memory


class Future(Protocol[Result_co]):
    def result(self) -> Result_co: ...


@dataclass(frozen=True)
class Crew:
    """Who does the steps. `submit` takes a step and its name; at most `window` are in flight."""

    submit: Callable[[Callable[[], Any], str], Future[Any]]
    window: int = WINDOW
    cores: int | None = None  # of each worker of a cluster, to which steps are sent; None: they run in this process


@dataclass(frozen=True)
class Awaited(Generic[T]):
    """A step on a thread. Polars takes SIGINT over at its first query, and from then on Ctrl-C no longer ends a wait
    in the main thread; so it waits for a moment at a time."""

    step: StepOfThread[T]

    def result(self) -> T:
        while not self.step.done():
            wait([self.step], _LOOK_EVERY_S)
        return self.step.result()


@contextmanager
def threads() -> Iterator[Crew]:
    """Steps on threads of this process: the command line's way. When a run ends early its steps aren't waited for:
    they commit nothing by themselves."""
    pool = ThreadPoolExecutor(WINDOW)
    try:
        yield Crew(lambda step, name: Awaited(pool.submit(step)))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def in_window(crew: Crew, steps: Iterable[Callable[[], T]], name: str) -> Iterator[T]:
    """The steps' results, in order, with at most the crew's window of them in flight."""
    pending: deque[Future[T]] = deque()
    for step in steps:
        pending.append(crew.submit(step, name))
        if len(pending) == crew.window:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


class Advance(Protocol):
    """Says that so many more are done; the note, such as a loss, is shown beside the bar."""

    def __call__(self, count: int, note: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Shows how far a stage is: a bar on a terminal, else a log line every ten seconds. The first report sets the
    clock: what it brings may have been there before, and costs no time."""
    started, last_line, done, at_first = 0.0, float("-inf"), 0, 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=CONSOLE, disable=not CONSOLE.is_terminal) as bar:
        shown = bar.add_task(what, total=total, note="")

        def advance(count: int, note: str = "") -> None:
            nonlocal started, last_line, done, at_first
            done += count
            if not started:
                started, at_first = time.monotonic(), done
            bar.update(shown, advance=count, note=note)
            if CONSOLE.is_terminal or (time.monotonic() - last_line < _SECONDS_A_LINE and done < total):
                return
            last_line = time.monotonic()
            parts = [f"{done} of {total}"]
            if done > at_first:
                rate = (done - at_first) / max(last_line - started, 1e-9)
                parts += [f"{rate:.1f} a second", f"{(total - done) / rate:.0f} s left"]
            logger.info("%s: %s", what, ", ".join([*parts, note] if note else parts))

        yield advance
