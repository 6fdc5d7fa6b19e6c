"""Tables to take away, as CSV and Parquet; made when the button is pressed, not before."""

import io
from collections.abc import Callable

import polars as pl
import streamlit as st

_FORMULA = r"^([=+\-@\t\r])"  # a spreadsheet would run a cell that begins so (OWASP, CSV injection)


def download_buttons(rows: Callable[[], pl.DataFrame], name: str) -> None:
    """`rows` is asked at the press of a button."""
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: as_csv(rows()),
            f"{name}.csv",
            "text/csv",
            key=f"{name}_csv",
            on_click="ignore",
            icon=":material/download:",
        )
        st.download_button(
            "Parquet",
            lambda: as_parquet(rows()),
            f"{name}.parquet",
            "application/vnd.apache.parquet",
            key=f"{name}_parquet",
            on_click="ignore",
            icon=":material/download:",
        )


def as_csv(rows: pl.DataFrame) -> bytes:
    """UTF-8. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return rows.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$1")).write_csv().encode()


def as_parquet(rows: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    rows.write_parquet(stream)
    return stream.getvalue()
