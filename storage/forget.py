"""Forgetting, for good: what is said of a content, in tables, old versions, reviews, runs and reports, leaves the disk,
and a tombstone keeps it from coming back.

Tombstones are written first and tell what is still to do, so that the next run that writes can finish what was
interrupted, without a name. Data files without such rows stay as they are; the tables' history goes. Three of 22,000
faces take 2 s. What a disk keeps of deleted files, and copies elsewhere, are out of reach."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace

import polars as pl
from upath import UPath

from storage.audit import note_forgetting
from storage.compact import tidy
from storage.forgotten import read_tombstones, write_tombstones
from storage.ledger import CHECKSUMS
from storage.schemas import TABLES
from storage.tables import predicates
from storage.tombstones import Tombstones
from storage.trained_on import TRAINED_ON, with_tombstones
from storage.workspace import BadWorkspace, Workspace, write_parquet

logger = logging.getLogger(__name__)
_ORDER = ("scores", "labels", "faces", "files")  # `files` last: it has the paths, should this be interrupted
_REPORTS = ("data_reports", "evaluations")
_PICTURES = {".html", ".png", ".jpg", ".svg"}
_WITHOUT_NAMES = {*TABLES, CHECKSUMS, "cache", "service"}


@dataclass(frozen=True)
class Unread:
    """A path whose content was never read, so that only its row names it."""

    source: str
    path: str

    def predicate(self) -> str:
        source, path = (text.replace("'", "''") for text in (self.source, self.path))
        return f"source = '{source}' AND path = '{path}' AND file_hash IS NULL"


def forget(
    workspace: Workspace, contents: Collection[str], unread: Collection[Unread] = (), reason: str | None = None
) -> dict[str, int]:
    """Deletes all that is said of those contents (SHA-256, hex) and paths; returns how many rows of each table went.
    The audit log keeps how many, by whom, when and the `reason`. The caller holds `only_writer`. Raises
    BadWorkspace, and changes nothing then where a table is damaged."""
    workspace.check(*TABLES)
    note_forgetting(workspace, len(contents) + len(unread), reason)
    tombstones = read_tombstones(workspace).with_contents(contents)
    write_tombstones(workspace, replace(tombstones, unfinished=True))
    unread_rows = sum(workspace.delete("files", row.predicate()) for row in unread)
    erased = _erase(workspace, set(contents))
    return erased | {"files": erased["files"] + unread_rows}


def would_forget(workspace: Workspace, contents: Collection[str], unread: Collection[Unread] = ()) -> dict[str, int]:
    """How many rows of each table `forget` would delete. Changes nothing. Raises BadWorkspace."""
    from storage.reviews import reviews_to_read  # as in `_erase`

    doomed = _doomed(workspace, set(contents), read_tombstones(workspace))
    theirs = pl.col("file_hash").is_in(list(doomed))
    never_read = pl.struct("source", "path").is_in([asdict(row) for row in unread]) & pl.col("file_hash").is_null()
    rows = dict.fromkeys(_ORDER, theirs) | {"files": theirs | never_read if unread else theirs}
    counts = {table: workspace.scan(table).filter(rows[table]).select(pl.len()).collect().item() for table in _ORDER}
    reviews = reviews_to_read(workspace)
    return {"reviews": reviews.count_of(doomed) if reviews else 0} | counts


def finish_forgetting(workspace: Workspace) -> None:
    """Finishes what an interrupted `forget` left; does nothing where none was. The caller holds `only_writer`."""
    if read_tombstones(workspace).unfinished:
        logger.warning("%s: forgetting was interrupted, and is finished now", workspace.root)
        _erase(workspace, set())


def _erase(workspace: Workspace, contents: set[str]) -> dict[str, int]:
    from storage.reviews import reviews_of  # and SQLAlchemy, which runs that have nothing to forget needn't wait for

    tombstones = read_tombstones(workspace)
    doomed = _doomed(workspace, contents, tombstones)
    _erase_beside(workspace, tombstones, doomed)
    reviews = reviews_of(workspace)
    erased = {"reviews": reviews.forget(doomed) if reviews else 0}
    for table in _ORDER:
        erased[table] = sum(workspace.delete(table, rows) for rows in predicates("file_hash", sorted(doomed)))
    for table in TABLES:
        if workspace.has(table):
            tidy(workspace, table)
    write_tombstones(workspace, replace(tombstones, unfinished=False))
    return erased


def _doomed(workspace: Workspace, contents: set[str], tombstones: Tombstones) -> set[str]:
    """Those contents, and what an interrupted `forget` left."""
    hashes = [workspace.scan(table).select("file_hash") for table in TABLES]
    known = pl.concat(hashes).drop_nulls().unique().collect()["file_hash"]
    return contents | {file_hash for file_hash in known if tombstones.cover(file_hash)}


def _erase_beside(workspace: Workspace, tombstones: Tombstones, doomed: set[str]) -> None:
    """In all that isn't a table. Pages and pictures of reports may show any face, and cached features are of faces that
    their file doesn't name: both go as a whole, since both can be made again."""
    theirs = pl.col("file_hash").is_in(list(doomed))
    paths = set(workspace.scan("files").filter(theirs).select("path").collect()["path"])
    for file in _files(workspace):
        if file.suffix == ".parquet":
            _erase_rows(file, tombstones, {"file_hash": doomed, "path": paths})
        elif file.relative_to(workspace.root).parts[0] in _REPORTS and _may_show(file, doomed | paths):
            file.unlink()
    had_faces = workspace.scan("faces").filter(theirs).select("file_hash").head(1).collect().height
    cache = workspace.root / "cache"
    for file in cache.rglob("*") if had_faces and cache.exists() else []:
        file.unlink()


def _may_show(file: UPath, names: set[str]) -> bool:
    return file.suffix in _PICTURES or any(name.encode() in file.read_bytes() for name in names)


def _erase_rows(file: UPath, tombstones: Tombstones, names: dict[str, set[str]]) -> None:
    try:
        rows = pl.read_parquet(file.read_bytes())
    except pl.exceptions.PolarsError as error:
        raise BadWorkspace(f"{file}: can't be read, and may name who is forgotten; remove it: {error}") from error
    if file.name == TRAINED_ON:
        kept = with_tombstones(rows, tombstones)
    else:
        named = [pl.col(column).is_in(list(values)) for column, values in names.items() if column in rows.columns]
        kept = rows.remove(pl.any_horizontal(named)) if named else rows
    if not kept.equals(rows):
        write_parquet(file, kept)


def _files(workspace: Workspace) -> Iterator[UPath]:
    """Every file but those of the tables, of the cache, and of the Prefect server, which is told no photo's name."""
    for folder in workspace.root.iterdir():
        if folder.is_dir() and folder.name not in _WITHOUT_NAMES:
            yield from [file for file in folder.rglob("*") if file.is_file()]
