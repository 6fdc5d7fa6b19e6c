"""Takes what is damaged out of the tables, so that the next run makes it again: all that is in them can be had from
the photos. A damaged commit log costs no row: it is written anew from the ledger, and the data files are all there."""

import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from storage.frames import frame_of
from storage.ledger import read_ledger, seal, write_ledger
from storage.schemas import TABLES
from storage.tables import PROPERTIES, delete_rows, predicates, scan_folder
from storage.verify import HINT, Damage, find_damage, standing_of

logger = logging.getLogger(__name__)
_OF_A_PHOTO = ("files", "faces", "scores")  # what extraction and scoring make of it
_CONTENT = ["file_hash", "fingerprint"]


def heal(root: Path) -> None:
    """What a run does before it writes: a quick look, and the repair of what that finds. Raises DeltaError and
    OSError."""
    if find_damage(root, thoroughly=False):
        repair(root, find_damage(root, thoroughly=True))  # it may rewrite files, which must be what was written
    for folder in _tables(root, TABLES):
        ledger = read_ledger(folder)
        if ledger is None or DeltaTable(str(folder)).version() != ledger.version:
            seal(folder)


def repair(root: Path, damages: Sequence[Damage]) -> int:
    """Repairs those damages, with a warning for each; returns how many contents have lost rows, and will be read
    again. Raises DeltaError and OSError."""
    for damage in damages:
        what_next = "" if damage.rows == 0 else "; the next run over the same photos makes them again"
        logger.warning("%s%s", damage, what_next)
    for table in {damage.table for damage in damages}:
        _repair_table(root / table, {root / damage.file for damage in damages if damage.table == table})
    return drop_incomplete(root) if damages else 0


def drop_incomplete(root: Path) -> int:
    """Deletes what is left of contents whose faces or scores are lost: while its `files` row stands, a photo counts
    as done. Returns how many contents that were."""
    contents = _incomplete(root).collect()
    folders = list(_tables(root, _OF_A_PHOTO))
    for (fingerprint,), group in contents.group_by("fingerprint"):
        for predicate in predicates("file_hash", group["file_hash"].to_list()):
            for folder in folders:
                delete_rows(str(folder), folder.name, f"fingerprint = '{fingerprint}' AND {predicate}")
    for folder in folders:
        seal(folder)
    return len(contents)


def _repair_table(folder: Path, damaged: set[Path]) -> None:
    hint = folder / "_delta_log" / HINT
    if hint in damaged:
        hint.unlink()
    standing = standing_of(folder)
    good = {path: content_hash for path, content_hash in standing.files.items() if folder / path not in damaged}
    if standing.state is not None and not damaged - {hint}:
        return
    _write_log(folder, good)
    write_ledger(folder, {path: content_hash for path, content_hash in good.items() if content_hash})
    seal(folder)
    for path in standing.files.keys() - good.keys():
        (folder / path).unlink(missing_ok=True)


def _write_log(folder: Path, paths: Iterable[str]) -> None:
    """A new commit log, of one commit, over those data files. A kill in the middle leaves a table without a log, which
    the next look finds and the ledger mends."""
    adds = [_add_action(folder, path) for path in paths]
    unfinished = folder / ".new_log"
    shutil.rmtree(unfinished, ignore_errors=True)
    schema = Schema.from_arrow(TABLES[folder.name])
    create_table_with_add_actions(str(unfinished), schema, adds, configuration=PROPERTIES)
    shutil.rmtree(folder / "_delta_log", ignore_errors=True)
    (unfinished / "_delta_log").rename(folder / "_delta_log")
    unfinished.rmdir()


def _add_action(folder: Path, path: str) -> AddAction:
    about = (folder / path).stat()
    rows = pq.read_metadata(folder / path).num_rows
    return AddAction(path, about.st_size, {}, about.st_mtime_ns // 1_000_000, True, json.dumps({"numRecords": rows}))


def _incomplete(root: Path) -> pl.LazyFrame:
    """Contents, by file_hash and fingerprint, that lack faces; or scores, where these can't be made again since the
    crops weren't kept; and those of which nothing but scores is left."""
    files, faces, scores = (_scan(root, table) for table in _OF_A_PHOTO)
    faces = faces.group_by(_CONTENT).agg(found=pl.len(), cropless=pl.col("crop_hash").is_null().any())
    counted = files.filter(pl.col("face_count") > 0, pl.col("file_hash").is_not_null())
    counted = counted.select(*_CONTENT, "face_count").unique().join(faces, on=_CONTENT, how="left")
    scores = scores.select(_CONTENT).unique()
    lacking = (
        counted.filter(pl.col("found").fill_null(0) != pl.col("face_count")),
        faces.filter("cropless").join(scores, on=_CONTENT, how="anti"),
        scores.join(faces, on=_CONTENT, how="anti"),
    )
    return pl.concat([contents.select(_CONTENT) for contents in lacking]).unique()


def _scan(root: Path, table: str) -> pl.LazyFrame:
    if not DeltaTable.is_deltatable(str(root / table)):
        return frame_of(TABLES[table]).lazy()
    return scan_folder(root / table, DeltaTable(str(root / table)))


def _tables(root: Path, names: Iterable[str]) -> Iterator[Path]:
    return (root / table for table in names if DeltaTable.is_deltatable(str(root / table)))
