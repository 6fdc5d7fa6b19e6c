"""The review pages: `streamlit run review/app.py -- WORKSPACE [--read-only]`, which `faceline review` does with safe
settings.

The imports stand inside the functions, behind the guard at the end: Streamlit runs this file as `__main__`, and each
process that reads photos imports its parent's main file again, where it should find nothing to do."""

import sys
from importlib import import_module

_FACE = """<g fill="none" stroke="#5c7cfa" stroke-width="2.6" stroke-linecap="round">
<path d="M3 10V6a3 3 0 0 1 3-3h4M22 3h4a3 3 0 0 1 3 3v4M29 22v4a3 3 0 0 1-3 3h-4M10 29H6a3 3 0 0 1-3-3v-4"/>
<path d="M11 19.5a6.2 6.2 0 0 0 10 0"/></g>
<circle cx="11.5" cy="12.5" r="1.7" fill="#5c7cfa"/><circle cx="20.5" cy="12.5" r="1.7" fill="#5c7cfa"/>"""
_ICON = f"""<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32">{_FACE}</svg>"""
_MARK = f"""<svg xmlns="http://www.w3.org/2000/svg" width="168" height="32" viewBox="0 0 168 32">{_FACE}
<text x="42" y="23" font-family="Source Sans, Helvetica, Arial, sans-serif" font-size="22" font-weight="700"
fill="#5c7cfa">Faceline</text></svg>"""

_NOTE = (
    "Ages and genders here are estimates from looks, with errors. They describe collections of photos; they are not "
    "for decisions about people."
)
READ_ONLY = "--read-only"


def main(arguments: list[str]) -> None:
    """Shows the page that the address names, for the workspace that the command line names."""
    import streamlit as st

    from review.opened import as_they_are, shared_reviews
    from review.visit import Visit
    from review.words import plain
    from storage.refusal import Refusal
    from storage.workspace import existing_workspace

    # One of Streamlit's own icons would be fetched from Google, by each browser that opens the pages.
    st.set_page_config(page_title="Faceline", page_icon=_ICON, layout="wide")
    st.logo(_MARK, size="large")
    read_only = READ_ONLY in arguments
    try:
        workspace = existing_workspace(workspace_of(arguments))
        # The pages come before the first widget: who types before Streamlit knows them is sent to the first page.
        page = _navigation(lambda name: import_module(f"review.{name}").page(visit), read_only=read_only)
        with st.sidebar:
            reviewer = "" if read_only else _reviewer()
        reviews = shared_reviews(workspace, read_only=read_only)
        visit = Visit(as_they_are(workspace), reviews, reviewer, read_only)
        page.run()
        st.sidebar.caption(_NOTE)
    except Refusal as error:
        st.error(plain(str(error)), icon=":material/error:")


def workspace_of(arguments: list[str]) -> str:
    return next((argument for argument in arguments if argument != READ_ONLY), "./workspace")


def _reviewer() -> str:
    import streamlit as st

    name = st.text_input(
        "Your name",
        key="reviewer",
        max_chars=200,
        placeholder="for your reviews",
        help="It is kept with each review, so that others know whose it is, and with your visits.",
        persist_state="session",
    )
    return (name or "").strip()


def _navigation(show, *, read_only: bool):
    """The pages; `show` is given the module's name of the one that the address names, when it is run. The others'
    modules aren't imported: that of uploads needs a second for its libraries."""
    from functools import partial

    import streamlit as st

    pages = {  # by their address
        "": ("overview", "Overview", "home"),
        "review": ("review_queue", "Review", "rate_review"),
        "gallery": ("gallery", "Gallery", "grid_view"),
        "photo": ("one_photo", "Photo", "image_search"),
        "try": ("try_photo", "Try a photo", "add_a_photo"),
        "quality": ("data_quality", "Data quality", "rule"),
        "runs": ("training_runs", "Training runs", "monitoring"),
        "models": ("model_versions", "Models", "model_training"),
    }
    if read_only:
        del pages["review"]
    return st.navigation(
        [
            st.Page(
                partial(show, module),
                title=title,
                icon=f":material/{icon}:",
                url_path=address or None,
                default=not address,
                visibility="hidden" if address == "photo" else "visible",
            )
            for address, (module, title, icon) in pages.items()
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
