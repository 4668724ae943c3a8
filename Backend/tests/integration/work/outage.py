"""A database that fails the statements of this thread: its connection is cut, or another process has the write lock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.db import Error, connection

_HOLDS_THE_WRITE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def outage() -> Iterator[Callable[[], None]]:
    """Yields what begins it for the thread that calls it; a locked SQLite file stays so until the block ends."""
    started: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout = 50")
            started.append(_locking(str(connection.settings_dict["NAME"])))
        else:
            with suppress(Error), connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    try:
        yield begin
    finally:
        for process in started:
            with process:
                process.kill()
        connection.close()


def _locking(database: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS_THE_WRITE_LOCK, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    return process
