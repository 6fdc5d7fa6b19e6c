"""Links from one page to another. To Streamlit a page is its address, so the other page's module isn't needed."""

from urllib.parse import urlencode

import streamlit as st


def photo_link(file_hash: str, label: str = "Photo and history") -> None:
    """To one photo's page."""
    _link("photo", label, ":material/image_search:", photo=file_hash)


def photo_address(file_hash: str) -> str:
    """That page's address for a cell of a table, relative to the page that shows it."""
    return f"photo?{urlencode({'photo': file_hash})}"


def review_link(label: str, reason: str) -> None:
    """To the queue, with the faces that are in it for one reason."""
    _link("review", label, ":material/rate_review:", why=reason)


def _link(address: str, label: str, icon: str, **query: str) -> None:
    page = st.Page(_nothing, title=address.capitalize(), url_path=address)
    st.page_link(page, label=label, icon=icon, query_params=query)


def _nothing() -> None:
    pass
