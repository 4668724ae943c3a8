"""Each open alarm's cause, looked at again by the sweep: what is over is closed, whoever mended it.

The kind of an alarm's subject says who raises it and what ends it. Every place that raises alarms stands in
`RAISED_IN` with the kinds that it uses; a test finds those that do not.
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
"""A cleanup that was stopped runs again after this, not an hour later: only a run can tell that its cause is gone."""

NOT_MET_FOR = timedelta(days=1)
"""An alarm that only its raiser can judge is left to it for this long."""

_MOST = 100
"""Alarms looked at in one sweep, in no order: those that last keep no others from their turn."""


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
class Look:
    """What this process can see of a cause: its site's disk, and what the bucket said when it was last asked."""

    now: datetime
    site_id: UUID | None
    disk_is_there: bool
    bucket_answers: bool
    settings: ServiceSettings


@dataclass(frozen=True, slots=True)
class Case:
    """An open alarm, and what can be seen of its cause."""

    alarm: Alarm
    subject: Subject
    look: Look


def alarms_review(*, root: MediaRoot, now: datetime, site_id: UUID | None, settings: ServiceSettings) -> int:
    """Close the open alarms whose cause is gone; how many. `site_id` is the site that this process works for."""
    disk_is_there = root.has_marker()
    if disk_is_there:
        media_root_seen(root)
    look = Look(now, site_id, disk_is_there, bucket_answers(site_id), settings)
    cases = [Case(alarm, alarm.subject, look) for alarm in open_alarms().order_by("?")[:_MOST]]
    closed = sum(alarm_close(case.alarm, now) for case in cases if IS_OVER[case.subject.kind](case))
    if any(case.subject.kind is SubjectKind.CLEANUP and _is_own_run(case) for case in cases):
        _run_cleanup_again(look)
    return closed


# --- What is over, by what the alarm is about -------------------------------------------------------


def _told_by_its_own_look(_: Case) -> bool:
    """Who raises it closes it. Silence and the trash are looked at by the same sweep."""
    return False


def _bucket_is_over(case: Case) -> bool:
    """No transfer waits because of it any more: one that got through, or that was cancelled, says so no longer."""
    if case.alarm.code in ENDED_BY_AN_ANSWER and not case.look.bucket_answers:
        return False
    waiting = GCPVideoTransfer.objects.filter(transfer_status__in=[State.PENDING, State.UPLOADING])
    return not waiting.filter(gcp_bucket=case.subject.bucket, error_code=case.alarm.code).exists()


def _line_is_over(case: Case) -> bool:
    """The look at the bucket ends it. What it does not look at any more is over: another bucket, a site that went."""
    if case.subject.bucket != case.look.settings.bucket:
        return True
    return case.subject.site_id is not None and not _is_there(case.subject.site_id)


def _holds_are_over(case: Case) -> bool:
    return not _disagreeing().filter(gcp_bucket=case.subject.bucket).exists()


def _media_root_is_over(case: Case) -> bool:
    return case.look.disk_is_there and case.look.site_id in {None, case.subject.site_id}


def _run_is_over(case: Case) -> bool:
    """A run that gets past its guards ends it. A disk that is there again, and an empty line, can be seen from here."""
    if not _is_own_run(case):
        return False
    if case.alarm.code == Reason.MEDIA_ROOT_NOT_MOUNTED:
        return case.look.disk_is_there
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING)
    site_id = case.subject.site_id
    return not (rows if site_id is None else rows.filter(site=site_id)).exists()


def _is_own_run(case: Case) -> bool:
    """Whether this process sees all that the stopped run looked at."""
    if case.look.site_id is None or case.subject.site_id == case.look.site_id:
        return True
    return case.subject.site_id is None and not Site.objects.exclude(pk=case.look.site_id).exists()


def _files_are_over(case: Case) -> bool:
    """A whole run that does not meet it ends it; so does the end of the last file that it can be about."""
    bucket = case.subject.bucket
    if case.alarm.code == Reason.BUCKET_SETTING_CHANGED and bucket in case.look.settings.trusted_buckets:
        return True
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, gcp_bucket=bucket)
    return not rows.filter(site=case.subject.site_id).exists()


def _failing_is_over(case: Case) -> bool:
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, needs_attention=True)
    return not rows.filter(site=case.subject.site_id).exists()


def _right_is_over(case: Case) -> bool:
    """A worker that sees the disk ends it. A site that went, or no cleanup at all, has no use for it."""
    return not case.look.settings.cleanup_local or not _is_there(case.subject.site_id)


def _transfer_is_over(case: Case) -> bool:
    return transfer_is_over(case.subject.transfer_id, case.alarm.code)


def transfer_is_over(transfer_id: UUID | None, code: str) -> bool:
    """Neither its row says so any more, nor does its hold wait for the bucket."""
    if transfer_id is None:
        return True
    rows = GCPVideoTransfer.objects.filter(pk=transfer_id, error_code=code)
    return not rows.exists() and not _disagreeing().filter(pk=transfer_id).exists()


def _machine_is_over(case: Case) -> bool:
    """A worker there ends it. A machine that has had none for so long that its rows are gone tells nothing more."""
    if case.alarm.last_seen_at > case.look.now - NOT_MET_FOR:
        return False
    return not WorkerProcess.objects.filter(machine_id=case.subject.id).exists()


def _earlier_release_is_over(case: Case) -> bool:
    """What lasts is raised anew by this release, under a subject of its own, within an hour or a day."""
    return case.alarm.last_seen_at <= case.look.now - NOT_MET_FOR


IS_OVER: Mapping[SubjectKind, Callable[[Case], bool]] = {
    SubjectKind.MACHINE: _machine_is_over,
    SubjectKind.INSTALLATION: _told_by_its_own_look,
    SubjectKind.TRASH: _told_by_its_own_look,
    SubjectKind.LOCK_FILES: _machine_is_over,
    SubjectKind.OTHER: _earlier_release_is_over,
    SubjectKind.UNKNOWN: _told_by_its_own_look,
    SubjectKind.BUCKET: _bucket_is_over,
    SubjectKind.LINE: _line_is_over,
    SubjectKind.HOLDS: _holds_are_over,
    SubjectKind.MEDIA_ROOT: _media_root_is_over,
    SubjectKind.CLEANUP: _run_is_over,
    SubjectKind.CLEANUP_FILES: _files_are_over,
    SubjectKind.FAILING_FILES: _failing_is_over,
    SubjectKind.RIGHT_TO_DELETE: _right_is_over,
    SubjectKind.TRANSFER: _transfer_is_over,
}


def _run_cleanup_again(look: Look) -> None:
    """A stopped run's cause can be looked at by a run alone. One that goes on, or is due, is left as it is."""
    job = PeriodicJob.objects.of(JobKind.CLEANUP, look.site_id)
    long_ago = look.now - RUN_AGAIN_AFTER
    job.filter(next_run_at__gt=look.now, last_finished_at__lte=long_ago).update(next_run_at=look.now)


def _is_there(site_id: UUID | None) -> bool:
    return site_id is not None and Site.objects.filter(pk=site_id).exists()


def _disagreeing() -> TransferQuerySet:
    """Uploaded transfers whose hold in the bucket is not yet what is wanted."""
    rows = GCPVideoTransfer.objects.filter(transfer_status__in=UPLOADED)
    return rows.exclude(recording__hold_wanted=F("recording__hold_confirmed"))
