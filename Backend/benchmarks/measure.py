"""One whole process: wall time, CPU time and peak memory by the operating system's own accounting."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """`cpu_seconds` is user and system of the process and of its children that it waited for;
    `peak_bytes` is the resident size of the largest of them.
    """

    status: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    last_words: str


def measure(command: Sequence[str], *, environment: Mapping[str, str]) -> Run:
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=dict(environment))
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(max(0, output.tell() - 500))
        words = output.read().decode(errors="replace").strip().replace("\n", " ")[-300:]
    return Run(process.returncode, wall_seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, words)
