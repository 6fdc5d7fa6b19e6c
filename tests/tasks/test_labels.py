"""Names and tables become subject, age and gender; what can't be true is kept as invalid, with the reason."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.values import LONGEST_LIFE_YEARS, LabelStatus
from storage.workspace import Workspace, open_workspace
from tasks import labels
from tasks.labels import BadLabels, Label, label_folders, label_reader, label_rows, utkface_label, wiki_label
from tests.rows import content_hash, file_row, files


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def table(tmp_path: Path, content: str) -> str:
    (tmp_path / "labels.csv").write_text(content)
    return str(tmp_path / "labels.csv")


def known(tmp_path: Path, content: str, path: str = "a.jpg") -> Label:
    label = label_reader(table(tmp_path, content)).label_of(path)
    assert label is not None
    return label


@pytest.mark.parametrize(
    ("name", "subject", "age"),
    [
        ("3999_1924-11-20_2010.jpg", "3999", 85.61),
        ("3999_1924-1-2_2010.jpg", "3999", 86.5),
        ("nm0000001_rm124825600_1899-5-10_1968.jpg", "0000001", 69.14),
        ("12_1950-00-00_1990.jpg", "12", 40.0),
        ("12_1950-03-00_1990.jpg", "12", 40.3),
        ("6_2010-11-20_2010.jpg", "6", 0.055),
        ("6_2010-01-01_2010.jpg", "6", 0.5),
        ("6_2010-12-31_2010.jpg", "6", 0.0),
        ("12_1950-00-00_1950.jpg", "12", 0.25),
        ("12_1900-07-01_2015.jpg", "12", 115.0),
    ],
)
def test_a_wiki_name_tells_subject_and_age(name: str, subject: str, age: float) -> None:
    label = wiki_label(name)
    assert label is not None
    assert label.age == pytest.approx(age, abs=0.01)
    assert (label.subject_id, label.gender, label.problem) == (subject, None, None)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("12_1990-01-01_1980.jpg", "outside 0 to 116"),
        ("12_1850-01-01_2010.jpg", "outside 0 to 116"),
        ("12_1990-02-30_2010.jpg", "doesn't exist"),
        ("12_1990-13-01_2010.jpg", "doesn't exist"),
        ("12_0000-01-01_2010.jpg", "doesn't exist"),
        ("12_1990-01-01_0000.jpg", "outside 0 to 116"),
    ],
)
def test_a_wiki_name_that_cannot_be_true_says_why_and_keeps_its_subject(name: str, problem: str) -> None:
    label = wiki_label(name)
    assert label is not None
    assert problem in (label.problem or "")
    assert name in (label.problem or "")
    assert (label.subject_id, label.age) == ("12", None)


@pytest.mark.parametrize(
    "name",
    ["photo.jpg", "1990-01-01_2010.jpg", "12_1990-01-01.jpg", "12_1990-01-01_2010_2.jpg", "x12_1990-01-01_2010.jpg"],
)
def test_a_name_of_another_form_is_no_wiki_label(name: str) -> None:
    assert wiki_label(name) is None


@pytest.mark.parametrize(
    ("name", "age", "gender", "race"),
    [
        ("26_1_0_20170117.jpg.chip.jpg", 26, "female", "White"),
        ("0_0_4_20170117150000000.jpg", 0, "male", "Others"),
        ("116_1_2_20170117.jpg", 116, "female", "Asian"),
    ],
)
def test_a_utkface_name_tells_age_gender_and_race(name: str, age: float, gender: str, race: str) -> None:
    assert utkface_label(name) == Label(age=age, gender=gender, groups={"race": race})


def test_an_implausible_age_of_utkface_is_invalid_and_keeps_the_rest() -> None:
    label = utkface_label("117_1_3_20170117.jpg")
    assert label is not None
    assert "117.0 years" in (label.problem or "")
    assert (label.age, label.gender, label.groups) == (None, "female", {"race": "Indian"})


@pytest.mark.parametrize(
    "name", ["61_1_20170109142408075.jpg.chip.jpg", "39_1_20170116174525125.jpg", "5_2_0_2017.jpg", ""]
)
def test_a_malformed_utkface_name_is_no_label(name: str) -> None:
    assert utkface_label(name) is None


def test_names_are_read_in_folders_below() -> None:
    label = label_reader("utkface").label_of("part1/26_1_0_20170117.jpg.chip.jpg")
    assert label is not None
    assert label.age == 26


def test_a_table_tells_what_it_has(tmp_path: Path) -> None:
    label = known(tmp_path, "path,age,gender,subject_id,camera,split\na.jpg,26.5,F,anna,Leica,test\n")
    assert label == Label("anna", 26.5, "female", {"camera": "Leica", "split": "test"})


@pytest.mark.parametrize("content", ["file,age\na.jpg,26\n", "\ufefffile,age\na.jpg,26\n", "age,file\r\n26,a.jpg\r\n"])
def test_a_table_can_be_written_in_several_ways(tmp_path: Path, content: str) -> None:
    assert known(tmp_path, content) == Label(age=26)


def test_a_table_can_be_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"path": ["a.jpg", "b.jpg"], "age": [26, None], "gender": [None, "male"], "score": [1.5, None]}
    )
    frame.write_parquet(tmp_path / "labels.parquet")
    reader = label_reader(str(tmp_path / "labels.parquet"))
    assert [reader.label_of("a.jpg"), reader.label_of("b.jpg")] == [
        Label(age=26, groups={"score": "1.5"}),
        Label(gender="male"),
    ]


@pytest.mark.parametrize("blank", ["", "NA", "n/a", "None", "unknown", "nan", "null", "-", " "])
def test_a_cell_that_is_not_known_says_nothing_and_leaves_the_others_alone(tmp_path: Path, blank: str) -> None:
    rows = f"path,age,gender,subject_id\na.jpg,{blank},female,anna\nb.jpg,26,{blank},ben\nc.jpg,26,male,{blank}\n"
    reader = label_reader(table(tmp_path, rows))
    assert [reader.label_of(name) for name in ("a.jpg", "b.jpg", "c.jpg")] == [
        Label("anna", None, "female"),
        Label("ben", 26),
        Label(None, 26, "male"),
    ]


def test_a_subject_is_one_person_however_it_is_typed(tmp_path: Path) -> None:
    pl.DataFrame({"path": ["a.jpg", "b.jpg"], "subject_id": [3999.0, None]}).write_parquet(tmp_path / "labels.pq")
    typed = ["path,subject_id\na.jpg, 3999\n", "path,subject_id\na.jpg,3999.0\nb.jpg,\n"]
    labels = [known(tmp_path, rows) for rows in typed] + [label_reader(str(tmp_path / "labels.pq")).label_of("a.jpg")]
    assert labels == [Label("3999")] * 3


def test_empty_rows_are_none(tmp_path: Path) -> None:
    assert label_reader(table(tmp_path, "path,age\n\n,\na.jpg,26\n,\n\n")).known_paths == {"a.jpg"}


def test_empty_cells_say_nothing(tmp_path: Path) -> None:
    assert known(tmp_path, "path,age,gender,subject_id,camera\na.jpg,,,,\n") == Label()


@pytest.mark.parametrize(
    ("written", "meant"),
    [("female", "female"), ("F", "female"), (" Woman ", "female"), ("MALE", "male"), ("m", "male"), ("man", "male")],
)
def test_genders_are_understood(tmp_path: Path, written: str, meant: str) -> None:
    assert known(tmp_path, f"path,gender\na.jpg,{written}\n").gender == meant


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.jpg,26,woman?", "neither female nor male"),
        ("a.jpg,26,0", "neither female nor male"),
        ("a.jpg,twenty,female", "`twenty` is not a number"),
        ("a.jpg,1_0,female", "`1_0` is not a number"),
        ("a.jpg,inf,female", "outside 0 to 116"),
        ("a.jpg,-1,female", "outside 0 to 116"),
        ("a.jpg,116.5,female", "outside 0 to 116"),
    ],
)
def test_a_row_that_cannot_be_true_says_why(tmp_path: Path, row: str, problem: str) -> None:
    label = known(tmp_path, f"path,age,gender\n{row}\n")
    assert problem in (label.problem or "")
    assert label.age is None


def test_two_rows_that_differ_are_invalid(tmp_path: Path) -> None:
    assert "differ" in (known(tmp_path, "path,age\na.jpg,26\na.jpg,27\n").problem or "")


def test_a_third_row_does_not_heal_two_that_differ(tmp_path: Path) -> None:
    assert "differ" in (known(tmp_path, "path,age\na.jpg,26\na.jpg,27\na.jpg,26\n").problem or "")


@pytest.mark.parametrize("written", ["./sub/a.jpg", "sub//a.jpg", "sub\\a.jpg", ".\\sub\\a.jpg", "sub/./a.jpg"])
def test_a_path_may_be_written_in_several_ways(tmp_path: Path, workspace: Workspace, written: str) -> None:
    met(workspace, "sub/a.jpg")
    counts = label_folders(workspace, ["/photos"], label_reader(table(tmp_path, f"path,age\n{written},26\n")))
    assert (counts["labels"], counts["labels_without_photo"]) == (1, 0)


def test_a_photo_of_just_that_name_comes_first(tmp_path: Path) -> None:
    assert known(tmp_path, "path,age\nsub\\a.jpg,26\n", "sub\\a.jpg") == Label(age=26)
    assert "differ" in (known(tmp_path, "path,age\n./a.jpg,26\na.jpg,27\n").problem or "")


def test_two_equal_rows_are_one(tmp_path: Path) -> None:
    assert known(tmp_path, "path,age\na.jpg,26\na.jpg,26\n") == Label(age=26)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("name,age\na.jpg,26\n", "needs a column path"),
        ("path,years\na.jpg,26\n", "at least one of age"),
        ("path,age\na.jpg,26\n\n,26\n", "row 3 has no path"),
        ("path,age,split\na.jpg,26,Test\nb.jpg,26,test\n", "csv: row 1: split `Test` is none of train, val, test"),
        ("", "can't be read"),
        ("path,age\na.jpg,26,too,many\n", "can't be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(BadLabels, match=reason):
        label_reader(table(tmp_path, content))


@pytest.mark.parametrize("name", ["nothing.csv", "nothing.parquet", "imdb", "."])
def test_labels_that_are_not_there_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadLabels):
        label_reader(str(tmp_path / name))


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"path,age\n\xff\xfe.jpg,26\n")
    with pytest.raises(BadLabels):
        label_reader(str(tmp_path / "labels.csv"))


def test_two_names_of_one_photo_that_differ_are_invalid() -> None:
    rows = label_rows(label_reader("utkface"), [("26_1_0_2.jpg", "hash"), ("27_1_0_2.jpg", "hash")]).to_pylist()
    assert [(row["status"], row["age"]) for row in rows] == [(LabelStatus.INVALID, None)]
    assert "another label elsewhere" in rows[0]["detail"]


def test_two_names_of_one_photo_that_agree_are_one_label() -> None:
    rows = label_rows(label_reader("utkface"), [("26_1_0_2.jpg", "hash"), ("sub/26_1_0_2.jpg", "hash")]).to_pylist()
    assert [(row["status"], row["age"]) for row in rows] == [(LabelStatus.OK, 26.0)]


def met(workspace: Workspace, *names: str) -> None:
    workspace.append("files", files(*(file_row(name) for name in names)))


def stored(workspace: Workspace) -> dict[str, tuple]:
    rows = workspace.scan("labels").collect().to_arrow().to_pylist()
    return {row["file_hash"]: (row["age"], row["gender"], row["status"]) for row in rows}


def commits(workspace: Workspace) -> list[str]:
    return sorted(log.name for log in (Path(str(workspace.root)) / "labels/_delta_log").glob("*.json"))


GROUPED = "path,age,gender,camera,split\na.jpg,26.3,female,Leica,train\nb.jpg,,male,,test\nc.jpg,200,male,Canon,test\n"


def test_photos_get_the_labels_of_their_table_and_every_row_is_counted(tmp_path: Path, workspace: Workspace) -> None:
    met(workspace, "a.jpg", "b.jpg", "c.jpg", "stranger.jpg")
    reader = label_reader(table(tmp_path, GROUPED + "lost.jpg,3,male,,\n"))
    assert label_folders(workspace, ["/photos"], reader) == {
        "labels": 2,
        "labels_invalid": 1,
        "labels_without_photo": 1,
        "photos_without_label": 1,
    }
    assert stored(workspace) == {
        content_hash("a.jpg"): (pytest.approx(26.3), "female", "ok"),
        content_hash("b.jpg"): (None, "male", "ok"),
        content_hash("c.jpg"): (None, "male", "invalid"),
    }


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("path,age\nfaces/a.jpg,3\nb.jpg,4\n", "rows: 2; photos: 1; a row's path is"),
        ("path,age\n", "rows: 0; photos: 1; a row's path is"),
        ("wiki", "no photo has a name like 3999_1924-11-20_2010.jpg; photos: 1"),
        ("utkface", "no photo has a name like 26_1_0_20170117.jpg; photos: 1"),
    ],
)
def test_labels_that_meet_no_photo_are_a_warning_with_the_counts_of_each_side(
    kind: str, reason: str, tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    met(workspace, "a.jpg")
    label_folders(workspace, ["/photos"], label_reader(table(tmp_path, kind) if "path" in kind else kind))
    assert reason in caplog.text
    assert "a.jpg" not in caplog.text


@pytest.mark.parametrize("name", sorted(labels._NAMES))
def test_a_name_that_a_message_shows_is_read(name: str) -> None:
    assert label_reader(name).label_of(labels._NAMES[name])


def test_folders_that_were_not_extracted_are_a_warning_that_names_one_that_was(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    met(workspace, "26_1_0_2.jpg")
    label_folders(workspace, ["/photos/sub"], label_reader("utkface"))
    assert "`faceline extract` them first; give folders as they were given to it, such as /photos" in caplog.text


def test_the_second_run_writes_nothing(tmp_path: Path, workspace: Workspace) -> None:
    met(workspace, "a.jpg", "b.jpg", "c.jpg")
    reader = label_reader(table(tmp_path, GROUPED))
    first = label_folders(workspace, ["/photos"], reader)
    before = commits(workspace)
    assert label_folders(workspace, ["/photos"], reader) == first
    assert commits(workspace) == before


def test_a_changed_table_replaces_what_it_said_before(tmp_path: Path, workspace: Workspace) -> None:
    met(workspace, "a.jpg", "b.jpg", "c.jpg")
    label_folders(workspace, ["/photos"], label_reader(table(tmp_path, GROUPED)))
    label_folders(workspace, ["/photos"], label_reader(table(tmp_path, GROUPED.replace("200", "20"))))
    assert stored(workspace)[content_hash("c.jpg")] == (20.0, "male", "ok")
    assert len(workspace.scan("labels").collect()) == 3


def test_a_changed_group_replaces_as_well(tmp_path: Path, workspace: Workspace) -> None:
    met(workspace, "a.jpg", "b.jpg", "c.jpg")
    label_folders(workspace, ["/photos"], label_reader(table(tmp_path, GROUPED)))
    label_folders(workspace, ["/photos"], label_reader(table(tmp_path, GROUPED.replace("Leica", "Nikon"))))
    groups = workspace.scan("labels").collect().filter(file_hash=content_hash("a.jpg")).to_arrow()["groups"].to_pylist()
    assert [dict(group) for group in groups] == [{"camera": "Nikon", "split": "train"}]


def test_labels_of_another_source_stay(tmp_path: Path, workspace: Workspace) -> None:
    met(workspace, "26_1_0_2.jpg")
    label_folders(workspace, ["/photos"], label_reader("utkface"))
    label_folders(workspace, ["/photos"], label_reader(table(tmp_path, "path,age\n26_1_0_2.jpg,50\n")))
    assert sorted(workspace.scan("labels").collect()["label_source"]) == ["table:labels.csv", "utkface"]


def test_a_photo_that_was_replaced_keeps_its_label_and_the_new_one_gets_that_of_the_table(
    tmp_path: Path, workspace: Workspace
) -> None:
    met(workspace, "a.jpg")
    label_folders(workspace, ["/photos"], label_reader(table(tmp_path, "path,age\na.jpg,30\n")))
    workspace.append("files", files(file_row("a.jpg", file_hash=content_hash("another picture"), mtime_ns=2)))
    counts = label_folders(workspace, ["/photos"], label_reader(table(tmp_path, "path,age\na.jpg,70\n")))
    assert stored(workspace) == {
        content_hash("a.jpg"): (30.0, None, "ok"),
        content_hash("another picture"): (70.0, None, "ok"),
    }
    assert (counts["labels"], counts["photos_without_label"]) == (1, 0)


def test_a_row_that_says_nothing_is_no_label_but_takes_an_earlier_one_back(
    tmp_path: Path, workspace: Workspace
) -> None:
    met(workspace, "a.jpg", "b.jpg")
    reader = label_reader(table(tmp_path, "path,age,subject_id\na.jpg,30,NA\nb.jpg,,NA\n"))
    counts = {"labels": 1, "labels_invalid": 0, "labels_without_photo": 0, "photos_without_label": 1}
    assert label_folders(workspace, ["/photos"], reader) == counts
    assert stored(workspace) == {content_hash("a.jpg"): (30.0, None, "ok")}
    label_folders(workspace, ["/photos"], label_reader(table(tmp_path, "path,age\na.jpg,\nb.jpg,\n")))
    assert stored(workspace) == {content_hash("a.jpg"): (None, None, "ok")}


def test_one_row_for_photos_of_two_folders_is_a_warning(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    met(workspace, "a.jpg", "b.jpg", "c.jpg")
    elsewhere = [file_row("a.jpg", file_hash=content_hash("another")), file_row("b.jpg"), file_row("c.jpg")]
    workspace.append("files", files(*(row | {"source": "/elsewhere"} for row in elsewhere)))
    reader = label_reader(table(tmp_path, "path,age\na.jpg,30\nb.jpg,40\n"))
    label_folders(workspace, ["/photos"], reader)
    assert not caplog.text
    label_folders(workspace, ["/elsewhere", "/photos"], reader)
    assert "1 paths lead to different photos in several of those folders, and each got the label;" in caplog.text
    assert "a.jpg" not in caplog.text


def test_photos_of_other_folders_get_no_label(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("26_1_0_2.jpg", source="/elsewhere")))
    counts = label_folders(workspace, ["/photos"], label_reader("utkface"))
    assert (counts["labels"], len(workspace.scan("labels").collect())) == (0, 0)


def test_a_photo_that_was_never_read_gets_no_label(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("26_1_0_2.jpg", file_hash=None, status="unreadable")))
    assert label_folders(workspace, ["/photos"], label_reader("utkface"))["labels"] == 0


def in_range(label: Label | None) -> bool:
    """Whether it says nothing, why it's invalid, or something that can be true."""
    if label is None or label.problem:
        return True
    return (label.age is None or 0 <= label.age <= LONGEST_LIFE_YEARS) and label.gender in (None, "female", "male")


