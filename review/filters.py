"""The gallery's filters, in the sidebar. Each is bound to the page's address under its key, so that a link shows a
colleague the same faces; a value at its default leaves the address."""

import polars as pl
import streamlit as st

from storage import queries
from storage.queries import FaceFilter
from storage.schemas import LONGEST_LIFE_YEARS
from storage.workspace import Workspace

YEARS = (0, LONGEST_LIFE_YEARS)
SHARE = (0.0, 1.0)
_DEFAULTS = {
    "age": YEARS,
    "gender": list(queries.GENDERS),
    "interval": YEARS,
    "quality": SHARE,
    "folder": "",
    "path": "",
    "review": "all",
    "page": 1,
}


def face_filter(workspace: Workspace, models: pl.DataFrame) -> FaceFilter:
    """What the person chose; `models` is queries.scored_models."""
    st.subheader("Filters", anchor=False)
    return FaceFilter(
        model_hash=_model(models),
        ages=_years("Estimated age, years", "age", "The model's estimate."),
        genders=_genders(),
        widths=_years("Width of the 90 % interval, years", "interval", "Wide: the model is unsure of the age."),
        qualities=_quality(),
        source=_folder(workspace) or None,
        path_part=_path_part(),
        review=_review(),
    )


def clear_filters() -> None:
    """A callback: shows every face of the chosen model again."""
    for name, value in _DEFAULTS.items():
        st.session_state[name] = value


def to_page_one() -> None:
    """A callback: other faces, so another first page."""
    st.session_state["page"] = 1


def _model(models: pl.DataFrame) -> str:
    names = {row["model_hash"]: f"{row['model_version']} ({row['model_hash'][:8]})" for row in models.to_dicts()}
    chosen = st.selectbox(
        "Model",
        list(names),
        format_func=lambda model_hash: names[model_hash],
        key="model",
        on_change=to_page_one,
        bind="query-params",
        help="The models that scored faces of this workspace, the latest first.",
    )
    return chosen or next(iter(names))


def _years(label: str, name: str, about: str) -> tuple[int, int]:
    return st.slider(label, *YEARS, value=YEARS, key=name, on_change=to_page_one, bind="query-params", help=about)


def _quality() -> tuple[float, float]:
    return st.slider(
        "Quality of the crop",
        *SHARE,
        value=SHARE,
        step=0.05,
        key="quality",
        on_change=to_page_one,
        bind="query-params",
        help="The least of sharpness, size and the detector's score. Low says: look at it yourself.",
    )


def _genders() -> tuple[str, ...]:
    chosen = st.pills(
        "Gender",
        queries.GENDERS,
        selection_mode="multi",
        default=queries.GENDERS,
        key="gender",
        on_change=to_page_one,
        bind="query-params",
        help=f"As the model estimates it from looks. Uncertain: neither reaches {queries.SURE_FROM:.0%}.",
    )
    return tuple(chosen)


def _folder(workspace: Workspace) -> str:
    return st.selectbox(
        "Folder",
        ["", *queries.sources(workspace)],
        format_func=lambda folder: folder or "all folders",
        key="folder",
        on_change=to_page_one,
        bind="query-params",
    )


def _path_part() -> str:
    return st.text_input("File path contains", value="", key="path", on_change=to_page_one, bind="query-params")


def _review() -> queries.ReviewState:
    return st.segmented_control(
        "Reviews",
        ("all", "unreviewed", "reviewed"),
        default="all",
        required=True,
        key="review",
        on_change=to_page_one,
        bind="query-params",
        width="stretch",
    )
