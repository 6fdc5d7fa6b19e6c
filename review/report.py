"""A report of metrics.json as key figures and tables: of a run, of a registered model, or of two side by side."""

from collections.abc import Mapping, Sequence

import polars as pl
import streamlit as st

from models.figures import FIGURES

SIDES = {"test": "test faces", "val": "validation faces"}
_KEY_FIGURES = ("age_mae", "cs5", "interval_coverage", "gender_accuracy")
_IN_TABLES = ("age_mae", "age_bias", "cs5", "interval_coverage", "gender_accuracy")
_NONE = "–"
_MEANING_WIDTH = 560  # pixels
_CARD_WIDTH = 200  # pixels; on a phone one card a row, as two would cut their titles


def measured_sides(metrics: Mapping) -> list[str]:
    """Which sides of the split have figures."""
    return [side for side in SIDES if metrics.get(side, {}).get("overall")]


def key_figures(report: Mapping) -> None:
    overall, intervals = report["overall"], report.get("intervals", {})
    with st.grid(4, min_column_width=_CARD_WIDTH):
        for name in _KEY_FIGURES:
            if name in overall:
                figure, between = FIGURES[name], _between(name, intervals.get(name))
                about = f"{_sentence(figure.meaning)}{f' 95 % interval: {between}.' if between else ''}"
                st.metric(_upper(figure.title), figure.written(overall[name]), help=about, border=True)
    st.caption(f"On {overall['faces']:,.0f} faces that the model wasn't trained on.")


def parts_tables(report: Mapping) -> None:
    """The figures by age band and by group."""
    by_age, by_group = st.tabs(["By age", "By group"])
    with by_age:
        _parts_table(report.get("bands", []), {"band": "Age"})
    with by_group:
        _parts_table(report.get("groups", []), {"column": "Column", "group": "Group"})


def side_by_side(names: tuple[str, str], reports: tuple[Mapping, Mapping]) -> None:
    """Every figure that either has, of two models; the change is the second's less the first's."""
    before, after = (report["overall"] for report in reports)
    rows = []
    for name, figure in FIGURES.items():
        values = [overall.get(name) for overall in (before, after)]
        if any(value is not None for value in values):
            shown = [_with_interval(name, report) for report in reports]
            change = figure.change(values[1] - values[0]) if None not in values else _NONE
            better = figure.better or _NONE
            rows.append([_upper(figure.title), *shown, change, better, _sentence(figure.meaning)])
    columns = ["Figure", *names, "Change", "Better", "What it is"]
    st.dataframe(
        pl.DataFrame(rows, schema=columns, orient="row"),
        hide_index=True,
        height="content",
        column_config={"What it is": st.column_config.TextColumn(width=_MEANING_WIDTH)},
    )
    if before.get("faces") != after.get("faces"):
        st.warning(
            f"The two were measured on different faces, {before.get('faces', 0):,.0f} and {after.get('faces', 0):,.0f} "
            "of them: `faceline models promote` compares both on the same."
        )


def _parts_table(rows: Sequence[Mapping], keys: dict[str, str]) -> None:
    if not rows:
        st.caption("Nothing to show: the labels have no such column, or each value has fewer than ten faces.")
        return
    shown = [
        {title: str(row.get(name, "")) for name, title in keys.items()}
        | {"Faces": f"{row['faces']:,.0f}"}
        | {_upper(FIGURES[name].title): _value(name, row) for name in _IN_TABLES}
        for row in rows
    ]
    st.dataframe(pl.DataFrame(shown), hide_index=True)


def _value(name: str, figures: Mapping) -> str:
    return FIGURES[name].written(figures[name]) if name in figures else _NONE


def _with_interval(name: str, report: Mapping) -> str:
    between = _between(name, report.get("intervals", {}).get(name))
    return _value(name, report["overall"]) + (f" ({between})" if between else "")


def _between(name: str, interval: Sequence[float] | None) -> str:
    return " to ".join(FIGURES[name].written(end) for end in interval) if interval else ""


def _upper(title: str) -> str:
    return title[0].upper() + title[1:]


def _sentence(meaning: str) -> str:
    return f"{_upper(meaning)}."
