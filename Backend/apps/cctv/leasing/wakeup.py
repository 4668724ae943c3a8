"""Waking the workers of this machine: a named pipe beside each one's lock file.

A call that is lost costs what it cost before there were calls: a worker looks by itself every
`COLDREEL_POLL_SECONDS`. So a web server of another user or machine, or a file system without pipes, breaks nothing.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import transaction

OWNERS_FOLDER = "owners"


def kick(site_id: UUID | None) -> None:
    """Tell the workers of a site, once the transaction is committed, that something is due. Raises nothing.

    On one machine all of them look: one that finds nothing of its site has asked two short queries.
    """
    del site_id
    transaction.on_commit(lambda: ring(Path(settings.COLDREEL_HOME)))


def ring(home: Path) -> None:
    """Wake every worker of that home, now."""
    for path in (home / OWNERS_FOLDER).glob("*.wake"):
        with suppress(OSError):  # nobody reads, another user's, or gone in this instant
            _write(path)


def _write(path: Path) -> None:
    pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        if stat.S_ISFIFO(os.fstat(pipe).st_mode):
            os.write(pipe, b"!")  # full of calls already: the error is as good as the call
    finally:
        os.close(pipe)


def bell_path(lock_path: Path) -> Path:
    """Where the pipe of the owner with that lock file is."""
    return lock_path.with_suffix(".wake")


def hang_bell(path: Path) -> int | None:
    """Make the pipe; its descriptor is readable once somebody rang. None where the file system has no pipes.

    Opened for both ways: a pipe without a writer would be readable for ever.
    """
    try:
        os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None
