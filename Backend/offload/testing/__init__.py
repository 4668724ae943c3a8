"""A bucket, a journal and a clock in memory, with faults on demand: for tests only.

| module | has |
|---|---|
| `memory_store` | `MemoryStore`: a bucket; it passes the same contract suite as the real one |
| `memory_journal` | `MemoryJournal`: what an upload made durable |
| `clock` | `FakeClock`: it moves when told to |
| `faults` | `Fault`, `Call`: what goes wrong in which call of a `MemoryStore`, and what was called |
"""

from __future__ import annotations

from offload.testing.clock import FakeClock
from offload.testing.faults import Call, Fault
from offload.testing.memory_journal import MemoryJournal
from offload.testing.memory_store import SESSION_LIFETIME, MemoryStore

__all__ = ["SESSION_LIFETIME", "Call", "FakeClock", "Fault", "MemoryJournal", "MemoryStore"]
