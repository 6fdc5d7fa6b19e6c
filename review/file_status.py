"""Every file met and what came of it: nothing is skipped in silence, so what failed has its reason here."""

import polars as pl
import streamlit as st

from review.words import status_words
from storage import queries
from storage.schemas import FileStatus
from storage.workspace import Workspace

_MOST_ROWS = 5000
_ABOUT = {
    FileStatus.OK: "pixels were read",
    FileStatus.NOT_AN_IMAGE: "its first bytes are of no image format",
    FileStatus.TRUNCATED: "its data ends early or is damaged",
    FileStatus.TOO_LARGE: "over the limit on pixels, bytes or memory",
    FileStatus.UNREADABLE: "it could not be opened or decoded",
    FileStatus.TIMED_OUT: "decoding took longer than the limit",
    FileStatus.CRASHED_DECODER: "decoding ended its process, twice",
    FileStatus.UNSUPPORTED: "a format or a link that isn't read",
}
_TITLES = {FileStatus.OK: "OK"}


def page(workspace: Workspace) -> None:
    st.title("Files", anchor=False)
    counts = queries.status_counts(workspace)
    if counts.is_empty():
        st.info("No folder was read into this workspace yet. Score one, then load this page again:")
        st.code(f"faceline score FOLDER --workspace {workspace.root}", language="shell", wrap_lines=True)
        return
    st.caption("Every file met in the folders has a row, with a status and, where it failed, the reason.")
    with st.grid("auto", min_column_width=150):
        for row in counts.iter_rows(named=True):
            about = _ABOUT[FileStatus(row["status"])]
            st.metric(
                _TITLES.get(row["status"], status_words(row["status"]).capitalize()),
                f"{row['files']:,}",
                help=about,
                border=True,
            )
    _table(workspace, counts)


def _table(workspace: Workspace, counts: pl.DataFrame) -> None:
    statuses = counts["status"].to_list()
    failed = [status for status in statuses if status != FileStatus.OK]
    chosen = st.pills(
        "Show files with status",
        statuses,
        selection_mode="multi",
        default=failed or statuses,
        format_func=status_words,
        key="status",
        bind="query-params",
    )
    if not chosen:
        st.info("Choose a status above to see its files.")
        return
    files = queries.files_with(workspace, tuple(chosen), _MOST_ROWS)
    count = int(counts.filter(pl.col("status").is_in(chosen))["files"].sum())
    st.subheader(f"{count:,} {'file' if count == 1 else 'files'}", anchor=False)
    if count > len(files):
        st.caption(f"The table shows the latest {len(files):,}; the whole is in the workspace's table `files`.")
    st.dataframe(
        files.with_columns(pl.col("status").str.replace_all("_", " ")),
        hide_index=True,
        column_order=("status", "detail", "path", "source"),
        height=min(620, 38 + 35 * len(files)),
        column_config={
            "status": st.column_config.TextColumn("Status", width=105),
            "detail": st.column_config.TextColumn("Reason", width=400),
            "path": st.column_config.TextColumn("Path", width=300),
            "source": st.column_config.TextColumn("Folder", width=170),
        },
    )
