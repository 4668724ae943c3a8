"""Who runs a command, for receipts and history."""

from __future__ import annotations

import getpass
import os
import socket

_MOST_LETTERS = 150  # the columns that keep an actor


def command_actor() -> str:
    """The user of the operating system, the machine, and that it was a command: `ada@nvr-1 (command)`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (command)"[:_MOST_LETTERS]
