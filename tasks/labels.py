"""What is known of a photo before any model: from its name, or from a table.

An implausible label is kept as `invalid` with the reason, not dropped: somebody will want to repair it. Messages name
no photo but by a table's row: Prefect keeps them for months, where `faceline forget` doesn't reach."""

import logging
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa

from storage.refusal import Refusal
from storage.values import LONGEST_LIFE_YEARS, SIDES, LabelStatus
from storage.workspace import Workspace, now, rows_of
from tasks.folder import escape
from tasks.table import BadTable, read_table, without_unknown

logger = logging.getLogger(__name__)
_DAYS_A_YEAR = 365.2425
_WIKI_NAME = re.compile(
    r"^(?:nm)?(?P<id>\d+)(?:_rm\d+)?_(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})_(?P<taken>\d{4})$"
)
_UTKFACE_NAME = re.compile(r"^(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_(?P<time>\d+)$")
_UTKFACE_RACES = ("White", "Black", "Asian", "Indian", "Others")
_NAMES = {"wiki": "3999_1924-11-20_2010.jpg", "utkface": "26_1_0_20170117.jpg"}  # for a message
_PATH_COLUMNS = ("path", "file")
_COLUMNS = (*_PATH_COLUMNS, "age", "gender", "subject_id", "split")
_NOTHING = (None, None, None, [], LabelStatus.OK, None)  # as `_said` has it
GENDER_WORDS = {"female": "female", "f": "female", "woman": "female", "male": "male", "m": "male", "man": "male"}


class BadLabels(Refusal):
    """A label table that can't be used: missing, unreadable, or without the columns that it needs."""


@dataclass(frozen=True)
class Label:
    """What one name or one row of a table says. `problem` says why it's invalid; None: it's fine."""

    subject_id: str | None = None
    age: float | None = None  # years
    gender: str | None = None  # female or male
    groups: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class LabelReader:
    """Where labels come from: its name in the tables, and a label for a path (None where it knows of none)."""

    source: str
    label_of: Callable[[str], Label | None]
    known_paths: frozenset[str] = frozenset()  # of a table: to tell rows that met no photo


def label_reader(labels: str) -> LabelReader:
    """`wiki`, `utkface`, or a .csv or .parquet table. Raises BadLabels."""
    if labels == "wiki":
        return LabelReader("wiki", lambda path: wiki_label(Path(path).name))
    if labels == "utkface":
        return LabelReader("utkface", lambda path: utkface_label(Path(path).name))
    table = _read_table(Path(labels))
    found = table | _by_plain_path(table)
    return LabelReader(f"table:{Path(labels).name}", found.get, frozenset(table))


def wiki_label(name: str) -> Label | None:
    """`3999_1924-11-20_2010.jpg`: id, date of birth, year of the photo; also IMDB-WIKI's `nm0000001_rm123_...`.
    A month or day of 00 is unknown; its middle is taken. As IMDB-WIKI's authors do, the photo is taken to be of the
    middle of its year (Rothe et al., 2015); in the year of birth, of the middle between birth and the year's end, as
    nobody is photographed before. None where the name isn't of this form."""
    match = _WIKI_NAME.match(_stem(name))
    if match is None:
        return None
    subject, year_taken = match["id"], max(1, int(match["taken"]))
    try:
        born = _middle_date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:
        return Label(subject, problem=f"{name}: its date of birth doesn't exist")
    taken = date(year_taken, 7, 1)
    if born.year == year_taken:
        taken = born + (date(year_taken, 12, 31) - born) / 2
    return _checked(Label(subject, age=(taken - born).days / _DAYS_A_YEAR), name)


def utkface_label(name: str) -> Label | None:
    """`26_1_0_20170117.jpg.chip.jpg`: age in years, gender (0 male, 1 female), race, time. None where the name isn't
    of this form."""
    match = _UTKFACE_NAME.match(_stem(name))
    if match is None:
        return None
    gender = "female" if match["gender"] == "1" else "male"
    groups = {"race": _UTKFACE_RACES[int(match["race"])]}
    return _checked(Label(age=float(match["age"]), gender=gender, groups=groups), name)


