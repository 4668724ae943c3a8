"""Recordings to show: lists, one recording, and their sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum

from apps.cctv.models import Recording
from apps.cctv.selectors.paging import Page, given, page_of
from apps.cctv.selectors.visibility import recordings_visible_to, transfers_visible_to
from apps.users.models import User


@dataclass(frozen=True, slots=True)
class RecordingFilters:
    """What a list of recordings is narrowed to; None and an empty `search` ask nothing.

    `started_after` is included, `started_before` is not.
    Each word of `search` is in the name of the recording or of its camera.
    """

    camera_id: UUID | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    storage_type: str | None = None
    status: str | None = None
    held: bool | None = None
    search: str = ""

    def condition(self) -> Q:
        found = given(
            camera_id=self.camera_id,
            started_at__gte=self.started_after,
            started_at__lt=self.started_before,
            storage_type=self.storage_type,
            status=self.status,
            hold_wanted=self.held,
        )
        for word in self.search.split():
            found &= Q(name__icontains=word) | Q(camera__name__icontains=word)
        return found


def recording_page(
    *, user: User, filters: RecordingFilters | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Recording]:
    """Latest start first, in one query. Raises CursorRefused."""
    rows = _recordings_to_show(user).filter((filters or RecordingFilters()).condition())
    return page_of(rows, column="started_at", limit=limit, cursor=cursor)


def recording_detail(*, user: User, recording_id: UUID) -> Recording | None:
    return _recordings_to_show(user).filter(pk=recording_id).first()


def _recordings_to_show(user: User) -> QuerySet[Recording]:
    rows = recordings_visible_to(user).select_related("camera__site", "held_by", "gcp_transfer")
    # The session URI is a key (P10): what is shown to people is read without it.
    return rows.defer("gcp_transfer__session_uri")


@dataclass(frozen=True, slots=True)
class StorageSum:
    """How many recordings, and their bytes."""

    count: int = 0
    size_bytes: int = 0

    def __add__(self, other: StorageSum) -> StorageSum:
        return StorageSum(self.count + other.count, self.size_bytes + other.size_bytes)


@dataclass(frozen=True, slots=True)
class StorageSums:
    """All, those on local disks, those in the bucket, and held ones wherever they are."""

    total: StorageSum = StorageSum()
    local: StorageSum = StorageSum()
    gcp: StorageSum = StorageSum()
    held: StorageSum = StorageSum()

    def __add__(self, other: StorageSums) -> StorageSums:
        return StorageSums(
            self.total + other.total, self.local + other.local, self.gcp + other.gcp, self.held + other.held
        )


@dataclass(frozen=True, slots=True)
class CameraStats:
    camera_id: UUID
    camera_name: str
    sums: StorageSums


@dataclass(frozen=True, slots=True)
class RecordingStats:
    """`waiting_for_cleanup_bytes` are uploaded and verified, and still on local disks."""

    sums: StorageSums
    cameras: list[CameraStats]
    waiting_for_cleanup_bytes: int


_KINDS: dict[str, Q | None] = {
    "total": None,
    "local": Q(storage_type=Recording.StorageType.LOCAL),
    "gcp": Q(storage_type=Recording.StorageType.GCP),
    "held": Q(hold_wanted=True),
}


def recording_stats(user: User) -> RecordingStats:
    """The sums of all recordings that `user` may see, and of each camera; two grouped queries."""
    sums: dict[str, Any] = {}
    for kind, condition in _KINDS.items():
        sums[f"{kind}_count"] = Count("pk", filter=condition)
        sums[f"{kind}_bytes"] = Sum("file_size_bytes", filter=condition, default=0)
    rows = recordings_visible_to(user).order_by("camera__name", "camera_id").values("camera_id", "camera__name")
    counted: Iterable[Mapping[str, Any]] = rows.annotate(**sums)
    cameras = []
    for row in counted:
        of_camera = {kind: StorageSum(row[f"{kind}_count"], row[f"{kind}_bytes"]) for kind in _KINDS}
        cameras.append(CameraStats(row["camera_id"], row["camera__name"], StorageSums(**of_camera)))
    # Added up here, not asked for: so the total is that of its parts, whatever is written meanwhile.
    total = sum((camera.sums for camera in cameras), StorageSums())
    return RecordingStats(total, cameras, transfers_visible_to(user).waiting_for_cleanup_bytes())


def unrequested(recordings: QuerySet[Recording]) -> QuerySet[Recording]:
    """Those of `recordings` whose file is local and finished and for which no transfer was ever requested."""
    return recordings.filter(
        storage_type=Recording.StorageType.LOCAL, status=Recording.Status.READY, gcp_transfer__isnull=True
    )
