"""Runs a management command on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BACKEND = Path(__file__).resolve().parents[1]


def manage_on_terminal(environment: Mapping[str, str], *arguments: str) -> tuple[int, bytes, bytes]:
    """Run `manage.py` with a terminal for standard input and output; its status, what it showed, and its errors."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=BACKEND,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    shown = b""
    while piece := _read(master):
        shown += piece
    _, errors = process.communicate(timeout=60)
    os.close(master)
    return process.returncode, shown, errors


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux answers so once the other end is closed (EIO)
        return b""
