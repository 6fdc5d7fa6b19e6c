"""Rows in a schema of storage/schemas.py, so that no type is guessed from the data: as Polars frames and Arrow tables.

Polars builds them and Arrow's reader casts them. On its first array of Python values pyarrow would import pandas,
wherever that is installed, and for a table's `cast` its own module compute: together 0.6 s of a core at each start."""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa


def frame_of(schema: pa.Schema, rows: Sequence[dict] = ()) -> pl.DataFrame:
    """A map, as of the labels' groups, is a list of {"key": ..., "value": ...}."""
    return pl.DataFrame(rows, schema=pl.Schema(schema), orient="row")


def cast_to(schema: pa.Schema, rows: pl.DataFrame | pa.Table) -> pa.Table:
    """The same rows in that schema, of the same column names. Raises pa.ArrowInvalid for a null where it has none."""
    return pa.RecordBatchReader.from_stream(rows).cast(schema).read_all()
