"""What is wrong with the data: files that gave no pixels, each with its reason, and labels that someone should look
at. Nothing is skipped in silence, so it is all here."""

import polars as pl
import streamlit as st

from review.export import download_buttons
from review.links import photo_address, review_link
from review.opened import Tables
from review.pictures import as_address
from review.visit import Visit
from review.words import finding_words, status_words
from storage import queries
from storage.findings import SUSPICIOUS, last_crops, newest_findings, with_places
from storage.queries import FileFilter
from storage.values import FileStatus
from storage.workspace import Workspace

_MOST_ROWS = 5000
_MOST_REASONS = 200
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
_FILE_COLUMNS = {
    "status": st.column_config.TextColumn("Status", width=95),
    "detail": st.column_config.TextColumn("Reason", width=470),
    "path": st.column_config.TextColumn("Path", width=265),
    "source": st.column_config.TextColumn("Folder", width=150),
}
_MOST_WITH_CROPS = 200
_FINDING_COLUMNS = {
    "face": st.column_config.ImageColumn("Face", width=62),
    "photo": st.column_config.LinkColumn("Photo", display_text="Open", width=60),
    "age": st.column_config.NumberColumn("Label: age", format="%.0f", width=80),
    "expected_age": st.column_config.NumberColumn("Expected", format="%.0f", width=80),
    "gender": st.column_config.TextColumn("Label: gender", width=100),
    "expected_gender": st.column_config.TextColumn("Expected", width=80),
    "score": st.column_config.ProgressColumn("How certain", min_value=0, max_value=1, format="percent", width=110),
    "group": st.column_config.TextColumn("Group", width=110),
    "detail": st.column_config.TextColumn("Reason", width=260),
    "path": st.column_config.TextColumn("Path", width=200),
    "source": st.column_config.TextColumn("Folder", width=170),
}


def page(visit: Visit) -> None:
    st.title("Data quality", anchor=False)
    counts = visit.tables.told(queries.status_counts)
    if counts.is_empty():
        st.info("No folder was read into this workspace yet. Score one, then load this page again:")
        st.code(f"faceline score FOLDER --workspace {visit.workspace.root}", language="shell", wrap_lines=True)
        return
    st.caption("Every file met in the folders has a row, with a status and, where it failed, the reason.")
    with st.grid("auto", min_column_width=150):
        for row in counts.iter_rows(named=True):
            status = row["status"]
            title = _TITLES.get(status, status_words(status).capitalize())
            st.metric(title, f"{row['files']:,}", help=_ABOUT[FileStatus(status)], border=True)
    files, reasons, labels = st.tabs(["Files", "Reasons", "Labels"])
    with files:
        _files(visit.tables, counts)
    with reasons:
        _reasons(visit.workspace)
    with labels:
        _labels(visit)


def _files(tables: Tables, counts: pl.DataFrame) -> None:
    chosen = _chosen(tables, counts["status"].to_list())
    if not chosen.statuses:
        st.info("Choose a status above to see its files.")
        return
    files = queries.files_with(tables.workspace, chosen, _MOST_ROWS + 1)
    cut = len(files) > _MOST_ROWS
    files = files.head(_MOST_ROWS)
    count = f"the latest {_MOST_ROWS:,}" if cut else f"{len(files):,}"
    st.header(f"{count} {'file' if len(files) == 1 else 'files'}", anchor=False)
    if cut:
        st.caption("There are more; the download has all of them.")
    st.dataframe(
        files.with_columns(pl.col("status").str.replace_all("_", " ")),
        hide_index=True,
        column_order=tuple(_FILE_COLUMNS),
        height=min(620, 38 + 35 * len(files)),
        column_config=_FILE_COLUMNS,
    )
    download_buttons(lambda: queries.files_with(tables.workspace, chosen), "files")


def _chosen(tables: Tables, statuses: list[str]) -> FileFilter:
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
    with st.container(horizontal=True):
        source = st.selectbox(
            "Folder",
            ["", *tables.told(queries.sources)],
            format_func=lambda folder: folder or "all folders",
            key="file_folder",
            bind="query-params",
        )
        part = st.text_input("Path contains", value="", key="file_path", bind="query-params")
    return FileFilter(tuple(chosen), source or None, part or "")


def _reasons(workspace: Workspace) -> None:
    reasons = queries.failure_reasons(workspace, _MOST_REASONS)
    if reasons.is_empty():
        st.success("No file failed.")
        return
    st.caption("Why files gave no pixels, the most frequent reason first, with one of its files.")
    st.dataframe(
        reasons.with_columns(pl.col("status").str.replace_all("_", " ")),
        hide_index=True,
        column_order=("files", "status", "detail", "example"),
        column_config=_FILE_COLUMNS
        | {
            "files": st.column_config.NumberColumn("Files", format="localized", width=80),
            "example": st.column_config.TextColumn("Example", width=300),
        },
    )


def _labels(visit: Visit) -> None:
    """What the last data report found in the labels."""
    findings = newest_findings(visit.workspace)
    if findings.is_empty():
        st.info("The labels have no findings. A data report looks for suspicious, contradictory and doubled ones:")
        st.code(f"faceline data --workspace {visit.workspace.root}", language="shell", wrap_lines=True)
        return
    kinds = dict(findings["kind"].value_counts(sort=True).iter_rows())
    kind = st.segmented_control(
        "Show",
        list(kinds),
        default=next(iter(kinds)),
        required=True,
        format_func=lambda name: f"{finding_words(name)}: {kinds[name]:,}",
        key="finding",
        bind="query-params",
    )
    if not visit.read_only and kind in SUSPICIOUS:
        review_link("Review the suspicious labels", "suspicious label")
    chosen = findings.filter(pl.col("kind") == kind).sort("score", "group", descending=[True, False])
    _findings(visit.workspace, chosen.head(_MOST_WITH_CROPS))
    if len(chosen) > _MOST_WITH_CROPS:
        st.caption(f"Those are the first {_MOST_WITH_CROPS:,} of {len(chosen):,}; the download has all of them.")
    download_buttons(lambda: with_places(visit.workspace, chosen), "findings")


def _findings(workspace: Workspace, rows: pl.DataFrame) -> None:
    crops = last_crops(workspace, rows)
    shown = rows.join(crops, on=["file_hash", "face_index"], how="left", maintain_order="left")
    pictures = pl.Series("face", [crop and as_address(crop) for crop in shown["crop"]], pl.String)
    links = pl.Series("photo", [photo_address(file_hash) for file_hash in shown["file_hash"]], pl.String)
    st.dataframe(
        with_places(workspace, shown.drop("crop")).with_columns(pictures, links),
        hide_index=True,
        row_height=64,
        column_order=tuple(_FINDING_COLUMNS),
        column_config=_FINDING_COLUMNS,
    )
