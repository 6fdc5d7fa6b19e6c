"""The review pages: `streamlit run review/app.py -- WORKSPACE`, which `faceline review` does with safe settings.

The imports stand inside the functions, behind the guard at the end: Streamlit runs this file as `__main__`, and each
process that reads photos imports its parent's main file again, where it should find nothing to do."""

import sys

_MARK = """<svg xmlns="http://www.w3.org/2000/svg" width="168" height="32" viewBox="0 0 168 32">
<g fill="none" stroke="#5c7cfa" stroke-width="2.6" stroke-linecap="round">
<path d="M3 10V6a3 3 0 0 1 3-3h4M22 3h4a3 3 0 0 1 3 3v4M29 22v4a3 3 0 0 1-3 3h-4M10 29H6a3 3 0 0 1-3-3v-4"/>
<path d="M11 19.5a6.2 6.2 0 0 0 10 0"/></g>
<circle cx="11.5" cy="12.5" r="1.7" fill="#5c7cfa"/><circle cx="20.5" cy="12.5" r="1.7" fill="#5c7cfa"/>
<text x="42" y="23" font-family="Source Sans, Helvetica, Arial, sans-serif" font-size="22" font-weight="700"
fill="#5c7cfa">Faceline</text></svg>"""

_NOTE = (
    "Ages and genders here are estimates from looks, with errors. They describe collections of photos; they are not "
    "for decisions about people."
)


def main(arguments: list[str]) -> None:
    """Shows the page that the address names, for the workspace that the command line names."""
    import streamlit as st

    from review.words import plain
    from storage.refusal import Refusal
    from storage.workspace import existing_workspace

    st.set_page_config(page_title="Faceline", page_icon=":material/face:", layout="wide")
    st.logo(_MARK, size="large")
    try:
        workspace = existing_workspace(arguments[0] if arguments else "./workspace")
        _navigation(workspace).run()
        st.sidebar.caption(_NOTE)
    except Refusal as error:
        st.error(plain(str(error)), icon=":material/error:")


def _navigation(workspace):
    from functools import partial

    import streamlit as st

    from review import file_status, gallery, training_runs, try_photo

    return st.navigation(
        [
            st.Page(partial(gallery.page, workspace), title="Gallery", icon=":material/grid_view:", default=True),
            st.Page(
                partial(file_status.page, workspace), title="Files", icon=":material/folder_open:", url_path="files"
            ),
            st.Page(
                partial(try_photo.page, workspace), title="Try a photo", icon=":material/add_a_photo:", url_path="try"
            ),
            st.Page(
                partial(training_runs.page, workspace),
                title="Training runs",
                icon=":material/monitoring:",
                url_path="runs",
            ),
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
