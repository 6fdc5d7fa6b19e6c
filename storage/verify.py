"""What is damaged in the tables: each table's commit log, its ledger and its data files compared.

The quick look, which takes no more of a data file than its size, is for whoever is about to write; the thorough one
hashes every data file, as fast as a core does SHA-256 (141 MB in 0.3 s)."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from storage.ledger import State, ledger_file, lost_files, read_ledger, removed_since, sha256_of, state_of
from storage.schemas import TABLES

HINT = "_last_checkpoint"


@dataclass(frozen=True)
class Damage:
    """One damaged file: of the commit log, whose commits the ledger gives back, or of the data, whose rows are lost."""

    table: str
    file: str  # relative to the workspace
    what: str
    rows: int | None  # lost with it; None: nobody knows how many

    def __str__(self) -> str:
        lost = "some rows" if self.rows is None else f"{self.rows} rows" if self.rows else "no row"
        return f"{self.file}: {self.what}; {lost} of `{self.table}` lost"


@dataclass(frozen=True)
class Standing:
    """What of a table can be relied on. `files` are the data files that make it up, with their SHA-256 (None: not
    written down yet): the log's where that is whole, else the ledger's, and those of later commits."""

    folder: Path
    state: State | None  # None: the log can't be read, or lacks what the ledger has
    files: dict[str, str | None]


def find_damage(root: Path, *, thoroughly: bool, tables: Iterable[str] = TABLES) -> list[Damage]:
    """Every damage in those tables of a workspace's folder."""
    there = [table for table in tables if (root / table).exists() or ledger_file(root / table).exists()]
    return [damage for table in there for damage in _damage_of(root / table, thoroughly)]


def standing_of(folder: Path) -> Standing:
    ledger = read_ledger(folder)  # before the log: a commit in between is then ahead, not lost
    hashes = ledger.hashes if ledger else {}
    try:
        state = state_of(DeltaTable(str(folder)))
    except TableNotFoundError:
        state = State(-1, {})
    except (DeltaError, OSError):
        return Standing(folder, None, dict(hashes))
    if ledger is None or (state.version >= ledger.version and not lost_files(folder, ledger, state)):
        return Standing(folder, state, {path: hashes.get(path) for path in state.files})
    if state.version <= ledger.version:
        return Standing(folder, None, dict(hashes))
    later, removed = dict.fromkeys(state.files), removed_since(folder, ledger.version)
    return Standing(folder, None, {path: known for path, known in (later | hashes).items() if path not in removed})


def _damage_of(folder: Path, thoroughly: bool) -> Iterator[Damage]:
    standing = standing_of(folder)
    thoroughly = thoroughly or standing.state is None
    if broken := _broken_entry(folder / "_delta_log", standing):
        file, what = broken
        rows = 0 if ledger_file(folder).exists() else None
        yield Damage(folder.name, f"{folder.name}/_delta_log/{file}", what, rows)
    paths = sorted(standing.files)
    with ThreadPoolExecutor() as pool:  # hashing frees the interpreter
        faults = pool.map(partial(_fault_of, standing, thoroughly=thoroughly), paths)
        for path, fault in zip(paths, faults, strict=True):
            if fault:
                yield Damage(folder.name, f"{folder.name}/{path}", fault, _rows_of(standing, path))


def _broken_entry(log: Path, standing: Standing) -> tuple[str, str] | None:
    """The file of the commit log that is at fault, and what is wrong with it; None where the log is whole."""
    hint = log / HINT
    if hint.exists() and not _names_a_checkpoint(hint):
        return hint.name, "names no checkpoint"
    entries = sorted(log.glob("*.json"))
    if standing.state is not None and (None not in standing.files.values() or not entries):
        return None
    for entry in entries:
        if fault := _entry_fault(entry):
            return entry.name, fault
    if standing.state is not None:
        return None
    last = entries[-1].stem if entries else "0"
    return f"{int(last) + 1:020d}.json", "this commit is missing, or one before it"


def _names_a_checkpoint(hint: Path) -> bool:
    try:
        version = int(json.loads(hint.read_bytes())["version"])
    except (ValueError, KeyError, TypeError):
        return False
    return any(file.stat().st_size for file in hint.parent.glob(f"{version:020d}.checkpoint*.parquet"))


def _entry_fault(entry: Path) -> str | None:
    content = entry.read_bytes()
    try:
        actions = [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError:
        return "this commit ends early or is no JSON"
    return None if actions else "this commit is empty"


def _fault_of(standing: Standing, path: str, *, thoroughly: bool) -> str | None:
    """What is wrong with a data file; None where nothing is."""
    file, content_hash = standing.folder / path, standing.files[path]
    if not file.exists():
        return "is missing"
    listed = standing.state.files[path].size_bytes if standing.state else None
    size = file.stat().st_size
    if size == 0 or (listed is not None and listed != size):
        return f"has {size} bytes, not the {listed or 'many'} that were committed"
    if content_hash is None:  # of a run that was killed between its commit and the ledger
        return _decoding_fault(file)
    if thoroughly and sha256_of(file) != content_hash:
        return "was changed on disk: its SHA-256 isn't the one that was committed"
    return None


def _decoding_fault(file: Path) -> str | None:
    try:
        pq.ParquetFile(file).read()
    except (pa.ArrowException, OSError) as error:
        return f"can't be decoded: {error}"
    return None


def _rows_of(standing: Standing, path: str) -> int | None:
    if standing.state:
        return standing.state.files[path].rows
    try:
        return pq.read_metadata(standing.folder / path).num_rows
    except (pa.ArrowException, OSError):
        return None
