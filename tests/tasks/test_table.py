"""A table is read from the file that was named, however it was written, or refused with what to do."""

import math
from pathlib import Path

import polars as pl
import pytest

from tasks.table import BadTable, read_table, without_unknown

KNOWN = ("path", "age", "subject_id")
PLAIN = {"path": ["a.jpg"], "age": ["26"]}


def read(path: Path) -> dict[str, list[str | None]]:
    return read_table(path, KNOWN).to_dict(as_series=False)


def of_text(tmp_path: Path, text: str, encoding: str = "utf-8") -> dict[str, list[str | None]]:
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    return read(tmp_path / "table.csv")


def write(path: Path, frame: pl.DataFrame) -> None:
    with path.open("wb") as stream:  # a file, as Polars takes `[` in a name for a pattern
        frame.write_parquet(stream) if path.suffix == ".parquet" else frame.write_csv(stream)


@pytest.mark.parametrize("name", ["l[1].csv", "l*.csv", "l?.csv", "l[1].parquet", "l*.parquet"])
def test_a_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    write(tmp_path / name.replace("[1]", "1").replace("*", "x").replace("?", "y"), pl.DataFrame({"path": ["b.jpg"]}))
    write(tmp_path / name, pl.DataFrame(PLAIN))
    assert read(tmp_path / name) == PLAIN


@pytest.mark.parametrize(
    "text",
    [
        "path,age\na.jpg,26\n",
        "path;age\na.jpg;26\n",
        '"path"\t"age"\r\n"a.jpg"\t26',
        "\ufeffpath,age\ra.jpg,26",
        " Path , AGE \na.jpg,26\n",
        "\n,\npath,age\na.jpg,26\n",
        "path,age,,\na.jpg,26,,,,\n",
        ",path,age\n0,a.jpg,26\n",
    ],
)
def test_a_csv_may_be_written_in_several_ways(tmp_path: Path, text: str) -> None:
    assert of_text(tmp_path, text) == PLAIN


def test_cells_hold_what_quotes_allow(tmp_path: Path) -> None:
    read = of_text(tmp_path, 'path,Camera\n"a,b.jpg","of ""Ann"";\nher own"\n"", \nc.jpg\n')
    assert read == {"path": ["a,b.jpg", None, "c.jpg"], "Camera": ['of "Ann";\nher own', None, None]}


@pytest.mark.parametrize(
    ("text", "encoding", "reason"),
    [
        ("path,age\na.jpg,26\n", "utf-16", "save it as UTF-8"),
        ("path,age\na.jpg,26\n", "utf-16-le", "save it as UTF-8"),
        ("path,age\na.jpg,26\ncafé.jpg,3\n", "latin-1", "line 3 isn't UTF-8; save it as UTF-8"),
        ("path,age\na.jpg,26\nb.jpg,26,too,many\n", "utf-8", "line 3: 4 cells, where the header has 2"),
        ('path,age\na.jpg,26\n"b.jpg,3\n', "utf-8", "line 3"),
        ("path,Age,AGE\na.jpg,26,27\n", "utf-8", "two columns are called age"),
        (" \n,,\n", "utf-8", "it's empty"),
    ],
)
def test_a_csv_that_cannot_be_read_says_where_and_what_to_do(
    tmp_path: Path, text: str, encoding: str, reason: str
) -> None:
    with pytest.raises(BadTable, match=reason) as refused:
        of_text(tmp_path, text, encoding)
    assert "infer_schema" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "reason"), [("", "is a folder"), ("missing.csv", "no such table"), ("broken.PARQUET", "can't be read")]
)
def test_what_is_no_table_is_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "broken.PARQUET").write_bytes(b"path,age\na.jpg,26\n")
    with pytest.raises(BadTable, match=reason):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["t.PARQUET", "t.pq", "table"])
def test_a_parquet_is_known_by_its_ending_or_its_first_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / "written.parquet").write_bytes(b"")
    write(tmp_path / "written.parquet", pl.DataFrame(PLAIN))
    (tmp_path / "written.parquet").rename(tmp_path / name)
    assert read(tmp_path / name) == PLAIN


def test_numbers_of_a_parquet_are_written_as_a_person_would(tmp_path: Path) -> None:
    columns = {"subject_id": [3999.0, math.nan, 12345678901.0], "age": [26.5, 3.0, None], "year": [2010, None, 2011]}
    write(tmp_path / "t.parquet", pl.DataFrame(columns))
    assert read(tmp_path / "t.parquet") == {
        "subject_id": ["3999", None, "12345678901"],
        "age": ["26.5", "3", None],
        "year": ["2010", None, "2011"],
    }


def test_columns_of_lists_and_bytes_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    odd = {"box": [[1, 2, 3, 4]], "raw": [b"\xff"], "struct": [{"a": 1}]}
    write(tmp_path / "t.parquet", pl.DataFrame(PLAIN | odd))
    assert read(tmp_path / "t.parquet") == PLAIN
    write(tmp_path / "t.parquet", pl.DataFrame(PLAIN | {"age": [[26]]}))
    with pytest.raises(BadTable, match="its column age can't be read as text"):
        read(tmp_path / "t.parquet")
    write(tmp_path / "t.parquet", pl.DataFrame(odd))
    with pytest.raises(BadTable, match="no column of texts or numbers"):
        read(tmp_path / "t.parquet")


def test_what_says_that_nothing_is_known_is_null() -> None:
    said = ["26", " 26 ", "", "NA", "n/a", "NaN", "null", "None", "Unknown", "-", " ", None]
    assert without_unknown(pl.DataFrame({"age": said}), ["age"])["age"].to_list() == ["26", "26"] + [None] * 10


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["0", " 0", "0 "], ["0", "0", "0"]),
        (["3999.0", None, "NA", "4.0"], ["3999", None, None, "4"]),
        (["3999.0", "3999.5"], ["3999.0", "3999.5"]),
        (["anna"], ["anna"]),
        ([None], [None]),
    ],
)
def test_one_person_has_one_name(written: list[str | None], meant: list[str | None]) -> None:
    frame = pl.DataFrame({"subject_id": pl.Series(written, dtype=pl.String)})
    assert without_unknown(frame, ["subject_id"])["subject_id"].to_list() == meant
