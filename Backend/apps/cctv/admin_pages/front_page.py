"""The front page: what somebody woken at three in the morning wants to know, worst first."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count as CountOf
from django.db.models import QuerySet, Sum
from django.urls import reverse
from django.utils.safestring import SafeString

from apps.cctv.admin_pages.display import STATUS_COLOURS, meaning, status_name
from apps.cctv.models import GCPVideoTransfer, PeriodicJob
from apps.cctv.selectors.alarms import ShownAlarm, alarms_shown, open_alarms
from apps.cctv.selectors.places import site_list
from apps.cctv.selectors.recordings import unrequested
from apps.cctv.selectors.visibility import (
    cameras_visible_to,
    jobs_visible_to,
    recordings_visible_to,
    sees_all_cameras,
    transfers_visible_to,
    workers_visible_to,
)
from apps.cctv.services.bandwidth import limit_of
from apps.cctv.tables.moves import TransferQuerySet
from apps.cctv.tables.work import JobKind
from apps.cctv.units import human_size, span
from apps.cctv.wiring import media_root, service_settings
from apps.users.models import User
from offload.states import State

ROWS = 5
DISK_TIGHT_PERCENT = 5
LOOK_IS_OLD = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Count:
    name: str
    colour: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of the media root, and what is on it by status."""

    free: str
    total: str
    used_percent: float
    tight: bool


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    site: str
    heartbeat: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`worries` come first on the page; empty means that all is well."""

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
    lines: list[tuple[str, str]]
    jobs: list[tuple[PeriodicJob, str, str]]
    last_cleanup: PeriodicJob | None
    last_cleanup_result: str
    last_cleanup_ago: str
    looks: list[tuple[str, str]]
    was_looked_at: bool
    oldest_pending: GCPVideoTransfer | None
    oldest_pending_age: str
    uploading: list[GCPVideoTransfer]
    failed: list[tuple[GCPVideoTransfer, SafeString]]
    now: datetime


def dashboard_of(user: User, *, now: datetime) -> Dashboard:
    """Everything on the page, as the database and the disk have it now (P9)."""
    transfers = transfers_visible_to(user)
    by_status = transfers.status_counts()
    alarms = open_alarms()
    sees_all = sees_all_cameras(user)
    shown_alarms = [
        (shown, meaning(shown.alarm.code), span(now - shown.alarm.raised_at))
        for shown in alarms_shown(alarms[:ROWS], sees_all=sees_all)
    ]
    disk, workers = _disk(), _workers(user, now)
    to_request_count, to_request_bytes = _to_request(user)
    cleanup, looks = _last_cleanup(user), _looks(user, now)
    oldest = _rows(transfers.filter(transfer_status=State.PENDING)).order_by("created_at", "id").first()
    uploading = _rows(transfers.filter(transfer_status=State.UPLOADING)).order_by("upload_started_at", "id")
    failed = _rows(transfers.filter(transfer_status=State.FAILED)).order_by("-created_at", "-id")[:ROWS]
    return Dashboard(
        worries=_worries(by_status, disk, workers, to_request_count) + _unknown_footage(looks),
        alarms=shown_alarms,
        alarm_count=alarms.count(),
        counts=_counts(by_status),
        total=sum(by_status.values()),
        disk=disk,
        to_free=human_size(transfers.waiting_for_cleanup_bytes()),
        to_upload=human_size(_bytes(transfers.filter(transfer_status__in=[State.PENDING, State.UPLOADING]))),
        to_request=f"{to_request_count}, {human_size(to_request_bytes)}",
        workers=workers,
        lines=[(site.name, limit_of(site).told(now)) for site in site_list(user) if site.bandwidth_limit],
        jobs=[_job(job, now) for job in jobs_visible_to(user).order_by("name")],
        last_cleanup=cleanup,
        last_cleanup_result=_result(cleanup, sees_all),
        last_cleanup_ago=_ago(cleanup.last_finished_at if cleanup else None, now),
        looks=[(look.last_result if sees_all else "", _ago(look.last_finished_at, now)) for look in looks],
        was_looked_at=_was_looked_at(user, looks),
        oldest_pending=oldest,
        oldest_pending_age=span(now - oldest.created_at) if oldest else "",
        uploading=list(uploading[:ROWS]),
        failed=[(row, meaning(row.error_code)) for row in failed],
        now=now,
    )


def _rows(transfers: TransferQuerySet) -> QuerySet[GCPVideoTransfer]:
    return transfers.select_related("recording__camera").defer("session_uri", "session_identity")


def _counts(by_status: dict[str, int]) -> list[Count]:
    url = reverse("admin:cctv_gcpvideotransfer_changelist") + "?transfer_status__exact="
    return [Count(status_name(state), STATUS_COLOURS[state], by_status[state], url + state.value) for state in State]


def _bytes(transfers: TransferQuerySet) -> int:
    return int(transfers.aggregate(n=Sum("file_size_bytes"))["n"] or 0)


def _to_request(user: User) -> tuple[int, int]:
    """How many recordings no transfer was asked for, and their bytes."""
    found = unrequested(recordings_visible_to(user)).aggregate(count=CountOf("pk"), size=Sum("file_size_bytes"))
    return found["count"], int(found["size"] or 0)


def _result(cleanup: PeriodicJob | None, sees_all: bool) -> str:
    if cleanup is None:
        return "It has not run yet."
    return cleanup.last_result if sees_all else "Its result may name any file: who sees all cameras may read it."


def _last_cleanup(user: User) -> PeriodicJob | None:
    """The newest finished run, of whichever site, by a worker or by the command."""
    runs = jobs_visible_to(user).filter(kind=JobKind.CLEANUP)
    return runs.filter(last_finished_at__isnull=False).order_by("-last_finished_at").first()


def _looks(user: User, now: datetime) -> list[PeriodicJob]:
    """What the workers found when they last looked for footage that was never imported, where that is not long ago."""
    rows = jobs_visible_to(user).filter(kind=JobKind.LOOK)
    return list(rows.filter(last_finished_at__gt=now - LOOK_IS_OLD).order_by("name"))


def _was_looked_at(user: User, looks: list[PeriodicJob]) -> bool:
    """Whether all of the disk of each site with cameras was looked at, by a worker of the site or of all sites."""
    if not looks or not all(look.last_ok for look in looks):
        return False
    looked_at = {look.site_id for look in looks}
    sites = cameras_visible_to(user).order_by().values_list("site_id", flat=True).distinct()
    return None in looked_at or looked_at.issuperset(sites)


def _unknown_footage(looks: list[PeriodicJob]) -> list[str]:
    count = sum(look.unknown_files or 0 for look in looks)
    return [f"{_many(count, 'file')} on the disk for an import: no recording is known of them."] if count else []


def _disk() -> Disk | None:
    """None where the media root is not there: not mounted, say."""
    try:
        found = shutil.disk_usage(media_root().path)
    except OSError:
        return None
    used_percent = 100 - 100 * found.free / found.total
    return Disk(
        human_size(found.free), human_size(found.total), round(used_percent, 1), 100 - used_percent < DISK_TIGHT_PERCENT
    )


def _workers(user: User, now: datetime) -> list[Worker]:
    """Those that gave a sign of life within the length of a lease."""
    alive_since = now - timedelta(seconds=service_settings().timings.lease_seconds)
    alive = workers_visible_to(user).filter(stopped_at__isnull=True, heartbeat_at__gte=alive_since)
    rows = alive.select_related("site")
    return [Worker(str(row), row.site.name if row.site else "any site", span(now - row.heartbeat_at)) for row in rows]


def _worries(by_status: dict[str, int], disk: Disk | None, workers: list[Worker], to_request: int) -> list[str]:
    waiting = by_status[State.PENDING] + by_status[State.UPLOADING]
    found = {
        f"No worker is alive, and {_many(waiting, 'transfer')} for one.": not workers and waiting,
        "No worker is alive: nothing will be uploaded or cleaned up.": not workers and not waiting,
        "The media root is not there. Is its disk mounted?": disk is None,
        f"The disk is nearly full: {disk.free if disk else ''} free.": disk is not None and disk.tight,
        f"{_many(by_status[State.FAILED], 'failed transfer')} for a person.": by_status[State.FAILED],
        f"{_many(to_request, 'recording')} for a request: no transfer of them was asked for.": to_request,
        "Uploads are switched off: GCP storage is not configured.": not service_settings().use_gcs,
    }
    return [text for text, true in found.items() if true]


def _job(job: PeriodicJob, now: datetime) -> tuple[PeriodicJob, str, str]:
    return job, _ago(job.last_finished_at, now), _due(job.next_run_at, now)


def _many(count: int, what: str) -> str:
    return f"{count} {what} waits" if count == 1 else f"{count} {what}s wait"


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{span(now - moment)} ago"


def _due(moment: datetime, now: datetime) -> str:
    return "due now" if moment <= now else f"next in {span(moment - now)}"
