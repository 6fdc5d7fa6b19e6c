"""Where a workspace's reviews are kept: SQLite inside it, or the Postgres of FACELINE_REVIEWS_URL that several people
share.

A workspace whose reviews went to a database once says so in a file: without the address, a training would leave out
what people corrected, and a forgetting what it should delete, and nobody would notice."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from storage.settings import ReviewsPlace
from storage.workspace import BadWorkspace, Workspace, write_whole

_NAME = "FACELINE_REVIEWS_URL"
_FILE = "reviews.sqlite"
_MARK = "reviews-are-in-postgres"
_DRIVER = "postgresql+psycopg"
_WRONG = f"{_NAME} is no address like postgresql://USER:PASSWORD@HOST/DATABASE, with %40 for an @ in the password"
_CONNECT_S = 10
_OUR_LOCK = 7_260_530  # the key of an advisory lock, which no other program should use in that database


def engine_of(workspace: Workspace) -> Engine | None:
    """Raises BadWorkspace where the database or the workspace says that reviews are elsewhere. None: there can't be
    any, in an object store without a database, as SQLite needs a file, or in a folder that's only to be read."""
    address = ReviewsPlace().reviews_url
    if address is not None:
        return _postgres_of(workspace, address.get_secret_value())
    if (workspace.root / _MARK).exists():
        raise BadWorkspace(f"{workspace.root}: its reviews are in Postgres; set {_NAME} to the database's address")
    if not workspace.is_local or not (_file(workspace).exists() or os.access(_file(workspace).parent, os.W_OK)):
        return None
    engine = create_engine(f"sqlite:///{_file(workspace)}", hide_parameters=True)
    event.listen(engine, "connect", _durable)
    return engine


def reading_engine_of(workspace: Workspace) -> Engine | None:
    """As `engine_of`, but it changes no file of the workspace (save SQLite's shared memory, where others have it open),
    and where there is no database yet it makes none. Not to be kept: what others write later to SQLite's file may go
    unseen."""
    engine = engine_of(workspace)
    if engine is None or engine.dialect.name == "postgresql":
        return engine
    file = _file(workspace)
    if not file.exists():
        return None
    # `mode=ro` would leave the files of a write-ahead log behind where there are none.
    how = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "immutable=1"
    address = f"{file.as_uri()}?{how}"
    connect = partial(sqlite3.connect, address, uri=True)
    return create_engine(engine.url, creator=connect, poolclass=NullPool, hide_parameters=True)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Raises BadWorkspace where the database can't be reached, is locked for too long, or refuses."""
    with _ours(engine), engine.begin() as connection:
        yield connection


def one_at_a_time(connection: Connection) -> None:
    """Others who ask for it wait until this transaction has ended. SQLite has one writer at a time by itself. Postgres
    gives out ids before the commit, so that a higher one could be there earlier; and two that make tables at once
    fail."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _OUR_LOCK})


def erase_what_was_deleted(engine: Engine) -> None:
    """Deleted rows stay in the pages of the file until it is written anew. Raises BadWorkspace when somebody reads
    SQLite's at that moment; Postgres waits."""
    with _ours(engine), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("VACUUM FULL reviews"))
            return
        connection.execute(text("VACUUM"))
        busy = connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).scalar()
    engine.dispose()
    if busy:
        raise BadWorkspace(f"{engine.url.database}: is being read; close the review pages and run this again")


def note_place(workspace: Workspace, engine: Engine) -> None:
    """To be called once the database has answered and has its tables: a wrong address should leave no mark. Raises
    BadWorkspace where Postgres would leave out what SQLite has."""
    if engine.dialect.name != "postgresql":
        return
    if workspace.is_local and _file(workspace).exists():
        _check_nothing_is_left(_file(workspace))
    if not (workspace.root / _MARK).exists():
        write_whole(workspace.root / _MARK, f"{_NAME} has the address.\n".encode())


@contextmanager
def _ours(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        where = engine.url.database if engine.dialect.name == "sqlite" else f"Postgres at {engine.url.host}"
        reason = str(error.orig).splitlines()[0]
        raise BadWorkspace(f"reviews can't be read or written, {where}: {reason}") from error


def _postgres_of(workspace: Workspace, address: str) -> Engine:
    """Nothing that is raised here shows the address, which may have a password."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # ValueError: what stands where the port should, in its message
        raise BadWorkspace(_WRONG) from None
    if url.drivername not in ("postgresql", "postgres", _DRIVER) or "@" in (url.host or ""):
        raise BadWorkspace(_WRONG)
    try:
        return create_engine(
            url.set(drivername=_DRIVER),
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": _CONNECT_S},
        )
    except ModuleNotFoundError as error:
        raise BadWorkspace("reviews in Postgres need psycopg: pip install 'faceline[postgres]'") from error


def _check_nothing_is_left(file: Path) -> None:
    with transaction(create_engine(f"sqlite:///{file}")) as connection:
        tables = connection.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'reviews'")).scalar()
        count = connection.execute(text("SELECT count(*) FROM reviews")).scalar() if tables else 0
    if count:
        raise BadWorkspace(
            f"{file}: {count} reviews are still here, and not in Postgres; docs/service.md says how to move them"
        )


def _file(workspace: Workspace) -> Path:
    return cast(Path, workspace.root) / _FILE


def _durable(connection, _record) -> None:
    """A review must survive a power cut: WAL with a sync at each commit. The timeout lets two people write at once."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")
