"""What a person said of a face. It can't be recomputed and comes a row at a time, so it lives in a transactional
database, not in Delta (storage/reviews_place.py). Append-only: the newest row of a face counts, and undoing is one more
row."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
from sqlalchemy import (
    DDL,
    Column,
    Connection,
    DateTime,
    Engine,
    Float,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)

from storage.reviews_place import (
    engine_of,
    erase_what_was_deleted,
    note_place,
    one_at_a_time,
    reading_engine_of,
    transaction,
)
from storage.workspace import BadWorkspace, Workspace, now

_metadata = MetaData()
REVIEWS = Table(
    "reviews",
    _metadata,
    Column("id", Integer, primary_key=True),  # order of commit: the highest of a face is its newest
    Column("file_hash", String(64), nullable=False, index=True),
    Column("face_index", Integer, nullable=False),
    Column("verdict", String(16), nullable=False),  # right, corrected, not_a_face, withdrawn
    Column("age", Float),  # years, the person's answer; null: not said
    Column("gender", String(8)),  # female or male; null: not said
    Column("reviewer", String(200), nullable=False),
    Column("reviewed_at", DateTime(timezone=True), nullable=False),
    Column("reason", String(32)),  # why the face was shown, one of storage/worth.py's; null: the person chose it
    Column("old_age", Float),  # years, what was shown and judged; null: nothing was
    Column("old_gender", String(8)),  # female or male, the more probable one; null: none was shown
    Column("model_version", String(200)),  # whose estimate was shown; null: it was a label, or isn't known
)
# Postgres keeps a column's most common values among its statistics, where no deleting reaches them.
_NO_STATISTICS = DDL("ALTER TABLE reviews ALTER COLUMN file_hash SET STATISTICS 0")
event.listen(REVIEWS, "after_create", _NO_STATISTICS.execute_if(dialect="postgresql"))
VISITS = Table(
    "visits",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("reviewer", String(200), nullable=False, index=True),
    Column("visited_at", DateTime(timezone=True), nullable=False),
)
VERDICTS = ("right", "corrected", "not_a_face", "withdrawn")
_A_VISIT = timedelta(hours=1)
_A_STATEMENT = 5000  # hashes; SQLite takes 32,766 values
_NEWEST = {
    "file_hash": pl.String,
    "face_index": pl.Int16,
    "verdict": pl.String,
    "age": pl.Float32,
    "gender": pl.String,
    "reason": pl.String,
    "old_gender": pl.String,
    "model_version": pl.String,
}
_LOG = _NEWEST | {
    "id": pl.Int64,
    "reviewer": pl.String,
    "reviewed_at": pl.Datetime("us", "UTC"),
    "old_age": pl.Float32,
}


@dataclass(frozen=True)
class Shown:
    """What a person had before the eyes when judging: columns of REVIEWS."""

    reason: str | None = None
    age: float | None = None
    gender: str | None = None
    model_version: str | None = None


class Reviews:
    """The reviews of one workspace."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self,
        face: tuple[str, int],
        verdict: str,
        reviewer: str,
        *,
        age: float | None = None,
        gender: str | None = None,
        shown: Shown = Shown(),
    ) -> None:
        """Appends one review of `face` (file_hash, face_index); it is on disk when this returns."""
        assert verdict in VERDICTS, verdict
        row = {
            "file_hash": face[0],
            "face_index": face[1],
            "verdict": verdict,
            "age": age,
            "gender": gender,
            "reviewer": reviewer,
            "reviewed_at": now(),
            "reason": shown.reason,
            "old_age": shown.age,
            "old_gender": shown.gender,
            "model_version": shown.model_version,
        }
        with transaction(self._engine) as connection:
            one_at_a_time(connection)
            connection.execute(insert(REVIEWS).values(row))

    def newest(self) -> pl.DataFrame:
        """One row a face: the review committed last, withdrawn ones left out. Columns: file_hash, face_index, verdict,
        age, gender, reason, old_gender, model_version."""
        last = select(func.max(REVIEWS.c.id)).group_by(REVIEWS.c.file_hash, REVIEWS.c.face_index)
        return self._read(select(REVIEWS).where(REVIEWS.c.id.in_(last), REVIEWS.c.verdict != "withdrawn"), _NEWEST)

    def of_photo(self, file_hash: str) -> pl.DataFrame:
        """Everything that was ever said of a photo's faces, in the order of saying: every column of REVIEWS."""
        return self._read(select(REVIEWS).where(REVIEWS.c.file_hash == file_hash), _LOG)

    def given_for(self, reason: str) -> pl.DataFrame:
        """The newest answer to each face that was shown for that reason with a model's estimate, for each model,
        withdrawn ones left out: every column of REVIEWS."""
        asked = (REVIEWS.c.reason == reason) & REVIEWS.c.model_version.is_not(None)
        shown = (REVIEWS.c.file_hash, REVIEWS.c.face_index, REVIEWS.c.model_version)
        last = select(func.max(REVIEWS.c.id)).where(asked).group_by(*shown)
        return self._read(select(REVIEWS).where(REVIEWS.c.id.in_(last), REVIEWS.c.verdict != "withdrawn"), _LOG)

    def last_id(self) -> int:
        """Of the review committed last; 0 when there is none."""
        with transaction(self._engine) as connection:
            return connection.execute(select(func.max(REVIEWS.c.id))).scalar() or 0

    def said_since(self, face: tuple[str, int], review_id: int) -> bool:
        """Whether anyone reviewed that face after the review of that id."""
        later = REVIEWS.c.id > review_id
        of_face = (REVIEWS.c.file_hash == face[0]) & (REVIEWS.c.face_index == face[1])
        with transaction(self._engine) as connection:
            return connection.execute(select(REVIEWS.c.id).where(of_face, later).limit(1)).first() is not None

    def count_since(self, moment: datetime, *, but_by: str) -> int:
        """How many reviews others than `but_by` have given since then."""
        others = (REVIEWS.c.reviewed_at > moment) & (REVIEWS.c.reviewer != but_by)
        with transaction(self._engine) as connection:
            return connection.execute(select(func.count()).select_from(REVIEWS).where(others)).scalar_one()

    def when_and_by_whom(self) -> pl.DataFrame:
        """Of every review, withdrawals among them: reviewer, reviewed_at (UTC)."""
        return self._read(select(REVIEWS), {name: _LOG[name] for name in ("reviewer", "reviewed_at")})

    def note_visit(self, reviewer: str) -> datetime | None:
        """Keeps that this person looks at the pages now; returns when they last did over an hour ago (UTC), as a page
        that is loaded again belongs to the same visit. None: never."""
        with transaction(self._engine) as connection:
            by_them = select(func.max(VISITS.c.visited_at)).where(VISITS.c.reviewer == reviewer)
            before = connection.execute(by_them.where(VISITS.c.visited_at < now() - _A_VISIT)).scalar()
            connection.execute(insert(VISITS).values(reviewer=reviewer, visited_at=now()))
        if before is None:
            return None
        # SQLite keeps no time zone, and Postgres answers in its own.
        return before.astimezone(UTC) if before.tzinfo else before.replace(tzinfo=UTC)

    def count_of(self, file_hashes: Collection[str]) -> int:
        """How many rows `forget` would delete."""
        with transaction(self._engine) as connection:
            counts = [
                connection.execute(select(func.count()).where(REVIEWS.c.file_hash.in_(step))).scalar_one()
                for step in _in_steps(file_hashes)
            ]
        return sum(counts)

    def forget(self, file_hashes: Collection[str]) -> int:
        """Deletes all that was said of those photos' faces, and returns how many rows that were. The database's file
        doesn't keep them; Postgres' write-ahead log does for a while. Raises BadWorkspace when somebody reads SQLite's
        at that moment."""
        with transaction(self._engine) as connection:
            counts = [
                connection.execute(delete(REVIEWS).where(REVIEWS.c.file_hash.in_(step)))
                for step in _in_steps(file_hashes)
            ]
        erase_what_was_deleted(self._engine)
        return sum(count.rowcount for count in counts)

    def _read(self, query: Select, schema: dict) -> pl.DataFrame:
        in_order = query.order_by(REVIEWS.c.id).with_only_columns(*(REVIEWS.c[name] for name in schema))
        with transaction(self._engine) as connection:
            return pl.DataFrame(connection.execute(in_order).all(), schema=schema, orient="row")