NAMES = st.one_of(
    st.text(),
    st.from_regex(r"\A(nm)?\d{1,6}(_rm\d+)?_\d{4}-\d{1,2}-\d{1,2}_\d{4}\.jpg\Z"),  # digits of any script
    st.from_regex(r"\A\d{1,3}_\d_\d_\d+\.jpg(\.chip\.jpg)?\Z"),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(NAMES)
def test_any_name_gives_a_label_that_can_be_true_or_none(name: str) -> None:
    assert in_range(wiki_label(name))
    assert in_range(utkface_label(name))


ODD = ["", "nan", "inf", "-1", "1e9", "26", "F", "man", "a.jpg", '"', "\0"]
CELLS = st.one_of(st.text(max_size=8), st.sampled_from(ODD))
COLUMNS = st.sampled_from(["path", "file", "age", "gender", "subject_id", "split", ""])


@st.composite
def damaged_tables(draw: st.DrawFn) -> bytes:
    """CSV of columns and cells that may be anything, with a few bytes changed."""
    rows = [draw(st.lists(COLUMNS, min_size=1, max_size=5)), *draw(st.lists(st.lists(CELLS, max_size=6), max_size=4))]
    content = bytearray("\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 3)) if content else 0):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


def _labels_or_a_reason(path: Path) -> None:
    try:
        reader = label_reader(str(path))
    except BadLabels:
        return
    assert all(in_range(reader.label_of(name)) for name in reader.known_paths)
    assert label_rows(reader, [(name, "hash") for name in reader.known_paths]).num_rows <= 1


@settings(max_examples=100, deadline=None, derandomize=True)
@given(content=damaged_tables())
def test_any_csv_gives_labels_or_a_reason(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any labels.csv"
    path.write_bytes(content)
    _labels_or_a_reason(path)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_damaged_parquet_table_gives_labels_or_a_reason(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Polars panics on some, with what isn't an Exception."""
    path = tmp_path_factory.getbasetemp() / "any labels.parquet"
    pl.DataFrame({"path": ["a.jpg", "b.jpg"], "age": [1.0, None], "gender": ["f", "male"]}).write_parquet(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    _labels_or_a_reason(path)
