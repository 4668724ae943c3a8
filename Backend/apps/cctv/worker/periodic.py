"""Periodic jobs: rows with a time to run next, taken like a lease, so that each runs once across workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog
from django.db import Error, connection
from django.db.models import F, Q

from apps.cctv.leases import lease_time
from apps.cctv.models import SYSTEM, PeriodicJob
from apps.cctv.worker.attempt import Tools
from apps.cctv.worker.crashes import log_crash
from apps.cctv.worker.timings import Timings
from offload.errors import OffloadError

log = structlog.get_logger("coldreel.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The worker that runs a job: what it has at hand, and where its files are."""

    tools: Tools
    home: Path
    owner_id: UUID
    site_id: UUID | None


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job by name. `run` returns what to note as its result."""

    name: str
    every_seconds: Callable[[Timings], float]
    run: Callable[[Worker], object]


def _sweep(worker: Worker) -> object:
    from apps.cctv.services.sweep import sweep

    tools = worker.tools
    return sweep(
        store=tools.store,
        clock=tools.clock,
        home=worker.home,
        root=tools.root,
        owner_id=worker.owner_id,
        site_id=worker.site_id,
    )


def _cleanup(worker: Worker) -> object:
    from apps.cctv.services.cleanup import cleanup_run

    tools = worker.tools
    return cleanup_run(
        store=tools.store,
        root=tools.root,
        clock=tools.clock,
        actor=SYSTEM,
        should_stop=tools.stopping.is_set,
        site_id=worker.site_id,
        owner_id=worker.owner_id,
    )


PERIODIC = (
    Periodic("sweep", lambda timings: timings.sweep_seconds, _sweep),
    Periodic("cleanup", lambda timings: timings.cleanup_seconds, _cleanup),
)


class PeriodicThread(threading.Thread):
    """Runs one job whenever it is due, until the worker stops."""

    def __init__(self, job: Periodic, worker: Worker) -> None:
        super().__init__(name=f"periodic-{job.name}", daemon=True)
        self._job = job
        self._worker = worker
        self._tools = worker.tools
        # A worker of one site reaches that site's disk only: each site has its own row.
        self._name = job.name if worker.site_id is None else f"{job.name}@{worker.site_id}"
        self._every = timedelta(seconds=job.every_seconds(worker.tools.timings))

    def run(self) -> None:
        known = False
        while not self._tools.stopping.wait(self._tools.timings.poll_seconds):
            try:
                known = known or self._make_known()
                self.run_if_due()
            except Error as error:
                log_crash("periodic.missed", error, job=self._name)
                connection.close()
        connection.close()

    def _make_known(self) -> bool:
        """The row is there, and runs no later than the interval of today's settings."""
        latest = self._now() + self._every
        row, created = PeriodicJob.objects.get_or_create(name=self._name, defaults={"next_run_at": self._now()})
        if not created and row.next_run_at > latest:
            PeriodicJob.objects.filter(pk=row.pk).update(next_run_at=latest)
        return True

    def run_if_due(self) -> bool:
        """Take the job if it is due and nobody has it, run it, note how it ended. True where it ran."""
        number = self._take(self._now())
        if number is None:
            return False
        result = self._result()
        now = self._now()
        mine = PeriodicJob.objects.filter(name=self._name, lease_owner=self._worker.owner_id, lease_number=number)
        mine.update(
            next_run_at=now + self._every,
            last_finished_at=now,
            last_result=result,
            lease_owner=None,
            lease_expires_at=None,
        )
        return True

    def _take(self, now: datetime) -> int | None:
        free = PeriodicJob.objects.filter(
            Q(lease_owner__isnull=True) | Q(lease_expires_at__lte=now), name=self._name, next_run_at__lte=now
        )
        number = free.values_list("lease_number", flat=True).first()
        if number is None:
            return None
        taken = free.filter(lease_number=number).update(
            lease_number=F("lease_number") + 1,
            lease_owner=self._worker.owner_id,
            lease_expires_at=now + timedelta(seconds=self._tools.timings.lease_seconds),
            last_started_at=now,
        )
        return number + 1 if taken else None

    def _result(self) -> str:
        try:
            return str(self._job.run(self._worker))
        except OffloadError as error:
            log.warning("periodic.failed", job=self._name, reason=error.code, detail=error.detail)
            return f"failed: {error.code}: {error.detail}"
        except Exception as error:  # noqa: BLE001 - the top of the job's loop: the next run may do better
            log_crash("periodic.crashed", error, job=self._name)
            connection.close()
            return f"failed: {type(error).__name__}"

    def _now(self) -> datetime:
        return lease_time(self._tools.clock.now())
