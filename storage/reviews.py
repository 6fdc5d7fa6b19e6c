"""What a person said of a face. It can't be recomputed and comes a row at a time, so it lives in a transactional
database, not in Delta: SQLite in the workspace, or by URL a Postgres that several people share. Append-only: the
newest row of a face counts, and undoing is one more row."""

from pathlib import Path
from typing import cast

import polars as pl
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
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
)
VERDICTS = ("right", "corrected", "not_a_face", "withdrawn")


class Reviews:
    """The reviews of one workspace."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        _metadata.create_all(engine)

    def add(
        self,
        face: tuple[str, int],
        verdict: str,
        reviewer: str,
        *,
        age: float | None = None,
        gender: str | None = None,
    ) -> None:
        """Appends one review of `face` (file_hash, face_index); it is on disk when this returns."""
        assert verdict in VERDICTS, verdict
        row = {"verdict": verdict, "reviewer": reviewer, "age": age, "gender": gender, "reviewed_at": now()}
        with self._engine.begin() as connection:
            connection.execute(insert(REVIEWS).values(file_hash=face[0], face_index=face[1], **row))

    def newest(self) -> pl.DataFrame:
        """One row a face: the review committed last, withdrawn ones left out."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(REVIEWS).order_by(REVIEWS.c.id)).mappings().all()
        schema = {
            "file_hash": pl.String,
            "face_index": pl.Int16,
            "verdict": pl.String,
            "age": pl.Float32,
            "gender": pl.String,
        }
        frame = pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema, orient="row")
        newest = frame.unique(["file_hash", "face_index"], keep="last", maintain_order=True)
        return newest.filter(pl.col("verdict") != "withdrawn")


def open_reviews(workspace: Workspace, url: str | None = None) -> Reviews:
    """Opens the workspace's reviews, or those at a database `url`. Raises BadWorkspace when an object-store
    workspace comes without one: SQLite needs a file."""
    if url is None and not workspace.is_local:
        raise BadWorkspace(f"{workspace.root}: reviews of an object-store workspace need a database URL")
    if url is not None:
        return Reviews(create_engine(url))
    engine = create_engine(f"sqlite:///{cast(Path, workspace.root) / 'reviews.sqlite'}")
    event.listen(engine, "connect", _durable)
    return Reviews(engine)


def _durable(connection, _record) -> None:
    """A review must survive a power cut: WAL with a sync at each commit. The timeout lets two people write at once."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")
