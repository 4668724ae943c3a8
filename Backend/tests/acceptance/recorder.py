"""`python -m tests.acceptance.recorder FOLDER`: writes recordings until the disk has no byte left.

It then prints `full` and ends; with `--greedy` it goes on and takes all space that becomes free, until it is killed.
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