def label_rows(reader: LabelReader, paths: Iterable[tuple[str, str]]) -> pa.Table:
    """Rows of the `labels` table for (path, file_hash) pairs; contents without a label give none. Where two paths
    hold one content and their labels differ, it's invalid: nobody can tell which is right."""
    by_hash: dict[str, Label] = {}
    for path, file_hash in paths:
        label = reader.label_of(path)
        if label is None:
            continue
        first = by_hash.setdefault(file_hash, label)
        if first != label and first.problem is None:
            by_hash[file_hash] = Label(first.subject_id, problem=f"{path}: the same photo has another label elsewhere")
    return rows_of("labels", [_row(file_hash, reader.source, label) for file_hash, label in by_hash.items()])


def label_folders(workspace: Workspace, sources: list[str], reader: LabelReader) -> dict[str, int]:
    """Labels the contents that were met in those sources. Labels that changed replace the earlier ones of the same
    label source; equal ones are left alone, so a second run does nothing. A row that says nothing is no label, but
    takes back what an earlier one said."""
    paths = _met(workspace, sources)
    rows = label_rows(reader, paths.iter_rows())
    said = [_said(row) for row in rows.to_pylist()]
    before = workspace.scan("labels").filter(pl.col("label_source") == reader.source).collect().to_arrow()
    known = {row["file_hash"]: _said(row) for row in before.to_pylist()}
    hashes = rows["file_hash"].to_pylist()
    changed = [known.get(file_hash, _NOTHING) != each for file_hash, each in zip(hashes, said, strict=True)]
    workspace.upsert("labels", rows.filter(pa.array(changed, pa.bool_())))
    met = set(paths["path"])
    strangers = sum(path not in met and _plain(path) not in met for path in reader.known_paths)
    if reason := why_none_is_labelled(workspace, sources, reader):
        logger.warning("%s", reason)
    elif strangers:
        logger.warning("%s: %d rows met no photo in those folders", reader.source, strangers)
    _warn_of_namesakes(paths, reader)
    invalid = rows["status"].to_pylist().count(LabelStatus.INVALID)
    silent = said.count(_NOTHING)
    return {
        "labels": rows.num_rows - invalid - silent,
        "labels_invalid": invalid,
        "labels_without_photo": strangers,
        "photos_without_label": paths["file_hash"].n_unique() - rows.num_rows + silent,
    }


def why_none_is_labelled(workspace: Workspace, sources: list[str], reader: LabelReader) -> str | None:
    """Why no photo that was met in those sources has a label, with the counts of each side; None where one has."""
    paths = _met(workspace, sources)["path"].to_list()
    if any(reader.label_of(path) for path in paths):
        return None
    if not paths:
        known = workspace.scan("files").select(pl.col("source").min()).collect().item()
        given = f"; give folders as they were given to it, such as {known}" if known else ""
        where = f"no photo of those folders is in {workspace.root}"
        return f"{reader.source}: {where}: `faceline extract` them first{given}"
    photos = f"photos: {len(paths):,}"
    if reader.source in _NAMES:
        return f"{reader.source}: no photo has a name like {_NAMES[reader.source]}; {photos}"
    return (
        f"{reader.source}: no row is of a photo in those folders; rows: {len(reader.known_paths):,}; {photos}; a row's "
        "path is relative to the folder that was extracted, as `files` has it in its column path"
    )


def _met(workspace: Workspace, sources: list[str]) -> pl.DataFrame:
    """Path and content of what was read in those sources: of each file the content that was read there last, as a
    photo that was replaced is not what the label now says."""
    met = workspace.scan("files").filter(pl.col("source").is_in(sources), pl.col("file_hash").is_not_null())
    newest = met.group_by("source", "path").agg(pl.col("file_hash").sort_by("seen_at").last())
    return newest.select("path", "file_hash").unique().sort("path", "file_hash").collect()


