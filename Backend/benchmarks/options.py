"""The arguments of `make bench ARGS=…`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.data import DATASETS
from benchmarks.sink import LINES, PLAIN, TLS

MEMORY, CUT = "memory", "cut"
SECTIONS = (*LINES, MEMORY, CUT)
DATA = tuple(dataset.name for dataset in DATASETS)
CLIENT_WORDS = ("floor", "engine", "application", "obstore", "rclone", "transfer_manager", "gcsfs")
RUNS = 5
QUICK_RUNS = 1
QUICK_ABSENT = ("rclone tuned, checksum on", "transfer_manager", "gcsfs", "PostgreSQL")
"""Clients too slow for the races of --quick; parts of their names."""


@dataclass(frozen=True, slots=True)
class Options:
    """`words` are those of --only; an empty set means everything."""

    quick: bool
    runs: int
    words: frozenset[str]
    write: bool

    def wants(self, section: str) -> bool:
        asked = self.words & set(SECTIONS)
        if not asked and self.words & set(DATA):
            return section in {PLAIN, TLS}
        return not asked or section in asked

    def wants_data(self, dataset: str) -> bool:
        asked = self.words & set(DATA)
        return not asked or dataset in asked

    def wants_client(self, name: str) -> bool:
        if self.quick and not self.words & set(CLIENT_WORDS):
            return not any(left_out in name for left_out in QUICK_ABSENT)
        return self.wants_in_cut(name)

    def wants_in_cut(self, name: str) -> bool:
        asked = self.words & set(CLIENT_WORDS)
        return not asked or any(word in name for word in asked)


def parse(arguments: Sequence[str]) -> Options:
    """Parse; an invalid argument ends the program with status 2 and one line."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description="Coldreel and its peers, side by side.")
    parser.add_argument("--quick", action="store_true", help="small data, one run, fewer clients: within two minutes")
    parser.add_argument("--runs", type=int, default=0, help=f"runs of each client ({RUNS}; {QUICK_RUNS} with --quick)")
    parser.add_argument("--only", action="append", default=[], help=f"words, by commas: {', '.join(_known())}")
    parser.add_argument("--write", action="store_true", help="write the results to docs/BENCHMARKS.md")
    found = parser.parse_args(arguments)
    words = frozenset(word.strip() for word in ",".join(found.only).split(",") if word.strip())
    if unknown := sorted(words - set(_known())):
        parser.error(f"--only: {', '.join(unknown)}: not known. Choose from: {', '.join(_known())}.")
    if found.runs < 0:
        parser.error("--runs: expected a whole number from 1.")
    if found.write and (found.quick or words):
        parser.error("--write records a whole run only: leave out --quick and --only.")
    return Options(found.quick, found.runs or (QUICK_RUNS if found.quick else RUNS), words, found.write)


def _known() -> list[str]:
    return [*SECTIONS, *DATA, *CLIENT_WORDS]
