"""How many transfers and recordings there are, and their bytes: by camera and status, or by camera and storage."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Sum

from apps.cctv.models import GCPVideoTransfer, Recording


@dataclass(frozen=True, slots=True)
class CountAndBytes:
    """How many rows, and the sum of their file sizes."""

    count: int = 0
    size_bytes: int = 0

    def __add__(self, other: CountAndBytes) -> CountAndBytes:
        return CountAndBytes(self.count + other.count, self.size_bytes + other.size_bytes)


def transfer_tally(camera_ids: Collection[UUID] | None) -> dict[tuple[UUID, str], CountAndBytes]:
    """The transfers of those cameras, or of all where it is None, by camera and status.

    Only what exists is a key. Bytes are those of the files.
    """
    rows = GCPVideoTransfer.objects.order_by().values_list("camera_id", "transfer_status")
    if camera_ids is not None:
        rows = rows.filter(camera_id__in=camera_ids)
    found = rows.annotate(Count("pk"), Sum("file_size_bytes"))
    return {(camera_id, status): CountAndBytes(count, size) for camera_id, status, count, size in found}


def recording_tally(camera_ids: Collection[UUID] | None) -> dict[tuple[UUID, str, str, bool], CountAndBytes]:
    """The recordings of those cameras, or of all where it is None: by camera, storage type, status, held or not.

    Only what exists is a key.
    """
    rows = Recording.objects.order_by().values_list("camera_id", "storage_type", "status", "hold_wanted")
    if camera_ids is not None:
        rows = rows.filter(camera_id__in=camera_ids)
    found = rows.annotate(Count("pk"), Sum("file_size_bytes"))
    return {tuple(key): CountAndBytes(count, size) for *key, count, size in found}
