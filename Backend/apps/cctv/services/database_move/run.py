"""`database_move`: from SQLite to PostgreSQL. Killed at any point and called again, it goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import psycopg
from django.db.migrations.loader import MigrationLoader

from apps.cctv.services.database_move import DatabaseMoveRefused
from apps.cctv.services.database_move.plan import MovePlan, Table, move_plan
from apps.cctv.services.database_move.proof import TableProof
from apps.cctv.services.database_move.source import Mark, Source
from apps.cctv.services.database_move.target import Target
from config.moved_database import MOVED, MOVING

ROWS_A_TRANSACTION = 1000

Migrate = Callable[[str], None]
"""Runs `manage.py migrate` on the database of that URL; raises DatabaseMoveRefused where that fails."""

Progress = Callable[[str, int, int], None]
"""Is told a step, how many rows of it are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class TableReport:
    """A table with its proof of the old database, and whether the new one has the same; None before it was compared."""

    table: str
    rows: int
    total: int | None = None
    checksum: str = ""
    is_same: bool | None = None


@dataclass(slots=True)
class MoveReport:
    """What was moved, or in a dry run would be."""

    source: str
    destination: str
    dry_run: bool
    was_moved_before: bool = False
    tables: list[TableReport] = field(default_factory=list)
    rebuilt: tuple[str, ...] = ()
    left_behind: list[str] = field(default_factory=list)
    proven_at: str = ""
    path: str = ""
    """Of the file with this report; empty where none is written."""

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def database_move(
    *,
    source: Source,
    target: Target,
    home: Path,
    now: Callable[[], datetime],
    migrate: Migrate,
    progress: Progress,
    dry_run: bool,
) -> MoveReport:
    """Move all rows, prove it, write the report, and hand over. The caller has seen that no worker runs.

    1. Look: is this release's schema in the old database, would PostgreSQL take every value, is the new one empty?
    2. Lock the old database for this process and mark it: every other process refuses it from now on.
    3. Let `migrate` make the tables of the new one, and empty those that it filled by itself.
    4. Copy each table by its key, parents first, at most 1,000 rows a transaction. The transaction also notes the last
       key, so that a call after a kill goes on behind it and no row comes twice.
    5. Set the sequences.
    6. Prove it: counts, sums and checksums of each table on both sides. Any difference ends here.
    7. Write the report, mark the old database as moved, and open the new one.

    Raises DatabaseMoveRefused. Killed between two steps, the next call finds by the marks of both sides where to go on.
    """
    plan = move_plan()
    report = MoveReport(str(source.path), target.shown, dry_run, rebuilt=plan.rebuilt)
    if not dry_run:
        source.lock()
    mark = source.mark()
    if mark is not None and mark.destination != target.shown:
        raise DatabaseMoveRefused(
            f"{source.path} {'was' if mark.state == MOVED else 'is being'} moved to {mark.destination}, not to "
            f"{target.shown}. To begin anew, run `manage.py move_database --give-up` first."
        )
    target.demand_usable()
    if mark is not None and mark.state == MOVED:
        return _hand_over(source, target, report, mark)
    _demand_same_move(target, mark)
    _demand_schema(source)
    if problems := list(source.problems(plan)):
        raise DatabaseMoveRefused("\n".join(["The old database cannot be moved as it is:", *problems]))
    report.left_behind = source.left_behind(plan)
    if dry_run:
        report.tables = [TableReport(table.name, source.count(table)) for table in plan.copied]
        return report
    if mark is None:
        mark = Mark(str(uuid4()), MOVING, target.shown)
        source.mark_moving(mark, now())
    try:
        if target.token() is None:
            target.begin(mark.token)
        _fill(source, target, plan, migrate, progress)
        report.tables = [_proven(source, target, table, progress) for table in plan.copied]
    except psycopg.Error as error:
        raise DatabaseMoveRefused(
            f"PostgreSQL refuses: {str(error).strip() or type(error).__name__}\nRun the same command again to go on."
        ) from error
    _write(report, home, now())
    if differing := [one.table for one in report.tables if not one.is_same]:
        raise DatabaseMoveRefused(
            f"The two databases differ in {', '.join(differing)} (see {report.path}). Nothing is handed over, the old "
            "database is as it was. Run `manage.py move_database --give-up` to stay with it, or after that begin anew "
            "with an empty database."
        )
    source.mark_moved(now())
    target.end()
    return report


