"""Leases of jobs: which are due, and which of the workers that find one due may run it.

A job is a row with a lease of its own: number, owner, expiry, as a transfer has. One look reads all of a worker's jobs,
and the lease number is the fence. What runs on request instead of at intervals can be claimed the same way, by
`is_free` and `take_job`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from django.db import connection
from django.db.models import DateTimeField, F, Func, QuerySet

from apps.cctv.leasing.leases import lease_clock
from apps.cctv.leasing.wakeup import wake_workers
from apps.cctv.models import PeriodicJob


class LeasedJob(Protocol):
    """The columns of a row that a worker may take to run it."""

    pk: Any
    lease_number: int
    lease_owner: UUID | None
    lease_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobLook:
    """The rows of some periodic jobs, by name, and the time when they were so, by the clock of the leases."""

    rows: Mapping[str, PeriodicJob]
    now: datetime


class _ClockTimestamp(Func):
    """PostgreSQL's clock; its `now()` would be the time when the transaction began."""

    function = "CLOCK_TIMESTAMP"
    output_field = DateTimeField()


def look_at_jobs(names: Collection[str], now: datetime) -> JobLook:
    """The rows of those jobs, by one statement; on SQLite `now` is taken as the time.

    On PostgreSQL the time is read with the rows, after them: read before, a time that was just written could seem too
    far ahead.
    """
    found = PeriodicJob.objects.filter(name__in=names)
    if connection.vendor == "postgresql":
        found = found.annotate(clock=_ClockTimestamp())
    rows = {row.name: row for row in found}
    return JobLook(rows, max((getattr(row, "clock", now) for row in rows.values()), default=now))


def run_job_now(kind: str, site_id: UUID | None, now: datetime) -> bool:
    """Have a worker of that site, or of the office, run that job as soon as it can. False where it has no such job."""
    found = PeriodicJob.objects.of(kind, site_id).update(next_run_at=lease_clock(now))
    if found:
        wake_workers(site_id)
    return bool(found)


def is_free(job: LeasedJob, *, owner_id: UUID, now: datetime) -> bool:
    """Whether that owner may take the job: it has no lease, or one that ran out.

    A lease of the owner's own is one that it could not give back, since it asks only for jobs that it does not run.
    """
    return job.lease_owner in {None, owner_id} or job.lease_expires_at is None or job.lease_expires_at <= now


def take_job(
    rows: QuerySet[Any], job: LeasedJob, *, owner_id: UUID, now: datetime, lease_seconds: float, **columns: object
) -> int | None:
    """Take the lease of `job`, as it was found among `rows`; its number, or None where another was first.

    `columns` are changed with it.
    """
    taken = rows.filter(pk=job.pk, lease_number=job.lease_number).update(
        lease_number=F("lease_number") + 1,
        lease_owner=owner_id,
        lease_expires_at=now + timedelta(seconds=lease_seconds),
        **columns,
    )
    return job.lease_number + 1 if taken else None
