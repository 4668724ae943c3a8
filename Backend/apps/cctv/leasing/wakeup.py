"""Wake the workers of this machine through named pipes, one beside each worker's lock file.

A wake-up that is lost only costs time: each worker looks for work every `COLDREEL_POLL_SECONDS` by itself. So a web
server of another user or on another machine, or a file system without pipes, breaks nothing.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from django.db import transaction

from apps.cctv import installation

OWNERS_FOLDER = "owners"
"""The folder in `COLDREEL_HOME` with the lock files and pipes of all owners."""


def wake_workers(site_id: UUID | None) -> None:
    """Tell the workers of a site, once the transaction is committed, that something is due. Raises nothing.

    All workers of this machine look, those of other sites too: without due work that costs two short queries.
    """
    del site_id
    transaction.on_commit(lambda: wake_now(installation.home()))


def wake_now(home: Path) -> None:
    """Wake every worker whose lock file is in that home, without waiting for a commit. Raises nothing."""
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
