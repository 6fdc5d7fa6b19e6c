"""What a page says where there is nothing to show yet."""

import streamlit as st

from storage.workspace import Workspace


def nothing_scored(workspace: Workspace) -> None:
    st.info("No face is scored in this workspace yet. Score a folder of photos, then load this page again:")
    st.code(f"faceline score FOLDER --workspace {workspace.root}", language="shell", wrap_lines=True)
