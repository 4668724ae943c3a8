"""`python -m tests.run_all [pytest arguments]`: the suite on SQLite, then its database part on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys


def processes() -> int:
    """One more than there are cores, four at most: a third of the time is spent waiting for processes that tests start."""
    return min(4, (os.cpu_count() or 1) + 1)


def main(arguments: list[str]) -> int:
    chosen = arguments or ["-q", "-n", str(processes()), "--dist", "worksteal"]
    suite = subprocess.call([sys.executable, "-m", "pytest", *chosen])
    if arguments:
        return suite
    postgres = subprocess.call([sys.executable, "-m", "tests.run_on_postgres"])
    return suite or postgres


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
