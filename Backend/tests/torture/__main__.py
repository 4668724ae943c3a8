"""`make torture`: hours of attempts to break Coldreel, outside CI; `--write` records how they ended in `docs/TORTURE.md`.

Every part is a program of its own with an exit status; one that fails does not stop the others.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

BACKEND = Path(__file__).resolve().parents[2]
DOCUMENT = BACKEND / "docs" / "TORTURE.md"
LINES_KEPT = 6


@dataclass(frozen=True, slots=True)
class Part:
    """A long run. `says` is what it shows when it ends with 0."""

    name: str
    says: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


PARTS = (
    Part("promises", "every promise, broken by one line, makes its test fail", ("-m", "tests.promises")),
    Part("mutants", "300 mechanical changes of the guards are noticed or explained", ("-m", "tests.torture.mutants")),
    Part(
        "kills",
        "five minutes of random SIGKILL, SIGTERM, SIGSTOP and a dying bucket at a twentieth of the timings",
        ("-m", "pytest", "-q", "tests/acceptance/test_chaos.py"),
        (("COLDREEL_CHAOS_SECONDS", "300"),),
    ),
    Part(
        "soak",
        "half an hour of faults at the default timings, the disk filled to the last byte twice",
        ("-m", "benchmarks.soak", "--seconds", "1800", "--fill-disk", "2"),
    ),
    Part(
        "floods",
        "slow, idle, huge and guessing clients do not stop the others",
        ("-m", "pytest", "-q", "tests/acceptance/test_web_server.py", "tests/acceptance/test_login_flood.py"),
    ),
)


@dataclass(frozen=True, slots=True)
class Ending:
    part: Part
    status: int
    seconds: float
    last_lines: Sequence[str]

    def text(self) -> str:
        told = "\n".join(f"    {line}" for line in self.last_lines)
        word = "passed" if self.status == 0 else f"FAILED with {self.status}"
        return f"## {self.part.name}: {word}\n\nShows: {self.part.says}. {self.seconds / 60:.0f} minutes.\n\n{told}\n"


def run(part: Part) -> Ending:
    """Run it to its end; what it prints is shown as it comes."""
    begun = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, *part.command],
        cwd=BACKEND,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **dict(part.environment)},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines = [*lines, line.rstrip()][-LINES_KEPT:]
    return Ending(part, process.returncode, time.monotonic() - begun, lines)


def document(endings: Sequence[Ending]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=BACKEND, capture_output=True, text=True, check=False
    ).stdout.strip()
    head = (
        "# Long runs that try to break Coldreel\n\n"
        "Made by `make torture ARGS=--write`; too long for CI.\n\n"
        f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC, commit {commit}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}.\n"
    )
    return "\n".join([head, *(ending.text() for ending in endings)])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--only", action="append", choices=[part.name for part in PARTS], help="one part (repeatable)")
    parser.add_argument("--write", action="store_true", help=f"record the endings in docs/{DOCUMENT.name}")
    asked = parser.parse_args(arguments)
    endings = [run(part) for part in PARTS if not asked.only or part.name in asked.only]
    for ending in endings:
        sys.stdout.write(f"{ending.part.name}: {'passed' if ending.status == 0 else 'FAILED'}\n")
    if asked.write:
        DOCUMENT.write_text(document(endings), encoding="utf-8")
    return 1 if any(ending.status for ending in endings) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
