"""The workspace: Delta tables in a folder or under an object-store URL, read lazily and appended to in whole commits.

Delta (the `deltalake` library) gives atomic commits, schema checks and S3 without code of ours. In a folder, rows are
on disk when a commit returns, and a commit that was lost since is noticed by whoever reads (see storage/ledger.py): of
512 faces with their crops (3.2 MB), Delta's part of an append takes 47 ms, and this one 28.
"""

import errno
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import cast
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from filelock import FileLock, Timeout
from upath import UPath

from storage.frames import cast_to, frame_of
from storage.lease import Lease, Taken
from storage.ledger import DataFile, Ledger, State, lost_files, read_ledger, seal, state_of, sync
from storage.refusal import Refusal
from storage.repair import heal
from storage.schemas import TABLES
from storage.tables import (
    add_data_file,
    append_rows,
    create_table,
    data_file,
    delete_rows,
    merge_rows,
    scan_folder,
)
from storage.verify import find_damage

logger = logging.getLogger(__name__)
MARKER = "faceline-workspace.json"
_LAYOUT_VERSION = 1
_S3 = {"s3", "s3a"}
_OWNER_ONLY = 0o077  # what others may not do with our files, as a umask
_SYNCED_FOLDERS = {"Dropbox", "OneDrive", "Google Drive", "Nextcloud", "Mobile Documents"}
_MISREAD = re.compile(r"%[0-9A-Fa-f]{2}|[\\\[\]|^\x00-\x1f\x7f]")  # by Delta, in a path
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BadWorkspace(Refusal):
    """The workspace can't be opened, read or written; the message names it and says what to do."""


