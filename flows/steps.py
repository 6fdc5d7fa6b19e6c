"""How a stage's steps are run and shown, with Prefect or without: a stage is a plain function that is handed a
`Submit`. On the command line that is a pool of threads; in a Prefect flow, each step becomes a Prefect task."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)
Result_co = TypeVar("Result_co", covariant=True)
T = TypeVar("T")
Stage = TypeVar("Stage", bound=Callable)
CONSOLE = Console(stderr=True)  # one for bars and log lines, or they would write over each other
OUR_LOGGERS = ("flows", "tasks", "models", "storage")
_SECONDS_A_LINE = 10
WINDOW = 2  # steps in flight: one reads photos while the other is scored; more would only hold memory


class Future(Protocol[Result_co]):
    def result(self) -> Result_co: ...


Submit = Callable[[Callable[[], Any], str], Future[Any]]  # a step and its name


@contextmanager
def threads() -> Iterator[Submit]:
    """Steps on threads of this process: the command line's way. When a run ends early its steps aren't waited for:
    they commit nothing by themselves."""
    pool = ThreadPoolExecutor(WINDOW)
    try:
        yield lambda step, name: pool.submit(step)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def prefect_task(step: Callable[[], T], name: str) -> Future[T]:
    """A step as a Prefect task. Prefect's cache and stored results stay off: the tables are the truth, and a result
    stored by default is a pickle."""

    def run_step() -> T:
        return step()

    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(run_step).submit()


def stage_flow(name: str) -> Callable[[Stage], Stage]:
    """Decorates a stage's entry as a Prefect flow with our habits. A flow that fails has its exception stored whatever
    `persist_result` says, by default as a pickle; hence the serializer."""
    runner: Any = ThreadPoolTaskRunner(max_workers=WINDOW)
    decorate: Any = flow(
        name=name,
        task_runner=runner,
        persist_result=False,
        result_serializer="json",
        validate_parameters=True,
    )
    return decorate


def in_window(submit: Submit, steps: Iterable[Callable[[], T]], name: str) -> Iterator[T]:
    """The steps' results, in order, with at most WINDOW of them in flight."""
    pending: deque[Future[T]] = deque()
    for step in steps:
        pending.append(submit(step, name))
        if len(pending) == WINDOW:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows how far a stage is: a bar on a terminal, else a log line every ten seconds."""
    started, last_line, done = time.monotonic(), float("-inf"), 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=CONSOLE, disable=not CONSOLE.is_terminal) as bar:
        shown = bar.add_task(what, total=total)

        def advance(count: int) -> None:
            nonlocal done, last_line
            done += count
            bar.advance(shown, count)
            if CONSOLE.is_terminal or (time.monotonic() - last_line < _SECONDS_A_LINE and done < total):
                return
            last_line = time.monotonic()
            rate = max(done, 1e-9) / max(last_line - started, 1e-9)
            logger.info("%s: %d of %d, %.1f a second, %.0f s left", what, done, total, rate, (total - done) / rate)

        yield advance


def publish(key: str, counts: dict) -> None:
    """Leaves a stage's counts as an artifact on Prefect's page."""
    create_table_artifact([{"what": name, "count": str(value)} for name, value in counts.items()], key=key)


def log_to_prefect() -> None:
    """Prefect hangs its handler on our loggers but leaves their level, so that INFO lines would vanish."""
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
