"""A real Postgres on loopback, and an empty database in it. The fixtures are every test's by way of conftest.py."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import make_url

from tests.ports import free_port

PASSWORD = "p@ss/w:rd of the test"
_PATIENCE_S = "300"
_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Postgres:
    data: Path
    port: int

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://tester:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def do(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # pyright: ignore[reportArgumentType]  ours, without parameters


def programs() -> Path | None:
    """The folder with Postgres' server programs, which Debian keeps off the path."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    return max(
        (each.parent for each in _DEBIAN.glob("*/bin/postgres")),
        key=lambda folder: int(folder.parent.name),
        default=None,
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server of its own, in a time zone that isn't UTC: the test is skipped without Postgres, but never in CI."""
    found = programs()
    if found is None:
        assert "CI" not in os.environ, "CI must have Postgres"
        pytest.skip("needs Postgres: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="faceline-postgres-") as name:
        folder = Path(name)
        server = Postgres(folder / "data", free_port())
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for each in (folder, folder / "password"):
                shutil.chown(each, "nobody", "nogroup")
        initdb = ("-U", "tester", "--pwfile", folder / "password", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync")
        _run(found / "initdb", "-D", server.data, *initdb)
        settings = f"-h 127.0.0.1 -p {server.port} -k '' -c timezone=Asia/Kolkata"
        control = (found / "pg_ctl", "-D", server.data, "-w", "-t", _PATIENCE_S)
        _run(*control, "-l", folder / "log", "-o", settings, "start")
        try:
            yield server
        finally:
            _run(*control, "-m", "immediate", "stop")


def _run(*command: object) -> None:
    """As nobody, where this is root: the server refuses to be."""
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*nobody, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")


@pytest.fixture
def reviews_url(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty database, where reviews go in this test and in what it starts."""
    name = f"reviews_{os.urandom(4).hex()}"
    postgres.do(f"CREATE DATABASE {name}")
    url = postgres.url(name)
    monkeypatch.setenv("FACELINE_REVIEWS_URL", url)
    return url


def name_of(url: str) -> str:
    database = make_url(url).database
    assert database is not None
    return database
