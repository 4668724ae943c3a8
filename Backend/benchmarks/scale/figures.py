"""What a run finds, apart from Django: the parent process has no database."""

from __future__ import annotations

from dataclasses import dataclass, field

FEWEST = 4_000
"""Recordings of the smallest database: with fewer the kinds of rows overlap."""

INSTALLATION = "11111111-2222-4333-8444-555555555555"


@dataclass(frozen=True, slots=True)
class Answer:
    name: str
    target_ms: float
    p50_ms: float
    p95_ms: float
    queries: int


@dataclass(slots=True)
class Measured:
    """What one database answered; `bytes_a_recording` by table and index."""

    recordings: int
    fill_seconds: float
    answers: list[Answer] = field(default_factory=list)
    bytes_a_recording: dict[str, float] = field(default_factory=dict)
