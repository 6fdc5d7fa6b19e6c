"""The workspace: Delta tables in a folder or under an object-store URL, read lazily and appended to in whole commits.

Delta (the `deltalake` library) gives atomic commits, schema checks, history and S3 without code of ours. An append
of 1,000 rows of 4 kB takes about 30 ms. Column statistics are off: they would copy paths and subject ids into the
commit log, where a deletion doesn't reach, and hashes are too random to be skipped by them anyway.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import polars as pl
import pyarrow as pa
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError
from filelock import FileLock, Timeout
from upath import UPath

from storage.refusal import Refusal
from storage.schemas import KEYS, TABLES

MARKER = "faceline-workspace.json"
_LAYOUT_VERSION = 1
_NO_STATISTICS = {"delta.dataSkippingNumIndexedCols": "0"}


class BadWorkspace(Refusal):
    """The workspace can't be opened, read or written; the message names it and says what to do."""


class Workspace:
    """A folder or an object-store prefix (`./workspace`, `s3://bucket/faces`) with Faceline's tables in it."""

    def __init__(self, root: UPath) -> None:
        self.root = root

    @property
    def is_local(self) -> bool:
        return isinstance(self.root, Path)

    @property
    def runs(self) -> UPath:
        return self.root / "runs"

    @property
    def registry(self) -> UPath:
        return self.root / "registry"

    def has(self, table: str) -> bool:
        return DeltaTable.is_deltatable(str(self.root / table))

    def scan(self, table: str) -> pl.LazyFrame:
        """The table's rows, lazily; no rows when nothing was written yet. Raises BadWorkspace when it's damaged."""
        try:
            return pl.scan_delta(DeltaTable(str(self.root / table)))
        except TableNotFoundError:
            return empty_frame(table).lazy()
        except (DeltaError, FileNotFoundError, OSError) as error:
            raise BadWorkspace(f"{self.root / table}: the table can't be read: {error}") from error

    def append(self, table: str, rows: pa.Table) -> None:
        """Commits `rows` at once: all of them are there afterwards, or none. Raises BadWorkspace when that fails."""
        if rows.num_rows == 0:
            return
        try:
            write_deltalake(
                str(self.root / table),
                rows.cast(TABLES[table]),
                mode="append",
                writer_properties=_writer_properties(table),
                configuration=_NO_STATISTICS,
            )
        except (DeltaError, OSError) as error:
            raise BadWorkspace(f"{self.root / table}: {rows.num_rows} rows could not be committed: {error}") from error

    def upsert(self, table: str, rows: pa.Table) -> None:
        """Commits `rows`, each in the place of the row with its key where there is one. Raises BadWorkspace."""
        if rows.num_rows == 0 or not self.has(table):
            self.append(table, rows)
            return
        same_key = " AND ".join(f"old.{column} = new.{column}" for column in KEYS[table])
        try:
            merge = DeltaTable(str(self.root / table)).merge(
                rows.cast(TABLES[table]), same_key, source_alias="new", target_alias="old"
            )
            merge.when_matched_update_all().when_not_matched_insert_all().execute()
        except (DeltaError, OSError) as error:
            raise BadWorkspace(f"{self.root / table}: {rows.num_rows} rows could not be committed: {error}") from error

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Holds the workspace for one run. Appends never conflict in Delta, so two equal runs would both pass their
        anti-joins and double every row. Raises BadWorkspace when another run holds it.

        An object store has no file lock: there, keep to one run at a time by a deployment's concurrency limit."""
        if not self.is_local:
            yield
            return
        lock = FileLock(str(self.root / ".lock"), blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise BadWorkspace(f"{self.root}: another run is writing here; wait for it to end, or stop it") from error
        try:
            yield
        finally:
            lock.release()


def open_workspace(url: str) -> Workspace:
    """Opens the workspace, and makes it when there is none. Raises BadWorkspace."""
    root = _root(url)
    try:
        marker = root / MARKER
        if marker.exists():
            layout = json.loads(marker.read_text())["layout"]
            if layout != _LAYOUT_VERSION:
                raise BadWorkspace(f"{root}: made by another version of Faceline (layout {layout})")
            return Workspace(root)
        if root.exists() and isinstance(root, Path) and any(root.iterdir()):
            raise BadWorkspace(f"{root}: neither empty nor a workspace; give another folder with --workspace")
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        marker.write_text(json.dumps({"layout": _LAYOUT_VERSION}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadWorkspace(f"{root}: can't be opened as a workspace: {error}") from error
    return Workspace(root)


def existing_workspace(url: str) -> Workspace:
    """Opens a workspace that must be there already, for commands that only read. Raises BadWorkspace."""
    try:
        there = (_root(url) / MARKER).exists()
    except OSError as error:
        raise BadWorkspace(f"{url}: can't be looked into: {error}") from error
    if not there:
        raise BadWorkspace(f"{url}: there is no workspace; `faceline score FOLDER --workspace {url}` makes one")
    return open_workspace(url)


def _root(url: str) -> UPath:
    try:
        root = UPath(url)
    except (ValueError, ImportError) as error:
        raise BadWorkspace(f"{url}: neither a folder nor an object store that can be reached: {error}") from error
    return cast(UPath, root.expanduser().absolute()) if isinstance(root, Path) else root


def write_whole(path: UPath, content: bytes) -> None:
    """Writes a file so that a reader finds the old content or the new one, never a part. An object store's put is
    like that by itself."""
    if not isinstance(path, Path):
        path.write_bytes(content)
        return
    unfinished = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with unfinished.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def rows_of(table: str, rows: list[dict]) -> pa.Table:
    """Rows in the table's own schema. A missing or misspelt column is a mistake of ours."""
    names = set(TABLES[table].names)
    wrong = set().union(*(names ^ set(row) for row in rows))
    assert not wrong, f"{table}: columns {wrong}"
    return pa.Table.from_pylist(rows, schema=TABLES[table])


def empty_frame(table: str) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(TABLES[table].empty_table()))


def now() -> datetime:
    return datetime.now(UTC)


def new_run_id(stage: str) -> str:
    """Sorts by time, and is unique among runs that start in one second."""
    return f"{stage}-{now():%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"


def _writer_properties(table: str) -> WriterProperties:
    plain = ColumnProperties(dictionary_enabled=True, statistics_enabled="NONE")
    image = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    return WriterProperties(
        compression="ZSTD",
        max_row_group_size=1000,  # a reader of a few crops needn't load a shard's worth
        default_column_properties=plain,
        column_properties={"crop": image} if table == "faces" else None,
    )
