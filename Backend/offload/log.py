"""The logger that the engine writes to: the caller's own, an argument like the clock."""

from __future__ import annotations

from typing import Protocol, Self


class EventLog(Protocol):
    """A structured logger, for example one of structlog. An event is a name with fields."""

    def bind(self, **fields: object) -> EventLog:
        """A logger that adds `fields` to every event."""

    def info(self, event: str, **fields: object) -> object:
        """An event of the usual course."""

    def warning(self, event: str, **fields: object) -> object:
        """An event that a person may have to look at."""


class SilentLog:
    """For callers that keep no log."""

    def bind(self, **fields: object) -> Self:
        del fields
        return self

    def info(self, event: str, **fields: object) -> None:
        """Writes nothing."""

    def warning(self, event: str, **fields: object) -> None:
        """Writes nothing."""


SILENT = SilentLog()
