"""What one run knows: what it works with, what it has found so far, and the counts and clocks that can stop it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from apps.cctv.services.cleanup.due_rows import DueRow
from apps.cctv.services.cleanup.proof import Proofs
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.alarms import Subject
from offload.clock import Clock
from offload.errors import LineDown, OffloadError, Reason
from offload.source import MediaRoot
from offload.store import ObjectStore
from offload.trash import Trash

LEAST_MISSING = 10
"""With fewer missing files or objects no run is stopped: each of them is reported by itself."""


class RunStopped(Exception):
    """The run must not go on: a guard found the wrong disk, bucket or clock."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class MissingShare:
    """Counts what is missing among what was looked at, each thing once, by the last look at it.

    More than the `share` of it, and at least `LEAST_MISSING`, stops the run, except where a person has `accepted` it.
    `what` names the things in the message.
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

    def note_and_check(self, key: object, *, missing: bool) -> None:
        """Raises RunStopped, as `check` does."""
        self.note(key, missing=missing)
        self.check()

    def check(self) -> None:
        """Raises RunStopped where too much is missing to be a coincidence."""
        missing = len(self.missing)
        if not self.accepted and missing >= LEAST_MISSING and missing > self.share * len(self.seen):
            raise RunStopped(self.reason, f"{missing} of {len(self.seen)} {self.what} are missing")


@dataclass(frozen=True, slots=True)
class BucketClock:
    """The bucket's time as it was read, carried on by the monotonic clock: setting the local clock does not move it."""

    read: datetime
    read_monotonic: float

    def now(self, clock: Clock) -> datetime:
        return self.read + timedelta(seconds=clock.monotonic() - self.read_monotonic)


@dataclass(slots=True)
class Run:
    """`installation` is this one's id, `queue` every row that the guards looked at, oldest first.

    `refusing` are buckets that refuse as a whole: their files are left, and the run ends with the error.
    `failure` is set where no bucket can be reached, which ends the run at once. `answered` names an object of a
    bucket that was answered for when another object was refused.
    """

    store: ObjectStore
    root: MediaRoot
    trash: Trash
    clock: Clock
    settings: ServiceSettings
    proofs: Proofs
    owner_id: UUID
    actor: str
    dry_run: bool
    force: bool
    random: Callable[[], float]
    missing_locally: MissingShare
    missing_remotely: MissingShare
    installation: str = ""
    bucket_clocks: dict[str, BucketClock] = field(default_factory=dict)
    alarms: dict[tuple[Reason, Subject], str] = field(default_factory=dict)
    queue: list[DueRow] = field(default_factory=list)
    refusing: dict[str, OffloadError] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    failure: OffloadError | None = None

    def refuse(self, bucket: str, error: OffloadError) -> None:
        """Leave the files of a bucket that refuses as a whole; with LineDown, those of every bucket."""
        self.refusing[bucket] = error
        if isinstance(error, LineDown):
            self.failure = error

    def reachable(self, rows: list[DueRow]) -> list[DueRow]:
        """Those whose bucket does not refuse as a whole."""
        return [row for row in rows if row.bucket not in self.refusing]
