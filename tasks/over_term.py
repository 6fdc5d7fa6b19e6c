"""Which contents have been kept for as long as they may be."""

from datetime import datetime

import polars as pl

from storage.forget import Unread
from storage.queries import collect
from storage.workspace import Workspace
from tasks.named import Named


def over_term(workspace: Workspace, before: datetime) -> Named:
    """Contents that no row has met or looked into since then, and the rows of that age of files that were never read.
    A photo that stays in its folder is met once: nightly runs skip it. Raises BadWorkspace."""
    files, faces = workspace.scan("files"), workspace.scan("faces")
    met = pl.concat(
        [
            files.select("file_hash", at="seen_at").drop_nulls("file_hash"),
            faces.select("file_hash", at="extracted_at"),  # a killed run leaves faces without a row in `files`
        ]
    )
    old = met.group_by("file_hash").agg(pl.col("at").max()).filter(pl.col("at") < before)
    unread = files.filter(pl.col("file_hash").is_null(), pl.col("seen_at") < before).select("source", "path")
    return Named(
        frozenset(collect(workspace, old)["file_hash"]),
        frozenset(Unread(*row) for row in collect(workspace, unread).iter_rows()),
    )
