"""How long to wait before the next try: exponential backoff with jitter.

The form that Google asks of clients of Cloud Storage: https://cloud.google.com/storage/docs/retry-strategy
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LONGEST_WAIT_SECONDS = 3600.0
"""More than that is not granted to a ``Retry-After``: a wrong response must not stop a transfer for days."""
LONGEST_RECONNECT_SECONDS = 8.0
"""An attempt that waits keeps its lease and its place among the uploads; after that, another file gets both."""
MOST_DOUBLINGS = 30
"""Any base has reached its cap by then, and the shift stays a small number after a year of failures."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from `base_seconds` to `cap_seconds` while failures follow each other."""

    base_seconds: float
    cap_seconds: float

    def delay_seconds(
        self, failures: int, *, random: Callable[[], float], retry_after_seconds: float | None = None
    ) -> float:
        """How long to wait after the `failures`-th failure in a row (1 is the first).

        Between half and all of ``base * 2**(failures - 1)``, at most the cap, so that many transfers
        that failed together do not come back together; never less than the bucket asked for.
        """
        # Without the jitter, all transfers of an outage would come back in the same second, and fail again.
        doublings = min(max(failures, 1) - 1, MOST_DOUBLINGS)
        longest = min(self.cap_seconds, self.base_seconds * (1 << doublings))
        jittered = longest * (0.5 + random() / 2)
        return max(jittered, min(retry_after_seconds or 0.0, LONGEST_WAIT_SECONDS))

    def between_reconnects(self) -> Backoff:
        """The backoff of one attempt's own few tries: half the base, and a cap that fits into a lease."""
        return Backoff(self.base_seconds / 2, min(LONGEST_RECONNECT_SECONDS, self.cap_seconds))
