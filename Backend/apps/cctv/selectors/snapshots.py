"""One answer is one snapshot: its rows and its counts are of one moment (P9)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

READING = frozenset({"GET", "HEAD"})
"""The methods whose answers are read in one snapshot. Their views write nothing: PostgreSQL would refuse it."""


@contextmanager
def one_snapshot() -> Iterator[None]:
    """All reads inside see the database as it was at the first of them. Writers do not wait for it.

    Inside another transaction (a test's, or one that has begun to write) it changes nothing.
    """
    if connection.in_atomic_block:
        yield
        return
    with _plain_begin(), transaction.atomic():
        if connection.vendor == "postgresql":
            # Must come before the first query: https://www.postgresql.org/docs/current/sql-set-transaction.html
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


@contextmanager
def _plain_begin() -> Iterator[None]:
    """Inside this, SQLite's transactions do not begin IMMEDIATE, which takes the write lock even to read."""
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()  # a new connection sets the mode from the settings, and would undo what follows
    sqlite: Any = connection
    mode, sqlite.transaction_mode = sqlite.transaction_mode, None
    try:
        yield
    finally:
        sqlite.transaction_mode = mode
