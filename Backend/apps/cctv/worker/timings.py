"""What paces a worker; `wiring` reads it from the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds. A running upload ends itself `margin_seconds` before the last confirmed end of its lease.

    One that has not moved for `stuck_seconds` loses its lease. All that it waits for by rights ends sooner or moves
    it: a request without a file after 60 s, a stalled line after COLDREEL_STALL_SECONDS, a busy database after 30 s.
    """

    poll_seconds: float = 1.0
    heartbeat_seconds: float = 10.0
    lease_seconds: float = 40.0
    margin_seconds: float = 10.0
    sweep_seconds: float = 15.0
    cleanup_seconds: float = 3600.0
    retry_base_seconds: float = 2.0
    retry_cap_seconds: float = 45.0
    stuck_seconds: float = 300.0

    @property
    def job_stuck_seconds(self) -> float:
        """For a periodic job, which gives a sign between two files; one file of an hour's reading is no stuck job."""
        return 12 * self.stuck_seconds

    @property
    def heartbeat_wait_seconds(self) -> float:
        """How long a renewal may wait for the database (5 s of 40): waiting longer would use up the lease."""
        return self.lease_seconds / 8