def _warn_of_namesakes(paths: pl.DataFrame, reader: LabelReader) -> None:
    """A table can't say of which folder its rows are: one row may be taken for another folder's photo of that name."""
    twice = paths.filter(pl.col("path").is_duplicated())["path"].unique()
    labelled = sum(bool(reader.known_paths and reader.label_of(path)) for path in twice)
    if labelled:
        text = "%s: %d paths lead to different photos in several of those folders, and each got the label"
        logger.warning(text + "; to label one folder alone, name only that", reader.source, labelled)


def _plain(path: str) -> str:
    """As the tables spell it: `./a.jpg`, `sub//a.jpg` and `sub\\a.jpg` are other ways to write it."""
    return posixpath.normpath(path.replace("\\", "/"))


def _said(row: dict) -> tuple:
    """What a row says, without when: to compare two."""
    return (row["subject_id"], row["age"], row["gender"], sorted(row["groups"] or []), row["status"], row["detail"])


def _row(file_hash: str, source: str, label: Label) -> dict:
    return {
        "file_hash": file_hash,
        "label_source": source,
        "subject_id": label.subject_id,
        "age": None if label.problem else label.age,
        "gender": label.gender,
        "groups": [{"key": column, "value": value} for column, value in label.groups.items()],
        "status": LabelStatus.INVALID if label.problem else LabelStatus.OK,
        "detail": label.problem,
        "labelled_at": now(),
    }


def _stem(name: str) -> str:
    """Without its endings, doubled ones too: `.jpg.chip.jpg`."""
    return name.split(".", 1)[0]


def _middle_date(year: int, month: int, day: int) -> date:
    if month == 0:
        return date(year, 7, 1)
    if day == 0:
        return date(year, month, 15)
    return date(year, month, day)


def _checked(label: Label, name: str) -> Label:
    if label.age is not None and not 0 <= label.age <= LONGEST_LIFE_YEARS:
        reason = f"{name}: an age of {label.age:.1f} years is outside 0 to {LONGEST_LIFE_YEARS}"
        return Label(label.subject_id, None, label.gender, label.groups, reason)
    return label


def _read_table(path: Path) -> dict[str, Label]:
    try:
        frame = read_table(path, _COLUMNS)
    except BadTable as error:
        raise BadLabels(f"{error}" if path.suffix else f"{error} (or give wiki, or utkface)") from error
    key = next((column for column in _PATH_COLUMNS if column in frame.columns), None)
    if key is None or not {"age", "gender", "subject_id"} & set(frame.columns):
        raise BadLabels(
            f"{path}: needs a column path (or file) and at least one of age, gender, subject_id; it has: "
            + ", ".join(frame.columns)
        )
    frame = without_unknown(frame, ("subject_id", "age", "gender", "split"))
    labels: dict[str, Label] = {}
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        name = row.pop(key)
        if name is None and any(row.values()):
            raise BadLabels(f"{path}: row {number} has no {key}")
        if name is None:
            continue
        if row.get("split") not in (None, *SIDES):
            raise BadLabels(f"{path}: row {number}: split `{row['split']}` is none of {', '.join(SIDES)}")
        label, escaped = _table_label(name, row), escape(name.encode())
        labels[escaped] = _agreed(name, labels.get(escaped, label), label)
    return labels


def _by_plain_path(table: dict[str, Label]) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    for path, label in table.items():
        plain = _plain(path)
        labels[plain] = _agreed(path, labels.get(plain, label), label)
    return labels


def _agreed(name: str, first: Label, label: Label) -> Label:
    return label if first == label else Label(problem=f"{name}: two rows of the table differ")


def _table_label(name: str, row: dict[str, str | None]) -> Label:
    subject, age_text, gender_text = (row.pop(column, None) for column in ("subject_id", "age", "gender"))
    groups = {column: value for column, value in row.items() if value is not None}
    gender = GENDER_WORDS.get(gender_text.lower()) if gender_text else None
    if gender_text and gender is None:
        return Label(subject, groups=groups, problem=f"{name}: gender `{gender_text}` is neither female nor male")
    try:
        age = float(age_text.replace("_", "?")) if age_text else None  # Python reads 1_0 as ten
    except ValueError:
        return Label(subject, None, gender, groups, f"{name}: age `{age_text}` is not a number")
    return _checked(Label(subject, age, gender, groups), name)
