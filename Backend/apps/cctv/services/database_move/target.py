"""The new database: PostgreSQL, empty before, migrated by this command, filled batch by batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, LiteralString, Self, cast

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.sql import SQL, Composed, Identifier

from apps.cctv.services.database_move import DatabaseMoveRefused
from apps.cctv.services.database_move.plan import Kind, MovePlan, Table
from apps.cctv.services.database_move.proof import POSTGRESQL_FORMS, TableProof, checksum
from config.database import database
from config.moved_database import TABLE

_OLDEST_SERVER = 140000
"""PostgreSQL 14, the oldest that Django 5.2 works with."""
_LOCK = 0x636F6C64
"""Of `pg_try_advisory_lock`: one move at a time into a database."""
_ROWS_READ = 1000
_LIBPQ_NAMES = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
_DJANGOS_OPTIONS = frozenset({"pool", "isolation_level", "assume_role", "server_side_binding"})
"""Options of DATABASE_URL that are Django's own, not libpq's."""


class Target:
    """`with Target(url) as target`. Raises DatabaseMoveRefused where it does not answer or is no PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        parameters = _connection_parameters(url)
        try:
            self._database = psycopg.connect(autocommit=True, **parameters)
            self._database.execute("SET TIME ZONE 'UTC'")
        except (psycopg.Error, UnicodeError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise DatabaseMoveRefused(f"The database of --to does not answer: {lines[0]}") from error
        found = self._database.info
        self.shown = f"postgres://{found.user}@{found.host}:{found.port}/{found.dbname}"
        """Its address without the password, always written the same."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    # --- whether it is the right one ---

    def demand_usable(self) -> None:
        """Raises DatabaseMoveRefused where the server cannot keep what the old one has, and while another call runs."""
        version, encoding, standby, schema = self._one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
            " pg_is_in_recovery(), current_schema()"
        )
        if version < _OLDEST_SERVER:
            raise DatabaseMoveRefused(f"{self.shown} is PostgreSQL {version // 10000}: expected 14 or newer.")
        if encoding != "UTF8":
            raise DatabaseMoveRefused(
                f"{self.shown} keeps text as {encoding}: expected UTF8. Make it again: CREATE DATABASE … "
                "ENCODING 'UTF8' TEMPLATE template0."
            )
        if standby:
            raise DatabaseMoveRefused(f"{self.shown} is a standby, which takes no writes: name the primary server.")
        if schema is None:
            raise DatabaseMoveRefused(f"{self.shown}: this login has no schema to make tables in (search_path).")
        if not self._one("SELECT pg_try_advisory_lock(%s)", _LOCK)[0]:
            raise DatabaseMoveRefused(f"Another move into {self.shown} runs: wait for its end.")

    def token(self) -> str | None:
        """The token of the move that this database belongs to; None where it is empty.

        Raises DatabaseMoveRefused where it has anything in it that no move put there.
        """
        if self._one("SELECT to_regclass(%s)", TABLE)[0] is not None:
            found = self._database.execute(self._sql("SELECT token FROM {}")).fetchone()
            return str(found[0]) if found else None
        there = self._database.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') ORDER BY relname LIMIT 3"
        ).fetchall()
        if there:
            names = ", ".join(name for (name,) in there)
            raise DatabaseMoveRefused(f"{self.shown} is not empty ({names}): expected a new database without tables.")
        return None

    # --- how far a move came ---

    def begin(self, token: str) -> None:
        with self._database.transaction():
            self._database.execute(self._sql("CREATE TABLE {} (token text NOT NULL, emptied bool NOT NULL)"))
            self._database.execute(
                self._sql("CREATE TABLE {} (name text PRIMARY KEY, last_key text, rows bigint NOT NULL)", "_progress")
            )
            self._database.execute(self._sql("INSERT INTO {} VALUES (%s, false)"), [token])

    def is_emptied(self) -> bool:
        """Whether `empty_tables` has run."""
        found = self._database.execute(self._sql("SELECT emptied FROM {}")).fetchone()
        return bool(found and found[0])

    def empty_tables(self, plan: MovePlan) -> None:
        """Remove the rows that `migrate` made by itself, in one transaction: the old database's are copied instead."""
        names = [*(table.name for table in plan.copied), *plan.rebuilt]
        with self._database.transaction():
            self._database.execute(SQL("TRUNCATE {}").format(SQL(", ").join(map(Identifier, names))))
            self._database.execute(self._sql("UPDATE {} SET emptied = true"))

    def progress(self, table: Table) -> tuple[list[Any] | None, int]:
        """The key of the last row that arrived, and how many did."""
        found = self._database.execute(
            self._sql("SELECT last_key, rows FROM {} WHERE name = %s", "_progress"), [table.name]
        ).fetchone()
        return (json.loads(found[0]), int(found[1])) if found else (None, 0)

    def copy(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """One transaction: the rows, and the note of how far the table is now."""
        key = [rows[-1][at] for at in table.key_positions]
        with self._database.transaction(), self._database.cursor() as cursor:
            with cursor.copy(SQL("COPY {} ({}) FROM STDIN").format(Identifier(table.name), _columns(table))) as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(
                self._sql(
                    "INSERT INTO {} AS done VALUES (%s, %s, %s) ON CONFLICT (name)"
                    " DO UPDATE SET last_key = excluded.last_key, rows = done.rows + excluded.rows",
                    "_progress",
                ),
                [table.name, json.dumps(key), len(rows)],
            )

    def set_sequence(self, table: Table, highest_given: int) -> None:
        """The next row of the table gets a number that no row ever had."""
        for column in table.columns:
            (sequence,) = self._one("SELECT pg_get_serial_sequence(quote_ident(%s), %s)", table.name, column.name)
            if sequence is None:
                continue
            most = SQL("SELECT COALESCE(max({}), 0) FROM {}").format(Identifier(column.name), Identifier(table.name))
            (highest,) = self._one_of(most)
            number = max(int(highest), highest_given)
            # The last argument: whether that number is taken already.
            self._one("SELECT setval(%s, %s, %s)", sequence, max(number, 1), number > 0)

    def analyze(self) -> None:
        """Let the planner know the tables: without it the first queries read them whole."""
        self._database.execute("ANALYZE")

    def end(self) -> None:
        """Remove what this command keeps here. From now on every process may use this database."""
        with self._database.transaction():
            self._database.execute(self._sql("DROP TABLE {}", "_progress"))
            self._database.execute(self._sql("DROP TABLE {}"))

    # --- what is in it ---

    def proof(self, table: Table) -> TableProof:
        numbers = [column.name for column in table.columns if column.kind is Kind.INTEGER]
        sums = [SQL("sum({})").format(Identifier(name)) for name in numbers]
        counted = SQL("SELECT {} FROM {}").format(SQL(", ").join([SQL("count(*)"), *sums]), Identifier(table.name))
        rows, *totals = self._one_of(counted)
        total = sum(int(part or 0) for part in totals)
        return TableProof(int(rows), total, checksum(self._rows(table), table.columns, POSTGRESQL_FORMS))

    def _rows(self, table: Table) -> Iterator[tuple[Any, ...]]:
        kinds = {column.name: column.kind for column in table.columns}
        # By bytes, as SQLite orders text.
        key = [
            SQL('{} COLLATE "C"').format(Identifier(name)) if kinds[name] is Kind.TEXT else Identifier(name)
            for name in table.key
        ]
        with self._database.transaction(), self._database.cursor(name="proof") as cursor:
            cursor.itersize = _ROWS_READ
            cursor.execute(
                SQL("SELECT {} FROM {} ORDER BY {}").format(
                    _columns(table), Identifier(table.name), SQL(", ").join(key)
                )
            )
            yield from cursor

    def _sql(self, text: LiteralString, suffix: str = "") -> Composed:
        return SQL(text).format(Identifier(f"{TABLE}{suffix}"))

    def _one(self, text: LiteralString, *values: Any) -> tuple[Any, ...]:
        return cast("tuple[Any, ...]", self._database.execute(text, values).fetchone())

    def _one_of(self, query: Composed) -> tuple[Any, ...]:
        return cast("tuple[Any, ...]", self._database.execute(query).fetchone())


def _connection_parameters(url: str) -> dict[str, Any]:
    """As DATABASE_URL is read, with its defaults for cut lines and TLS. Raises DatabaseMoveRefused."""
    try:
        entry = database(url, application_name="coldreel move_database")
    except ImproperlyConfigured as error:
        raise DatabaseMoveRefused(str(error).replace("DATABASE_URL", "--to")) from error
    if entry["ENGINE"] != "django.db.backends.postgresql":
        raise DatabaseMoveRefused("--to: expected a PostgreSQL database, as postgres://user:password@host:port/name.")
    named = {name: entry.get(key) for name, key in _LIBPQ_NAMES.items()}
    options = {name: value for name, value in entry["OPTIONS"].items() if name not in _DJANGOS_OPTIONS}
    return {name: value for name, value in {**named, **options}.items() if value not in {None, ""}}


def _columns(table: Table) -> Composed:
    return SQL(", ").join(Identifier(column.name) for column in table.columns)
