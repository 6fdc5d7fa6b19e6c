"""Which contents a model learnt from: `trained_on.parquet` in a run's folder and in a registry version's, so that
whoever is forgotten can be told which models saw them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import polars as pl
from upath import UPath

from storage.forgotten import read_tombstones
from storage.tombstones import Tombstones
from storage.workspace import Workspace, write_parquet

TRAINED_ON = "trained_on.parquet"
_FORGOTTEN = "forgotten:"


@dataclass(frozen=True)
class Seen:
    """Registry versions and training runs, by name."""

    models: tuple[str, ...]
    runs: tuple[str, ...]
    unknown: tuple[str, ...]  # models and runs that keep no list


def note_trained_on(workspace: Workspace, folder: UPath, file_hashes: Iterable[str]) -> None:
    """Writes a run's list into its folder; what was forgotten while it ran appears by its tombstone."""
    listed = pl.DataFrame({"file_hash": sorted(set(file_hashes))}, schema={"file_hash": pl.String})
    write_parquet(folder / TRAINED_ON, with_tombstones(listed, read_tombstones(workspace)))


def who_saw(workspace: Workspace, file_hashes: Collection[str]) -> Seen:
    """The models and runs that learnt from any of those contents, forgotten ones too."""
    tombstones = read_tombstones(workspace)
    wanted = {*file_hashes, *(_FORGOTTEN + tombstones.mark_of(file_hash) for file_hash in file_hashes)}
    models, runs = (_learnt_from(folder, wanted) for folder in (workspace.registry, workspace.runs))
    return Seen(_of(models, True), _of(runs, True), _of(models, None) + _of(runs, None))


def seen_by(workspace: Workspace, folders: Iterable[UPath], file_hashes: Collection[str]) -> set[str]:
    """Which of those contents stand on the list of any of the folders, each a run's or a version's; forgotten ones by
    their mark. A folder without a list saw none, as far as is known."""
    listed = set().union(*(_list_in(folder) or () for folder in folders))
    if not listed:
        return set()
    tombstones = read_tombstones(workspace)
    return {each for each in file_hashes if each in listed or _FORGOTTEN + tombstones.mark_of(each) in listed}


def with_tombstones(listed: pl.DataFrame, tombstones: Tombstones) -> pl.DataFrame:
    """The list with each forgotten content's hash replaced by its mark."""
    marks = {
        file_hash: _FORGOTTEN + tombstones.mark_of(file_hash)
        for file_hash in listed["file_hash"]
        if tombstones.cover(file_hash)
    }
    return listed.with_columns(pl.col("file_hash").replace(marks))


def _learnt_from(parent: UPath, wanted: set[str]) -> dict[str, bool | None]:
    """For each folder in `parent`, whether its list has any of those; None where it has no list."""
    found = {}
    for folder in sorted(parent.iterdir()) if parent.exists() else []:
        if folder.is_dir():
            listed = _list_in(folder)
            found[folder.name] = None if listed is None else not wanted.isdisjoint(listed)
    return found


def _list_in(folder: UPath) -> set[str] | None:
    """None where the folder has no list: a shipped model's, or an older version's."""
    file = folder / TRAINED_ON
    return set(pl.read_parquet(file.read_bytes())["file_hash"]) if file.exists() else None


def _of(found: dict[str, bool | None], answer: bool | None) -> tuple[str, ...]:
    return tuple(name for name, learnt in found.items() if learnt is answer)
