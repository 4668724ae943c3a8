"""How the installation is doing, as one person may see it: what the admin's front page, alerts and metrics share.

Numbers, rows and codes, no words: each interface writes its own sentences.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from operator import itemgetter
from pathlib import Path
from typing import Any

from django.db.models import Count, QuerySet, Sum

from apps.cctv.models import GCPVideoTransfer, PeriodicJob, Site, WorkerProcess
from apps.cctv.selectors.alarms import ShownAlarm, alarms_shown, open_alarms
from apps.cctv.selectors.places import site_list
from apps.cctv.selectors.recordings import StorageSum, unrequested
from apps.cctv.selectors.visibility import (
    cameras_visible_to,
    jobs_visible_to,
    recordings_visible_to,
    sees_all_cameras,
    transfers_visible_to,
    workers_visible_to,
)
from apps.cctv.tables.moves import TransferQuerySet
from apps.cctv.tables.work import JobKind
from apps.users.models import User
from offload.states import State

MOST_ROWS = 5
"""Of the alarms, and of the transfers that upload or have failed; the counts are of all of them."""

DISK_TIGHT_PERCENT = 5
"""With less than that share of it free the disk of the media root is a worry."""

LOOK_IS_OLD = timedelta(hours=24)
"""A look for footage that was never imported says nothing about the disk after that time."""


class WorryCode(StrEnum):
    """What is wrong, worst first. The comment says what its number is."""

    NO_WORKER = "no_worker"  # transfers that wait for one
    NO_MEDIA_ROOT = "no_media_root"
    DISK_TIGHT = "disk_tight"  # bytes free
    FAILED_TRANSFERS = "failed_transfers"  # transfers
    UNREQUESTED_RECORDINGS = "unrequested_recordings"  # recordings
    UPLOADS_OFF = "uploads_off"
    UNKNOWN_FILES = "unknown_files"  # files on the disk that are no recording


@dataclass(frozen=True, slots=True)
class Worry:
    code: WorryCode
    number: int = 0


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The disk of the media root."""

    free_bytes: int
    total_bytes: int

    @property
    def used_percent(self) -> float:
        return 100 - 100 * self.free_bytes / self.total_bytes

    @property
    def is_tight(self) -> bool:
        return 100 - self.used_percent < DISK_TIGHT_PERCENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All of it as of `now`. Results of jobs are empty where they may name a camera that is hidden from this person.

    `disk` is None where the media root is not there, for example not mounted. `workers` are those that are alive.
    `looks` are those of the last day for footage that was never imported; `is_all_looked_at` is True where they cover
    the whole disk of each site with cameras.
    """

    now: datetime
    sees_all: bool
    uploads_are_on: bool
    alarms: list[ShownAlarm]
    alarm_count: int
    transfers_by_status: dict[str, int]
    to_free_bytes: int
    to_upload_bytes: int
    to_request: StorageSum
    disk: DiskSpace | None
    workers: list[WorkerProcess]
    limited_sites: list[Site]
    jobs: list[PeriodicJob]
    last_cleanup: PeriodicJob | None
    looks: list[PeriodicJob]
    is_all_looked_at: bool
    oldest_pending: GCPVideoTransfer | None
    uploading: list[GCPVideoTransfer]
    failed: list[GCPVideoTransfer]

    def worries(self) -> list[Worry]:
        """What is wrong beside the alarms, in the order of `WorryCode`."""
        waiting = self.transfers_by_status[State.PENDING] + self.transfers_by_status[State.UPLOADING]
        disk, failed = self.disk, self.transfers_by_status[State.FAILED]
        unknown = sum(look.unknown_files or 0 for look in self.looks)
        found = [
            (not self.workers, Worry(WorryCode.NO_WORKER, waiting)),
            (disk is None, Worry(WorryCode.NO_MEDIA_ROOT)),
            (disk is not None and disk.is_tight, Worry(WorryCode.DISK_TIGHT, disk.free_bytes if disk else 0)),
            (failed, Worry(WorryCode.FAILED_TRANSFERS, failed)),
            (self.to_request.count, Worry(WorryCode.UNREQUESTED_RECORDINGS, self.to_request.count)),
            (not self.uploads_are_on, Worry(WorryCode.UPLOADS_OFF)),
            (unknown, Worry(WorryCode.UNKNOWN_FILES, unknown)),
        ]
        return [worry for is_so, worry in found if is_so]


def overview_of(user: User, *, now: datetime, media_root: Path, lease_seconds: float, uploads_are_on: bool) -> Overview:
    """The overview for `user`, as the database and the disk have it now (P9).

    A worker is alive that gave a sign of life within `lease_seconds`.
    """
    transfers, alarms, sees_all = transfers_visible_to(user), open_alarms(), sees_all_cameras(user)
    alive_since = now - timedelta(seconds=lease_seconds)
    workers = workers_visible_to(user).filter(stopped_at__isnull=True, heartbeat_at__gte=alive_since)
    jobs = list(jobs_visible_to(user).order_by("name"))
    if not sees_all:
        # A result may name a file, and by that a hidden camera.
        for job in jobs:
            job.last_result = ""
    finished = [(job.last_finished_at, job) for job in jobs if job.last_finished_at is not None]
    cleanups = [(at, job) for at, job in finished if job.kind == JobKind.CLEANUP]
    looks = [job for at, job in finished if job.kind == JobKind.LOOK and at > now - LOOK_IS_OLD]
    # Each look covered its whole disk, and there is one of all sites or one of each site with cameras.
    looked_at = {look.site_id for look in looks}
    is_all_looked_at = bool(looks) and all(look.last_ok for look in looks)
    if is_all_looked_at and None not in looked_at:
        sites = cameras_visible_to(user).order_by().values_list("site_id", flat=True).distinct()
        is_all_looked_at = looked_at.issuperset(sites)
    disk: DiskSpace | None = None
    with suppress(OSError):  # not mounted, or gone
        found = shutil.disk_usage(media_root)
        disk = DiskSpace(found.free, found.total)
    return Overview(
        now=now,
        sees_all=sees_all,
        uploads_are_on=uploads_are_on,
        alarms=alarms_shown(alarms[:MOST_ROWS], sees_all=sees_all),
        alarm_count=alarms.count(),
        transfers_by_status=transfers.status_counts(),
        to_free_bytes=transfers.waiting_for_cleanup_bytes(),
        to_upload_bytes=_sum_of(transfers.filter(transfer_status__in=[State.PENDING, State.UPLOADING])).size_bytes,
        to_request=_sum_of(unrequested(recordings_visible_to(user))),
        disk=disk,
        workers=list(workers.select_related("site")),
        limited_sites=[site for site in site_list(user) if site.bandwidth_limit],
        jobs=jobs,
        last_cleanup=max(cleanups, key=itemgetter(0))[1] if cleanups else None,
        looks=looks,
        is_all_looked_at=is_all_looked_at,
        oldest_pending=_in_status(transfers, State.PENDING).order_by("created_at", "id").first(),
        uploading=list(_in_status(transfers, State.UPLOADING).order_by("upload_started_at", "id")[:MOST_ROWS]),
        failed=list(_in_status(transfers, State.FAILED).order_by("-created_at", "-id")[:MOST_ROWS]),
    )


def _in_status(transfers: TransferQuerySet, status: State) -> QuerySet[GCPVideoTransfer]:
    # The session URI is a key (P10): what is shown to people is read without it.
    rows = transfers.filter(transfer_status=status).select_related("recording__camera")
    return rows.defer("session_uri", "session_identity")


def _sum_of(rows: QuerySet[Any]) -> StorageSum:
    return StorageSum(**rows.aggregate(count=Count("pk"), size_bytes=Sum("file_size_bytes", default=0)))