def open_reviews(workspace: Workspace) -> Reviews:
    """Raises BadWorkspace where the database can't be used, or reviews have no place; see `engine_of`."""
    reviews = reviews_of(workspace)
    if reviews is None:
        raise BadWorkspace(
            f"{workspace.root}: has no place for reviews: it is only to be read, or in an object store; "
            "FACELINE_REVIEWS_URL can name a database"
        )
    return reviews


def reviews_of(workspace: Workspace) -> Reviews | None:
    """None where reviews have no place; see `engine_of`. Raises BadWorkspace."""
    engine = engine_of(workspace)
    if engine is None:
        return None
    _prepare(engine)
    note_place(workspace, engine)
    return Reviews(engine)


def reviews_to_read(workspace: Workspace) -> Reviews | None:
    """To ask, never to add: it changes nothing, not even a table that is missing. None where there are none yet. To be
    opened anew for each visit; see `reading_engine_of`. Raises BadWorkspace."""
    engine = reading_engine_of(workspace)
    if engine is None:
        return None
    with transaction(engine) as connection:
        there = inspect(connection).has_table(REVIEWS.name)
    return Reviews(engine) if there else None


def _prepare(engine: Engine) -> None:
    """Makes what is missing of the tables."""
    with transaction(engine) as connection:
        one_at_a_time(connection)
        _metadata.create_all(connection)
        missing = _missing_columns(connection)
    for column in missing:
        _add(engine, column)


def _in_steps(file_hashes: Collection[str]) -> list[list[str]]:
    hashes = sorted(file_hashes)
    return [hashes[start : start + _A_STATEMENT] for start in range(0, len(hashes), _A_STATEMENT)]


def _add(engine: Engine, column: Column) -> None:
    """Reviews of an earlier version lack the later columns; two processes may find that at once."""
    kind = column.type.compile(engine.dialect)
    try:
        with transaction(engine) as connection:
            connection.execute(text(f"ALTER TABLE {REVIEWS.name} ADD COLUMN {column.name} {kind}"))
    except BadWorkspace:
        with transaction(engine) as connection:
            if column in _missing_columns(connection):
                raise


def _missing_columns(connection: Connection) -> list[Column]:
    there = {column["name"] for column in inspect(connection).get_columns(REVIEWS.name)}
    return [column for column in REVIEWS.columns if column.name not in there]
