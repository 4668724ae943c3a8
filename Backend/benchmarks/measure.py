"""Runs one process under `timed` (timed/timed.cpp) and leaves none of its children behind."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MOST_SECONDS = 900
"""Reached only by a client that hangs."""
HUNG = 124


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process cost. `status` is its exit status, or 128 + the number of the signal that ended it."""

    status: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    last_words: str


def measure(timed: Path, command: Sequence[str], *, environment: Mapping[str, str]) -> Cost:
    with tempfile.TemporaryDirectory(prefix="coldreel-bench-") as folder:
        report, output = Path(folder, "report"), Path(folder, "output")
        with output.open("wb") as out:
            # Timed by a small program: measured from here, the client's peak would include this process's memory.
            words = [str(timed), str(report), *command]
            with running(words, environment=environment, output=out) as process:
                try:
                    process.wait(MOST_SECONDS)
                except subprocess.TimeoutExpired:
                    return Cost(HUNG, MOST_SECONDS, 0.0, 0, f"hung for {MOST_SECONDS} s")
        words_said = output.read_text(errors="replace").strip().replace("\n", " ")[-300:]
        status, wall_ns, user_us, system_us, peak_kib = (int(word) for word in report.read_text().split())
    return Cost(status, wall_ns / 1e9, (user_us + system_us) / 1e6, peak_kib * 1024, words_said)


@contextmanager
def running(
    command: Sequence[str], *, environment: Mapping[str, str], output: int | object, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in a session of its own; every process of that session is killed at the end of the block."""
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
