"""What an upload makes durable while it runs, and when: a contract, which the application fulfils with its database.

An upload goes on only after its note was committed. After a kill, the next process starts from these notes (P3).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from offload.source import SourceIdentity
from offload.store import ObjectInfo


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it was committed before its first byte. `repr` hides the URI (P10)."""

    uri: str
    started_at: datetime
    identity: SourceIdentity
    """The file that the session was started for; another file never continues it."""

    def __repr__(self) -> str:
        return f"StoredSession(started_at={self.started_at.isoformat()})"


class WhyOrphaned(StrEnum):
    """Why an object of ours stays in the bucket though no transfer counts it as its own."""

    FILE_CHANGED = "file_changed"
    """Its bytes were compared and found right; then the file changed. It may be the last copy of the recording."""
    EARLIER_CONTENT = "earlier_content"
    """It lay under the name already, written for this transfer, and the file has other bytes now."""
    WRONG_BYTES = "wrong_bytes"
    """Its bytes are not those that were sent, and it could not be deleted."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """An object that stays where it is, and why."""

    info: ObjectInfo
    why: WhyOrphaned


class Journal(Protocol):
    """Each method commits before it returns.

    It raises `LeaseLost`, and changes nothing, where the lease of the transfer is not the caller's any more (P6).
    """

    def session_started(self, session: StoredSession) -> None:
        """A session begins. Called before its first byte is sent: without its URI nothing could continue it."""

    def session_dropped(self) -> None:
        """The session is not used again: it has ended, or it is gone or refused."""

    def name_changed(self, name_version: int, name: str, orphan: Orphan | None) -> None:
        """The object will be written under `name` from now on.

        `orphan` is what lies under the former name, made durable in the same commit; None where that is not ours.
        """

    def progress(self, bytes_confirmed: int) -> None:
        """The bucket has confirmed so many bytes of the session; called every few seconds at most."""
