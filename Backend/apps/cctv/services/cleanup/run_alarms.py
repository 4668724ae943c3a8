"""The alarms of a cleanup: raised while their cause lasts, cleared by the run that does not meet it any more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.cctv.models import Alarm, GCPVideoTransfer, PeriodicJob, Site
from apps.cctv.services.alarm_review import transfer_is_over
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.services.cleanup.attempt import TOLD
from apps.cctv.services.cleanup.report import CleanupReport
from offload.errors import Reason
from offload.states import State

OBJECT_CODES = frozenset({Reason.OBJECT_MISSING, Reason.OBJECT_DIFFERS, Reason.OBJECT_LOST})

Alarms = Mapping[tuple[Reason, str], str]


def stop_tell(reason: Reason, detail: str, *, site_id: UUID | None, now: datetime) -> None:
    """The run stopped before its work was done."""
    alarm_raise(code=reason, subject=_subject_of_run(site_id), detail=detail, now=now)


def files_tell(alarms: Alarms, *, now: datetime) -> None:
    for (code, subject), detail in alarms.items():
        alarm_raise(code=code, subject=subject, detail=detail, now=now)


def run_note(report: CleanupReport, *, site_id: UUID | None, now: datetime, next_in_seconds: float) -> None:
    """Note a finished run where the overview reads, whoever made it: a worker's job, the command, a page.

    A worker that has the job keeps its lease, and notes the same and when it runs next. A run that was stopped,
    or that waived the waiting period and looked at nothing else, puts no later run off.
    """
    name = "cleanup" if site_id is None else f"cleanup@{site_id}"
    next_run_at = now + timedelta(seconds=next_in_seconds)
    PeriodicJob.objects.get_or_create(name=name, defaults={"next_run_at": next_run_at})
    job = PeriodicJob.objects.filter(name=name)
    job.update(last_started_at=report.started_at, last_finished_at=now, last_result=str(report))
    if report.stopped is None and not report.forced:
        job.filter(lease_owner__isnull=True).update(next_run_at=next_run_at)


def run_clear(*, site_id: UUID | None, now: datetime) -> None:
    """A run got past its guards: so would any run over no more than it."""
    stopped = _open_alarms().filter(Q(subject="cleanup") | Q(subject__startswith="cleanup at "))
    if site_id is not None:
        subjects = {_subject_of_run(site_id)} | ({"cleanup"} if Site.objects.count() == 1 else set())
        stopped = stopped.filter(subject__in=subjects)
    for code, subject in stopped.values_list("code", "subject"):
        alarm_clear(code=Reason(code), subject=subject, now=now)


def files_clear(alarms: Alarms, *, site_id: UUID | None, now: datetime) -> None:
    """A run looked at everything that is due (at that site): what it did not meet is over."""
    ending = f" at {_name_of(site_id)}" if site_id else ""
    for code, subject in _open_alarms().values_list("code", "subject"):
        if (code, subject) not in alarms and _is_over(code, subject, ending):
            alarm_clear(code=Reason(code), subject=subject, now=now)


def _subject_of_run(site_id: UUID | None) -> str:
    return f"cleanup at {_name_of(site_id)}" if site_id else "cleanup"


def _name_of(site_id: UUID) -> str:
    return Site.objects.values_list("name", flat=True).get(pk=site_id)


def _is_over(code: str, subject: str, ending: str) -> bool:
    if code in TOLD:
        return subject.startswith("cleanup of ") and subject.endswith(ending)
    if code == Reason.CLEANUP_FAILED:
        rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, needs_attention=True)
        return not rows.filter(site__name=subject).exists()
    if code in OBJECT_CODES:
        return transfer_is_over(subject, code)
    return False


def _open_alarms() -> QuerySet[Alarm]:
    return Alarm.objects.filter(cleared_at__isnull=True)
