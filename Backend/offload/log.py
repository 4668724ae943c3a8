"""Where the engine tells what it does: the caller's own logger, an argument like the clock."""

from __future__ import annotations

from typing import Protocol, Self


class EventLog(Protocol):
    """A structured logger; structlog's bound loggers are such. An event is a name with fields."""

    def bind(self, **fields: object) -> EventLog:
        """A logger that adds `fields` to every event."""

    def info(self, event: str, **fields: object) -> object:
        """What went as it should."""

    def warning(self, event: str, **fields: object) -> object:
        """What a person may want to know."""


class SilentLog:
    """For callers that keep no log."""

    def bind(self, **fields: object) -> Self:
        del fields
        return self

    def info(self, event: str, **fields: object) -> None:
        """Says nothing."""

    def warning(self, event: str, **fields: object) -> None:
        """Says nothing."""


SILENT = SilentLog()
