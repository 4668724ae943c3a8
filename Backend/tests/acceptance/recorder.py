"""`python -m tests.acceptance.recorder FOLDER`: writes recordings until the disk has not a byte left, and goes on.

It says `full` on standard output when it first is. With `--greedy` it takes whatever comes free, until it is killed;
otherwise it ends there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.small_disk import fill_disk


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--greedy", action="store_true")
    asked = parser.parse_args()
    fill_disk(asked.folder / "recorded-0.ts")
    print("full", flush=True)  # noqa: T201 - what the test waits for
    number = 0
    while asked.greedy:
        number += 1
        fill_disk(asked.folder / f"recorded-{number % 10}.ts")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
