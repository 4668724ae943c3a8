"""The look of a worker at the database: once a poll, after a wake-up, and when a transfer becomes due."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog

from apps.cctv.leasing.claims import BatchQueue, next_attempt_at
from apps.cctv.leasing.leases import lease_clock
from apps.cctv.leasing.recovery import correct_far_times, expire_leases, look
from apps.cctv.schema import LOOK_SECONDS, SchemaMissing, missing_migrations
from apps.cctv.worker.periodic import PeriodicJobs
from apps.cctv.worker.upload_attempt import Tools

log = structlog.get_logger("coldreel.worker")

SOON_SECONDS = 1.0


class Lookout:
    """For the dispatcher's thread. A look at a database where nothing waits is two statements."""

    def __init__(self, tools: Tools, queue: BatchQueue, jobs: PeriodicJobs | None, *, site_id: UUID | None) -> None:
        self._tools = tools
        self._queue = queue
        self._jobs = jobs
        self._site_id = site_id
        self._poll_seconds = tools.timings.poll_seconds
        self._look_at = self._looked_at = self._poll_at = self._check_at = tools.clock.monotonic()
        self._missing: list[str] = []
        self._had_to_clean_up = False

    @property
    def has_its_tables(self) -> bool:
        """Whether the database had every migration of this program when it was last checked."""
        return not self._missing

    def seconds_left(self) -> float:
        """Until the next look."""
        return self._look_at - self._tools.clock.monotonic()

    def look_now(self) -> None:
        """Let the next call of `look_if_due` look: something may have become due."""
        self._look_at = self._tools.clock.monotonic()

    def look_soon(self) -> None:
        """Let it look within a second: an upload failed, and may be tried again before the poll is over."""
        self._look_at = min(self._look_at, self._looked_at + min(self._poll_seconds, SOON_SECONDS))

    def look_if_due(self, *, has_room: bool) -> None:
        """Look if it is time, or if the disk has just become full. Raises Error.

        1. Every LOOK_SECONDS: whether the database has the migrations of this program. While it lacks one, nothing is
           claimed and no job begins.
        2. Start the periodic jobs that are due.
        3. Ask whether anything waits or is stuck, by one statement.
        4. End leases that ran out. Correct times that lie too far ahead, once a poll.
        5. Let the queue look for what is due; with `has_room` look again when the next transfer becomes due.
        """
        now = self._tools.clock.monotonic()
        had_to_clean_up, self._had_to_clean_up = self._had_to_clean_up, self._tools.cleanup_first.is_set()
        if now < self._look_at and (had_to_clean_up or not self._had_to_clean_up):
            return
        self._looked_at, next_look_at = now, now + self._poll_seconds
        if now >= self._check_at:
            self._check_tables()
            self._check_at = now + LOOK_SECONDS
        if self.has_its_tables:
            time = (self._jobs.look() if self._jobs is not None else None) or lease_clock(self._tools.clock.now())
            due_at = self._look(time, is_poll=now >= self._poll_at, has_room=has_room)
            if now >= self._poll_at:
                self._poll_at = next_look_at
            if due_at is not None:
                next_look_at = min(next_look_at, now + (due_at - time).total_seconds())
        self._look_at = next_look_at

    def _look(self, time: datetime, *, is_poll: bool, has_room: bool) -> datetime | None:
        """Steps 3 to 5; `time` is by the clock of the leases. Returns when the next transfer becomes due."""
        lease_seconds = self._tools.timings.lease_seconds
        found = look(site_id=self._site_id, now=time, lease_seconds=lease_seconds)
        if found.is_anything_stuck:
            expire_leases(site_id=self._site_id, now=self._tools.clock.now())
        if found.is_anything_stuck or (found.is_anything_pending and is_poll):
            correct_far_times(site_id=self._site_id, now=self._tools.clock.now(), lease_seconds=lease_seconds)
        # An office uploads nothing, so nothing that waits is to be claimed here.
        if self._site_id is None or not (found.is_anything_stuck or found.is_anything_pending):
            return None
        self._queue.look_again()
        return next_attempt_at(self._site_id, time) if has_room else None

    def _check_tables(self) -> None:
        before, self._missing = self._missing, missing_migrations()
        if self._missing and not before:
            log.error("worker.schema_missing", detail=SchemaMissing(self._missing).detail)
        elif before and not self._missing:
            log.info("worker.schema_found")
