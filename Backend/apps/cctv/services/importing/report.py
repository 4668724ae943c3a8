"""The report of an import: counts, and which files were refused and why."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from offload.errors import FileProblem, Reason

EXAMPLES = 20
"""How many refused files are kept for each reason: a folder may hold a hundred thousand of them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    path: str
    detail: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """A recording that was not uploaded before another file took the place of its own: its content is lost."""

    path: str
    recording_id: UUID


class TimeFrom(StrEnum):
    """What told when a recording began."""

    NAME = "name"
    FILE = "file"  # the creation time in the container
    LAST_WRITE = "last write"  # less the duration


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a new file. `local` and `utc` are the same moment, aware, in the zone of the site and in UTC."""

    path: str
    site: str
    camera: str
    local: datetime
    utc: datetime
    time_from: TimeFrom


LATER = frozenset({Reason.FILE_NOT_SETTLED, Reason.FILE_MISSING})
"""No refusals: a recorder still writes the file, or took it away, and the next import sees it again or not."""


@dataclass(slots=True)
class ImportReport:
    """Counts of files. `known` were registered before; `registered` are new ones, or would be in a dry run.

    `later` are still written to; `passed_over`, by the ending of their names, are what recorders keep beside their
    videos. `time_unread` were registered by the file's own time although the name seems to hold one.
    `examples_per_reason` None keeps every refusal and replacement.
    """

    dry_run: bool = False
    examples_per_reason: int | None = EXAMPLES
    looked_at: int = 0
    registered: int = 0
    registered_bytes: int = 0
    known: int = 0
    later: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    time_unread: int = 0
    time_unread_examples: list[Refusal] = field(default_factory=list)
    refused: Counter[Reason] = field(default_factory=Counter)
    refusals: dict[Reason, list[Refusal]] = field(default_factory=dict)
    replaced: int = 0
    replacements: list[Replacement] = field(default_factory=list)
    cameras_created: list[str] = field(default_factory=list)

    @property
    def refused_count(self) -> int:
        return self.refused.total()

    @property
    def is_whole(self) -> bool:
        """Whether no file was refused, and no name held a time that was not read."""
        return not self.refused_count and not self.time_unread

    def note_problem(self, path: str, problem: FileProblem) -> None:
        """Count a refused file, or one for a later import where its problem is one of `LATER`."""
        if problem.code in LATER:
            self.later += 1
            return
        self.refused[problem.code] += 1
        kept = self.refusals.setdefault(problem.code, [])
        if self._keeps_more_than(len(kept)):
            kept.append(Refusal(shown(path), shown(problem.detail)))

    def note_unread_time(self, path: str, seen: str) -> None:
        """Count a file whose name holds `seen`, which looks like a time and was not read."""
        self.time_unread += 1
        if self._keeps_more_than(len(self.time_unread_examples)):
            self.time_unread_examples.append(Refusal(shown(path), f"{shown(seen)!r} looks like a time"))

    def note_replaced(self, path: str, recording_id: UUID) -> None:
        """Count a recording whose file another one took the place of."""
        self.replaced += 1
        if self._keeps_more_than(len(self.replacements)):
            self.replacements.append(Replacement(shown(path), recording_id))

    def _keeps_more_than(self, count: int) -> bool:
        return self.examples_per_reason is None or count < self.examples_per_reason


def shown(text: str) -> str:
    """The text of a file name for people: one line of valid UTF-8, with escapes for what controls a terminal."""
    readable = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in readable)
