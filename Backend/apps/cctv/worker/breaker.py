"""The circuit breaker: while no upload gets through to the bucket, one at a time is allowed as a trial."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

from offload.clock import Clock
from offload.retry import Backoff


class CircuitBreaker:
    """Tripped by an error that is not one file's: no line, no permission, no disk.

    Without it, a backlog of 100,000 transfers would be claimed and put back all through an outage. It is for the
    dispatcher's thread and those of the uploads.
    """

    def __init__(self, clock: Clock, backoff: Backoff, random: Callable[[], float], *, tripped: bool) -> None:
        self._clock = clock
        self._backoff = backoff
        self._random = random
        self._lock = threading.Lock()
        self._tripped = tripped
        self._failures = 0
        self._next_try_at = clock.monotonic()
        self._trying: UUID | None = None

    def room(self, free: int) -> int:
        """How many uploads may be claimed for `free` places: one at a time while it is tripped, after a pause."""
        with self._lock:
            if not self._tripped:
                return free
            may_try = self._trying is None and self._clock.monotonic() >= self._next_try_at
            return min(free, 1) if may_try else 0

    def claimed(self, transfer_id: UUID) -> None:
        """That upload was claimed. While the breaker is tripped it is the trial."""
        with self._lock:
            if self._tripped:
                self._trying = transfer_id

    def ended(self, transfer_id: UUID) -> None:
        """That upload has ended, whether it got through or not. The next trial may begin."""
        with self._lock:
            if self._trying == transfer_id:
                self._trying = None

    def trip(self, transfer_id: UUID) -> None:
        """That upload did not get through. Others that fail beside it do not make the pause longer."""
        with self._lock:
            # Uploads that began before it tripped say nothing new: only the trial's failure makes the pause longer.
            if self._tripped and self._trying != transfer_id:
                return
            self._tripped = True
            self._failures += 1
            self._next_try_at = self._clock.monotonic() + self._backoff.delay_seconds(
                self._failures, random=self._random
            )

    def reset(self) -> bool:
        """The bucket took bytes: everything may be claimed again. True where it was tripped."""
        with self._lock:
            was_tripped, self._tripped, self._failures = self._tripped, False, 0
            return was_tripped
