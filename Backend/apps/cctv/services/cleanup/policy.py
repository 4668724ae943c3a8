"""The settings of a cleanup, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings


@dataclass(frozen=True, slots=True)
class CleanupPolicy:
    """`buckets` are the ones still trusted. `proof_seconds`: how long a read of the bucket proves anything (P1)."""

    enabled: bool
    buckets: frozenset[str]
    delay: timedelta
    quarantine: timedelta
    batch_size: int
    max_retries: int
    lease_seconds: float
    proof_seconds: float = 60
    clock_skew_seconds: float = 300

    @classmethod
    def from_settings(cls) -> CleanupPolicy:
        return cls(
            enabled=settings.GCP_STORAGE_CLEANUP_LOCAL,
            buckets=frozenset({settings.GCP_STORAGE_BUCKET_NAME, *settings.GCP_STORAGE_FORMER_BUCKETS} - {""}),
            delay=timedelta(hours=settings.GCP_CLEANUP_DELAY_HOURS),
            quarantine=timedelta(hours=settings.GCP_CLEANUP_QUARANTINE_HOURS),
            batch_size=settings.GCP_CLEANUP_BATCH_SIZE,
            max_retries=settings.GCP_CLEANUP_MAX_RETRIES,
            lease_seconds=settings.COLDREEL_LEASE_SECONDS,
        )
