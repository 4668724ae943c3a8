"""The front page: the overview in words, with what is wrong first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.safestring import SafeString

from apps.cctv.admin_pages.display import STATUS_COLOURS, reason_meaning, status_name
from apps.cctv.models import GCPVideoTransfer, PeriodicJob
from apps.cctv.selectors.alarms import ShownAlarm
from apps.cctv.selectors.overview import Overview, WorryCode, overview_of
from apps.cctv.services.bandwidth import limit_of
from apps.cctv.units import human_size, span
from apps.cctv.wiring import media_root, service_settings
from apps.users.models import User
from offload.states import State


@dataclass(frozen=True, slots=True)
class Count:
    """How many transfers have a status, and the address of the list of them."""

    name: str
    colour: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of the media root."""

    free: str
    total: str
    used_percent: float
    tight: bool


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    site: str
    heartbeat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """What the template shows. Without `worries` and `alarms` it says that all is well, if all was looked at."""

    worries: list[str]
    alarms: list[tuple[ShownAlarm, SafeString, str]]
    alarm_count: int
    counts: list[Count]
    total: int
    disk: Disk | None
    to_free: str
    to_upload: str
    to_request: str
    workers: list[Worker]
    limits: list[tuple[str, str]]
    jobs: list[tuple[PeriodicJob, str, str]]
    last_cleanup: PeriodicJob | None
    last_cleanup_result: str
    last_cleanup_ago: str
    looks: list[tuple[str, str]]
    is_all_looked_at: bool
    oldest_pending: GCPVideoTransfer | None
    oldest_pending_age: str
    uploading: list[GCPVideoTransfer]
    failed: list[tuple[GCPVideoTransfer, SafeString]]
    now: datetime


def dashboard_of(user: User, *, now: datetime) -> Dashboard:
    """The front page of `user`."""
    settings = service_settings()
    found = overview_of(
        user,
        now=now,
        media_root=media_root().path,
        lease_seconds=settings.timings.lease_seconds,
        uploads_are_on=settings.use_gcs,
    )
    list_url = reverse("admin:cctv_gcpvideotransfer_changelist") + "?transfer_status__exact="
    disk, cleanup, oldest = found.disk, found.last_cleanup, found.oldest_pending
    return Dashboard(
        worries=[_SENTENCES[worry.code](worry.number) for worry in found.worries()],
        alarms=[(shown, reason_meaning(shown.alarm.code), span(now - shown.alarm.raised_at)) for shown in found.alarms],
        alarm_count=found.alarm_count,
        counts=[
            Count(status_name(state), STATUS_COLOURS[state], found.transfers_by_status[state], list_url + state.value)
            for state in State
        ],
        total=sum(found.transfers_by_status.values()),
        disk=None
        if disk is None
        else Disk(
            human_size(disk.free_bytes), human_size(disk.total_bytes), round(disk.used_percent, 1), disk.is_tight
        ),
        to_free=human_size(found.to_free_bytes),
        to_upload=human_size(found.to_upload_bytes),
        to_request=f"{found.to_request.count}, {human_size(found.to_request.size_bytes)}",
        workers=[
            Worker(str(row), row.site.name if row.site else "any site", span(now - row.heartbeat_at))
            for row in found.workers
        ],
        limits=[(site.name, limit_of(site).told(now)) for site in found.limited_sites],
        jobs=[(job, _ago(job.last_finished_at, now), _due(job.next_run_at, now)) for job in found.jobs],
        last_cleanup=cleanup,
        last_cleanup_result=_cleanup_result(found),
        last_cleanup_ago=_ago(cleanup.last_finished_at if cleanup else None, now),
        looks=[(look.last_result, _ago(look.last_finished_at, now)) for look in found.looks],
        is_all_looked_at=found.is_all_looked_at,
        oldest_pending=oldest,
        oldest_pending_age=span(now - oldest.created_at) if oldest else "",
        uploading=found.uploading,
        failed=[(row, reason_meaning(row.error_code)) for row in found.failed],
        now=now,
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what} waits" if count == 1 else f"{count} {what}s wait"


_SENTENCES: dict[WorryCode, Callable[[int], str]] = {
    WorryCode.NO_WORKER: lambda waiting: (
        f"No worker is alive, and {_many(waiting, 'transfer')} for one."
        if waiting
        else "No worker is alive: nothing will be uploaded or cleaned up."
    ),
    WorryCode.NO_MEDIA_ROOT: lambda _: "The media root is not there. Is its disk mounted?",
    WorryCode.DISK_TIGHT: lambda free_bytes: f"The disk is nearly full: {human_size(free_bytes)} free.",
    WorryCode.FAILED_TRANSFERS: lambda count: f"{_many(count, 'failed transfer')} for a person.",
    WorryCode.UNREQUESTED_RECORDINGS: lambda count: (
        f"{_many(count, 'recording')} for a request: no transfer of them was asked for."
    ),
    WorryCode.UPLOADS_OFF: lambda _: "Uploads are switched off: GCP storage is not configured.",
    WorryCode.UNKNOWN_FILES: lambda count: (
        f"{_many(count, 'file')} on the disk for an import: no recording is known of them."
    ),
}


def _cleanup_result(found: Overview) -> str:
    if found.last_cleanup is None:
        return "It has not run yet."
    if not found.sees_all:
        return "Its result may name any file: only those who see all cameras read it."
    return found.last_cleanup.last_result


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{span(now - moment)} ago"


def _due(moment: datetime, now: datetime) -> str:
    return "due now" if moment <= now else f"next in {span(moment - now)}"
