"""The emulator's wall clock, which a test may set wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import formatdate


class EmulatorClock:
    """Wall time plus `offset_seconds`. Dates, generations, expiry of sessions and retention use it."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset_seconds

    def http_date(self) -> str:
        return formatdate(self.now(), usegmt=True)


def rfc3339(seconds: float) -> str:
    """The form of object resources: UTC, milliseconds, ``Z``."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
