"""Each open alarm's cause, looked at again by the sweep: what is over is closed, whoever mended it.

An alarm's subject says what it is about, and with that who raises it and what ends it. Every place that raises
alarms stands in `RAISED_IN` with the subjects that it uses; a test finds those that do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import structlog
from django.db.models import F

from apps.cctv.models import Alarm, GCPVideoTransfer, PeriodicJob, Site, WorkerProcess
from apps.cctv.services.alarms import STOP_CODES
from apps.cctv.services.media_root import media_root_seen
from apps.cctv.services.reachability import LOOKED_FOR, bucket_answers
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.moves import TransferQuerySet
from offload.errors import Reason
from offload.source import MediaRoot
from offload.states import UPLOADED, State

RUN_AGAIN_AFTER = timedelta(minutes=5)
"""A cleanup that was stopped runs again after this, not an hour later: only a run can tell that its cause is gone."""

MACHINE_IS_GONE = timedelta(days=1)

_MOST = 100
"""Alarms looked at in one sweep, in no order: those that last keep no others from their turn."""

log = structlog.get_logger("coldreel.alarm")


class About(StrEnum):
    """What an alarm is about; the value is how its subject reads."""

    ALL = ""
    BUCKET = "BUCKET"
    LINE = "BUCKET from SITE"
    HOLDS = "holds in BUCKET"
    SITE = "the site's id"
    RUN = "cleanup, cleanup at SITE"
    FILES = "cleanup of BUCKET at SITE"
    FAILING = "SITE"
    RIGHT = "SITE without the right to delete"
    TRANSFER = "the transfer's id"
    TRASH = "trash TRANSFER"
    OWNERS = "owners on HOST"
    MACHINE = "HOST"
    OTHER = "anything else"


RAISED_IN: Mapping[str, frozenset[About]] = {
    "services/uploads.py": frozenset({About.BUCKET, About.SITE}),
    "services/reachability.py": frozenset({About.BUCKET, About.LINE}),
    "services/holds.py": frozenset({About.TRANSFER, About.HOLDS}),
    "services/cleanup/run_alarms.py": frozenset({About.RUN, About.FILES, About.FAILING, About.TRANSFER}),
    "services/cleanup/recovery.py": frozenset({About.TRASH}),
    "services/rights.py": frozenset({About.RIGHT}),
    "services/silence.py": frozenset({About.ALL}),
    "worker/disk.py": frozenset({About.MACHINE}),
    "services/sweep.py": frozenset({About.OWNERS}),
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
    look: Look


Over = Callable[[Case], bool]


def alarms_review(*, root: MediaRoot, now: datetime, site_id: UUID | None, settings: ServiceSettings) -> int:
    """Close the open alarms whose cause is gone; how many. `site_id` is the site that this process works for."""
    disk_is_there = root.has_marker()
    if disk_is_there:
        media_root_seen(root)
    look = Look(now, site_id, disk_is_there, bucket_answers(site_id), settings)
    open_alarms = Alarm.objects.filter(cleared_at__isnull=True).order_by("?")[:_MOST]
    cases = [Case(alarm, look) for alarm in open_alarms]
    closed = sum(_close(case.alarm, now) for case in cases if OVER[about(case.alarm)](case))
    if any(about(case.alarm) is About.RUN and _is_own_run(case) for case in cases):
        _run_cleanup_again(look)
    return closed


def _close(alarm: Alarm, now: datetime) -> int:
    """Not one that was met again in this moment."""
    same = Alarm.objects.filter(pk=alarm.pk, cleared_at__isnull=True, last_seen_at=alarm.last_seen_at)
    closed = same.update(cleared_at=now)
    if closed:
        log.info("alarm.cleared", codes=[alarm.code], subject=alarm.subject, count=1)
    return closed


def about(alarm: Alarm) -> About:
    """By the subject; by the code as well where a subject is one word."""
    subject = alarm.subject
    if alarm.code in _OF_ONE_WORD:
        return _OF_ONE_WORD[Reason(alarm.code)]
    for start, kind in _STARTS:
        if subject == start.strip() or subject.startswith(start):
            return kind
    if not subject:
        return About.ALL
    if (found := _uuid(subject)) is not None:
        return About.SITE if Site.objects.filter(pk=found).exists() else About.TRANSFER
    if alarm.code in _OF_A_NAME:
        return _OF_A_NAME[Reason(alarm.code)]
    return About.BUCKET if alarm.code in STOP_CODES else About.OTHER


_OF_ONE_WORD = {Reason.CLEANUP_FAILED: About.FAILING, Reason.HOME_DISK_LOW: About.MACHINE}
_OF_A_NAME = {Reason.LINE_DOWN: About.LINE, Reason.NO_RIGHT_TO_DELETE: About.RIGHT}
_STARTS = (
    ("owners on ", About.OWNERS),
    ("trash ", About.TRASH),
    ("holds in ", About.HOLDS),
    ("cleanup of ", About.FILES),
    ("cleanup at ", About.RUN),
    ("cleanup ", About.RUN),
)


# --- What is over, by what the alarm is about -------------------------------------------------------


def _told_by_its_own_look(_: Case) -> bool:
    """Who raises it closes it. Silence and the trash are looked at by the same sweep."""
    return False


def _bucket_is_over(case: Case) -> bool:
    """No transfer waits because of it any more: one that got through, or that was cancelled, says so no longer."""
    if case.alarm.code in LOOKED_FOR and not case.look.bucket_answers:
        return False
    waiting = GCPVideoTransfer.objects.filter(transfer_status__in=[State.PENDING, State.UPLOADING])
    return not waiting.filter(gcp_bucket=case.alarm.subject, error_code=case.alarm.code).exists()


def _line_is_over(case: Case) -> bool:
    """The look at the bucket ends it. What it does not look at any more is over: another bucket, a site renamed."""
    bucket, _, site = case.alarm.subject.partition(" from ")
    if bucket != case.look.settings.bucket:
        return True
    return bool(site) and not Site.objects.filter(name=site).exists()


def _holds_are_over(case: Case) -> bool:
    return not _disagreeing().filter(gcp_bucket=case.alarm.subject.removeprefix("holds in ")).exists()


def _site_is_over(case: Case) -> bool:
    return case.look.disk_is_there and case.look.site_id in {None, _uuid(case.alarm.subject)}


def _run_is_over(case: Case) -> bool:
    """A run that gets past its guards ends it. A disk that is there again, and an empty line, can be seen from here."""
    if not _is_own_run(case):
        return False
    if case.alarm.code == Reason.MEDIA_ROOT_NOT_MOUNTED:
        return case.look.disk_is_there
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING)
    site = _site_of_run(case)
    return not (rows.filter(site__name=site) if site else rows).exists()


def _is_own_run(case: Case) -> bool:
    """Whether this process sees all that the stopped run looked at."""
    if case.look.site_id is None:
        return True
    site = _site_of_run(case)
    seen = Site.objects.filter(pk=case.look.site_id, name=site) if site else Site.objects.exclude(pk=case.look.site_id)
    return seen.exists() if site else not seen.exists()


def _site_of_run(case: Case) -> str:
    return case.alarm.subject.removeprefix("cleanup").removeprefix(" at ")


def _files_are_over(case: Case) -> bool:
    """A whole run that does not meet it ends it; so does the end of the last file that it can be about."""
    bucket, _, site = case.alarm.subject.removeprefix("cleanup of ").partition(" at ")
    if case.alarm.code == Reason.BUCKET_SETTING_CHANGED and bucket in case.look.settings.trusted_buckets:
        return True
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, gcp_bucket=bucket)
    return not rows.filter(site__name=site).exists()


def _failing_is_over(case: Case) -> bool:
    rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, needs_attention=True)
    return not rows.filter(site__name=case.alarm.subject).exists()


def _right_is_over(case: Case) -> bool:
    """A worker that sees the disk ends it. A site of another name, or no cleanup at all, has no use for it."""
    return not case.look.settings.cleanup_local or not Site.objects.filter(name=case.alarm.subject).exists()


def _transfer_is_over(case: Case) -> bool:
    return transfer_is_over(case.alarm.subject, case.alarm.code)


def transfer_is_over(transfer_id: str, code: str) -> bool:
    """Neither its row says so any more, nor does its hold wait for the bucket."""
    if _uuid(transfer_id) is None:
        return True
    rows = GCPVideoTransfer.objects.filter(pk=transfer_id, error_code=code)
    return not rows.exists() and not _disagreeing().filter(pk=transfer_id).exists()


def _machine_is_over(case: Case) -> bool:
    """A worker there ends it. A machine that has had none for so long that its rows are gone tells nothing more."""
    if case.alarm.last_seen_at > case.look.now - MACHINE_IS_GONE:
        return False
    return not WorkerProcess.objects.filter(host=case.alarm.subject).exists()


OVER: Mapping[About, Over] = {
    About.MACHINE: _machine_is_over,
    About.ALL: _told_by_its_own_look,
    About.TRASH: _told_by_its_own_look,
    About.OWNERS: _told_by_its_own_look,
    About.OTHER: _told_by_its_own_look,
    About.BUCKET: _bucket_is_over,
    About.LINE: _line_is_over,
    About.HOLDS: _holds_are_over,
    About.SITE: _site_is_over,
    About.RUN: _run_is_over,
    About.FILES: _files_are_over,
    About.FAILING: _failing_is_over,
    About.RIGHT: _right_is_over,
    About.TRANSFER: _transfer_is_over,
}


def _run_cleanup_again(look: Look) -> None:
    """A stopped run's cause can be looked at by a run alone. One that goes on, or is due, is left as it is."""
    name = "cleanup" if look.site_id is None else f"cleanup@{look.site_id}"
    long_ago = look.now - RUN_AGAIN_AFTER
    job = PeriodicJob.objects.filter(name=name, next_run_at__gt=look.now, last_finished_at__lte=long_ago)
    job.update(next_run_at=look.now)


def _disagreeing() -> TransferQuerySet:
    """Uploaded transfers whose hold in the bucket is not yet what is wanted."""
    rows = GCPVideoTransfer.objects.filter(transfer_status__in=UPLOADED)
    return rows.exclude(recording__hold_wanted=F("recording__hold_confirmed"))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
