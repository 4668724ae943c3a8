"""Asks the bucket whether it answers at all. Within a minute an alarm says that it does not; an answer ends it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from apps.cctv.models import PeriodicJob
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.work import JobKind
from offload.errors import LineDown, OffloadError, Reason, StopAndTell
from offload.store import ObjectStore

EVERY_SWEEPS = 2
"""Every 30 s. With one sweep's delay and a connection that times out, the alarm still comes within a minute."""

ENDED_BY_AN_ANSWER = frozenset({Reason.LINE_DOWN, Reason.CREDENTIALS_REFUSED, Reason.BUCKET_NOT_FOUND})
"""Causes that an answer proves to be over. A missing right is not among them: only the call that
needs the right can tell."""


def bucket_check(*, store: ObjectStore, now: datetime, site_id: UUID | None, settings: ServiceSettings) -> bool:
    """Ask the bucket for its time, unless it was asked lately. Returns False where it was asked and cannot be used.

    1. See whether this process is to ask: one process of a site asks for all of them. The row is that of a periodic
       job, without a lease, since no harm is done where two ask at the same moment.
    2. Ask, and note the answer in the row, for `bucket_answers`.
    3. Raise an alarm for no answer at all, a refused key or a missing bucket. Any other answer ends `line_down`.
    """
    if not settings.use_gcs:
        return True
    every = timedelta(seconds=EVERY_SWEEPS * settings.timings.sweep_seconds)
    row, is_my_turn = PeriodicJob.objects.ensure(JobKind.BUCKET, site_id, next_run_at=now + every, last_started_at=now)
    if not is_my_turn:
        # A time in the future was written by a clock that has been set back since.
        due = Q(last_started_at__lte=now - every) | Q(last_started_at__gt=now) | Q(last_started_at__isnull=True)
        mine = PeriodicJob.objects.filter(due, pk=row.pk)
        is_my_turn = mine.update(last_started_at=now, next_run_at=now + every) == 1
    if not is_my_turn:
        return True
    bucket = settings.bucket
    try:
        store.bucket_time(bucket)
    except (LineDown, StopAndTell) as error:
        _note(f"{error.code}: {error.detail}", now, site_id, ok=False)
        if error.code in ENDED_BY_AN_ANSWER:
            alarm_raise(code=error.code, subject=_subject(error.code, bucket, site_id), detail=error.detail, now=now)
            return False
    except OffloadError as error:  # it answered, even if only that it is busy
        _note(f"{error.code}: {error.detail}", now, site_id, ok=False)
    else:
        _note("answers", now, site_id, ok=True)
    # Any other refusal is an answer too, so the line is up.
    alarm_clear(code=Reason.LINE_DOWN, subject=_subject(Reason.LINE_DOWN, bucket, site_id), now=now)
    return True


def bucket_answers(site_id: UUID | None) -> bool:
    """Whether the bucket answered when a process of this site last asked it."""
    return PeriodicJob.objects.of(JobKind.BUCKET, site_id).filter(last_ok=True).exists()


def _note(result: str, now: datetime, site_id: UUID | None, *, ok: bool) -> None:
    PeriodicJob.objects.of(JobKind.BUCKET, site_id).update(last_finished_at=now, last_result=result, last_ok=ok)


def _subject(code: Reason, bucket: str, site_id: UUID | None) -> Subject:
    """Each site has its own line: that one site reaches the bucket proves nothing about another."""
    if code is Reason.LINE_DOWN:
        return Subject.of_bucket_at_site(SubjectKind.LINE, bucket, site_id)
    return Subject(SubjectKind.BUCKET, bucket)