class Workspace:
    """A folder or an object-store prefix (`./workspace`, `s3://bucket/faces`) with Faceline's tables in it."""

    def __init__(self, root: UPath) -> None:
        self.root = root
        self._lease: Lease | None = None  # while it is held, in a bucket

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
        ledger = read_ledger(self.local_root() / table) if self.is_local else None
        try:
            found = DeltaTable(str(self.root / table))
            if ledger is not None and not self._has_all(table, ledger, state_of(found)):
                raise BadWorkspace(f"{self.root / table}: a commit was lost; {self.how_to_repair()}")
            return scan_folder(self.local_root() / table, found) if self.is_local else pl.scan_delta(found)
        except TableNotFoundError as error:
            if ledger is not None:
                raise BadWorkspace(f"{self.root / table}: its commit log is gone; {self.how_to_repair()}") from error
            return empty_frame(table).lazy()
        except (DeltaError, FileNotFoundError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise BadWorkspace(f"{self.root / table}: can't be read: {reason}; {self.how_to_repair()}") from error

    def stamp(self, table: str) -> str:
        """Another one after each commit to the table, for who keeps what was read of it: the latest entry of its log,
        which takes a fraction of opening the table. Empty before the first commit. Raises BadWorkspace."""
        with ours(f"{self.root / table}: can't be looked into"):
            if not self.is_local:
                return str(DeltaTable(str(self.root / table)).version()) if self.has(table) else ""
            log = self.local_root() / table / "_delta_log"
            entries = [entry for entry in os.scandir(log) if entry.name[0].isdigit()] if log.exists() else []
            latest = max(entries, key=lambda entry: entry.name, default=None)
            return f"{latest.name} {latest.stat().st_mtime_ns}" if latest else ""

    def append(self, table: str, rows: pa.Table) -> None:
        """Commits `rows` at once: all of them are there afterwards, or none. Raises BadWorkspace when that fails."""
        if rows.num_rows:
            with self._committing(table, f"{rows.num_rows} rows could not be committed"):
                append_rows(str(self.root / table), table, rows)

    def lay_down(self, table: str, rows: pa.Table) -> DataFile:
        """Writes `rows` where the table's data files are, without a commit: nobody sees them until `take_up`, and where
        that never comes, compaction deletes them. Raises BadWorkspace."""
        content = data_file(table, rows)
        file = DataFile(f"part-{uuid4()}.parquet", len(content), rows.num_rows)
        folder = self.root / table
        with ours(f"{folder}: {rows.num_rows} rows could not be written"):
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / file.path, content)
        return file

    def take_up(self, table: str, file: DataFile) -> None:
        """Commits what was laid down. Raises BadWorkspace."""
        url, what_failed = str(self.root / table), f"{file.rows} rows could not be committed"
        if not self.has(table):
            with self._committing(table, what_failed):
                create_table(url, table)
        with self._committing(table, what_failed):
            add_data_file(url, table, file)

    def laid_down(self, table: str, file: DataFile) -> pa.Table:
        """The rows that were laid down. Raises BadWorkspace."""
        with ours(f"{self.root / table}: {file.path} can't be read"):
            return cast_to(TABLES[table], pq.read_table(BytesIO((self.root / table / file.path).read_bytes())))

    def upsert(self, table: str, rows: pa.Table) -> None:
        """Commits `rows`, each in the place of the row with its key where there is one. Raises BadWorkspace."""
        if rows.num_rows == 0 or not self.has(table):
            self.append(table, rows)
            return
        self.check(table)
        with self._committing(table, f"{rows.num_rows} rows could not be committed"):
            merge_rows(str(self.root / table), table, rows)

    def delete(self, table: str, predicate: str) -> int:
        """Deletes the rows for which an SQL predicate holds; returns how many. They are gone from the disk once the
        table is tidied, see storage/compact.py. Raises BadWorkspace."""
        if not self.has(table):
            return 0
        with self._committing(table, "rows could not be deleted"):
            return delete_rows(str(self.root / table), table, predicate)

    def check(self, *tables: str) -> None:
        """To be called before data files are rewritten, which would give what was changed on disk a valid checksum:
        hashes them all. An object store checks its own. Raises BadWorkspace with what is damaged."""
        if not self.is_local:
            return
        damages = find_damage(self.local_root(), thoroughly=True, tables=tables)
        if damages:
            listed = ", ".join(map(str, damages))
            raise BadWorkspace(f"{self.root}: {len(damages)} damaged: {listed}; {self.how_to_repair()}")

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Holds the workspace for one run, which may rely on its tables: what is damaged is repaired first. Raises
        BadWorkspace as `held` does."""
        with self.held():
            if self.is_local:
                with ours(f"{self.root}: its tables could not be repaired"):
                    heal(self.local_root())
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """Appends never conflict in Delta, so two equal runs would both pass their anti-joins and double every row.
        Raises BadWorkspace when another run holds it. Of object stores it is S3 that can be held."""
        if not self.is_local:
            with self._leased() if self.root.protocol in _S3 else nullcontext():
                yield
            return
        lock = FileLock(str(self.root / ".lock"), blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise BadWorkspace(f"{self.root}: another run is writing here; wait for it to end, or stop it") from error
        except OSError as error:
            raise BadWorkspace(f"{self.root}: can't be written to: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _leased(self) -> Iterator[None]:
        lease = Lease(str(self.root / ".lock"))
        with ExitStack() as stack:
            try:
                stack.enter_context(lease.held())
            except Taken as error:
                raise BadWorkspace(f"{self.root}: {error}") from error
            except OSError as error:
                raise BadWorkspace(f"{self.root}: can't be written to: {error}") from error
            self._lease = lease
            stack.callback(setattr, self, "_lease", None)
            yield

    def local_root(self) -> Path:
        """Raises BadWorkspace for an object store, which keeps and checks its files by itself."""
        if not self.is_local:
            raise BadWorkspace(f"{self.root}: only a folder can be checked; an object store checks its own files")
        return cast(Path, self.root)

    def how_to_repair(self) -> str:
        return f"`faceline doctor --repair --workspace {self.root}` repairs it"

    def _has_all(self, table: str, ledger: Ledger, state: State) -> bool:
        return state.version >= ledger.version and not lost_files(self.local_root() / table, ledger, state)

    @contextmanager
    def _committing(self, table: str, what_failed: str) -> Iterator[None]:
        """Around a commit: after it, what was committed is safe on disk."""
        if self._lease and self._lease.is_lost:
            raise BadWorkspace(f"{self.root}: another run writes here since this one was silent; run this again")
        with ours(f"{self.root / table}: {what_failed}"):
            yield
            if self.is_local:
                seal(self.local_root() / table)


def open_workspace(url: str) -> Workspace:
    """Opens the workspace, and makes it when there is none: a folder that only its owner can look into, as is every
    file that this process writes from now on. Raises BadWorkspace."""
    root = _root(url)
    os.umask(_OWNER_ONLY)
    try:
        marker = root / MARKER
        if marker.exists():
            layout = _layout_of(marker)
            if layout != _LAYOUT_VERSION:
                raise BadWorkspace(f"{root}: made by another version of Faceline (layout {layout})")
            _warn_of_readers(root)
            return Workspace(root)
        if root.exists() and isinstance(root, Path) and any(root.iterdir()):
            raise BadWorkspace(f"{root}: neither empty nor a workspace; give another folder with --workspace")
        root.mkdir(parents=True, exist_ok=True)
        if isinstance(root, Path):
            root.chmod(0o777 & ~_OWNER_ONLY)
        marker.write_text(json.dumps({"layout": _LAYOUT_VERSION}), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadWorkspace(f"{root}: can't be opened as a workspace: {error}") from error
    return Workspace(root)


def _layout_of(marker: UPath) -> int:
    try:
        return json.loads(marker.read_bytes())["layout"]
    except (ValueError, KeyError, TypeError) as error:
        whole = json.dumps({"layout": _LAYOUT_VERSION})
        raise BadWorkspace(f"{marker}: damaged; if the tables beside it are whole, write {whole} into it") from error


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
    """Raises BadWorkspace for what can't be one."""
    try:
        root = UPath(url)
        misread = _MISREAD.search(str(root.expanduser().absolute())) if isinstance(root, Path) else None
        if misread:
            raise BadWorkspace(f"{url}: Delta can't keep tables at a path with {misread[0]!r}; give another folder")
    except (ValueError, ImportError) as error:
        raise BadWorkspace(f"{url}: neither a folder nor an object store that can be reached: {error}") from error
    if isinstance(root, Path) and os.path.isfile(root.expanduser()):
        raise BadWorkspace(f"{url}: a file, and a workspace is a folder; give another one with --workspace")
    return cast(UPath, root.expanduser().absolute()) if isinstance(root, Path) else root


