"""What a table consists of, written down a second time beside Delta's commit log, with the SHA-256 of each file.

`deltalake` never calls fsync, notices no flipped bit, and reads a commit of no bytes as one without rows. So after each
commit its files are forced to disk and a line for each is added to `checksums/<table>.sha256`, in the format of
`sha256sum`; where log and ledger differ, a commit was lost. An object store syncs and checks by itself, and has no
ledger."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from storage.refusal import Refusal

CHECKSUMS = "checksums"
_LINE = re.compile(r"([0-9a-f]{64})  [^/]+/(.+)")
_COMMIT = re.compile(r"_delta_log/(\d{20})\.json")
_NEVER = -1  # the version of a table that was never committed to


class LostCommit(Refusal):
    """The commit log lacks what was committed to it."""


@dataclass(frozen=True)
class DataFile:
    """One Parquet file that the commit log says is part of the table."""

    path: str  # relative to the table's folder
    size_bytes: int
    rows: int


@dataclass(frozen=True)
class State:
    """A table as its commit log has it."""

    version: int
    files: dict[str, DataFile]  # by path


@dataclass(frozen=True)
class Ledger:
    """A table as its last writer left it: the version, and each data file's SHA-256 by its path."""

    version: int
    hashes: dict[str, str]


def data_files(table: DeltaTable) -> pl.DataFrame:
    """A row for each of its data files: `path`, `size_bytes`, `num_records` and more."""
    return pl.DataFrame(table.get_add_actions(flatten=True))


def state_of(table: DeltaTable) -> State:
    rows = data_files(table).select("path", "size_bytes", "num_records").iter_rows()
    files = [DataFile(*row) for row in rows]
    return State(table.version(), {file.path: file for file in files})


def read_ledger(folder: Path) -> Ledger | None:
    """None where there is none yet. A last line that a killed run left unfinished doesn't count."""
    try:
        text = ledger_file(folder).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    hashes = {match[2]: match[1] for line in text.splitlines() if (match := _LINE.fullmatch(line))}
    versions = [int(match[1]) for path in hashes if (match := _COMMIT.fullmatch(path))]
    data = {path: content_hash for path, content_hash in hashes.items() if not _COMMIT.fullmatch(path)}
    return Ledger(max(versions, default=_NEVER), data)


def lost_files(folder: Path, ledger: Ledger, state: State) -> set[str]:
    """Data files that a commit put into the table and none took out, but that its log doesn't have: a commit was lost.
    A log that is ahead of the ledger is that of a run killed right after its commit, or of one that writes just now."""
    gone = ledger.hashes.keys() - state.files.keys()
    return gone - removed_since(folder, ledger.version) if gone else set()


def removed_since(folder: Path, version: int) -> set[str]:
    """The data files that commits after that version took out of the table."""
    log = folder / "_delta_log"
    commits = [entry for entry in log.glob("*.json") if entry.stem.isdigit() and int(entry.stem) > version]
    actions = (json.loads(line) for entry in commits for line in entry.read_bytes().splitlines() if line)
    return {action["remove"]["path"] for action in actions if "remove" in action}


def seal(folder: Path) -> None:
    """Forces a table's latest commit to disk and writes it down: its rows are safe when this returns. Raises
    LostCommit, DeltaError and OSError."""
    ledger, state = read_ledger(folder), state_of(DeltaTable(str(folder)))
    if ledger and lost_files(folder, ledger, state):
        raise LostCommit(
            f"{folder}: an earlier commit was lost while this run wrote; start it again, and it repairs that"
        )
    known = ledger.hashes if ledger else {}
    new = [path for path in state.files if path not in known]
    commit = _commit_of(state.version)
    sync(folder / path for path in (*new, commit, "_delta_log", "."))
    lines = {path: sha256_of(folder / path) for path in (*new, commit)}
    if ledger and known.keys() <= state.files.keys() and (folder / _commit_of(ledger.version)).exists():
        _add_lines(folder, lines)
    else:
        write_ledger(folder, {path: known[path] for path in state.files if path in known} | lines)


def write_ledger(folder: Path, lines: dict[str, str]) -> None:
    """Puts a new ledger in the place of the old one, whole or not at all."""
    file = ledger_file(folder)
    unfinished = file.with_suffix(".unfinished")
    file.parent.mkdir(exist_ok=True)
    unfinished.write_text(_text(folder, lines), encoding="utf-8")
    sync([unfinished])
    unfinished.replace(file)
    sync([file.parent, folder.parent])


def ledger_file(folder: Path) -> Path:
    return folder.parent / CHECKSUMS / f"{folder.name}.sha256"


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(paths: Iterable[Path]) -> None:
    """Waits until those files and folders are on disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _commit_of(version: int) -> str:
    return f"_delta_log/{version:020d}.json"


def _add_lines(folder: Path, lines: dict[str, str]) -> None:
    """Begins with a line end of its own: the last line may be one that a killed run left unfinished."""
    with ledger_file(folder).open("a", encoding="utf-8") as stream:
        stream.write("\n" + _text(folder, lines))
        stream.flush()
        os.fsync(stream.fileno())


def _text(folder: Path, lines: dict[str, str]) -> str:
    return "".join(f"{content_hash}  {folder.name}/{path}\n" for path, content_hash in lines.items())
