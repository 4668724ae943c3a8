"""What stops a run before it touches anything: a wrong disk, a wrong bucket, a wrong clock (F9, F16, F18)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from offload.clock import Clock
from offload.errors import FileProblem, Reason
from offload.source import MediaRoot
from offload.store import ObjectStore

LEAST_MISSING = 10
"""Fewer missing files than that stop no run: each is told by itself."""

LOCAL_SHARE = 1 / 2
REMOTE_SHARE = 1 / 10

CLOCK_SKEW_SECONDS = 300.0
"""A run stops where the bucket's clock and this machine's differ by more."""

SAMPLE_ROWS = 50
"""Objects read before the first deletion, however small the batches are."""


class RunStopped(Exception):
    """Nothing more is to be done in this run."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class MissingShare:
    """Counts what is missing among what was looked at, each thing once, by the last look at it.

    `accepted`: a person knows why.
    """

    reason: Reason
    share: float
    what: str
    accepted: bool = False
    seen: set[object] = field(default_factory=set)
    missing: set[object] = field(default_factory=set)

    def note(self, key: object, *, missing: bool) -> None:
        self.seen.add(key)
        if missing:
            self.missing.add(key)
        else:
            self.missing.discard(key)

    def check(self) -> None:
        """Raises RunStopped where too much is missing to be a chance."""
        missing = len(self.missing)
        if not self.accepted and missing >= LEAST_MISSING and missing > self.share * len(self.seen):
            raise RunStopped(self.reason, f"{missing} of {len(self.seen)} {self.what} are missing")


@dataclass(frozen=True, slots=True)
class BucketClock:
    """The bucket's time, carried on by the monotonic clock: a local clock that jumps later moves it not."""

    read: datetime
    read_monotonic: float

    def now(self, clock: Clock) -> datetime:
        return self.read + timedelta(seconds=clock.monotonic() - self.read_monotonic)


def marker_check(root: MediaRoot) -> None:
    if not root.has_marker():
        raise RunStopped(
            Reason.MEDIA_ROOT_NOT_MOUNTED, "the media root has no marker file: its disk is not mounted, or not the one"
        )


def bucket_clock(store: ObjectStore, clock: Clock, bucket: str, *, most_seconds: float) -> BucketClock:
    """Raises RunStopped where the two clocks differ by more than `most_seconds`."""
    read_monotonic = clock.monotonic()
    read = store.bucket_time(bucket)
    differ_seconds = (clock.now() - read).total_seconds()
    if abs(differ_seconds) > most_seconds:
        raise RunStopped(
            Reason.CLOCK_SKEW,
            f"this machine's clock is {abs(differ_seconds):.0f} s {'ahead of' if differ_seconds > 0 else 'behind'} "
            f"the one of the bucket {bucket}",
        )
    return BucketClock(read, read_monotonic)


def is_missing(root: MediaRoot, path: str) -> bool:
    """Whether there is nothing at all under that path. Raises RunStopped where the root itself is gone."""
    try:
        root.stat(path)
    except FileProblem as problem:
        if problem.code is Reason.MEDIA_ROOT_NOT_MOUNTED:
            raise RunStopped(problem.code, problem.detail) from problem
        return problem.code is Reason.FILE_MISSING
    return False
