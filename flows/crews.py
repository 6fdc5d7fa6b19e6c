"""Who does a stage's steps: threads of this process, or the workers of a Dask or Ray cluster that runs already; each
way with Prefect or without. With Prefect, a step is a Prefect task too (prefect-dask and prefect-ray), and the workers
must reach Prefect's server; without, the command line needs none."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from flows.steps import Crew, Future, threads
from storage.refusal import Refusal
from storage.settings import PhotoSettings
from tasks.outpost import do

logger = logging.getLogger(__name__)
_STEPS_A_SLOT = 3  # in flight: one that runs, one that waits at the worker, one whose rows wait for their turn
_LOOKS_EVERY_S = 10  # at who is there, while a step is waited for
_WITHOUT_WORKERS_S = 300  # a cluster that lost its workers may get new ones, which go on with the steps
Submit = Callable[[Callable[[], Any], str], Future[Any]]


class NoCluster(Refusal):
    """The cluster can't be reached, or lost a step for good; the message says what to do."""


@contextmanager
def crew_of(settings: PhotoSettings, *, as_tasks: bool) -> Iterator[Crew]:
    """Each step as a Prefect task, in a flow, or without Prefect. Raises NoCluster."""
    if settings.runner != "embedded":
        with _cluster(settings) as cluster:
            submit = cluster.submit_task if as_tasks else cluster.submit
            yield Crew(submit, _STEPS_A_SLOT * cluster.slots, cluster.cores)
    elif as_tasks:
        from flows.stage import prefect_task

        yield Crew(prefect_task)
    else:
        with threads() as crew:
            yield crew


@dataclass(frozen=True)
class _Cluster:
    """A connection to a cluster."""

    submit: Submit
    submit_task: Submit  # as a Prefect task
    slots: int  # steps that it runs at a time
    cores: int  # that a worker may use


def _cluster(settings: PhotoSettings) -> AbstractContextManager[_Cluster]:
    return _dask(settings) if settings.runner == "dask" else _ray(settings)


@contextmanager
def _dask(settings: PhotoSettings) -> Iterator[_Cluster]:
    """A slot is a thread of a worker; the threads of a worker share its decoders and its model."""
    try:
        from prefect_dask import DaskTaskRunner

        from flows.stage import as_task
    except ImportError as error:
        raise NoCluster("--runner dask needs prefect-dask: pip install 'faceline[dask]'") from error
    with DaskTaskRunner(address=settings.address) as runner:
        try:
            client: Any = runner.client
            sizes = client.nthreads()
        except OSError as error:
            raise NoCluster(f"{settings.address}: no Dask scheduler answers there: {error}") from error
        if not sizes:
            raise NoCluster(f"{settings.address}: this Dask cluster has no worker; start some first")

        def submit_task(step: Callable[[], Any], name: str) -> Future[Any]:
            task = runner.submit(as_task(step, name), parameters={})
            return _DaskStep(client, task.wrapped_future, task)

        yield _Cluster(
            lambda step, name: _DaskStep(client, client.submit(step, pure=False)),
            submit_task,
            slots=sum(sizes.values()),
            cores=settings.workers or min(sizes.values()),
        )


class _DaskStep:
    """A step on its way, whose loss is told in our words."""

    def __init__(self, client: Any, future: Any, task: Any = None) -> None:
        """`task` is that of Prefect, where the step is one."""
        self._client = client
        self._future = future
        self._task = task

    def result(self) -> Any:
        from distributed import KilledWorker

        try:
            _await(self._is_done, lambda: bool(self._client.nthreads()))
            return (self._task or self._future).result()
        except KilledWorker as error:
            raise NoCluster(f"{_LOST}: {error}") from error
        except (CancelledError, OSError) as error:
            raise NoCluster(f"the Dask cluster went away; what was committed stays, run this again: {error}") from error

    def _is_done(self) -> bool:
        from distributed import TimeoutError, wait

        try:
            with self._client.as_current():
                wait([self._future], timeout=_LOOKS_EVERY_S)
        except TimeoutError:
            return False
        return True


def _await(is_done: Callable[[], bool], has_workers: Callable[[], bool]) -> None:
    """Asks `is_done`, which waits a while, again and again. A scheduler keeps the steps of workers that went, and would
    be waited for without end: raises NoCluster when none has come for minutes."""
    gone_since = None
    while not is_done():
        if has_workers():
            gone_since = None
        elif gone_since is None:
            gone_since = time.monotonic()
            logger.warning("the cluster has no worker left; waiting %d s for one", _WITHOUT_WORKERS_S)
        elif time.monotonic() - gone_since > _WITHOUT_WORKERS_S:
            raise NoCluster("the cluster has no worker left; what was committed stays, start some and run this again")


_LOST = "a chunk lost its worker again and again; give workers more memory, or use a smaller --chunk-files"


@contextmanager
def _ray(settings: PhotoSettings) -> Iterator[_Cluster]:
    """A slot is as many CPUs as a step has decoders, and a GPU where one is asked for."""
    try:
        import ray
        from prefect_ray import RayTaskRunner
        from prefect_ray.context import remote_options

        from flows.stage import as_task
    except ImportError as error:
        raise NoCluster("--runner ray needs prefect-ray: pip install 'faceline[ray]'") from error
    cores = settings.workers or 1
    needs: dict[str, Any] = {"num_cpus": cores}
    if getattr(settings, "device", "cpu") in {"cuda", "tensorrt"}:
        needs["num_gpus"] = 1
    runner = RayTaskRunner(address=settings.address)
    try:
        runner.__enter__()
    except (OSError, RuntimeError) as error:
        raise NoCluster(f"{settings.address}: no Ray cluster answers there: {error}") from error
    try:

        def slots() -> int:
            there = ray.cluster_resources()
            return int(min(there.get("CPU", 0) / cores, there.get("GPU", 0) if "num_gpus" in needs else float("inf")))

        slots_now = slots()
        if not slots_now:
            raise NoCluster(f"{settings.address}: this Ray cluster has no room for a step that needs {needs}")
        remote = ray.remote(**needs)(do)

        def submit_task(step: Callable[[], Any], name: str) -> Future[Any]:
            with remote_options(**needs):
                task = runner.submit(as_task(step, name), parameters={})
            return _RayStep(task.wrapped_future, slots, task)

        yield _Cluster(lambda step, name: _RayStep(remote.remote(step), slots), submit_task, slots_now, cores)
    finally:
        runner.__exit__(None, None, None)


class _RayStep:
    """A step on its way, whose loss is told in our words."""

    def __init__(self, reference: Any, slots: Callable[[], int], task: Any = None) -> None:
        """`slots` are those that the cluster has now; `task` is that of Prefect, where the step is one."""
        self._reference = reference
        self._slots = slots
        self._task = task

    def result(self) -> Any:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            _await(self._is_done, lambda: self._slots() > 0)
            return ray.get(self._reference) if self._task is None else self._task.result()
        except RayTaskError as error:
            raise error.cause from error
        except (RayError, OSError) as error:
            raise NoCluster(f"{_LOST}: {error}") from error

    def _is_done(self) -> bool:
        import ray

        return bool(ray.wait([self._reference], timeout=_LOOKS_EVERY_S)[0])
