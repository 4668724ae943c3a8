"""When a file is refused, and what becomes of its row then."""

from __future__ import annotations

from datetime import datetime

from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.retention import FileStays, retention_check
from apps.cctv.services.settings import ServiceSettings
from offload.digest import to_base64
from offload.errors import Reason
from offload.store import META_INSTALLATION, ObjectInfo


def row_check(
    row: GCPVideoTransfer, settings: ServiceSettings, installation: str, *, now: datetime, waived: bool = True
) -> None:
    """Whether the row's own columns allow a cleanup; `waived` leaves the waiting period aside. Raises FileStays."""
    owner_check(row, settings, installation)
    retention_check(row, settings=settings, now=now, waived=waived)


def owner_check(row: GCPVideoTransfer, settings: ServiceSettings, installation: str) -> None:
    """Whether this installation may judge the row's object at all. Raises FileStays."""
    if row.installation_id != installation:
        raise FileStays(Reason.OTHER_INSTALLATION, "the transfer was made by another installation")
    if row.gcp_bucket and row.gcp_bucket not in settings.trusted_buckets:
        raise FileStays(
            Reason.BUCKET_SETTING_CHANGED,
            f"the object is in {row.gcp_bucket}, which the settings do not name any more",
        )


def object_check(row: GCPVideoTransfer, info: ObjectInfo | None, installation: str) -> ObjectInfo:
    """Whether the object is the one that was uploaded, ours, and held by nobody (P1, P5). Raises FileStays."""
    if info is None:
        raise FileStays(Reason.OBJECT_MISSING, f"there is no object {row.gcp_storage_path} in {row.gcp_bucket}")
    shown = (info.generation, info.size_bytes, to_base64(info.crc32c))
    if shown != (row.object_generation, row.file_size_bytes, row.object_crc32c):
        raise FileStays(
            Reason.OBJECT_DIFFERS,
            f"uploaded: generation {row.object_generation}, {row.file_size_bytes} bytes, CRC32C {row.object_crc32c}; "
            f"in the bucket: generation {shown[0]}, {shown[1]} bytes, CRC32C {shown[2]}",
        )
    if info.metadata.get(META_INSTALLATION) != installation:
        raise FileStays(Reason.OTHER_INSTALLATION, "the object was written by another installation")
    if info.held:
        raise _held_in_bucket(row, info)
    return info


def _held_in_bucket(row: GCPVideoTransfer, info: ObjectInfo) -> FileStays:
    if row.recording.hold_confirmed and not info.event_based_hold:
        return FileStays(Reason.HOLD_NOT_RELEASED, "the bucket has not yet released the hold")
    kind = "an event-based" if info.event_based_hold else "a temporary"
    return FileStays(Reason.HOLD_UNKNOWN, f"the object has {kind} hold that nobody set here")
