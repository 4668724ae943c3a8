"""Wake the workers of a site when something became due.

On PostgreSQL by NOTIFY, which reaches workers on every machine (`leasing.listener`). On SQLite, whose workers are all
on this machine, through named pipes, one beside each worker's lock file.

A wake-up that is lost only costs time: each worker looks for work every `COLDREEL_POLL_SECONDS` by itself. So a line
that is cut, a web server of another user, or a file system without pipes breaks nothing.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from django.db import connection, transaction

from apps.cctv import installation

OWNERS_FOLDER = "owners"
"""The folder in `COLDREEL_HOME` with the lock files and pipes of all owners."""


def wake_workers(site_id: UUID | None) -> None:
    """Tell the workers of a site that something is due, once the transaction is committed; None: those of the office.

    After a rollback nobody is told. On PostgreSQL the workers of that site look, on any machine; on SQLite all workers
    of this machine.
    """
    if connection.vendor == "postgresql":
        # PostgreSQL keeps it until the commit, and tells equal ones of one transaction once. It is no trigger's: any
        # login may notify any channel, so a worker believes nothing of it and looks at the rows.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [channel_of(site_id)])
    else:
        transaction.on_commit(lambda: wake_now(installation.home()))


def channel_of(site_id: UUID | None) -> str:
    """The channel of a site's workers, or of the office's."""
    return f"coldreel_{site_id or 'office'}"


def wake_now(home: Path) -> None:
    """Wake every worker with a pipe in that home, without waiting for a commit. Raises nothing."""
    for path in (home / OWNERS_FOLDER).glob("*.wake"):
        with suppress(OSError):  # without a reader, another user's, full already, or removed a moment ago
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                if stat.S_ISFIFO(os.fstat(pipe).st_mode):  # a file or a link of that name must not be written to
                    os.write(pipe, b"!")
            finally:
                os.close(pipe)


def wake_pipe_path(lock_path: Path) -> Path:
    """Where the pipe of the owner with that lock file is."""
    return lock_path.with_suffix(".wake")


def make_wake_pipe(path: Path) -> int | None:
    """Make the pipe and open it: its descriptor is readable once a process woke this one.

    None where the file system has no pipes.
    """
    try:
        os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)  # a pipe that has no writer would always be readable
    except OSError:
        return None
