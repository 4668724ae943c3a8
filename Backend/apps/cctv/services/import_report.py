"""What an import found: counts, and what was refused and why."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class ImportReport:
    """Counts of files. `known` were registered before; `registered` are new ones, or would be in a dry run.

    `examples_per_reason` None keeps every refusal and replacement.
    """

    dry_run: bool = False
    examples_per_reason: int | None = EXAMPLES
    looked_at: int = 0
    registered: int = 0
    registered_bytes: int = 0
    known: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)
    refusals: dict[Reason, list[Refusal]] = field(default_factory=dict)
    replaced: int = 0
    replacements: list[Replacement] = field(default_factory=list)
    cameras_created: list[str] = field(default_factory=list)

    @property
    def refused_count(self) -> int:
        return self.refused.total()

    def refuse(self, path: str, problem: FileProblem) -> None:
        self.refused[problem.code] += 1
        kept = self.refusals.setdefault(problem.code, [])
        if self._keeps_more_than(len(kept)):
            kept.append(Refusal(shown(path), shown(problem.detail)))

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
