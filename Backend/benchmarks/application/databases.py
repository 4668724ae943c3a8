"""A fresh database a run, and what is seen in it from outside: how far the transfers are, how many commits."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg

from tests.postgres import ThrowawayPostgres

VERIFIED = ("completed", "cleanup_pending", "cleanup_completed")
STATUSES = "SELECT transfer_status, count(*) FROM cctv_gcpvideotransfer GROUP BY transfer_status"
ROWS = "SELECT gcp_storage_path, file_size_bytes, object_crc32c FROM cctv_gcpvideotransfer"
WORKERS = "SELECT count(*) FROM cctv_workerprocess"
SETTLE_SECONDS = 5

Seed = Callable[[str], None]
"""Fills the database of that DATABASE_URL, which is empty or was filled for another data set."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a database was committed so far. `transactions` counts those that only read as well.

    Two of them are to be subtracted: where they begin to count is their own business.
    """

    commits: int
    transactions: int | None = None


class Look(Protocol):
    """A connection from outside, which only reads."""

    def rows(self, query: str) -> list[tuple[Any, ...]]: ...

    def tally(self) -> Tally: ...

    def wait_until_alone(self) -> None:
        """After the product's processes have ended: their connections take a moment longer."""
        ...


class Databases(Protocol):
    def fresh(self, template: str, seed: Seed, folder: Path) -> Any:
        """A context with the URL of a new copy of the template, which `seed` fills on first use."""
        ...

    def look(self, url: str) -> Any:
        """A context with a Look."""
        ...


class SqliteLook:
    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._index = path.with_name(f"{path.name}-shm")
        self._connection = connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def tally(self) -> Tally:
        """The counter `iChange` of the WAL index's header: one up for each transaction that wrote.

        https://www.sqlite.org/walformat.html#the_wal_index_header. It starts anew with the file, which stays
        as long as a connection is open: this one.
        """
        with self._index.open("rb") as file:
            return Tally(int.from_bytes(file.read(12)[8:12], "little"))

    def wait_until_alone(self) -> None:
        """There is nobody to wait for: an ended process holds no connection to a file."""


class SqliteDatabases:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def fresh(self, template: str, seed: Seed, folder: Path) -> Iterator[str]:
        filled = self._folder / f"{template}.sqlite3"
        if not filled.exists():
            for other in list(self._folder.glob("*.sqlite3"))[:1]:
                shutil.copyfile(other, filled)
            seed(f"sqlite:///{filled}")
        path = folder / "coldreel.sqlite3"
        shutil.copyfile(filled, path)
        yield f"sqlite:///{path}"

    @contextmanager
    def look(self, url: str) -> Iterator[SqliteLook]:
        path = Path(urlsplit(url).path.removeprefix("/"))
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30, isolation_level=None)
        with closing(connection):
            look = SqliteLook(path, connection)
            look.rows(WORKERS)
            yield look


class PostgresLook:
    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._queries = 0
        ((self._begun_at,),) = self.rows("SELECT pg_current_wal_flush_lsn()::text")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        self._queries += 1
        return self._connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]

    def tally(self) -> Tally:
        """Commit records in the write-ahead log, and what pg_stat_database counted but for our own queries.

        There each connection adds its own once a second, and when it ends.
        """
        records = f"pg_get_wal_records_info('{self._begun_at}', pg_current_wal_flush_lsn())"
        ((commits,),) = self.rows(
            f"SELECT count(*) FROM {records} WHERE resource_manager = 'Transaction' AND record_type LIKE 'COMMIT%'"
        )
        self.rows("SELECT pg_stat_force_next_flush()")
        own = self._queries
        ((all_of_them,),) = self.rows("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return Tally(int(commits), int(all_of_them) - own)

    def wait_until_alone(self) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while time.monotonic() < deadline and self.rows(others):
            time.sleep(0.05)


class PostgresDatabases:
    """Durable, as PostgreSQL is by default. Made once: a database a run is cheap, a cluster is not."""

    def __init__(self, cluster: ThrowawayPostgres) -> None:
        self._cluster = cluster
        self._number = 0
        self._seeded: set[str] = set()
        with self._connect("template1") as connection:
            connection.execute("CREATE EXTENSION pg_walinspect")

    @contextmanager
    def fresh(self, template: str, seed: Seed, folder: Path) -> Iterator[str]:
        del folder
        filled = f"seeded_{template.replace('-', '_')}"
        if filled not in self._seeded:
            self._admin(f"CREATE DATABASE {filled} TEMPLATE {next(iter(self._seeded), 'template1')}")
            seed(self._url(filled))
            self._seeded.add(filled)
        self._number += 1
        name = f"run_{self._number}"
        self._admin(f"CREATE DATABASE {name} TEMPLATE {filled}")
        try:
            yield self._url(name)
        finally:
            self._admin(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def look(self, url: str) -> Iterator[PostgresLook]:
        with psycopg.connect(url, autocommit=True) as connection:
            yield PostgresLook(connection)

    def _url(self, name: str) -> str:
        return f"{self._cluster.url.rsplit('/', 1)[0]}/{name}"

    def _connect(self, name: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._url(name), autocommit=True)

    def _admin(self, statement: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(statement)  # type: ignore[call-overload]


def verified_and_failed(counts: Mapping[str, int]) -> tuple[int, int]:
    return sum(counts.get(status, 0) for status in VERIFIED), counts.get("failed", 0)