def _fill(source: Source, target: Target, plan: MovePlan, migrate: Migrate, progress: Progress) -> None:
    """Steps 3 to 5, from where an earlier call came to."""
    if not target.is_emptied():
        migrate(target.url)
        target.empty_tables(plan)
    for table in plan.copied:
        _copy(source, target, table, progress)
        target.set_sequence(table, source.highest_number_given(table))
    target.analyze()


def move_give_up(*, source: Source) -> None:
    """End a move that is not done: the old database is used again. Raises DatabaseMoveRefused."""
    source.lock()
    mark = source.mark()
    if mark is None:
        raise DatabaseMoveRefused(f"{source.path} is not being moved: nothing to give up.")
    if mark.state == MOVED:
        raise DatabaseMoveRefused(
            f"{source.path} was moved to {mark.destination}, which has had its own changes since: restore a backup of "
            "that one instead."
        )
    source.unmark()


def _hand_over(source: Source, target: Target, report: MoveReport, mark: Mark) -> MoveReport:
    """The old database is marked as moved already: end what a kill left open in the new one."""
    report.was_moved_before = True
    try:
        token = target.token()
    except DatabaseMoveRefused:  # it is in use, as it should be
        return report
    if token is None:
        raise DatabaseMoveRefused(f"{source.path} was moved to {mark.destination}, but that database is empty now.")
    if token == mark.token and not report.dry_run:
        target.end()
    return report


def _demand_same_move(target: Target, mark: Mark | None) -> None:
    token = target.token()
    if token is not None and (mark is None or mark.token != token):
        raise DatabaseMoveRefused(
            f"{target.shown} was begun to be filled from another database: make an empty one (DROP DATABASE, "
            "CREATE DATABASE)."
        )


def _demand_schema(source: Source) -> None:
    """The old database has the tables of this release, and no others."""
    loader = MigrationLoader(None)
    expected = set(loader.disk_migrations)
    applied = {one for one in source.applied_migrations() if one[0] in loader.migrated_apps}
    if missing := sorted(expected - applied):
        raise DatabaseMoveRefused(
            f"Migrations missing in {source.path}: {len(missing)}, {'.'.join(missing[0])} first. Run `manage.py "
            "migrate` on it, and start this once more."
        )
    if extra := sorted(applied - expected):
        raise DatabaseMoveRefused(
            f"{source.path} is of a newer release ({'.'.join(extra[-1])} is not known here): move it by that release."
        )


def _copy(source: Source, target: Target, table: Table, progress: Progress) -> None:
    key, done = target.progress(table)
    count = source.count(table)
    progress(f"copying {table.name}", done, count)
    while rows := source.rows_after(table, key, ROWS_A_TRANSACTION):
        target.copy(table, rows)
        key = [rows[-1][at] for at in table.key_positions]
        done += len(rows)
        progress(f"copying {table.name}", done, count)


def _proven(source: Source, target: Target, table: Table, progress: Progress) -> TableReport:
    progress(f"comparing {table.name}", 0, source.count(table))
    old: TableProof = source.proof(table)
    new = target.proof(table)
    return TableReport(table.name, old.rows, old.total, old.checksum, is_same=old == new)


def _write(report: MoveReport, home: Path, now: datetime) -> None:
    """The report as a file, on the disk before the databases change hands."""
    report.proven_at = now.isoformat(timespec="seconds")
    path = home / f"database-move-{now:%Y%m%dT%H%M%SZ}.json"
    report.path = str(path)
    with path.open("w", encoding="utf-8") as file:
        file.write(report.as_json() + "\n")
        file.flush()
        os.fsync(file.fileno())
