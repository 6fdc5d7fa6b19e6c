"""The gallery's filters, in the sidebar. Each is bound to the page's address under its key, so that a link shows a
colleague the same faces; a value at its default leaves the address."""

from collections.abc import Sequence
from typing import TypeVar

import polars as pl
import streamlit as st

from review.opened import Tables
from storage import queries
from storage.queries import FaceFilter
from storage.values import LONGEST_LIFE_YEARS, SMALLEST_JUDGED_SIDE

Option = TypeVar("Option", bound=str)
YEARS = (0, LONGEST_LIFE_YEARS)
SHARE = (0.0, 1.0)
_DEFAULTS = {
    "age": YEARS,
    "gender": list(queries.GENDERS),
    "interval": YEARS,
    "quality": SHARE,
    "face_size": "all",
    "folder": "",
    "path": "",
    "review": "all",
    "page": 1,
}


def face_filter(tables: Tables, models: pl.DataFrame) -> FaceFilter:
    """What the person chose; `models` is queries.scored_models."""
    st.header("Filters", anchor=False)
    return FaceFilter(
        model_hash=_model(models),
        ages=_years("Estimated age, years", "age", "The model's estimate."),
        genders=_genders(),
        widths=_years("Width of the 90 % interval, years", "interval", "Wide: the model is unsure of the age."),
        qualities=_quality(),
        size=_face_size(),
        source=_folder(tables) or None,
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
    names = {row["model_hash"]: _told_apart(row["model_version"], row["model_hash"]) for row in models.to_dicts()}
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


def _told_apart(version: str, model_hash: str) -> str:
    """A registered version's name ends with the beginning of its hash; two others may have one name."""
    return version if version.endswith(model_hash[:8]) else f"{version} ({model_hash[:8]})"


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
        help="From 0 to 1, from the crop alone: low says blurred, tiny or no face. Look at it yourself.",
    )


def _face_size() -> queries.FaceSize:
    about = f"Small: under {SMALLEST_JUDGED_SIDE} pixels, too few to judge it well. The estimate is much worse there."
    return _one_of("Size of the face", ("all", "large", "small"), "face_size", about)


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


def _folder(tables: Tables) -> str:
    return st.selectbox(
        "Folder",
        ["", *tables.told(queries.sources)],
        format_func=lambda folder: folder or "all folders",
        key="folder",
        on_change=to_page_one,
        bind="query-params",
    )


def _path_part() -> str:
    return st.text_input("File path contains", value="", key="path", on_change=to_page_one, bind="query-params")


def _review() -> queries.ReviewState:
    return _one_of("Reviews", ("all", "unreviewed", "reviewed"), "review")


def _one_of(label: str, options: Sequence[Option], key: str, about: str | None = None) -> Option:
    """The first of the options until another is chosen."""
    return st.segmented_control(
        label,
        options,
        default=options[0],
        required=True,
        key=key,
        on_change=to_page_one,
        bind="query-params",
        width="stretch",
        help=about,
    )
