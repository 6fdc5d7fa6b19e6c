"""The daily look after a workspace: what failed since yesterday, disk space, drift, and the tables' upkeep."""

import logging
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import polars as pl
from prefect.artifacts import create_markdown_artifact
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event

from flows.deployments import ONE_WRITER, WARNING
from flows.stage import log_to_prefect, stage_flow
from storage.compact import compact, compact_checked
from storage.forget import finish_forgetting, forget
from storage.queries import collect
from storage.settings import HealthSettings
from storage.values import FileStatus
from storage.workspace import BadWorkspace, Workspace, existing_workspace, now
from tasks.drift import Week, drift_since, in_words
from tasks.over_term import over_term

_GB = 1e9
_TURN_S = 30  # that upkeep waits for its turn to write
logger = logging.getLogger(__name__)


@stage_flow("health")
def health(settings: HealthSettings) -> dict:
    """Looks after a workspace. Warnings don't fail the run; they are told through the block that was set."""
    log_to_prefect()
    found = _examine(settings, existing_workspace(settings.workspace), _in_turn)
    create_markdown_artifact(_story(found), key="health", description="how the workspace is")
    if found["warnings"]:
        emit_event(WARNING, resource={"prefect.resource.id": "faceline.health"}, payload={"found": found["warnings"]})
    return found


def examine_workspace(settings: HealthSettings) -> dict:
    """The same without a Prefect server. Raises BadWorkspace when the tables can't be read."""
    workspace = existing_workspace(settings.workspace)

    @contextmanager
    def by_lock_file() -> Iterator[None]:
        if not workspace.is_local:
            raise BadWorkspace("an object store has no lock file, so leave its upkeep to the deployment `health`")
        yield

    return _examine(settings, workspace, by_lock_file)


@contextmanager
def _in_turn() -> Iterator[None]:
    """With the place of the deployments that write; an object store's tables have no other protection."""
    try:
        with concurrency(ONE_WRITER, timeout_seconds=_TURN_S):
            yield
    except TimeoutError as error:
        raise BadWorkspace("another run is writing") from error


def _examine(settings: HealthSettings, workspace: Workspace, turn: Callable[[], AbstractContextManager]) -> dict:
    """Upkeep that fails, or that finds another run writing, is a warning, and is tried again the next day."""
    statuses = _statuses(workspace)
    week = drift_since(workspace, now() - timedelta(days=7))
    warnings = [in_words(moved) for moved in week.moved]
    free_gb = shutil.disk_usage(str(workspace.root)).free / _GB if workspace.is_local else None
    if free_gb is not None and free_gb < settings.min_free_gb:
        warnings.append(f"{free_gb:.1f} GB of disk are left, less than {settings.min_free_gb:g}")
    try:
        with turn():
            upkeep = _keep_up(workspace, settings.retention_days)
    except BadWorkspace as error:
        upkeep = {}
        warnings.append(f"the tables were left as they are: {error}")
    for warning in warnings:
        logger.warning("%s", warning)
    return {
        "files": sum(statuses.values()),
        "failed": {status: files for status, files in statuses.items() if status != FileStatus.OK},
        "compared_with": week.reference,
        "drift": _rows(week),
        "free_gb": None if free_gb is None else round(free_gb, 1),
        **upkeep,
        "warnings": warnings,
    }


def _keep_up(workspace: Workspace, retention_days: int | None) -> dict[str, int]:
    """Deletes what is over its term, and compacts the tables: how many contents went, and how many data files are
    left of how many."""
    with workspace.only_writer():
        finish_forgetting(workspace)
        forgotten = 0 if retention_days is None else _forget_old(workspace, retention_days)
        tables = compact_checked(workspace) if forgotten else compact(workspace)  # `forget` has them checked, too
    before, after = (sum(getattr(each, name) for each in tables) for name in ("files_before", "files_after"))
    return {"forgotten": forgotten, "data_files_before": before, "data_files": after}


def _forget_old(workspace: Workspace, retention_days: int) -> int:
    old = over_term(workspace, now() - timedelta(days=retention_days))
    if count := len(old.contents) + len(old.unread):
        forget(workspace, old.contents, old.unread, f"older than {retention_days} days")
    return count


def _statuses(workspace: Workspace) -> dict[str, int]:
    """How many of the files of the last 24 hours have each status."""
    lately = workspace.scan("files").filter(pl.col("seen_at") >= now() - timedelta(days=1))
    counts = collect(workspace, lately.group_by("status").len().sort("len", "status", descending=[True, False]))
    return dict(counts.iter_rows())


def _rows(week: Week) -> list[dict]:
    """JSON knows no NaN, so what can't be said is null."""
    columns = ("figure", "faces", "before", "now", "index", "verdict")
    rows = [{name: getattr(each, name) for name in columns} for each in week.drifts]
    return [{name: _said(value) for name, value in row.items()} for row in rows]


def _said(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    return value


def _story(found: dict) -> str:
    failed = [f"| {status} | {files} |" for status, files in found["failed"].items()]
    moved = [
        f"| {row['figure']} | {row['faces']} | {row['before']} | {row['now']} | {row['index']} | {row['verdict']} |"
        for row in found["drift"]
    ]
    return "\n".join(
        [
            "# Health",
            *([f"- **{warning}**" for warning in found["warnings"]] or ["No warnings."]),
            f"\n## Files of the last day\n\n{found['files']} read. Those that gave no pixels:\n",
            "| status | files |\n|---|---|",
            *failed,
            f"\n## Faces of the last week\n\nAgainst {found['compared_with']}:\n",
            "| figure | faces | median before | median now | stability index | verdict |\n|---|---|---|---|---|---|",
            *moved,
            f"\n## Disk and tables\n\n{found['free_gb']} GB are free.",
            f"The tables are of {found['data_files']} data files; {found['forgotten']} photos were over their term."
            if "data_files" in found
            else "",
        ]
    )
