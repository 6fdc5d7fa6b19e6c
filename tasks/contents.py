"""The memory of extraction: which files are done, and which contents, so that none is decoded twice."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from storage.forgotten import read_tombstones
from storage.values import FileStatus
from storage.workspace import Workspace
from tasks.folder import LEADS_NOWHERE, Found
from tasks.heif import MISSING, can_read_heif
from tasks.read import PREFIX_DIGITS, Looked, is_known, prefix_of


def still_to_do(listed: list[Found], workspace: Workspace, fingerprints: Sequence[str]) -> list[Found]:
    """Those without a row for the same path, size, time and settings: `fingerprints` are Finding's."""
    if not listed:
        return []
    keys = ["source", "path", "size", "mtime_ns"]
    met = pl.DataFrame([[getattr(found, key) for key in keys] for found in listed], schema=keys, orient="row")
    done = (
        workspace.scan("files")
        .filter(pl.col("fingerprint").is_in(fingerprints), pl.col("source").is_in(met["source"].unique().implode()))
        .select(keys)
    )
    open_rows = met.with_row_index().lazy().join(done, on=keys, how="anti").select("index").sort("index").collect()
    return [listed[index] for index in open_rows["index"]]


class Contents:
    """Which contents were extracted before with the same settings: what makes a renamed or doubled photo cost a
    read, not a decode. Kept as 8 bytes a content, so 10 million take 80 MB; a match is confirmed in the tables."""

    def __init__(self, workspace: Workspace, fingerprints: Sequence[str], prefixes: np.ndarray | None = None) -> None:
        """`prefixes` are read from the tables where they aren't given."""
        self._workspace = workspace
        self._ours = pl.col("fingerprint").is_in(fingerprints)
        self.tombstones = read_tombstones(workspace)
        self.prefixes = self._read_prefixes() if prefixes is None else prefixes

    def _read_prefixes(self) -> np.ndarray:
        # A killed run may have left faces without their `files` row: those count as well, or they would be doubled.
        tables = [self._extracted("files"), self._extracted("faces")]
        prefixes = pl.concat(tables).select(pl.col("file_hash").str.slice(0, PREFIX_DIGITS))
        numbers = prefixes.unique().select(pl.all().str.to_integer(base=16, dtype=pl.UInt64)).collect()
        return np.sort(numbers["file_hash"].to_numpy())

    def _extracted(self, table: str) -> pl.LazyFrame:
        return self._workspace.scan(table).filter(self._ours, pl.col("file_hash").is_not_null()).select("file_hash")

    def is_new(self, file_hash: str) -> bool:
        return not is_known(self.prefixes, file_hash) or not self.recall([file_hash])

    def remember(self, hashes: Sequence[str]) -> None:
        new = np.unique(np.array([prefix_of(file_hash) for file_hash in hashes], np.uint64))
        new = new[~np.isin(new, self.prefixes, assume_unique=True)]
        # Sorting all anew, as union1d does, would take 12 s for a chunk beside ten million; this takes 0.1.
        self.prefixes = np.insert(self.prefixes, np.searchsorted(self.prefixes, new), new)

    def recall(self, hashes: Sequence[str]) -> dict[str, Looked]:
        """What came of those contents, for the ones that really are in the tables."""
        if not hashes:
            return {}
        ours = self._ours & pl.col("file_hash").is_in(list(hashes))
        files = self._workspace.scan("files").filter(ours).unique("file_hash", keep="any")
        rows = files.select("file_hash", "status", "detail", "face_count").collect()
        known = {row["file_hash"]: (FileStatus(row["status"]), row["detail"]) for row in rows.iter_rows(named=True)}
        left = self._workspace.scan("faces").filter(ours).select("file_hash").unique().collect()["file_hash"]
        known = {file_hash: (FileStatus.OK, None) for file_hash in left} | known
        return {file_hash: Looked(file_hash, status, detail, None) for file_hash, (status, detail) in known.items()}

    def face_counts(self, hashes: Sequence[str]) -> dict[str, int]:
        if not hashes:
            return {}
        ours = self._ours & pl.col("file_hash").is_in(list(hashes))
        counts = self._workspace.scan("faces").filter(ours).group_by("file_hash").len().collect()
        return dict(counts.iter_rows())


def drop_unread(workspace: Workspace, sources: Sequence[str]) -> None:
    """What couldn't be read for a reason that may be gone isn't done any more: in these folders, what couldn't even be
    opened (no permission, a share that failed); anywhere, HEIF once pillow-heif is there. A link that leads somewhere
    by now has another size or time. Raises BadWorkspace."""
    folders = ", ".join("'" + source.replace("'", "''") + "'" for source in sources)
    unopened = f"status = '{FileStatus.UNREADABLE}' AND file_hash IS NULL AND detail <> '{LEADS_NOWHERE}'"
    here = (pl.col("status") == FileStatus.UNREADABLE) & pl.col("source").is_in(list(sources))
    rows = here & pl.col("file_hash").is_null() & (pl.col("detail") != LEADS_NOWHERE)
    _drop(workspace, rows, f"{unopened} AND source IN ({folders})")
    if can_read_heif():
        _drop(workspace, pl.col("detail") == MISSING, f"detail = '{MISSING}'")


def _drop(workspace: Workspace, rows: pl.Expr, predicate: str) -> None:
    """The same rows, said twice: to look whether there are any takes a fraction of a commit."""
    if workspace.scan("files").filter(rows).head(1).collect().height:
        workspace.check("files")
        workspace.delete("files", predicate)
