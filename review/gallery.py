"""The gallery: scored faces with what the model says of them, filtered, sorted, and reviewed one by one."""

import polars as pl
import streamlit as st

from review.card import face_card
from review.charts import age_histogram
from review.filters import clear_filters, face_filter, to_page_one
from review.opened import reviews_of
from storage import queries
from storage.queries import FACE_KEY, Order
from storage.reviews import Reviews
from storage.workspace import Workspace

_ORDERS: tuple[Order, ...] = ("least certain", "lowest quality", "youngest", "oldest", "newest")
_SIZES = (24, 48, 96)
_CARD_WIDTH = 150  # pixels; two cards side by side on a phone
_NARROW = 110  # pixels


def page(workspace: Workspace) -> None:
    st.title("Gallery", anchor=False)
    st.caption("What the model estimates of each face, from looks and with errors. Not for decisions about people.")
    models = queries.scored_models(workspace)
    if models.is_empty():
        _nothing_scored(workspace)
        return
    reviews = reviews_of(workspace)
    with st.sidebar:
        reviewer = _reviewer()
        chosen = face_filter(workspace, models)
        st.button("Clear filters", on_click=clear_filters, icon=":material/filter_alt_off:", width="stretch")
    said = reviews.newest() if reviews else queries.no_reviews()
    ages = queries.faces_by_age(workspace, chosen, said)
    _summary(workspace, models.filter(pl.col("model_hash") == chosen.model_hash)["faces"].item(), ages)
    count = int(ages["faces"].sum())
    if count == 0:
        _nothing_passes()
        return
    order, size = _toolbar(count)
    grid = st.container()
    number = st.pagination(-(-count // size), key="page", bind="query-params")
    faces = queries.faces_page(workspace, chosen, said, order, slice((number - 1) * size, number * size))
    with grid:
        _cards(workspace, faces, reviews, reviewer)


def _nothing_scored(workspace: Workspace) -> None:
    st.info("No face is scored in this workspace yet. Score a folder of photos, then load this page again:")
    st.code(f"faceline score FOLDER --workspace {workspace.root}", language="shell", wrap_lines=True)


def _nothing_passes() -> None:
    st.info("No face passes these filters.", icon=":material/filter_alt:")
    st.button("Show all faces", on_click=clear_filters, key="show_all")


def _reviewer() -> str:
    name = st.text_input(
        "Your name",
        key="reviewer",
        max_chars=200,
        placeholder="for your reviews",
        help="It is kept with each review, so that others know whose it is.",
        persist_state="session",
    )
    return (name or "").strip()


def _summary(workspace: Workspace, scored: int, ages: pl.DataFrame) -> None:
    counts = queries.status_counts(workspace)
    figures = {
        "Files": (int(counts["files"].sum()), "Every file met in the folders, as it was met last."),
        "Failed files": (queries.failures(counts), "Files that gave no pixels; the page Files says why."),
        "Faces found": (int(counts["faces"].sum()), "A photo at two paths counts twice."),
        "Faces scored": (scored, "By the chosen model."),
    }
    numbers, chart = st.columns([2, 3], gap="medium", vertical_alignment="center")
    with numbers, st.grid(2, min_column_width=_CARD_WIDTH):
        for label, (count, about) in figures.items():
            st.metric(label, f"{count:,}", help=about, border=True)
    if not ages.is_empty():
        chart.altair_chart(age_histogram(ages), alt="Estimated ages of the faces that pass the filters, by gender")


def _toolbar(count: int) -> tuple[Order, int]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader(f"{count:,} {'face' if count == 1 else 'faces'}", anchor=False, width="stretch")
        order = st.selectbox(
            "Sort by", _ORDERS, key="sort", on_change=to_page_one, bind="query-params", width=_CARD_WIDTH
        )
        size = st.selectbox(
            "Faces a page", _SIZES, key="size", on_change=to_page_one, bind="query-params", width=_NARROW
        )
    return order, size


def _cards(workspace: Workspace, faces: pl.DataFrame, reviews: Reviews | None, reviewer: str) -> None:
    pictures = queries.pictures_of(workspace, faces)
    with st.grid("auto", min_column_width=_CARD_WIDTH, border=True) as grid:
        for face in faces.join(pictures, on=FACE_KEY, how="left", maintain_order="left").iter_rows(named=True):
            with grid.cell():
                face_card(face, reviews, reviewer)
