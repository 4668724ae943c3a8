"""The sweep looks at the cause of each open alarm again and closes the alarms whose cause is gone.

The kind of an alarm's subject decides what raises it and what ends it. `RAISED_IN` lists every module that raises
alarms, with the kinds that it uses, and `IS_OVER` has the rule of each kind. A test finds a module that is not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F

from apps.cctv.models import Alarm, GCPVideoTransfer, PeriodicJob, Site, WorkerProcess
from apps.cctv.selectors.alarms import open_alarms
from apps.cctv.services.alarms import alarm_close
from apps.cctv.services.bucket_check import ENDED_BY_AN_ANSWER, bucket_answers
from apps.cctv.services.media_root import media_root_seen
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.moves import TransferQuerySet
from apps.cctv.tables.work import JobKind
from offload.errors import Reason
from offload.source import MediaRoot
from offload.states import UPLOADED, State

RUN_AGAIN_AFTER = timedelta(minutes=5)
"""A cleanup that was stopped runs again after this, not an hour later: only a run finds out that its cause is gone."""

NOT_MET_FOR = timedelta(days=1)
"""How long an alarm that only its own raiser can judge is left to it before the sweep judges it."""

_MOST = 100
"""Alarms that one sweep looks at, chosen at random: so a hundred alarms that last do not keep it from the others."""


RAISED_IN: Mapping[str, frozenset[SubjectKind]] = {
    "services/uploads.py": frozenset({SubjectKind.BUCKET, SubjectKind.MEDIA_ROOT}),
    "services/bucket_check.py": frozenset({SubjectKind.BUCKET, SubjectKind.LINE}),
    "services/holds.py": frozenset({SubjectKind.TRANSFER, SubjectKind.HOLDS}),
    "services/cleanup/run_alarms.py": frozenset(
        {SubjectKind.CLEANUP, SubjectKind.CLEANUP_FILES, SubjectKind.FAILING_FILES, SubjectKind.TRANSFER}
    ),
    "services/cleanup/recovery.py": frozenset({SubjectKind.TRASH}),
    "services/delete_rights.py": frozenset({SubjectKind.RIGHT_TO_DELETE}),
    "services/stalled_uploads.py": frozenset({SubjectKind.INSTALLATION}),
    "worker/disk.py": frozenset({SubjectKind.MACHINE}),
    "services/sweep.py": frozenset({SubjectKind.LOCK_FILES}),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What this process sees: the disk of its site, and whether the bucket answered when it was last asked."""

    now: datetime
    site_id: UUID | None
    disk_is_there: bool
    bucket_answers: bool
    settings: ServiceSettings


@dataclass(frozen=True, slots=True)
class Case:
    """An open alarm, and what this process sees."""

    alarm: Alarm
    subject: Subject
    seen: Seen


def alarms_review(*, root: MediaRoot, now: datetime, site_id: UUID | None, settings: ServiceSettings) -> int:
    """Close the open alarms whose cause is gone; returns how many. `site_id` is the site that this process works for.

    1. See whether the disk has its marker, and what the bucket answered when it was last asked.
    2. Take up to a hundred open alarms at random, and judge each by the rule of its kind.
    3. Close those that are over, except where another process met the cause again after step 2.
    4. Where a cleanup stays stopped, make its next run due: only a run finds out that the cause is gone.
    """
    disk_is_there = root.has_marker()
    if disk_is_there:
        media_root_seen(root)
    seen = Seen(now, site_id, disk_is_there, bucket_answers(site_id), settings)
    cases = [Case(alarm, alarm.subject, seen) for alarm in open_alarms().order_by("?")[:_MOST]]
    closed = sum(alarm_close(case.alarm, now) for case in cases if IS_OVER[case.subject.kind](case))
    if any(case.subject.kind is SubjectKind.CLEANUP and _is_own_run(case) for case in cases):
        # A run that goes on now, or is due anyway, is left as it is.
        job = PeriodicJob.objects.of(JobKind.CLEANUP, site_id)
        stopped = job.filter(next_run_at__gt=now, last_finished_at__lte=now - RUN_AGAIN_AFTER)
        stopped.update(next_run_at=now)
    return closed


# --- When an alarm is over, by the kind of its subject ------------------------------------------------


def _bucket_is_over(case: Case) -> bool:
    """No transfer waits for that reason any more, whether it got through or was cancelled."""
    if case.alarm.code in ENDED_BY_AN_ANSWER and not case.seen.bucket_answers:
        return False
    waiting = GCPVideoTransfer.objects.filter(transfer_status__in=[State.PENDING, State.UPLOADING])
    return not waiting.filter(gcp_bucket=case.subject.bucket, error_code=case.alarm.code).exists()


