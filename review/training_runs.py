"""Training runs: how each one learned, and what it scored on faces it had not seen."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

from review.charts import epochs_chart
from review.report import SIDES, key_figures, measured_sides, parts_tables
from review.visit import Visit
from review.words import plain
from storage.runs import run_history, run_notes, training_runs
from storage.workspace import Workspace

_CURVES = {  # columns of history.parquet, and d3's number format
    "Loss": ({"loss": "training", "val_loss": "validation"}, ".1f"),
    "Age MAE, years": ({"age_mae": "training", "val_age_mae": "validation"}, ".1f"),
    "Gender accuracy": ({"gender_accuracy": "training", "val_gender_accuracy": "validation"}, ".0%"),
}


def page(visit: Visit) -> None:
    st.title("Training runs", anchor=False)
    workspace = visit.workspace
    runs = training_runs(workspace)
    if runs.is_empty():
        st.info("No training run yet. Extract labelled photos and train, then load this page again:")
        where = f"--workspace {workspace.root}"
        commands = f"faceline extract FOLDER --labels LABELS {where}\nfaceline train {where}"
        st.code(commands, language="shell", wrap_lines=True)
        return
    chosen = st.selectbox("Run", runs["run"].to_list(), key="run", bind="query-params", width=420)
    _run(workspace, runs.row(by_predicate=pl.col("run") == chosen, named=True))


def _run(workspace: Workspace, run: dict[str, Any]) -> None:
    st.caption(plain(f"Recipe {run['recipe']}, learns {run['targets']}, trained on {run['device'] or 'unknown'}."))
    if not run["finished"]:
        st.warning("This run hasn't ended, or was stopped. To go on with it, with the settings it began with:")
        command = f"faceline train --workspace {workspace.root} --resume {run['run']}"
        st.code(command, language="shell", wrap_lines=True)
    report = _report(run_notes(workspace, run["run"], "metrics"))
    if report:
        key_figures(report)
    history = run_history(workspace, run["run"])
    if history is not None and not history.is_empty():
        _curves(history)
    if report:
        parts_tables(report)
    _settings(workspace, run["run"])


def _report(metrics: Mapping) -> Mapping:
    """The report of the faces that the person chose; empty where none were measured."""
    sides = measured_sides(metrics)
    if not sides:
        return {}
    chosen = st.segmented_control(
        "Measured on",
        sides,
        default=sides[0],
        required=True,
        format_func=SIDES.__getitem__,
        key="side",
        bind="query-params",
    )
    return metrics[chosen or sides[0]]


def _curves(history: pl.DataFrame) -> None:
    st.header("How it learned", anchor=False)
    drawn = {}
    for title, (lines, number_format) in _CURVES.items():
        columns = {column: name for column, name in lines.items() if _has_values(history, column)}
        if columns:  # of training, runs of older versions have the loss alone
            drawn[title] = (columns, number_format)
    with st.grid(3, min_column_width=280) as grid:
        for title, (columns, number_format) in drawn.items():
            with grid.cell():
                st.markdown(f"**{title}**")
                st.altair_chart(epochs_chart(history, columns, number_format), alt=f"{title}, epoch by epoch")


def _has_values(history: pl.DataFrame, column: str) -> bool:
    return column in history.columns and history[column].is_not_null().any()


def _settings(workspace: Workspace, run: str) -> None:
    with st.expander("Settings and data"):
        settings = run_notes(workspace, run, "settings")
        about = run_notes(workspace, run, "about")
        left_out = about.pop("left_out", {})
        rows = {"setting": list(settings | about), "value": [str(value) for value in (settings | about).values()]}
        st.dataframe(pl.DataFrame(rows), hide_index=True)
        if left_out:
            st.markdown("Faces that were left out, and why")
            counts = {"reason": list(left_out), "faces": list(left_out.values())}
            st.dataframe(pl.DataFrame(counts), hide_index=True)
