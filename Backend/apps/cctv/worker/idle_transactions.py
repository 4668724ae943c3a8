"""Let PostgreSQL end a transaction of a worker that does nothing for long.

A worker that is frozen or cut off in the middle of one would keep its locks: on the row of a batch, for example,
without which no other worker claims of it. No worker waits for a file or for the bucket within a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.signals import connection_created

IDLE_SECONDS = 30
"""Less than a lease: what a frozen worker had locked is free before its uploads are."""


@contextmanager
def idle_transactions_end() -> Iterator[None]:
    """For every connection to PostgreSQL that this process opens within; one that this thread has is closed before."""
    connection_created.connect(_limit)
    try:
        if connection.vendor == "postgresql":
            connection.close()
        yield
    finally:
        connection_created.disconnect(_limit)


def _limit(connection: Any, **_: Any) -> None:
    """By a statement, since pgbouncer passes no `options` on; a limit from DATABASE_URL or from the role is kept."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, false)"
                " WHERE current_setting('idle_in_transaction_session_timeout') = '0'",
                [f"{IDLE_SECONDS}s"],
            )
