"""What the services need to know of the installation's settings, as one value that their callers pass in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from offload.retry import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """What paces the work, in seconds.

    All that an upload may wait for ends sooner than `stuck_seconds`, or moves it: a request without a file after
    60 s, a stalled connection after `COLDREEL_STALL_SECONDS`, a busy database after 30 s.
    """

    poll_seconds: float
    """How long an idle worker waits before it looks for work again."""

    heartbeat_seconds: float
    """Between two renewals of the leases of a worker."""

    lease_seconds: float
    """How long a lease lasts that is not renewed."""

    margin_seconds: float
    """A running upload ends itself that long before the last confirmed end of its lease."""

    stuck_seconds: float
    """An upload that has not moved for that long loses its lease."""

    sweep_seconds: float
    """From the end of one sweep to the beginning of the next."""

    cleanup_seconds: float
    """From the end of one cleanup to the beginning of the next."""

    backoff: Backoff
    """The pauses between two tries of an upload, and of the circuit breaker's trials."""

    @property
    def job_stuck_seconds(self) -> float:
        """For a periodic job: it gives a sign only between two files, and a large file takes long to read."""
        return 12 * self.stuck_seconds

    @property
    def heartbeat_wait_seconds(self) -> float:
        """How long a renewal may wait for the database (5 s of 40): waiting longer would use up the lease."""
        return self.lease_seconds / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Made by `wiring.service_settings()`. A worker makes it once at its start, a page or a command at each call."""

    timings: Timings

    use_gcs: bool
    """Whether anything is sent to a bucket (`GCP_STORAGE_USE_GCS`)."""

    bucket: str
    """The bucket that new transfers go to; empty where none is named."""

    former_buckets: tuple[str, ...]
    """Buckets that earlier transfers went to, and whose objects are still trusted."""

    storage_class: str
    """The class of new objects; empty for the bucket's own default."""

    cleanup_local: bool
    """Whether local files are deleted at all (`GCP_STORAGE_CLEANUP_LOCAL`)."""

    waiting_period: timedelta
    """Between an upload's verification and the deletion of the local file."""

    quarantine: timedelta
    """How long a file stays in the trash folder before it is deleted; zero for not at all."""

    cleanup_batch_size: int
    """How many files' objects are read back from the bucket together."""

    cleanup_max_retries: int
    """After how many failures a file's cleanup is marked for a person and tried once a day."""

    retry_limit: int
    """An upload fails for good after so many failures in a row, if they also lasted `retry_at_least`."""

    retry_at_least: timedelta
    """How long an upload that fails again and again is tried at least."""

    @property
    def is_configured(self) -> bool:
        """Whether there is a bucket to send anything to."""
        return self.use_gcs and bool(self.bucket)

    @property
    def trusted_buckets(self) -> frozenset[str]:
        """The buckets whose objects count as copies: the present one and the former ones."""
        return frozenset({self.bucket, *self.former_buckets} - {""})
