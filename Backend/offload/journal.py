"""Journal: what an upload makes durable while it runs, and when.

Every method commits before it returns and raises `LeaseLost` without changing anything where the
caller's lease is no longer the row's (P6).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from offload.source import SourceIdentity


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it was committed before its first byte. `repr` hides the URI (P10)."""

    uri: str
    started_at: datetime
    identity: SourceIdentity
    """The file that the session was started for; another file never continues it."""

    def __repr__(self) -> str:
        return f"StoredSession(started_at={self.started_at.isoformat()})"


class Journal(Protocol):
    def session_started(self, session: StoredSession) -> None:
        """Called before the first byte is sent."""

    def session_dropped(self) -> None:
        """The session is of no more use (finished, gone, refused)."""

    def name_taken(self, take: int, name: str) -> None:
        """The object will be written under `name` from now on (an orphan lies under the former one)."""

    def progress(self, bytes_confirmed: int) -> None:
        """What the bucket has confirmed so far; called every few seconds at most."""
