import io

import polars as pl
import pytest

from review.export import as_csv, as_parquet


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(start: str) -> None:
    name = f"{start}cmd|' /C calc'!A1.jpg"
    back = pl.read_csv(io.BytesIO(as_csv(pl.DataFrame({"path": [name, "plain.jpg"], "age": [-1.5, 2.0]}))))
    assert back["path"].to_list() == [f"'{name}", "plain.jpg"]
    assert back["age"].to_list() == [-1.5, 2.0]  # a number is no formula


def test_parquet_keeps_every_value_as_it_is() -> None:
    rows = pl.DataFrame({"path": ["=1+1.jpg", None], "age": [31.5, None]})
    assert pl.read_parquet(io.BytesIO(as_parquet(rows))).equals(rows)
