"""Step 8 of a run: the alarms for what waiting does not mend, and the note that the overview shows.

An alarm is raised while its cause lasts, and closed by the run that does not meet the cause any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from apps.cctv.models import Alarm, PeriodicJob, Site
from apps.cctv.selectors.alarms import open_alarms
from apps.cctv.services.alarm_review import failing_files_are_over, transfer_is_over
from apps.cctv.services.alarms import alarm_close, alarm_raise
from apps.cctv.services.cleanup.report import WITH_ALARM, CleanupReport
from apps.cctv.services.cleanup.run_state import Run
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.work import JobKind
from offload.errors import Reason

OBJECT_CODES = frozenset({Reason.OBJECT_MISSING, Reason.OBJECT_DIFFERS, Reason.OBJECT_LOST})


def run_tell(run: Run, report: CleanupReport, *, site_id: UUID | None, whole: bool) -> None:
    """Raise and close the alarms of a run that has ended, and note it. `whole`: it was about everything that is due.

    A run that got past its guards closes the alarms of runs that were stopped over the same rows or fewer. A whole run
    closes those whose cause it did not meet.
    """
    now = run.clock.now()
    for (code, subject), detail in run.alarms.items():
        alarm_raise(code=code, subject=subject, detail=detail, now=now)
    whole = whole and not report.interrupted
    if whole:
        _note(report, site_id=site_id, now=now, next_in_seconds=run.settings.timings.cleanup_seconds)
    if report.stopped is not None:
        subject = Subject.of_site(SubjectKind.CLEANUP, site_id)
        alarm_raise(code=report.stopped, subject=subject, detail=report.stopped_detail, now=now)
        return
    stops = open_alarms().filter(subject_kind=SubjectKind.CLEANUP)
    if site_id is not None:
        # Where there is but one site, a run over all sites is a run over this one.
        same = [Subject.of_site(SubjectKind.CLEANUP, site_id).id]
        stops = stops.filter(subject_id__in=[*same, ""] if Site.objects.count() == 1 else same)
    for alarm in stops:
        alarm_close(alarm, now)
    if whole:
        for alarm in open_alarms():
            if (alarm.code, alarm.subject) not in run.alarms and _is_over(alarm, site_id):
                alarm_close(alarm, now)


def _note(report: CleanupReport, *, site_id: UUID | None, now: datetime, next_in_seconds: float) -> None:
    """Note a run where the overview reads, be it a worker's job, the command's or a page's.

    A worker that has the job keeps its lease, and notes the same and when it runs next. A run that was stopped,
    or that waived the waiting period and looked at nothing else, puts no later run off.
    """
    next_run_at = now + timedelta(seconds=next_in_seconds)
    PeriodicJob.objects.ensure(JobKind.CLEANUP, site_id, next_run_at=next_run_at)
    job = PeriodicJob.objects.of(JobKind.CLEANUP, site_id)
    job.update(last_started_at=report.started_at, last_finished_at=now, last_result=str(report))
    if report.stopped is None and not report.forced:
        job.filter(lease_owner__isnull=True).update(next_run_at=next_run_at)


def _is_over(alarm: Alarm, site_id: UUID | None) -> bool:
    subject = alarm.subject
    if subject.kind is SubjectKind.CLEANUP_FILES:
        return alarm.code in WITH_ALARM and site_id in {None, subject.site_id}
    if subject.kind is SubjectKind.FAILING_FILES:
        return failing_files_are_over(subject.site_id)
    if subject.kind is SubjectKind.TRANSFER and alarm.code in OBJECT_CODES:
        return transfer_is_over(subject.transfer_id, alarm.code)
    return False
