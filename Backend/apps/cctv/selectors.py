"""Reads for the API, the admin and the commands. Nothing here writes.

Pages are cut by keyset: a cursor names the last row of a page, so rows that arrive meanwhile neither
repeat nor hide others. A cursor is signed; what was not made here is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.core import signing
from django.db.models import Count, Exists, Model, OuterRef, Q, QuerySet, Sum

from apps.cctv.models import (
    Camera,
    GCPVideoTransfer,
    OrphanedObject,
    PeriodicJob,
    Recording,
    Site,
    TransferBatch,
    WorkerProcess,
)
from apps.cctv.tables.moves import TransferQuerySet
from apps.users.models import User
from apps.users.permissions import Permission, may
from offload.states import UPLOADED, State

M = TypeVar("M", bound=Model)

_CURSOR_SALT = "coldreel.cursor"


class CursorRefused(Exception):
    """The cursor was not made here, or for another list."""


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows in order, and where the next page begins; `next_cursor` is None on the last page."""

    rows: list[M]
    next_cursor: str | None


# --- What a user may see --------------------------------------------------------------------------
def cameras_visible_to(user: User) -> QuerySet[Camera]:
    """All for who may manage; for who may only view, private cameras need a grant; else none."""
    cameras = Camera.objects.select_related("site")
    if may(user, Permission.MANAGE):
        return cameras
    if may(user, Permission.VIEW):
        return cameras.filter(_open_or_granted(user, ""))
    return cameras.none()


def recordings_visible_to(user: User) -> QuerySet[Recording]:
    """The recordings of the cameras that `user` may see."""
    recordings = Recording.objects.all()
    if may(user, Permission.MANAGE):
        return recordings
    if may(user, Permission.VIEW):
        return recordings.filter(_open_or_granted(user, "camera__"))
    return recordings.none()


def transfers_visible_to(user: User) -> TransferQuerySet:
    """The transfers of the recordings that `user` may see."""
    transfers = GCPVideoTransfer.objects.all()
    if may(user, Permission.MANAGE):
        return transfers
    if may(user, Permission.VIEW):
        return transfers.filter(_open_or_granted(user, "recording__camera__"))
    return transfers.none()


def unrequested(recordings: QuerySet[Recording]) -> QuerySet[Recording]:
    """Those of `recordings` whose file is local and finished and whose transfer was never asked for."""
    return recordings.filter(
        storage_type=Recording.StorageType.LOCAL, status=Recording.Status.READY, gcp_transfer__isnull=True
    )


def orphans_visible_to(user: User) -> QuerySet[OrphanedObject]:
    """The orphaned objects of the transfers that `user` may see."""
    orphans = OrphanedObject.objects.all()
    if may(user, Permission.MANAGE):
        return orphans
    if may(user, Permission.VIEW):
        return orphans.filter(_open_or_granted(user, "transfer__recording__camera__"))
    return orphans.none()


def sees_all_cameras(user: User) -> bool:
    """Whether there is no camera that `user` may not see: only then are words that may name any of them shown."""
    if may(user, Permission.MANAGE):
        return True
    seen = cameras_visible_to(user).order_by().values("pk")
    return may(user, Permission.VIEW) and not Camera.objects.exclude(pk__in=seen).exists()


def sites_visible_to(user: User) -> QuerySet[Site]:
    """The sites of the cameras that `user` may see; all of them for who may manage."""
    sites = Site.objects.all()
    if may(user, Permission.MANAGE):
        return sites
    return sites.filter(pk__in=cameras_visible_to(user).order_by().values("site_id"))


def workers_visible_to(user: User) -> QuerySet[WorkerProcess]:
    """The workers of the sites that `user` may see, and those of no site."""
    workers = WorkerProcess.objects.all()
    if may(user, Permission.MANAGE):
        return workers
    return workers.filter(Q(site__isnull=True) | Q(site__in=sites_visible_to(user).order_by().values("pk")))


def jobs_visible_to(user: User) -> QuerySet[PeriodicJob]:
    """The jobs of the sites that `user` may see, named `job@site`, and those of no site."""
    jobs = PeriodicJob.objects.all()
    if may(user, Permission.MANAGE):
        return jobs
    condition = ~Q(name__contains="@")
    for pk in sites_visible_to(user).values_list("pk", flat=True):
        condition |= Q(name__endswith=f"@{pk}")
    return jobs.filter(condition)


def batches_visible_to(user: User) -> QuerySet[TransferBatch]:
    """The batches with a transfer that `user` may see."""
    batches = TransferBatch.objects.all()
    if may(user, Permission.MANAGE):
        return batches
    return batches.filter(Exists(transfers_visible_to(user).filter(batch=OuterRef("pk"))))


def _open_or_granted(user: User, prefix: str) -> Q:
    """A sub-select of grants, not a join: a join would repeat rows."""
    granted = Camera.objects.filter(grants__user=user).values("pk")
    return Q(**{f"{prefix}is_private": False}) | Q(**{f"{prefix}pk__in": granted})


# --- Transfers ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TransferFilters:
    """`created_after` is included, `created_before` is not. `search` meets names and object paths."""

    status: State | None = None
    camera_id: UUID | None = None
    search: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None

    def condition(self) -> Q:
        found = _given(
            transfer_status=self.status,
            recording__camera_id=self.camera_id,
            created_at__gte=self.created_after,
            created_at__lt=self.created_before,
        )
        for word in self.search.split():
            found &= (
                Q(recording__name__icontains=word)
                | Q(recording__camera__name__icontains=word)
                | Q(gcp_storage_path__icontains=word)
            )
        return found


