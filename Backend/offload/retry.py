"""Attempt → delay: exponential, jittered, bounded."""

from __future__ import annotations

from collections.abc import Callable

LONGEST_WAIT_SECONDS = 3600.0
"""More than that is not granted to a ``Retry-After``: a bad answer must not stop a transfer for days."""


def delay_seconds(
    failures: int,
    *,
    base_seconds: float,
    cap_seconds: float,
    random: Callable[[], float],
    retry_after_seconds: float | None = None,
) -> float:
    """How long to wait after the `failures`-th failure in a row (1 is the first).

    Between half and all of ``base * 2**(failures - 1)``, at most `cap_seconds`, so that many transfers
    that failed together do not come back together; never less than the bucket asked for.
    """
    doublings = min(max(failures, 1) - 1, 30)
    longest = min(cap_seconds, base_seconds * (1 << doublings))
    jittered = longest * (0.5 + random() / 2)
    return max(jittered, min(retry_after_seconds or 0.0, LONGEST_WAIT_SECONDS))
