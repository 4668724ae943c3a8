"""When a file is refused, and what becomes of its row then."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.settings import ServiceSettings
from offload.digest import to_base64
from offload.errors import Reason
from offload.states import State
from offload.store import META_INSTALLATION, ObjectInfo

DATE_GRAIN = timedelta(seconds=1)
"""An HTTP ``Date`` has whole seconds, so the bucket's clock may be that much further."""


class Ending(StrEnum):
    """What becomes of the row of a refused file."""

    KEEP = "keep"  # it stays in line
    COMPLETE = "complete"  # completed: the local file is to stay
    FAIL = "fail"  # failed: the recording is local again


_ENDINGS = {
    Reason.HELD: Ending.COMPLETE,
    Reason.CLEANUP_OFF: Ending.COMPLETE,
    Reason.LOCAL_CHANGED: Ending.COMPLETE,
    Reason.OBJECT_MISSING: Ending.FAIL,
    Reason.OBJECT_DIFFERS: Ending.FAIL,
    Reason.OBJECT_LOST: Ending.FAIL,
}


class Waiver(StrEnum):
    """Why the waiting period does not count for a file; nothing else is waived."""

    FORCE = "force"
    DISK_PRESSURE = "disk_pressure"


class Refused(Exception):
    """The file is not deleted now, and that is as it should be."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    @property
    def ending(self) -> Ending:
        return _ENDINGS.get(self.reason, Ending.KEEP)


def row_check(row: GCPVideoTransfer, settings: ServiceSettings, installation: str) -> None:
    """Whether the row's own columns allow a cleanup, the time aside. Raises Refused."""
    owner_check(row, settings, installation)
    if row.recording.hold_wanted:
        raise Refused(Reason.HELD, row.recording.hold_reason or "the recording is held")
    if row.transfer_status != State.CLEANUP_PENDING:
        raise Refused(Reason.WRONG_STATE, f"the transfer is {row.transfer_status}")
    if not settings.cleanup_local:
        raise Refused(Reason.CLEANUP_OFF, "GCP_STORAGE_CLEANUP_LOCAL is off")


def owner_check(row: GCPVideoTransfer, settings: ServiceSettings, installation: str) -> None:
    """Whether this installation may judge the row's object at all. Raises Refused."""
    if row.installation_id != installation:
        raise Refused(Reason.OTHER_INSTALLATION, "the transfer was made by another installation")
    if row.gcp_bucket and row.gcp_bucket not in settings.trusted_buckets:
        raise Refused(
            Reason.BUCKET_SETTING_CHANGED,
            f"the object is in {row.gcp_bucket}, which the settings do not name any more",
        )


def time_check(row: GCPVideoTransfer, now: datetime) -> None:
    """Whether the waiting period has passed by this machine's clock. Raises Refused."""
    if row.cleanup_scheduled_at is None or row.cleanup_scheduled_at > now:
        raise Refused(Reason.NOT_DUE, f"due at {_shown(row.cleanup_scheduled_at)}")


def bucket_time_check(row: GCPVideoTransfer, info: ObjectInfo, settings: ServiceSettings, bucket_now: datetime) -> None:
    """Whether it has passed by the bucket's clock, since the bucket stored the object. Raises Refused."""
    due = max(info.stored_at + settings.waiting_period, row.cleanup_scheduled_at or info.stored_at)
    if due > bucket_now + DATE_GRAIN:
        raise Refused(
            Reason.NOT_DUE_IN_BUCKET,
            f"due at {_shown(due)}, and by the bucket's clock it is {_shown(bucket_now)}",
        )


def object_check(row: GCPVideoTransfer, info: ObjectInfo | None, installation: str) -> ObjectInfo:
    """Whether the object is the one that was uploaded, ours, and held by nobody (P1, P5). Raises Refused."""
    if info is None:
        raise Refused(Reason.OBJECT_MISSING, f"there is no object {row.gcp_storage_path} in {row.gcp_bucket}")
    shown = (info.generation, info.size_bytes, to_base64(info.crc32c))
    if shown != (row.object_generation, row.file_size_bytes, row.object_crc32c):
        raise Refused(
            Reason.OBJECT_DIFFERS,
            f"uploaded: generation {row.object_generation}, {row.file_size_bytes} bytes, CRC32C {row.object_crc32c}; "
            f"in the bucket: generation {shown[0]}, {shown[1]} bytes, CRC32C {shown[2]}",
        )
    if info.metadata.get(META_INSTALLATION) != installation:
        raise Refused(Reason.OTHER_INSTALLATION, "the object was written by another installation")
    if info.held:
        raise _held_in_bucket(row, info)
    return info


def _held_in_bucket(row: GCPVideoTransfer, info: ObjectInfo) -> Refused:
    if row.recording.hold_confirmed and not info.event_based_hold:
        return Refused(Reason.HOLD_NOT_RELEASED, "the bucket has not yet released the hold")
    kind = "an event-based" if info.event_based_hold else "a temporary"
    return Refused(Reason.HOLD_UNKNOWN, f"the object has {kind} hold that nobody set here")


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "no time"
