"""`python -m tests.run_on_postgres [pytest arguments]`: the tests that meet the database, on PostgreSQL.

A cluster of its own is started and stopped; the exit status is pytest's. Without PostgreSQL's server
package one line says so and the exit status is 0.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.postgres import ServerMissing, ThrowawayPostgres
from tests.run_all import processes

PARTS = ("db", "work", "cleanup", "api", "admin")
"""Folders of tests/integration whose promises rest on the database. A browser sees nothing of which it is."""


def main(arguments: list[str]) -> int:
    folders = [str(Path(__file__).parent / "integration" / part) for part in PARTS]
    chosen = arguments or ["-n", str(processes()), "-q", "-m", "not browser", *folders]
    try:
        cluster = ThrowawayPostgres()
    except ServerMissing as missing:
        print(f"skipped: {missing}")  # noqa: T201 - a program for people
        return 0
    with cluster:
        environment = {**os.environ, "DATABASE_URL": cluster.url}
        return subprocess.call([sys.executable, "-m", "pytest", *chosen], env=environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
