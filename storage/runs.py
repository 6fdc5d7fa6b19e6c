"""What a training run left in `runs/<run>/`: its settings, history and figures."""

import json

import polars as pl
from upath import UPath

from storage.workspace import BadWorkspace, Workspace


def training_runs(workspace: Workspace) -> pl.DataFrame:
    """A row for each run that began, the latest first: run, finished, targets, recipe, device, and the figures of its
    test faces (of its validation faces where it has none). Null where a run has no such figure."""
    names = sorted((folder.name for folder in _folders(workspace.runs) if _is_run(folder)), reverse=True)
    schema = {
        "run": pl.String,
        "finished": pl.Boolean,
        "targets": pl.String,
        "recipe": pl.String,
        "device": pl.String,
        "age_mae": pl.Float64,
        "gender_accuracy": pl.Float64,
    }
    return pl.DataFrame([_run_row(workspace, name) for name in names], schema=schema, orient="row")


def run_history(workspace: Workspace, run: str) -> pl.DataFrame | None:
    """A row an epoch, counted from 0; None while the run hasn't got that far. Raises BadWorkspace when it can't be
    read."""
    file = workspace.runs / run / "history.parquet"
    if not file.exists():
        return None
    try:
        return pl.read_parquet(file.read_bytes())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadWorkspace(f"{file}: can't be read: {error}") from error


def run_notes(workspace: Workspace, run: str, name: str) -> dict:
    """One of a run's JSON files, such as `settings`, `about` or `metrics`; empty where it isn't there. Raises
    BadWorkspace when it can't be read."""
    file = workspace.runs / run / f"{name}.json"
    if not file.exists():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadWorkspace(f"{file}: can't be read: {error}") from error


def _run_row(workspace: Workspace, run: str) -> dict:
    metrics = run_notes(workspace, run, "metrics")
    settings = run_notes(workspace, run, "settings")
    figures = metrics.get("test", {}).get("overall") or metrics.get("val", {}).get("overall") or {}
    return {
        "run": run,
        "finished": bool(metrics),
        "targets": settings.get("targets"),
        "recipe": settings.get("recipe"),
        "device": run_notes(workspace, run, "about").get("device"),
        "age_mae": figures.get("age_mae"),
        "gender_accuracy": figures.get("gender_accuracy"),
    }


def _folders(parent: UPath) -> list[UPath]:
    return [child for child in parent.iterdir() if child.is_dir()] if parent.exists() else []


def _is_run(folder: UPath) -> bool:
    return (folder / "settings.json").exists()
