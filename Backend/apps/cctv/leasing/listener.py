"""Hear the wake-ups of one site, on PostgreSQL and on the connection that this thread claims by.

So a worker is never deaf while it can claim: a connection that broke is made anew by the next claim, and LISTENed on
before it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection

from apps.cctv.leasing.wakeup import channel_of


class Listener:
    """For one thread. On SQLite it hears nothing: there a worker's pipe is written to."""

    def __init__(self, site_id: UUID | None) -> None:
        self._channel = channel_of(site_id)
        self._on: Any = None
        self._is_woken = False

    def open(self) -> bool:
        """LISTEN where this thread's connection is a new one. True then: what was sent before was not heard, so look.

        Raises Error where the database is away.
        """
        if connection.vendor != "postgresql":
            return False
        connection.ensure_connection()
        raw = connection.connection
        if raw is self._on:
            return False
        # psycopg reads notifications while it waits for a query's result; without a handler nobody would learn of them.
        raw.add_notify_handler(self._note)
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {connection.ops.quote_name(self._channel)}")
        self._on = raw
        return True

    @property
    def descriptor(self) -> int | None:
        """The socket that is readable when something is to be heard, or when the connection broke; None without one."""
        raw = connection.connection
        return None if raw is None or raw is not self._on or raw.closed else int(raw.pgconn.socket)

    def is_woken(self) -> bool:
        """Whether a wake-up came since the last call. Does not wait. Raises Error where the connection broke."""
        raw = connection.connection
        if raw is not None and raw is self._on:
            with connection.wrap_database_errors:
                # Also what the library has read from the socket already, on which `select` would wait in vain.
                raw.pgconn.consume_input()
                while raw.pgconn.notifies():
                    self._is_woken = True
        woken, self._is_woken = self._is_woken, False
        return woken

    def _note(self, notification: object) -> None:
        del notification  # any login may write any payload
        self._is_woken = True
