"""Polars frames in a schema of storage/schemas.py, so that no type is guessed from the data."""

from collections.abc import Sequence
from typing import cast

import polars as pl
import pyarrow as pa


def frame_of(schema: pa.Schema, rows: Sequence[dict] = ()) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(pa.Table.from_pylist(list(rows), schema=schema)))
