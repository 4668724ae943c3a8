"""What an import found: counts, and what was refused and why."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from offload.errors import FileProblem, Reason

EXAMPLES = 20
"""Refused files told one by one, for each reason. A folder may hold a hundred thousand of them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    path: str
    detail: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """A recording whose file another one took the place of before it was uploaded: its content is gone."""

    path: str
    recording_id: UUID


class TimeFrom(StrEnum):
    """What told when a recording began."""

    NAME = "name"
    FILE = "file"  # the creation time in the container
    LAST_WRITE = "last write"  # less the duration


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a file that is registered, or would be: `local` is aware, by the clock of its site."""

    path: str
    site: str
    camera: str
    local: datetime
    utc: datetime
    time_from: TimeFrom


LATER = frozenset({Reason.FILE_NOT_SETTLED, Reason.FILE_MISSING})
"""What a live recorder does to a file that the next run takes, or finds gone, is no refusal."""


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
        """Every file was taken, known, left for later or passed over by its type, with the time that its name has."""
        return not self.refused_count and not self.time_unread

    def refuse(self, path: str, problem: FileProblem) -> None:
        """Or leave it for later, where the next run may take it."""
        if problem.code in LATER:
            self.later += 1
            return
        self.refused[problem.code] += 1
        kept = self.refusals.setdefault(problem.code, [])
        if self._keeps_more_than(len(kept)):
            kept.append(Refusal(shown(path), shown(problem.detail)))

    def not_read(self, path: str, seen: str) -> None:
        self.time_unread += 1
        if self._keeps_more_than(len(self.time_unread_examples)):
            self.time_unread_examples.append(Refusal(shown(path), f"{shown(seen)!r} looks like a time"))

    def replace(self, path: str, recording_id: UUID) -> None:
        self.replaced += 1
        if self._keeps_more_than(len(self.replacements)):
            self.replacements.append(Replacement(shown(path), recording_id))

    def _keeps_more_than(self, count: int) -> bool:
        return self.examples_per_reason is None or count < self.examples_per_reason


def shown(text: str) -> str:
    """Text of a file's name for people: one line, valid UTF-8, nothing that a terminal obeys."""
    readable = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in readable)
