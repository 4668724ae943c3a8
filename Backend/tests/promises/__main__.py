"""`make promises`: break each promise by a small change of the product, and see its test fail.

Every change is made in a copy of the checkout. Where a test still passes it proves nothing, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.promises import BREAKAGES

BACKEND = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make promises", description=__doc__)
    promises = sorted({breakage.promise for breakage in BREAKAGES}, key=lambda promise: int(promise[1:]))
    parser.add_argument("promise", nargs="*", help=f"only these: {', '.join(promises)} (default: all)")
    asked = parser.parse_args(arguments).promise
    if unknown := sorted(set(asked) - set(promises)):
        parser.error(f"no change breaks {', '.join(unknown)}: choose from {', '.join(promises)}")
    chosen = [breakage for breakage in BREAKAGES if not asked or breakage.promise in asked]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="coldreel-broken-") as folder:
        copy = Path(folder) / "Backend"
        shutil.copytree(BACKEND, copy, ignore=shutil.ignore_patterns("__pycache__", ".*cache", ".hypothesis"))
        for breakage in chosen:
            noticed = breakage.is_noticed(copy)
            unnoticed += not noticed
            word = "red  " if noticed else "GREEN"
            sys.stdout.write(f"{breakage.promise:4} {word} {breakage.path}: {breakage.test}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - unnoticed} of {len(chosen)} breakages were noticed\n")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
