"""Upkeep of the tables: many small data files into few, and nothing left on disk that isn't in a table any more.

A run commits a file a chunk, and what a correction or a deletion replaced stays beside its successor. Compacting 22,000
faces in 45 files (147 MB), with their files and labels, takes 4 s and 510 MB of memory. Whoever reads a table at that
moment may have to read it again."""

import logging
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable

from storage.ledger import seal, sync
from storage.schemas import TABLES
from storage.tables import PROPERTIES, plain_writer
from storage.workspace import Workspace, ours

logger = logging.getLogger(__name__)
_TARGET_BYTES = 100_000_000  # of a data file
_YOUNG_H = 24  # an object store has no lock: a younger file that no commit names may be a running writer's
_LOG_FILES = (".json", ".checkpoint.parquet")


@dataclass(frozen=True)
class Compacted:
    """What became of one table's data files."""

    table: str
    files_before: int
    files_after: int


def compact(workspace: Workspace) -> list[Compacted]:
    """Compacts every table and tidies it, unless there is damage in one. The caller holds `only_writer`. Raises
    BadWorkspace."""
    workspace.check(*TABLES)
    return compact_checked(workspace)


def compact_checked(workspace: Workspace) -> list[Compacted]:
    """The same, for who has just had every table checked: that hashes all data files. Raises BadWorkspace."""
    return [_compact(workspace, table) for table in TABLES if workspace.has(table)]


def tidy(workspace: Workspace, table: str) -> None:
    """Deletes for good: replaced data files, what killed runs left, and old entries of the commit log with the
    predicates in them. The caller holds `only_writer`. Raises BadWorkspace."""
    url = str(workspace.root / table)
    with ours(f"{url}: can't be tidied"):
        if PROPERTIES.items() - DeltaTable(url).metadata().configuration.items():
            DeltaTable(url).alter.set_table_properties(PROPERTIES)
        _vacuum(DeltaTable(url), spare_hours=0 if workspace.is_local else _YOUNG_H)
        latest = DeltaTable(url)  # the vacuum's own entry: the one that stays, and it says nothing
        latest.create_checkpoint()
        if workspace.is_local:
            sync((workspace.local_root() / table / "_delta_log").iterdir())
        latest.cleanup_metadata()
        if workspace.is_local:
            seal(workspace.local_root() / table)
            _remove_unfinished(workspace.local_root() / table)


def _compact(workspace: Workspace, table: str) -> Compacted:
    url = str(workspace.root / table)
    before = len(DeltaTable(url).file_uris())
    with ours(f"{url}: can't be compacted"):
        DeltaTable(url).optimize.compact(target_size=_TARGET_BYTES, writer_properties=plain_writer(table))
        if workspace.is_local:
            seal(workspace.local_root() / table)
    tidy(workspace, table)
    after = len(DeltaTable(url).file_uris())
    logger.info("%s: %d data files became %d", table, before, after)
    return Compacted(table, before, after)


def _vacuum(table: DeltaTable, spare_hours: int) -> None:
    """What was replaced goes at once; files that no commit names go when they are older than `spare_hours`."""
    for full, hours in ((False, 0), (True, spare_hours)):
        table.vacuum(retention_hours=hours, enforce_retention_duration=False, dry_run=False, full=full)


def _remove_unfinished(folder: Path) -> None:
    """Half-written files of killed runs, named like `part-....parquet#1`, which vacuum doesn't see."""
    for file in folder.iterdir():
        if file.is_file() and file.suffix != ".parquet":
            file.unlink()
    for file in (folder / "_delta_log").iterdir():
        if not file.name.endswith(_LOG_FILES) and file.name != "_last_checkpoint":
            file.unlink()
