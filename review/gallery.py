"""The gallery: scored faces with what the model says of them, filtered, sorted, and reviewed one by one."""

from collections.abc import Callable
from functools import partial

import polars as pl
import streamlit as st

from review.card import face_card
from review.charts import age_histogram
from review.empty import nothing_scored
from review.export import download_buttons
from review.filters import clear_filters, face_filter, to_page_one
from review.opened import Tables
from review.visit import Visit
from storage import queries
from storage.queries import FACE_KEY, FaceFilter, Order

_ORDERS: tuple[Order, ...] = ("least certain", "most worth a look", "lowest quality", "youngest", "oldest", "newest")
_SIZES = (24, 48, 96)
_CARD_WIDTH = 150  # pixels; two cards side by side on a phone
_NARROW, _ORDER_WIDTH = 110, 190  # pixels
_MOST_EXPORTED = 200_000  # faces; of a million, the file alone would take a quarter of a gigabyte of memory


def page(visit: Visit) -> None:
    st.title("Gallery", anchor=False)
    st.caption(
        "What the model estimates of each face, from looks and with errors: years, with the 90 % interval, "
        "and a gender, with its probability. Not for decisions about people."
    )
    workspace = visit.workspace
    models = visit.tables.told(queries.scored_models)
    if models.is_empty():
        nothing_scored(workspace)
        return
    with st.sidebar:
        chosen = face_filter(visit.tables, models)
        st.button("Clear filters", on_click=clear_filters, icon=":material/filter_alt_off:", width="stretch")
    said = visit.newest_reviews()
    ages = _ages(visit.tables, chosen, said)
    count = int(ages["faces"].sum())
    if count == 0:
        _nothing_passes()
        return
    st.altair_chart(age_histogram(ages), alt="Estimated ages of the faces that pass the filters, by gender")
    order, size = _toolbar(count)
    grid = st.container()
    number = st.pagination(-(-count // size), key="page", bind="query-params")
    worths = visit.tables.pool(chosen.model_hash).faces if order == "most worth a look" else None
    in_order = partial(queries.faces_page, workspace, chosen, said, order, worths=worths)
    with grid:
        _cards(visit, in_order(slice((number - 1) * size, number * size)))
    _export(in_order, count)


def _ages(tables: Tables, chosen: FaceFilter, said: pl.DataFrame) -> pl.DataFrame:
    if chosen.review == "all":
        return tables.told(queries.all_by_age, chosen)
    return queries.faces_by_age(tables.workspace, chosen, said)


def _nothing_passes() -> None:
    st.info("No face passes these filters.", icon=":material/filter_alt:")
    st.button("Show all faces", on_click=clear_filters, key="show_all")


def _toolbar(count: int) -> tuple[Order, int]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.header(f"{count:,} {'face' if count == 1 else 'faces'}", anchor=False, width="stretch")
        order = st.selectbox(
            "Sort by", _ORDERS, key="sort", on_change=to_page_one, bind="query-params", width=_ORDER_WIDTH
        )
        size = st.selectbox(
            "Faces a page", _SIZES, key="size", on_change=to_page_one, bind="query-params", width=_NARROW
        )
    return order, size


def _cards(visit: Visit, faces: pl.DataFrame) -> None:
    pictures = queries.pictures_of(visit.workspace, faces)
    with st.grid("auto", min_column_width=_CARD_WIDTH, border=True) as grid:
        for face in faces.join(pictures, on=FACE_KEY, how="left", maintain_order="left").iter_rows(named=True):
            with grid.cell():
                face_card(face, visit)


def _export(in_order: Callable[[slice], pl.DataFrame], count: int) -> None:
    with st.popover("Download these faces", icon=":material/download:"):
        rows = min(count, _MOST_EXPORTED)
        st.markdown(f"{rows:,} faces: path, estimates and reviews, without pictures.")
        if count > rows:
            st.markdown(f"That is the first {rows:,}; all of them are in the workspace's table `scores`.")
        st.caption("Estimates have errors that differ by age and group: hand the model's card on with them.")
        download_buttons(lambda: in_order(slice(0, rows)), "faces")
