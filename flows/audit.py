"""The audit log by hand: who reviewed, promoted and forgot."""

import sys
from datetime import timedelta

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from storage.audit import acts
from storage.refusal import harmless
from storage.reviews import reviews_of
from storage.settings import AuditSettings
from storage.workspace import existing_workspace, now


def list_acts(settings: AuditSettings) -> dict:
    """Prints a table, the latest first; returns how many faces were reviewed, models promoted and photos forgotten.
    Raises BadWorkspace."""
    workspace = existing_workspace(settings.workspace)
    found = acts(workspace, reviews_of(workspace))
    if settings.days is not None:
        found = found.filter(pl.col("at") >= (now() - timedelta(days=settings.days)).isoformat())
    Console(width=None if sys.stdout.isatty() else 160).print(_table(found))
    counts = dict(found.group_by("act").agg(pl.col("count").fill_null(1).sum()).iter_rows())
    return {act: counts.get(act, 0) for act in ("reviewed", "promoted", "forgot")}


def _table(found: pl.DataFrame) -> Table:
    table = Table("when (UTC)", "who", "what", "why")
    for row in found.iter_rows(named=True):
        what = f"{row['act']} {row['what'] or row['count']}"
        cells = (row["at"][:19].replace("T", " "), row["by"], what, row["reason"] or "")
        table.add_row(*(Text(harmless(cell)) for cell in cells))  # as Text: names in brackets would be markup
    return table
