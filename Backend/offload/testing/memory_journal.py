"""A journal in memory."""

from __future__ import annotations

import threading

from offload.errors import LeaseLost
from offload.journal import Orphan, StoredSession


class MemoryJournal:
    """What an upload made durable. `lose_lease` makes every later call raise LeaseLost."""

    def __init__(self, session: StoredSession | None = None, *, name_version: int = 0) -> None:
        self.session = session
        self.name_version = name_version
        self.names: list[str] = []
        self.orphans: list[Orphan] = []
        self.progressed: list[int] = []
        self.events: list[str] = []
        """The calls in their order: ``session_started``, ``session_dropped``, ``name_changed``, ``progress``."""
        self._calls_left: int | None = None
        self._lock = threading.Lock()

    def lose_lease(self, *, after_calls: int = 0) -> None:
        """Another worker has the lease, after so many more calls."""
        self._calls_left = after_calls

    def check_lease(self) -> None:
        """An `Abort` that ends the upload as soon as the lease is lost."""
        if self._calls_left == 0:
            raise LeaseLost("the lease is another's now")

    def session_started(self, session: StoredSession) -> None:
        with self._lock:
            self._write("session_started")
            self.session = session

    def session_dropped(self) -> None:
        with self._lock:
            self._write("session_dropped")
            self.session = None

    def name_changed(self, name_version: int, name: str, orphan: Orphan | None) -> None:
        with self._lock:
            self._write("name_changed")
            self.name_version = name_version
            self.names.append(name)
            if orphan is not None:
                self.orphans.append(orphan)

    def progress(self, bytes_confirmed: int) -> None:
        with self._lock:
            self._write("progress")
            self.progressed.append(bytes_confirmed)

    def _write(self, event: str) -> None:
        self.check_lease()
        if self._calls_left is not None:
            self._calls_left -= 1
        self.events.append(event)
