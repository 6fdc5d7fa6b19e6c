"""What makes a stage a Prefect flow, and its steps Prefect tasks. Prefect takes a second to import: flows/steps.py and
what the command line does need none of it."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from prefect import Task, flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows.log_lines import OUR_LOGGERS, keep_lines_whole
from flows.steps import WINDOW, Future

T = TypeVar("T")
Stage = TypeVar("Stage", bound=Callable)


def prefect_task(step: Callable[[], T], name: str) -> Future[T]:
    """A step as a Prefect task on a thread of this process."""
    return as_task(step, name).submit()


def as_task(step: Callable[[], T], name: str) -> Task[[], T]:
    """Prefect's cache and stored results stay off: the tables are the truth, and a result stored by default is a
    pickle."""

    def run_step() -> T:
        return step()

    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(run_step)


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


def publish(key: str, counts: dict) -> None:
    """Leaves a stage's counts as an artifact on Prefect's page."""
    create_table_artifact([{"what": name, "count": str(value)} for name, value in counts.items()], key=key)


def log_to_prefect() -> None:
    """Prefect hangs its handler on our loggers but leaves their level, so that INFO lines would vanish."""
    keep_lines_whole()
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
