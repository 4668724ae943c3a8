"""`manage.py move_database`: from SQLite to PostgreSQL, proven."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from apps.cctv.installation import home
from apps.cctv.leasing.owners import living_owners
from apps.cctv.services.database_move import DatabaseMoveRefused
from apps.cctv.services.database_move.run import MoveReport, database_move, move_give_up
from apps.cctv.services.database_move.source import Source
from apps.cctv.services.database_move.target import Target
from config.moved_database import ALLOWED
from config.private_files import sqlite_file
from config.supervisor import SUPERVISOR, AlreadyServed, lock_home

_MANAGE = Path(__file__).resolve().parents[4] / "manage.py"
_SECONDS_BETWEEN_LINES = 1.0


class Command(BaseCommand):
    help = (
        "Move everything from this SQLite database to an empty PostgreSQL one, and prove it: counts, sums and a "
        "checksum of every table on both sides. Stop the web server and the workers first. Killed or stopped, the same "
        "call goes on. The old file stays, and refuses every process afterwards. Exit status: 0 moved, 1 refused or "
        "not proven, 2 bad usage."
    )
    # The old database is opened by this command alone, not by Django.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--to", metavar="URL", help="the empty database: postgres://user:password@host:port/name")
        which.add_argument("--give-up", action="store_true", help="end a move that is not done, and stay with SQLite")
        parser.add_argument("--dry-run", action="store_true", help="check everything, change nothing")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *, to: str | None, give_up: bool, dry_run: bool, **options: Any) -> None:
        if give_up and dry_run:
            raise CommandError("--dry-run: expected --to beside it.", returncode=2)
        path = sqlite_file(connection.settings_dict)
        if path is None:
            raise CommandError(
                "DATABASE_URL names no SQLite file: this command moves from SQLite to PostgreSQL and nothing else."
            )
        try:
            _demand_quiet(path, dry_run=dry_run, say=self.stderr.write)
            with Source(path) as source:
                if give_up:
                    move_give_up(source=source)
                    self.stdout.write(
                        f"The move is given up: {path} is used again. Drop what is in the other database."
                    )
                    return
                assert to is not None
                with Target(to) as target:
                    report = database_move(
                        source=source,
                        target=target,
                        home=home(),
                        now=lambda: datetime.now(tz=UTC),
                        migrate=_migrate,
                        progress=_Progress(self.stderr.write),
                        dry_run=dry_run,
                    )
        except DatabaseMoveRefused as refusal:
            raise CommandError(refusal.detail) from refusal
        except KeyboardInterrupt as stopped:
            raise CommandError("Stopped. The same command goes on from here.") from stopped
        self.stdout.write(report.as_json() if options["json"] else _text(report))


def _demand_quiet(path: Path, *, dry_run: bool, say: Callable[[str], object]) -> None:
    """No worker, web server or command with leases of this home runs, and none can be started by `serve` meanwhile.

    A dry run is for the time before they are stopped: it only says which ones run.
    """
    try:
        _refuse_while_in_use(path)
    except DatabaseMoveRefused as refusal:
        if not dry_run:
            raise
        say(f"Before the move itself: {refusal.detail}")


def _refuse_while_in_use(path: Path) -> None:
    owner = path.stat().st_uid if path.is_file() else os.geteuid()
    if owner != os.geteuid():
        raise DatabaseMoveRefused(f"{path} belongs to the user with the id {owner}: run this command as that user.")
    try:
        lock_home(home())
    except AlreadyServed as served:
        raise DatabaseMoveRefused(str(served)) from served
    if owners := living_owners(home()):
        raise DatabaseMoveRefused(f"Workers or commands of {home()} still run ({', '.join(owners)}): stop them first.")


def _migrate(url: str) -> None:
    """In a process of its own, which has the new database as its only one."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL_FILE"}
    environment |= {"DATABASE_URL": url, ALLOWED: "1", SUPERVISOR: str(os.getpid())}
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(_MANAGE), "migrate", "--no-input", "--verbosity=0"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DatabaseMoveRefused(f"The new database cannot be migrated: {done.stderr.strip() or done.returncode}")


class _Progress:
    """A line a step, and for long ones a line a second."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._step = ""
        self._told_at = 0.0

    def __call__(self, step: str, done: int, count: int) -> None:
        if step == self._step and done < count and time.monotonic() - self._told_at < _SECONDS_BETWEEN_LINES:
            return
        self._step, self._told_at = step, time.monotonic()
        self._say(f"{step}: {done:,} of {count:,} rows")


def _text(report: MoveReport) -> str:
    if report.was_moved_before:
        return f"{report.source} was moved to {report.destination} already. {_WHAT_TO_SET}"
    width = max(len(one.table) for one in report.tables)
    lines = [f"{'table':{width}} {'rows':>12} {'sum of numbers':>28}  checksum (SHA-256, first 16)  both sides"]
    for one in report.tables:
        total = "" if one.total is None else f"{one.total:,}"
        same = "" if one.is_same is None else ("same" if one.is_same else "DIFFERENT")
        lines.append(f"{one.table:{width}} {one.rows:12,} {total:>28}  {one.checksum[:16]:28}  {same}".rstrip())
    if report.rebuilt:
        lines.append(f"Rebuilt by triggers, not copied: {', '.join(report.rebuilt)}.")
    if report.left_behind:
        lines.append(f"Not of this application, left behind: {', '.join(report.left_behind)}.")
    if report.dry_run:
        return "\n".join([*lines, "Dry run: nothing was changed. Everything that was looked at can be moved."])
    return "\n".join(
        [
            *lines,
            f"Moved to {report.destination}. Report: {report.path}",
            _WHAT_TO_SET,
            f"{report.source} is still there.",
        ]
    )


_WHAT_TO_SET = (
    "Set DATABASE_URL to the address that --to named, for every process of this installation, then start them. "
    "Keep the old file until there is a backup of the new database; every process refuses it."
)
