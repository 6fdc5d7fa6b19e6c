"""Training runs: how each one learned, what it scored on faces it had not seen, and which model became the champion."""

from typing import Any

import polars as pl
import streamlit as st

from review.charts import epochs_chart
from review.words import plain
from storage import queries
from storage.registry import Version, champion, versions
from storage.workspace import Workspace

_SIDES = {"test faces": "test", "validation faces": "val"}
_FIGURES = {  # of tasks/evaluate.py: what to call it, and d3's format
    "faces": ("Faces", ",.0f"),
    "age_mae": ("Age MAE, years", ".2f"),
    "age_bias": ("Age bias, years", "+.2f"),
    "cs5": ("Within 5 years", ".1%"),
    "interval_coverage": ("Interval coverage", ".1%"),
    "gender_accuracy": ("Gender accuracy", ".1%"),
    "gender_accuracy_from_16": ("Gender, from age 16", ".1%"),
}


def page(workspace: Workspace) -> None:
    st.title("Training runs", anchor=False)
    runs = queries.training_runs(workspace)
    if runs.is_empty():
        st.info("No training run yet. Extract labelled photos and train, then load this page again:")
        st.code(f"faceline train --workspace {workspace.root}", language="shell", wrap_lines=True)
    else:
        run = st.selectbox("Run", runs["run"].to_list(), key="run", bind="query-params", width=420)
        _run(workspace, runs.row(by_predicate=pl.col("run") == run, named=True))
    _models(workspace)


def _run(workspace: Workspace, run: dict[str, Any]) -> None:
    name = run["run"]
    st.caption(plain(f"recipe {run['recipe']}, learns {run['targets']}, on {run['device'] or 'an unknown device'}"))
    if not run["finished"]:
        st.warning("This run hasn't ended, or was stopped. To go on with it:")
        st.code(f"faceline train --workspace {workspace.root} --resume {name}", language="shell", wrap_lines=True)
    metrics = queries.run_notes(workspace, name, "metrics")
    measured = {label: side for label, side in _SIDES.items() if metrics.get(side, {}).get("overall")}
    if measured:
        label = st.segmented_control("Measured on", list(measured), default=next(iter(measured)), required=True, key="side", bind="query-params")
        _key_figures(metrics[measured[label]])
    history = queries.run_history(workspace, name)
    if history is not None:
        _curves(history)
    if measured:
        _tables(metrics[measured[label]])
    _settings(workspace, name)
