"""`python -m tests.everything [pytest arguments]`: the suite on SQLite, then its database part on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys


def main(arguments: list[str]) -> int:
    suite = subprocess.call([sys.executable, "-m", "pytest", *arguments])
    if arguments:
        return suite
    postgres = subprocess.call([sys.executable, "-m", "tests.run_on_postgres"])
    return suite or postgres


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
