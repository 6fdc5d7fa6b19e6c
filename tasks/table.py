"""Tables that people bring, as CSV or Parquet: read as text, from exactly the file that was named.

CSV is read by Python, not by Polars: its messages can name the line, and what to save the table as. That takes two
seconds for half a million rows."""

import codecs
import csv
from collections.abc import Collection
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from storage.refusal import Refusal

_SEPARATORS = ",;\t"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PARQUET_MAGIC = b"PAR1"
_PARQUET_ENDINGS = (".parquet", ".pq")
_NOT_KNOWN = ("", "na", "n/a", "nan", "null", "none", "unknown", "-")


class BadTable(Refusal):
    """A table that can't be used: missing, unreadable, without what it needs, or nonsense in it."""


def read_table(path: Path, known: Collection[str]) -> pl.DataFrame:
    """Every column as text; null where a cell is blank. Columns are named without blanks around, and those of `known`
    in small letters; one without a name is left out, as is one of lists or bytes that isn't known. Raises BadTable."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BadTable(f"{path}: there is no such table") from error
    except IsADirectoryError as error:
        raise BadTable(f"{path}: is a folder; name the .csv or .parquet file") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise BadTable(f"{path}: can't be read as a table: {error}") from error
    if content.startswith(_PARQUET_MAGIC) or path.suffix.lower() in _PARQUET_ENDINGS:
        frame = _parquet(content, path, known)
    else:
        frame = _csv(content, path, known)
    if not frame.width:
        raise BadTable(f"{path}: has no column of texts or numbers with a name")
    return frame.with_columns(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))


def without_unknown(frame: pl.DataFrame, columns: Collection[str]) -> pl.DataFrame:
    """Those columns without blanks around, and null where a cell says that nothing is known. Where each subject_id is
    written as `3999.0`, as pandas does with whole numbers that have gaps, the `.0` goes: one person would have two
    names."""
    texts = {name: pl.col(name).str.strip_chars() for name in columns if name in frame.columns}
    known = {name: pl.when(~text.str.to_lowercase().is_in(_NOT_KNOWN)).then(text) for name, text in texts.items()}
    frame = frame.with_columns(**known)
    whole = r"^(\d+)\.0$"
    if "subject_id" in known and frame["subject_id"].str.contains(whole).all():
        return frame.with_columns(pl.col("subject_id").str.replace(whole, "$1"))
    return frame


def _csv(content: bytes, path: Path, known: Collection[str]) -> pl.DataFrame:
    text = _decoded(content, path)
    separator = max(_SEPARATORS, key=lambda each: _count_known(text, each, known))
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = next((row for row in reader if any(map(str.strip, row))), None)
        if header is None:
            raise BadTable(f"{path}: can't be read as a table: it's empty")
        rows = [_of_width(row, len(header)) for row in reader]
    except csv.Error as error:
        raise BadTable(f"{path}: can't be read as a table: line {reader.line_num}: {error}") from error
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    names = _names(header, path, known)
    return pl.DataFrame(
        [pl.Series(name, column, pl.String) for name, column in zip(names, columns, strict=True) if name]
    )


def _count_known(text: str, separator: str, known: Collection[str]) -> int:
    """How many columns that are known the first line has, were that the separator."""
    first = text.lstrip().split("\n", 1)[0]
    return len({cell.strip(' "\r').lower() for cell in first.split(separator)} & set(known))


def _of_width(row: list[str], width: int) -> list[str]:
    if any(map(str.strip, row[width:])):
        raise csv.Error(f"{len(row)} cells, where the header has {width}")
    return row[:width] + [""] * (width - len(row))


def _decoded(content: bytes, path: Path) -> str:
    if content.startswith(_UTF_16) or b"\0" in content:
        raise BadTable(f"{path}: can't be read as a table: it's UTF-16, or no text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadTable(f"{path}: can't be read as a table: line {line} isn't UTF-8; save it as UTF-8") from error


def _parquet(content: bytes, path: Path, known: Collection[str]) -> pl.DataFrame:
    """By pyarrow: on a damaged file, Polars panics, which isn't an Exception; as it does on names and texts that aren't
    UTF-8, which raise here."""
    try:
        table = pq.ParquetFile(BytesIO(content)).read()
        table.validate(full=True)
        names = _names(table.column_names, path, known)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadTable(f"{path}: can't be read as a table: {error}") from error
    columns = {}
    for name, column in zip(names, table.columns, strict=True):
        try:
            columns[name] = _text(column)
        except pa.ArrowException as error:
            if name in known:
                raise BadTable(f"{path}: its column {name} can't be read as text: {error}") from error
    columns.pop("", None)
    return pl.DataFrame(pa.table(columns))


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Whole numbers as such, also in a column of floats, which pandas makes of them where some are missing."""
    if not pa.types.is_floating(column.type):
        return column.cast(pa.string())
    numbers = pa.array(column.to_numpy(), from_pandas=True)  # NaN is null
    with suppress(pa.ArrowInvalid):
        numbers = numbers.cast(pa.int64())
    return numbers.cast(pa.string())


def _names(header: list[str], path: Path, known: Collection[str]) -> list[str]:
    stripped = [name.strip() for name in header]
    names = [name.lower() if name.lower() in known else name for name in stripped]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise BadTable(f"{path}: two columns are called {twice}; rename one")
    return names
