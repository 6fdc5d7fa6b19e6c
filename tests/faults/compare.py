"""Two workspaces compared by key and value: what a fault lost, doubled or made wrong, against a run without it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from storage.workspace import existing_workspace

Rows = dict[str, pl.DataFrame]  # by table
_YEARS = 1e-4  # of an age, and of a probability
_KEYS = {
    "files": ["path", "file_hash"],  # not its source: the reference's photos lie in a folder of their own
    "faces": ["file_hash", "face_index", "fingerprint"],
    "scores": ["file_hash", "face_index", "fingerprint", "model_hash"],
}
_VALUES = {
    "files": ["status", "face_count", "fingerprint"],
    "faces": ["crop_hash", "crop_is_whole", "x", "y", "width", "height"],
    "scores": ["age", "age_low", "age_high", "female"],
}


@dataclass(frozen=True)
class Difference:
    """Rows of all tables together. `wrong` has another value, or a key that the reference doesn't have."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(self.lost + other.lost, self.doubled + other.doubled, self.wrong + other.wrong)

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.wrong)


def rows_in(workspace: Path) -> Rows:
    """The tables' rows as they are compared. Each crop is hashed again: its column says what it should be."""
    opened = existing_workspace(str(workspace))
    rows = {table: opened.scan(table).collect() for table in _KEYS}
    whole = [crop is None or hashlib.sha256(crop).hexdigest() == known for crop, known in _crops(rows["faces"])]
    rows["faces"] = rows["faces"].with_columns(pl.Series("crop_is_whole", whole, pl.Boolean))
    return {table: frame.select(_KEYS[table] + _VALUES[table]) for table, frame in rows.items()}


def only(rows: Rows, names: set[str]) -> Rows:
    """What is said of the files of those names."""
    files = rows["files"].filter(pl.col("path").is_in(list(names)))
    theirs = pl.col("file_hash").is_in(files["file_hash"].drop_nulls().implode())
    return {"files": files} | {table: rows[table].filter(theirs) for table in ("faces", "scores")}


def compare(reference: Rows, found: Rows) -> Difference:
    return sum((_compared(table, reference[table], found[table]) for table in _KEYS), Difference())


def _compared(table: str, reference: pl.DataFrame, found: pl.DataFrame) -> Difference:
    keys, values = _KEYS[table], _VALUES[table]
    lost = reference.join(found, on=keys, how="anti", nulls_equal=True)
    unknown = found.join(reference, on=keys, how="anti", nulls_equal=True)
    both = found.unique().join(reference.unique(keys), on=keys, how="inner", nulls_equal=True, suffix="_wanted")
    differs = pl.any_horizontal([_differs(name, reference.schema[name]) for name in values])
    doubled = found.height - found.unique(keys).height
    return Difference(lost.height, doubled, unknown.unique(keys).height + both.filter(differs).height)


def _differs(name: str, kind: pl.DataType) -> pl.Expr:
    found, wanted = pl.col(name), pl.col(f"{name}_wanted")
    if not kind.is_float():
        return found.ne_missing(wanted)
    return ((found - wanted).abs() > _YEARS) | (found.is_null() != wanted.is_null())


def _crops(faces: pl.DataFrame) -> list[tuple[bytes | None, str | None]]:
    return list(zip(faces["crop"].to_list(), faces["crop_hash"].to_list(), strict=True))
