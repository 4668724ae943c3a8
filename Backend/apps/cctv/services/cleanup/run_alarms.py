"""The alarms of a cleanup: raised while their cause lasts, cleared by the run that does not meet it any more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from apps.cctv.models import Alarm, PeriodicJob, Site
from apps.cctv.selectors.alarms import open_alarms
from apps.cctv.services.alarm_review import failing_files_are_over, transfer_is_over
from apps.cctv.services.alarms import alarm_close, alarm_raise
from apps.cctv.services.cleanup.attempt import TOLD
from apps.cctv.services.cleanup.report import CleanupReport
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.work import JobKind
from offload.errors import Reason

OBJECT_CODES = frozenset({Reason.OBJECT_MISSING, Reason.OBJECT_DIFFERS, Reason.OBJECT_LOST})

Alarms = Mapping[tuple[Reason, Subject], str]


def stop_tell(reason: Reason, detail: str, *, site_id: UUID | None, now: datetime) -> None:
    """The run stopped before its work was done."""
    alarm_raise(code=reason, subject=Subject.of_site(SubjectKind.CLEANUP, site_id), detail=detail, now=now)


def files_tell(alarms: Alarms, *, now: datetime) -> None:
    for (code, subject), detail in alarms.items():
        alarm_raise(code=code, subject=subject, detail=detail, now=now)


def run_note(report: CleanupReport, *, site_id: UUID | None, now: datetime, next_in_seconds: float) -> None:
    """Note a finished run where the overview reads, whoever made it: a worker's job, the command, a page.

    A worker that has the job keeps its lease, and notes the same and when it runs next. A run that was stopped,
    or that waived the waiting period and looked at nothing else, puts no later run off.
    """
    next_run_at = now + timedelta(seconds=next_in_seconds)
    PeriodicJob.objects.ensure(JobKind.CLEANUP, site_id, next_run_at=next_run_at)
    job = PeriodicJob.objects.of(JobKind.CLEANUP, site_id)
    job.update(last_started_at=report.started_at, last_finished_at=now, last_result=str(report))
    if report.stopped is None and not report.forced:
        job.filter(lease_owner__isnull=True).update(next_run_at=next_run_at)


def run_clear(*, site_id: UUID | None, now: datetime) -> None:
    """A run got past its guards: so would any run over no more than it."""
    stopped = open_alarms().filter(subject_kind=SubjectKind.CLEANUP)
    if site_id is not None:
        same = [Subject.of_site(SubjectKind.CLEANUP, site_id).id]
        stopped = stopped.filter(subject_id__in=[*same, ""] if Site.objects.count() == 1 else same)
    for alarm in stopped:
        alarm_close(alarm, now)


def files_clear(alarms: Alarms, *, site_id: UUID | None, now: datetime) -> None:
    """A run looked at everything that is due (at that site): what it did not meet is over."""
    for alarm in open_alarms():
        if (alarm.code, alarm.subject) not in alarms and _is_over(alarm, site_id):
            alarm_close(alarm, now)


def _is_over(alarm: Alarm, site_id: UUID | None) -> bool:
    subject = alarm.subject
    if subject.kind is SubjectKind.CLEANUP_FILES:
        return alarm.code in TOLD and site_id in {None, subject.site_id}
    if subject.kind is SubjectKind.FAILING_FILES:
        return failing_files_are_over(subject.site_id)
    if subject.kind is SubjectKind.TRANSFER and alarm.code in OBJECT_CODES:
        return transfer_is_over(subject.transfer_id, alarm.code)
    return False
