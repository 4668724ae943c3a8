"""The rate limit that all uploads share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimit:
    """At most `mbytes_per_second` (10^6 bytes) through `spend`, over all threads; 0 is no limit."""

    def __init__(
        self,
        mbytes_per_second: float = 0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.mbytes_per_second = mbytes_per_second

    def spend(self, byte_count: int) -> None:
        """Wait until `byte_count` more bytes fit the rate."""
        if self.mbytes_per_second <= 0:
            return
        with self._lock:
            now = self._monotonic()
            start = max(now, self._free_at)
            self._free_at = start + byte_count / (self.mbytes_per_second * 1e6)
        # Outside the lock, so that other uploads can reserve their time meanwhile.
        if start > now:
            self._sleep(start - now)

    def piece_bytes(self, most: int) -> int:
        """How much to read at once: at most the bytes of a tenth of a second, so that a slow line flows evenly."""
        if self.mbytes_per_second <= 0:
            return most
        return max(4096, min(most, int(self.mbytes_per_second * 1e5)))
