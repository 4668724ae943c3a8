"""Periodic jobs: rows with a time to run next, taken like a lease, so that one worker at a time runs each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog
from django.db import Error, connection
from django.db.models import F

from apps.cctv.leasing.leases import JobLease, lease_clock
from apps.cctv.models import PeriodicJob
from apps.cctv.services.disk_reserve import make_room
from apps.cctv.services.settings import Timings
from apps.cctv.tables.moves import SYSTEM
from apps.cctv.tables.work import JobKind, job_name
from apps.cctv.worker.crashes import log_crash, survive
from apps.cctv.worker.upload_attempt import Tools
from offload.errors import FileProblem, OffloadError

log = structlog.get_logger("coldreel.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The worker that runs a job, and what the job may use of it."""

    tools: Tools
    home: Path
    owner_id: UUID
    site_id: UUID | None
    moved: Callable[[], None] = lambda: None

    def should_stop(self) -> bool:
        """For a job to ask between two files, which is also its sign that it moves."""
        self.moved()
        return self.tools.stopping.is_set()


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job by name. `run` returns what to note as its result."""

    name: str
    every_seconds: Callable[[Timings], float]
    run: Callable[[Worker], object]
    frees_disk: bool = False


def _sweep(worker: Worker) -> object:
    from apps.cctv.services.sweep import sweep

    tools = worker.tools
    return sweep(
        store=tools.store,
        clock=tools.clock,
        home=worker.home,
        root=tools.root,
        settings=tools.settings,
        owner_id=worker.owner_id,
        site_id=worker.site_id,
    )


def _cleanup(worker: Worker) -> object:
    """Clean up, then look for footage that was never imported."""
    from apps.cctv.services.cleanup import cleanup_run
    from apps.cctv.services.unimported_footage import footage_scan, footage_scan_note

    tools = worker.tools
    report = cleanup_run(
        store=tools.store,
        root=tools.root,
        clock=tools.clock,
        actor=SYSTEM,
        settings=tools.settings,
        should_stop=worker.should_stop,
        site_id=worker.site_id,
        owner_id=worker.owner_id,
    )
    try:
        look = footage_scan(root=tools.root, clock=tools.clock, should_stop=tools.stopping.is_set)
    except FileProblem as problem:  # no media root here: the cleanup has told it
        log.info("footage.not_looked", reason=problem.code)
        return report
    if not tools.stopping.is_set():
        footage_scan_note(
            look,
            site_id=worker.site_id,
            now=tools.clock.now(),
            next_in_seconds=tools.settings.timings.cleanup_seconds,
        )
    return report


PERIODIC = (
    Periodic(JobKind.SWEEP, lambda timings: timings.sweep_seconds, _sweep),
    Periodic(JobKind.CLEANUP, lambda timings: timings.cleanup_seconds, _cleanup, frees_disk=True),
)


@dataclass(frozen=True, slots=True)
class _End:
    """How a run ended, kept until it is in the row."""

    lease_number: int
    finished_at: datetime
    result: str


class PeriodicThread(threading.Thread):
    """Runs one job whenever it is due, until the worker stops."""

    def __init__(self, job: Periodic, worker: Worker) -> None:
        super().__init__(name=f"periodic-{job.name}", daemon=True)
        self._job = job
        self._worker = replace(worker, moved=self._moved)
        self._tools = worker.tools
        # A worker of one site reaches that site's disk only: each site has its own row.
        self._name = job_name(job.name, worker.site_id)
        self._every = timedelta(seconds=job.every_seconds(worker.tools.timings))
        self._lease_seconds = worker.tools.timings.lease_seconds
        self._is_known = False
        self._moved_at = 0.0
        self._running: int | None = None
        self._end: _End | None = None

    def run(self) -> None:
        while not self._tools.stopping.wait(self._tools.timings.poll_seconds):
            if self._is_urgent() or not self._tools.cleanup_first.is_set():
                survive(self.step, "periodic.missed", job=self._name)
        survive(self._write_end, "periodic.missed", job=self._name)
        connection.close()

    def _moved(self) -> None:
        self._moved_at = self._tools.clock.monotonic()

    def lease(self) -> JobLease | None:
        """The lease of the run that goes on and moves in this process at this moment."""
        number = self._running
        stuck = self._tools.clock.monotonic() - self._moved_at >= self._tools.timings.job_stuck_seconds
        return None if number is None or stuck else JobLease(self._name, self._worker.owner_id, number)

    def step(self) -> None:
        """Look once whether the job is due, and run it. After an exception the next look comes as usual."""
        try:
            if not self._is_known:
                PeriodicJob.objects.ensure(self._job.name, self._worker.site_id, next_run_at=self._now())
                self._is_known = True
            self.run_if_due()
        except Error as error:
            if self._is_urgent():
                make_room(error, for_cleanup=True)
            raise

    def run_if_due(self) -> bool:
        """Take the job if it is due and no other worker has it, run it, note how it ended. True where it ran.

        An end that could not be written, because the database was away or busy, is written by the next call.
        """
        self._write_end()
        number = self._take()
        if number is None:
            return False
        self._moved()
        self._running = number
        try:
            result = str(self._job.run(self._worker))
        except OffloadError as error:
            log.warning("periodic.failed", job=self._name, reason=error.code, detail=error.detail)
            result = f"failed: {error.code}: {error.detail}"
        except Exception as error:  # noqa: BLE001 - the top of the job's loop: the next run may do better
            log_crash("periodic.crashed", error, job=self._name)
            connection.close()
            result = f"failed: {type(error).__name__}"
        finally:
            if self._job.frees_disk:
                self._tools.cleanup_first.clear()
            self._running = None  # from here on the heartbeat leaves the lease to its end
        self._end = _End(number, self._tools.clock.now(), result)
        self._write_end()
        return True

    def _write_end(self) -> None:
        """By its lease number: another worker may have taken the job meanwhile."""
        end = self._end
        if end is None:
            return
        since = max(timedelta(), self._tools.clock.now() - end.finished_at)
        finished_at = self._now() - since
        PeriodicJob.objects.filter(
            name=self._name, lease_owner=self._worker.owner_id, lease_number=end.lease_number
        ).update(
            next_run_at=finished_at + self._every,
            last_finished_at=finished_at,
            last_result=end.result,
            lease_owner=None,
            lease_expires_at=None,
        )
        self._end = None

    def _take(self) -> int | None:
        """Reads the row before the clock: the other way round, a time just written could seem too far ahead."""
        job = PeriodicJob.objects.filter(name=self._name).first()
        now = self._now()
        if job is None:
            return None
        # A lease of this process's own is one that it could not give back: its only thread for the job is here.
        mine_or_free = job.lease_owner in {None, self._worker.owner_id}
        is_free = mine_or_free or job.lease_expires_at is None or job.lease_expires_at <= now
        # A time further ahead than the interval was written by a wrong clock, or under an earlier, longer interval.
        is_due = self._is_urgent() or not now < job.next_run_at <= now + self._every
        if not is_free or not is_due:
            return None
        taken = PeriodicJob.objects.filter(name=self._name, lease_number=job.lease_number).update(
            lease_number=F("lease_number") + 1,
            lease_owner=self._worker.owner_id,
            lease_expires_at=now + timedelta(seconds=self._lease_seconds),
            last_started_at=now,
        )
        return job.lease_number + 1 if taken else None

    def _is_urgent(self) -> bool:
        """The disk is full: a cleanup is due now, whenever the next one was to be."""
        return self._job.frees_disk and self._tools.cleanup_first.is_set()

    def _now(self) -> datetime:
        return lease_clock(self._tools.clock.now())
