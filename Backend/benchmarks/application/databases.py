"""A fresh database for each run, observed by a connection of its own: states of the transfers, number of commits."""

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
"""Fills the database at that DATABASE_URL, which is empty or was filled for another data set."""


@dataclass(frozen=True, slots=True)
class CommitCount:
    """How many commits a database has seen. `transactions` counts those that only read as well.

    Subtract two counts to measure: each kind of database begins to count at another moment.
    """

    commits: int
    transactions: int | None = None


class Observer(Protocol):
    """A connection beside those of the product, which only reads."""

    def rows(self, query: str) -> list[tuple[Any, ...]]: ...

    def commit_count(self) -> CommitCount: ...

    def wait_until_alone(self) -> None:
        """Wait for the end of other connections: they outlive the product's processes by a moment."""
        ...


class Databases(Protocol):
    def fresh(self, template: str, seed: Seed, folder: Path) -> Any:
        """A context with the URL of a new copy of the template; `seed` fills the template on first use."""
        ...

    def observe(self, url: str) -> Any:
        """A context with an Observer."""
        ...


class SqliteObserver:
    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._index = path.with_name(f"{path.name}-shm")
        self._connection = connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def commit_count(self) -> CommitCount:
        """The counter `iChange` of the WAL index's header, which grows by one with each transaction that wrote.

        Source: https://www.sqlite.org/walformat.html#the_wal_index_header. The counter starts again with the file,
        which exists as long as a connection is open; this one is.
        """
        with self._index.open("rb") as file:
            return CommitCount(int.from_bytes(file.read(12)[8:12], "little"))

    def wait_until_alone(self) -> None:
        """Returns at once: the connections of an ended process are closed with it."""


class SqliteDatabases:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def fresh(self, template: str, seed: Seed, folder: Path) -> Iterator[str]:
        filled = self._folder / f"{template}.sqlite3"
        if not filled.exists():
            # A migrated database of another data set saves the migrations, which take most of the time.
            for other in list(self._folder.glob("*.sqlite3"))[:1]:
                shutil.copyfile(other, filled)
            seed(f"sqlite:///{filled}")
        path = folder / "coldreel.sqlite3"
        shutil.copyfile(filled, path)
        yield f"sqlite:///{path}"

    @contextmanager
    def observe(self, url: str) -> Iterator[SqliteObserver]:
        path = Path(urlsplit(url).path.removeprefix("/"))
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30, isolation_level=None)
        with closing(connection):
            observer = SqliteObserver(path, connection)
            # The first read opens the WAL index, whose counter is read later.
            observer.rows(WORKERS)
            yield observer


class PostgresObserver:
    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._queries = 0
        ((self._begun_at,),) = self.rows("SELECT pg_current_wal_flush_lsn()::text")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        self._queries += 1
        return self._connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]

    def commit_count(self) -> CommitCount:
        """Commit records in the write-ahead log, and the count of pg_stat_database without this connection's queries.

        Each connection adds its transactions to pg_stat_database once a second, and when it ends.
        """
        records = f"pg_get_wal_records_info('{self._begun_at}', pg_current_wal_flush_lsn())"
        ((commits,),) = self.rows(
            f"SELECT count(*) FROM {records} WHERE resource_manager = 'Transaction' AND record_type LIKE 'COMMIT%'"
        )
        # This connection reports at most once a second; its own queries must be in the count to be subtracted.
        self.rows("SELECT pg_stat_force_next_flush()")
        own = self._queries
        ((all_of_them,),) = self.rows("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return CommitCount(int(commits), int(all_of_them) - own)

    def wait_until_alone(self) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while time.monotonic() < deadline and self.rows(others):
            time.sleep(0.05)


class PostgresDatabases:
    """Databases of one cluster, durable as PostgreSQL is by default: a new database is cheap, a new cluster is not."""

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
    def observe(self, url: str) -> Iterator[PostgresObserver]:
        with psycopg.connect(url, autocommit=True) as connection:
            yield PostgresObserver(connection)

    def _url(self, name: str) -> str:
        return f"{self._cluster.url.rsplit('/', 1)[0]}/{name}"

    def _connect(self, name: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._url(name), autocommit=True)

    def _admin(self, statement: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(statement)  # type: ignore[call-overload]


def verified_and_failed(counts: Mapping[str, int]) -> tuple[int, int]:
    return sum(counts.get(status, 0) for status in VERIFIED), counts.get("failed", 0)