def _warn_of_readers(root: UPath) -> None:
    if not isinstance(root, Path):
        return
    if root.stat().st_mode & _OWNER_ONLY:
        logger.warning("%s: others on this machine can look into it, and it holds faces: chmod 700 %s", root, root)
    if synced := _SYNCED_FOLDERS.intersection(root.parts):
        logger.warning("%s: is copied elsewhere by %s, and it holds faces", root, ", ".join(synced))


@contextmanager
def ours(what_failed: str) -> Iterator[None]:
    """Turns an error of Delta or of the disk into BadWorkspace."""
    try:
        yield
    except (DeltaError, OSError) as error:
        raise BadWorkspace(f"{what_failed}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line of it: Delta's errors come with a list of unnamed frames."""
    said = str(error).splitlines()[0]
    inner = re.search(r"\(os error (\d+)\)", said)
    number = error.errno if isinstance(error, OSError) else int(inner[1]) if inner else None
    return f"no space left on its disk; make room and run this again ({said})" if number in _NO_SPACE else said


def write_whole(path: UPath, content: bytes) -> None:
    """Writes a file so that a reader finds the old content or the new one, never a part. An object store's put is
    like that by itself."""
    if not isinstance(path, Path):
        path.write_bytes(content)
        return
    unfinished = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with ours(f"{path}: could not be written"):
            with unfinished.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(unfinished, path)
            sync([path.parent])
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_parquet(path: UPath, frame: pl.DataFrame) -> None:
    """As `write_whole` does."""
    stream = BytesIO()
    frame.write_parquet(stream)
    write_whole(path, stream.getvalue())


def rows_of(table: str, rows: list[dict]) -> pa.Table:
    """Rows in the table's own schema. A missing or misspelt column is a mistake of ours."""
    names = set(TABLES[table].names)
    wrong = set().union(*(names ^ set(row) for row in rows))
    assert not wrong, f"{table}: columns {wrong}"
    return cast_to(TABLES[table], frame_of(TABLES[table], rows))


def empty_frame(table: str) -> pl.DataFrame:
    return frame_of(TABLES[table])


def now() -> datetime:
    return datetime.now(UTC)


def new_run_id(stage: str) -> str:
    """Sorts by time, and is unique among runs that start in one second."""
    return f"{stage}-{now():%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"
