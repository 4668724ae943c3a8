"""CPU time and memory of running processes, read from /proc (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_session(leader: int) -> float:
    """User and system time of every live process of the session, and of the children that they waited for."""
    ticks = 0
    for fields in _processes():
        if int(fields[3]) == leader:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS_A_SECOND


def peak_bytes(pid: int) -> int:
    """The most memory that the process ever had resident."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def _processes() -> Iterator[list[str]]:
    """The fields of proc(5)'s `stat` after the name: 0 state, 3 session, 11 utime, 12 stime, 13 cutime, 14 cstime."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue  # the process has ended meanwhile
        yield text.rpartition(")")[2].split()
