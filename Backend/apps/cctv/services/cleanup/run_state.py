"""What every step of one run shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from apps.cctv.leasing.leases import lease_clock
from apps.cctv.services.cleanup.due_rows import DueRow
from apps.cctv.services.cleanup.guards import CLOCK_SKEW_SECONDS, BucketClock, MissingShare, bucket_clock
from apps.cctv.services.cleanup.proof import Proofs
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.alarms import Subject
from offload.clock import Clock
from offload.errors import LineDown, OffloadError, Reason
from offload.source import MediaRoot
from offload.store import ObjectStore
from offload.trash import Trash


@dataclass(slots=True)
class Run:
    """`installation` is this one's id, `line` what the guards looked at.

    `refusing` are buckets that refuse as a whole: their files are left, and the run ends with the error.
    `failure` is set where nothing answers at all, which ends the run at once. `answered` names an object of a
    bucket that was answered for when another was refused.
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
    line: list[DueRow] = field(default_factory=list)
    refusing: dict[str, OffloadError] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    failure: OffloadError | None = None

    def refuse(self, bucket: str, error: OffloadError) -> None:
        """The whole bucket refuses, or (LineDown) nothing answers."""
        self.refusing[bucket] = error
        if isinstance(error, LineDown):
            self.failure = error

    def now(self) -> datetime:
        """The moment that leases are measured by: the database's clock on PostgreSQL."""
        return lease_clock(self.clock.now())

    def may_judge(self, bucket: str, installation: str) -> bool:
        """Whether objects of that bucket and installation are this run's business."""
        return bucket in self.settings.trusted_buckets and installation == self.installation

    def bucket_now(self, bucket: str) -> datetime:
        """Raises RunStopped where the bucket's clock and this machine's differ too much, or the bucket's errors."""
        if bucket not in self.bucket_clocks:
            self.bucket_clocks[bucket] = bucket_clock(self.store, self.clock, bucket, most_seconds=CLOCK_SKEW_SECONDS)
        return self.bucket_clocks[bucket].now(self.clock)