@dataclass(frozen=True, slots=True)
class TransferCounts:
    """Every transfer that the caller may see, whatever the filters (P9)."""

    total_count: int
    pending_count: int
    uploading_count: int
    completed_count: int
    failed_count: int
    cleanup_pending_count: int
    cleanup_completed_count: int


def transfer_counts(user: User) -> TransferCounts:
    """One grouped query. `completed_count` includes the two cleanup states."""
    counts = transfers_visible_to(user).status_counts()
    return TransferCounts(
        total_count=sum(counts.values()),
        pending_count=counts[State.PENDING],
        uploading_count=counts[State.UPLOADING],
        completed_count=sum(counts[state] for state in UPLOADED),
        failed_count=counts[State.FAILED],
        cleanup_pending_count=counts[State.CLEANUP_PENDING],
        cleanup_completed_count=counts[State.CLEANUP_COMPLETED],
    )


def transfer_page(
    *, user: User, filters: TransferFilters | None = None, limit: int = 100, cursor: str | None = None
) -> Page[GCPVideoTransfer]:
    """Newest first, in one query. Raises CursorRefused."""
    rows = _transfers_to_show(user).filter((filters or TransferFilters()).condition())
    return _page(rows, column="created_at", limit=limit, cursor=cursor)


def transfer_detail(*, user: User, transfer_id: UUID) -> GCPVideoTransfer | None:
    """One transfer with its events and orphans at hand; None where it does not exist for `user`."""
    return _transfers_to_show(user).prefetch_related("events", "orphans").filter(pk=transfer_id).first()


def _transfers_to_show(user: User) -> TransferQuerySet:
    # The session URI is a key (P10): what is shown to people is read without it.
    return transfers_visible_to(user).select_related("recording__camera", "initiated_by").defer("session_uri")


# --- Recordings -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RecordingFilters:
    """By the recording's start: `started_after` is included, `started_before` is not."""

    camera_id: UUID | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    storage_type: str | None = None
    status: str | None = None
    held: bool | None = None
    search: str = ""

    def condition(self) -> Q:
        found = _given(
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
    return _page(rows, column="started_at", limit=limit, cursor=cursor)


def recording_detail(*, user: User, recording_id: UUID) -> Recording | None:
    return _recordings_to_show(user).filter(pk=recording_id).first()


def _recordings_to_show(user: User) -> QuerySet[Recording]:
    rows = recordings_visible_to(user).select_related("camera__site", "held_by", "gcp_transfer")
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
    """`waiting_for_cleanup_bytes` are on local disks, uploaded and verified."""

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
    """Two grouped queries, whatever the number of cameras."""
    sums: dict[str, Any] = {}
    for kind, condition in _KINDS.items():
        sums[f"{kind}_count"] = Count("pk", filter=condition)
        sums[f"{kind}_bytes"] = Sum("file_size_bytes", filter=condition, default=0)
    rows = recordings_visible_to(user).order_by("camera__name", "camera_id").values("camera_id", "camera__name")
    cameras = [_camera_stats(row) for row in rows.annotate(**sums)]
    total = sum((camera.sums for camera in cameras), StorageSums())
    return RecordingStats(total, cameras, transfers_visible_to(user).waiting_bytes())


def _camera_stats(row: Mapping[str, Any]) -> CameraStats:
    sums = {kind: StorageSum(row[f"{kind}_count"], row[f"{kind}_bytes"]) for kind in _KINDS}
    return CameraStats(row["camera_id"], row["camera__name"], StorageSums(**sums))


# --- Cameras and sites ----------------------------------------------------------------------------
def camera_list(*, user: User, archived: bool | None = None) -> list[Camera]:
    """In order of names; `archived` None means both kinds."""
    cameras = cameras_visible_to(user).order_by("name", "pk")
    if archived is not None:
        cameras = cameras.filter(archived_at__isnull=not archived)
    return list(cameras)


def camera_detail(*, user: User, camera_id: UUID) -> Camera | None:
    return cameras_visible_to(user).filter(pk=camera_id).first()


def site_list(user: User) -> list[Site]:
    return list(sites_visible_to(user).order_by("name"))


# --- Pages ----------------------------------------------------------------------------------------
def _given(**conditions: object) -> Q:
    return Q(**{name: value for name, value in conditions.items() if value is not None})


def _page(rows: QuerySet[M], *, column: str, limit: int, cursor: str | None) -> Page[M]:
    if cursor is not None:
        moment, pk = _read_cursor(cursor, column)
        # Written so that an index on (column, id) serves the range; an OR of both alone would not.
        rows = rows.filter(Q(**{f"{column}__lte": moment}), Q(**{f"{column}__lt": moment}) | Q(pk__lt=pk))
    found = list(rows.order_by(f"-{column}", "-pk")[: limit + 1])
    return Page(found[:limit], _next_cursor(found[:limit], column) if len(found) > limit else None)


def _next_cursor(rows: Iterable[M], column: str) -> str:
    *_, last = rows
    return signing.dumps([column, getattr(last, column).isoformat(), str(last.pk)], salt=_CURSOR_SALT)


def _read_cursor(cursor: str, column: str) -> tuple[datetime, UUID]:
    try:
        of, moment, pk = signing.loads(cursor, salt=_CURSOR_SALT)
    except (signing.BadSignature, ValueError) as error:
        raise CursorRefused("the cursor was not made by this list") from error
    if of != column:
        raise CursorRefused("the cursor belongs to another list")
    return datetime.fromisoformat(moment), UUID(pk)