def _line_is_over(case: Case) -> bool:
    """`bucket_check` ends it, but asks only the bucket of the settings. An alarm of a former bucket ends here."""
    if case.subject.bucket != case.seen.settings.bucket:
        return True
    return case.subject.site_id is not None and not _is_there(case.subject.site_id)


def _run_is_over(case: Case) -> bool:
    """A run that passes its guards ends it. The sweep sees two causes itself: the marker, and that nothing is due."""
    if not _is_own_run(case):
        return False
    if case.alarm.code == Reason.MEDIA_ROOT_NOT_MOUNTED:
        return case.seen.disk_is_there
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING)
    site_id = case.subject.site_id
    return not (rows if site_id is None else rows.filter(site=site_id)).exists()


def _is_own_run(case: Case) -> bool:
    """Whether this process sees everything that the stopped run looked at."""
    if case.seen.site_id is None or case.subject.site_id == case.seen.site_id:
        return True
    # A run over all sites is this site's own where there is no other site.
    return case.subject.site_id is None and not Site.objects.exclude(pk=case.seen.site_id).exists()


def _files_are_over(case: Case) -> bool:
    """A whole run that does not meet it ends it. So does the last file of that bucket and site."""
    bucket = case.subject.bucket
    if case.alarm.code == Reason.BUCKET_SETTING_CHANGED and bucket in case.seen.settings.trusted_buckets:
        return True
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, gcp_bucket=bucket)
    return not rows.filter(site=case.subject.site_id).exists()


def failing_files_are_over(site_id: UUID | None) -> bool:
    """Whether no file of the site that waits for its cleanup is flagged for a person."""
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, needs_attention=True)
    return not rows.filter(site=site_id).exists()


def transfer_is_over(transfer_id: UUID | None, code: str) -> bool:
    """Whether the transfer's row has another error code, or none, and its hold does not wait for the bucket."""
    if transfer_id is None:
        return True
    rows = GCPVideoTransfer.objects.filter(pk=transfer_id, error_code=code)
    return not rows.exists() and not _with_unconfirmed_hold().filter(pk=transfer_id).exists()


def _machine_is_over(case: Case) -> bool:
    """A worker there ends it. The sweep ends it once no worker of that machine is in the database any more.

    The row of a worker is removed 30 days after it stopped.
    """
    if case.alarm.last_seen_at > case.seen.now - NOT_MET_FOR:
        return False
    return not WorkerProcess.objects.filter(machine_id=case.subject.id).exists()


IS_OVER: Mapping[SubjectKind, Callable[[Case], bool]] = {
    SubjectKind.BUCKET: _bucket_is_over,
    SubjectKind.LINE: _line_is_over,
    SubjectKind.HOLDS: lambda case: not _with_unconfirmed_hold().filter(gcp_bucket=case.subject.bucket).exists(),
    SubjectKind.MEDIA_ROOT: lambda case: case.seen.disk_is_there and case.seen.site_id in {None, case.subject.site_id},
    SubjectKind.CLEANUP: _run_is_over,
    SubjectKind.CLEANUP_FILES: _files_are_over,
    SubjectKind.FAILING_FILES: lambda case: failing_files_are_over(case.subject.site_id),
    # A worker that sees the disk ends it. Where cleanup is off, the right is of no use.
    SubjectKind.RIGHT_TO_DELETE: lambda case: (
        not case.seen.settings.cleanup_local or not _is_there(case.subject.site_id)
    ),
    SubjectKind.TRANSFER: lambda case: transfer_is_over(case.subject.transfer_id, case.alarm.code),
    SubjectKind.LOCK_FILES: _machine_is_over,
    SubjectKind.MACHINE: _machine_is_over,
    # A cause that lasts is raised again by this release, under a subject of its own, within an hour or a day.
    SubjectKind.OTHER: lambda case: case.alarm.last_seen_at <= case.seen.now - NOT_MET_FOR,
    # What raises these closes them, in the same sweep or, for UNKNOWN, in a worker of another release.
    SubjectKind.INSTALLATION: lambda _: False,
    SubjectKind.TRASH: lambda _: False,
    SubjectKind.UNKNOWN: lambda _: False,
}


def _is_there(site_id: UUID | None) -> bool:
    return site_id is not None and Site.objects.filter(pk=site_id).exists()


def _with_unconfirmed_hold() -> TransferQuerySet:
    """Uploaded transfers whose object does not have the hold, or the release, that a person asked for."""
    rows = GCPVideoTransfer.objects.filter(transfer_status__in=UPLOADED)
    return rows.exclude(recording__hold_wanted=F("recording__hold_confirmed"))
