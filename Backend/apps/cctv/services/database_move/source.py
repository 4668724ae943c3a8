"""The old database: SQLite, opened for this process alone, marked, and read as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from apps.cctv.services.database_move import DatabaseMoveRefused
from apps.cctv.services.database_move.plan import NO_MODEL, Column, Kind, MovePlan, Table
from apps.cctv.services.database_move.proof import SQLITE_FORMS, TableProof, checksum
from config.moved_database import MOVED, MOVING, TABLE

_OTHERS_SECONDS = 5.0
"""How long other processes may take to close the database."""
_ROWS_READ = 1000
_LOW_BITS = 32
_NAMED_VALUES = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """What the table `database_move` of the old database says. `token` is in the new one's table as well."""

    token: str
    state: str
    destination: str


class Source:
    """`with Source(path) as source`. Values are given as SQLite has them, without any conversion."""

    def __init__(self, path: Path) -> None:
        """Raises DatabaseMoveRefused where there is no such file."""
        self.path = path
        if not path.is_file():
            raise DatabaseMoveRefused(f"There is no database {path}: nothing is to be moved.")
        # `mode=rw`: SQLite would make a file that is not there. Python converts nothing here.
        address = f"file:{quote(str(path))}?mode=rw"
        self._database = sqlite3.connect(address, uri=True, isolation_level=None, timeout=_OTHERS_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    # --- this process alone ---

    def lock(self) -> None:
        """Take the file for this process until it is closed or the process ends. Raises DatabaseMoveRefused.

        SQLite gives this lock only where no other process has the file open, not even one that is idle. So what was
        read stays true until the end.
        """
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise DatabaseMoveRefused(
                f"Another process has {self.path} open ({error}): stop the web server, the workers, and commands that "
                "cron or a timer started."
            ) from error

    def mark(self) -> Mark | None:
        """How far an earlier call came; None where there was none."""
        if not self._database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [TABLE]).fetchone():
            return None
        return Mark(*self._database.execute(f"SELECT token, state, destination FROM {TABLE}").fetchone())  # noqa: S608 - a constant

    def mark_moving(self, mark: Mark, now: datetime) -> None:
        """From now on every other process refuses this database."""
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute(f"CREATE TABLE {TABLE} (token TEXT, state TEXT, destination TEXT, at TEXT)")
        self._database.execute(
            f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?)",  # noqa: S608 - a constant
            [mark.token, MOVING, mark.destination, now.isoformat()],
        )
        self._database.execute("COMMIT")

    def mark_moved(self, now: datetime) -> None:
        self._database.execute(f"UPDATE {TABLE} SET state = ?, at = ?", [MOVED, now.isoformat()])  # noqa: S608 - a constant

    def unmark(self) -> None:
        """Let other processes use this database again."""
        self._database.execute(f"DROP TABLE {TABLE}")

    # --- what is in it ---

    def applied_migrations(self) -> set[tuple[str, str]]:
        """App and name of each migration; empty where the database has no table of them."""
        try:
            return set(self._database.execute("SELECT app, name FROM django_migrations"))
        except sqlite3.OperationalError:
            return set()

    def problems(self, plan: MovePlan) -> Iterator[str]:
        """What PostgreSQL would not take, or what would be lost, a sentence for each.

        1. A damaged file, or rows that break their own rules: `PRAGMA integrity_check`.
        2. Foreign keys that lead nowhere.
        3. Columns that the models do not have.
        4. Values that SQLite keeps and PostgreSQL refuses: too long, out of range, with a zero character.
        """
        try:
            wrong = [found for (found,) in self._database.execute("PRAGMA integrity_check(3)") if found != "ok"]
        except sqlite3.DatabaseError as error:
            yield f"The file is damaged: {error}. Restore a backup, then move that."
            return
        for found in wrong:
            yield f"The database has an error of its own: {found}."
        for name, row, parent, _ in self._database.execute("PRAGMA foreign_key_check"):
            yield f"Row {row} of {name} points to a row of {parent} that is not there."
        for table in plan.copied:
            yield from self._problems_of(table)

    def _problems_of(self, table: Table) -> Iterator[str]:
        there = {name for _, name, *_ in self._database.execute(f"PRAGMA table_info({_quoted(table.name)})")}
        known = {column.name for column in table.columns}
        if there != known:
            yield f"{table.name} has other columns than this release: {', '.join(sorted(there ^ known))}."
            return
        for column in table.columns:
            for what, condition in _refused_values(column):
                found = self._database.execute(
                    f"SELECT {_names(table.key)} FROM {_quoted(table.name)} WHERE {condition} LIMIT {_NAMED_VALUES}"  # noqa: S608 - names of our own columns
                ).fetchall()
                if found:
                    rows = ", ".join("/".join(map(str, key)) for key in found)
                    yield f"{table.name}.{column.name} has {what}, which PostgreSQL does not take: row {rows}."

    def left_behind(self, plan: MovePlan) -> list[str]:
        """Tables that belong to no model, and to none of SQLite's or Django's own: they are not copied."""
        known = {*(table.name for table in plan.copied), *plan.rebuilt, *NO_MODEL, TABLE}
        found = self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [name for (name,) in found if name not in known]

    def count(self, table: Table) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM {_quoted(table.name)}").fetchone()[0])  # noqa: S608 - as above

    def highest_number_given(self, table: Table) -> int:
        """The highest number that SQLite gave to a row of this table, also to one that is deleted; 0 without any."""
        try:
            found = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", [table.name]).fetchone()
        except sqlite3.OperationalError:  # no table with AUTOINCREMENT was ever made
            return 0
        return int(found[0]) if found else 0

    def rows_after(self, table: Table, key: Sequence[Any] | None, most: int) -> list[tuple[Any, ...]]:
        """The next `most` rows by key, from the first where `key` is None."""
        where = f"WHERE ({_names(table.key)}) > ({', '.join('?' * len(table.key))})" if key else ""
        return self._database.execute(
            f"SELECT {_names([column.name for column in table.columns])} FROM {_quoted(table.name)} {where}"  # noqa: S608 - as above
            f" ORDER BY {_names(table.key)} LIMIT {most:d}",
            list(key or []),
        ).fetchall()

    def proof(self, table: Table) -> TableProof:
        numbers = [_quoted(column.name) for column in table.columns if column.kind is Kind.INTEGER]
        # In two halves: SQLite's sum ends with an error beyond 63 bits.
        low = (1 << _LOW_BITS) - 1
        halves = "".join(f", sum({name} >> {_LOW_BITS}), sum({name} & {low})" for name in numbers)
        rows, *sums = self._database.execute(f"SELECT count(*){halves} FROM {_quoted(table.name)}").fetchone()  # noqa: S608 - as above
        total = sum((part or 0) << (0 if at % 2 else _LOW_BITS) for at, part in enumerate(sums))
        return TableProof(rows, total, checksum(self._rows(table), table.columns, SQLITE_FORMS))

    def _rows(self, table: Table) -> Iterator[tuple[Any, ...]]:
        cursor = self._database.execute(
            f"SELECT {_names([column.name for column in table.columns])} FROM {_quoted(table.name)}"  # noqa: S608 - as above
            f" ORDER BY {_names(table.key)}"
        )
        while rows := cursor.fetchmany(_ROWS_READ):
            yield from rows


def _refused_values(column: Column) -> Iterator[tuple[str, str]]:
    """What PostgreSQL refuses in that column, and the condition of SQLite that finds it."""
    name = _quoted(column.name)
    if column.kind in {Kind.TEXT, Kind.JSON}:
        yield "a zero character", f"instr({name}, char(0)) > 0"
    if column.most_characters is not None:
        yield f"more than {column.most_characters} characters", f"length({name}) > {column.most_characters:d}"
    if column.bounds is not None:
        least, most = column.bounds
        yield (
            f"no whole number from {least} to {most}",
            f"{name} IS NOT NULL AND (typeof({name}) <> 'integer' OR {name} NOT BETWEEN {least:d} AND {most:d})",
        )
    if column.kind is Kind.BOOLEAN:
        yield "neither 0 nor 1", f"{name} NOT IN (0, 1)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(_quoted, names))
