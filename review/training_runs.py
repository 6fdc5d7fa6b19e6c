"""Training runs: how each one learned, what it scored on faces it had not seen, and which model is the champion."""

from typing import Any

import polars as pl
import streamlit as st

from review.charts import epochs_chart
from review.words import card_text, percent, plain
from storage import queries
from storage.registry import Version, champion, versions
from storage.workspace import Workspace

_SIDES = {"test": "test faces", "val": "validation faces"}
_FIGURES = {  # of tasks/evaluate.py, with what to call them
    "faces": "Faces",
    "age_mae": "Age MAE, years",
    "age_bias": "Age bias, years",
    "cs5": "Within 5 years",
    "interval_coverage": "Interval coverage",
    "gender_accuracy": "Gender accuracy",
}
_KEY_FIGURES = ("age_mae", "cs5", "interval_coverage", "gender_accuracy")
_ABOUT = {
    "age_mae": "Mean absolute error of the age.",
    "cs5": "Share of faces whose age is at most 5 years off (CS@5).",
    "interval_coverage": "Share of faces whose age lies in its 90 % interval; 90 % is right.",
    "gender_accuracy": "Share of faces whose more probable gender is the labelled one.",
}
_CURVES = {  # columns of history.parquet, and d3's number format
    "Loss": ({"loss": "training", "val_loss": "validation"}, ".1f"),
    "Age MAE, years": ({"val_age_mae": "validation"}, ".1f"),
    "Gender accuracy": ({"val_gender_accuracy": "validation"}, ".0%"),
}


def page(workspace: Workspace) -> None:
    st.title("Training runs", anchor=False)
    runs = queries.training_runs(workspace)
    if runs.is_empty():
        st.info("No training run yet. Extract labelled photos and train, then load this page again:")
        st.code(f"faceline train --workspace {workspace.root}", language="shell", wrap_lines=True)
    else:
        chosen = st.selectbox("Run", runs["run"].to_list(), key="run", bind="query-params", width=420)
        _run(workspace, runs.row(by_predicate=pl.col("run") == chosen, named=True))
    _models(workspace)


def _run(workspace: Workspace, run: dict[str, Any]) -> None:
    st.caption(plain(f"Recipe {run['recipe']}, learns {run['targets']}, trained on {run['device'] or 'unknown'}."))
    if not run["finished"]:
        st.warning("This run hasn't ended, or was stopped. To go on with it, with the settings it began with:")
        command = f"faceline train --workspace {workspace.root} --resume {run['run']}"
        st.code(command, language="shell", wrap_lines=True)
    metrics = queries.run_notes(workspace, run["run"], "metrics")
    report = _report(metrics)
    if report:
        _key_figures(report)
    history = queries.run_history(workspace, run["run"])
    if history is not None and not history.is_empty():
        _curves(history)
    if report:
        _tables(report)
    _settings(workspace, run["run"])


def _report(metrics: dict) -> dict:
    """The report of the faces that the person chose; empty where none were measured."""
    sides = [side for side in _SIDES if metrics.get(side, {}).get("overall")]
    if not sides:
        return {}
    chosen = st.segmented_control(
        "Measured on",
        sides,
        default=sides[0],
        required=True,
        format_func=_SIDES.__getitem__,
        key="side",
        bind="query-params",
    )
    return metrics[chosen or sides[0]]


def _key_figures(report: dict) -> None:
    overall, intervals = report["overall"], report["intervals"]
    with st.grid(4, min_column_width=150):
        for name in _KEY_FIGURES:
            if name not in overall:
                continue
            between = [_written(name, end) for end in intervals.get(name, ())]
            about = f"{_ABOUT[name]} 95 % interval: {' to '.join(between)}." if between else _ABOUT[name]
            st.metric(_FIGURES[name], _written(name, overall[name]), help=about, border=True)
    st.caption(f"On {overall['faces']:,.0f} faces that the model wasn't trained on.")


def _curves(history: pl.DataFrame) -> None:
    st.subheader("How it learned", anchor=False)
    drawn = {
        title: (columns, number_format)
        for title, (columns, number_format) in _CURVES.items()
        if all(_has_values(history, column) for column in columns)
    }
    with st.grid(3, min_column_width=280) as grid:
        for title, (columns, number_format) in drawn.items():
            with grid.cell():
                st.markdown(f"**{title}**")
                st.altair_chart(epochs_chart(history, columns, number_format), alt=f"{title}, epoch by epoch")


def _has_values(history: pl.DataFrame, column: str) -> bool:
    return column in history.columns and history[column].is_not_null().any()


def _tables(report: dict) -> None:
    by_age, by_group = st.tabs(["By age", "By group"])
    with by_age:
        _table(report["bands"], {"band": "Age"})
    with by_group:
        _table(report["groups"], {"column": "Column", "group": "Group"})


def _table(rows: list[dict], keys: dict[str, str]) -> None:
    if not rows:
        st.caption("Nothing to show: the labels have no such column, or each value has fewer than ten faces.")
        return
    shown = [
        {title: str(row.get(name, "")) for name, title in keys.items()}
        | {label: _written(name, row[name]) if name in row else "" for name, label in _FIGURES.items()}
        for row in rows
    ]
    st.dataframe(pl.DataFrame(shown), hide_index=True)


def _written(name: str, value: float) -> str:
    if name == "faces":
        return f"{value:,.0f}"
    return f"{value:+.2f}" if name == "age_bias" else f"{value:.2f}" if name == "age_mae" else percent(value, 1)


def _settings(workspace: Workspace, run: str) -> None:
    with st.expander("Settings and data"):
        settings = queries.run_notes(workspace, run, "settings")
        about = queries.run_notes(workspace, run, "about")
        left_out = about.pop("left_out", {})
        rows = {"setting": list(settings | about), "value": [str(value) for value in (settings | about).values()]}
        st.dataframe(pl.DataFrame(rows), hide_index=True)
        if left_out:
            st.markdown("Faces that were left out, and why")
            counts = {"reason": list(left_out), "faces": list(left_out.values())}
            st.dataframe(pl.DataFrame(counts), hide_index=True)


def _models(workspace: Workspace) -> None:
    st.subheader("Registered models", anchor=False)
    registered = versions(workspace)[::-1]
    if not registered:
        st.info("No model is registered yet. Export a finished run:")
        st.code(f"faceline export latest --workspace {workspace.root}", language="shell", wrap_lines=True)
        return
    best = champion(workspace)
    for version in registered:
        _model(version, is_champion=best is not None and version.name == best.name)


def _model(version: Version, *, is_champion: bool) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(version.name)}**", width="content")
            if is_champion:
                st.badge("champion", icon=":material/trophy:", color="blue")
        st.caption(f"SHA-256 {version.model_hash}")
        with st.expander("Model card"):
            st.markdown(card_text(version.card()))
