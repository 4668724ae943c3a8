"""Refuses every connection to a database that `manage.py move_database` has moved elsewhere, or has not filled yet.

Both databases have a table named `database_move` while a move runs. The old one keeps it, so that a worker, a web
server or a cron job that is started on it by mistake changes no row there.
"""

from __future__ import annotations

import os
from typing import Any

from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "database_move"
MOVING = "moving"
MOVED = "moved"
"""The states of the old database."""
ALLOWED = "MOVE_DATABASE_MIGRATES"
"""The variable by which `move_database` lets its own `migrate` pass."""

_looked_at: set[str] = set()
"""Addresses of PostgreSQL that this process has looked at. SQLite is looked at whenever it is opened: that costs no
round trip, and the web server opens it for each request."""


class DatabaseMoved(OperationalError):
    """Coldreel works on another database now, or not yet on this one."""


def refuse_moved_database(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Receives `connection_created`. Closes the connection and raises DatabaseMoved where the table is there."""
    if connection.vendor == "sqlite":
        detail = _of_sqlite(connection)
    elif (address := "{HOST}/{NAME}".format_map(connection.settings_dict)) not in _looked_at:
        detail = _of_postgresql(connection)
        if not detail:
            _looked_at.add(address)
    else:
        return
    if detail and ALLOWED not in os.environ:
        # Django has opened it already, and would go on using it.
        connection.close()
        raise DatabaseMoved(detail)


def _of_sqlite(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"SELECT state, destination FROM {TABLE}")  # noqa: S608 - a constant
        except DatabaseError:  # no such table, as in every database that was not moved
            return ""
        state, destination = cursor.fetchone()
    if state == MOVED:
        return f"this database was moved to {destination}: set DATABASE_URL to that one."
    return (
        f"this database is being moved to {destination}: run the same `manage.py move_database --to` again, or "
        "`manage.py move_database --give-up` to stay with this one."
    )


def _of_postgresql(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NULL", [TABLE])
        if cursor.fetchone()[0]:
            return ""
    return "this database is being filled by `manage.py move_database`: run that command again until it is done."
