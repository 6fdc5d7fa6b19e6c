"""How tables are written and read: what every commit asks of Delta, for a table's folder or URL.

Column statistics are off: they would copy paths and subject ids into the commit log, where a deletion doesn't reach,
and hashes are too random to be skipped by them anyway. Old log entries go with the next checkpoint for the same
reason, and so do replaced data files with the next compaction."""

import json
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.transaction import AddAction

from storage.frames import cast_to
from storage.ledger import DataFile, data_files
from storage.schemas import KEYS, TABLES

PROPERTIES = {
    "delta.dataSkippingNumIndexedCols": "0",
    "delta.logRetentionDuration": "interval 0 seconds",
    "delta.deletedFileRetentionDuration": "interval 0 seconds",
}
_HASHES_A_PREDICATE = 5000
_ROWS_A_GROUP = 1000  # a reader of a few crops needn't load a shard's worth


def scan_folder(folder: Path, table: DeltaTable) -> pl.LazyFrame:
    """The rows of a table that lies in a folder, lazily. Polars' own `scan_delta` looks for `My Photos` as
    `My%20Photos` (Polars 2.1, deltalake 1.6)."""
    paths = [str(folder / name) for name in data_files(table)["path"]]
    schema = pl.Schema(table.schema())
    if not paths:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(paths, schema=schema, missing_columns="insert", glob=False)


def append_rows(url: str, table: str, rows: pa.Table) -> None:
    """Raises DeltaError and OSError, as all of these do."""
    write_deltalake(
        url,
        cast_to(TABLES[table], rows),
        mode="append",
        writer_properties=plain_writer(table),
        configuration=PROPERTIES,
    )


def data_file(table: str, rows: pa.Table) -> bytes:
    """The rows as the Parquet file that a commit of them would make."""
    stream = BytesIO()
    rows = cast_to(TABLES[table], rows)
    plain: Any = [column for column in rows.column_names if column != "crop"]  # pyarrow's types know only True, False
    with pq.ParquetWriter(
        stream, rows.schema, compression="zstd", use_dictionary=plain, write_statistics=False
    ) as writer:
        writer.write_table(rows, row_group_size=_ROWS_A_GROUP)
    return stream.getvalue()


def create_table(url: str, table: str) -> None:
    DeltaTable.create(url, TABLES[table], mode="ignore", configuration=PROPERTIES)


def add_data_file(url: str, table: str, file: DataFile) -> None:
    """Commits a data file that lies in the table's folder already."""
    about = json.dumps({"numRecords": file.rows})
    action = AddAction(file.path, file.size_bytes, {}, int(time.time() * 1000), data_change=True, stats=about)
    DeltaTable(url).create_write_transaction([action], "append", TABLES[table])


def merge_rows(url: str, table: str, rows: pa.Table) -> None:
    """Each row in the place of the one with its key, or added where there is none."""
    same_key = " AND ".join(f"old.{column} = new.{column}" for column in KEYS[table])
    merge = DeltaTable(url).merge(
        cast_to(TABLES[table], rows),
        same_key,
        source_alias="new",
        target_alias="old",
        writer_properties=plain_writer(table),
    )
    merge.when_matched_update_all().when_not_matched_insert_all().execute()


def delete_rows(url: str, table: str, predicate: str) -> int:
    """Deletes the rows for which an SQL predicate holds; returns how many. Data files without such a row stay as they
    are; the predicate stands in the commit log until the table is tidied."""
    done = DeltaTable(url).delete(predicate, writer_properties=plain_writer(table))
    return done["num_deleted_rows"] or 0


def predicates(column: str, values: Sequence[str]) -> Iterator[str]:
    """SQL that holds for any of those values (hashes, that need no quoting), a few thousand at a time."""
    for start in range(0, len(values), _HASHES_A_PREDICATE):
        listed = ", ".join(f"'{value}'" for value in values[start : start + _HASHES_A_PREDICATE])
        yield f"{column} IN ({listed})"


def plain_writer(table: str) -> WriterProperties:
    plain = ColumnProperties(dictionary_enabled=True, statistics_enabled="NONE")
    image = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    return WriterProperties(
        compression="ZSTD",
        max_row_group_size=_ROWS_A_GROUP,
        default_column_properties=plain,
        column_properties={"crop": image} if table == "faces" else None,
    )
