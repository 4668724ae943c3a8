"""Rows to start a test from: a recording and its transfer in any status, as the product would have left them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.cctv.leasing.claims import BatchQueue
from apps.cctv.leasing.leases import Claim
from apps.cctv.models import Camera, DeletionReceipt, GCPVideoTransfer, OrphanedObject, Recording, Site, TransferBatch
from apps.cctv.selectors.alarms import alarms_shown, open_alarms
from apps.cctv.tables.moves import Lease
from apps.users.models import Role, User
from offload.states import UPLOADED, State

NOW = datetime.now(tz=UTC).replace(microsecond=0)
"""When the tests began. Not a fixed day: files on a real disk have real times, which a fixed day falls behind."""
OWNER = uuid.UUID(int=7)
PASSWORD = "correct horse battery"


def user(role: Role = Role.ADMIN, **columns: Any) -> User:
    return User.objects.create_user(
        username=columns.pop("username", role.value), password=PASSWORD, role=role, **columns
    )


def told() -> set[tuple[str, str]]:
    """The open alarms: code, and what each is about, in the words that a person reads."""
    return {(shown.alarm.code, shown.subject) for shown in alarms_shown(open_alarms(), sees_all=True)}


def camera(name: str = "Gate", *, site: Site | None = None, **columns: Any) -> Camera:
    site = site or Site.objects.get_or_create(name="Depot")[0]
    return Camera.objects.get_or_create(site=site, name=name, defaults=columns)[0]


def recording(name: str = "one.mp4", **columns: Any) -> Recording:
    of = columns.pop("camera", None) or camera()
    path = f"{of.name}/{name}"
    values = {"camera": of, "name": name, "started_at": NOW - timedelta(hours=2), "local_path": path, "file_path": path}
    return Recording.objects.create(**{**values, "file_size_bytes": 1000, "file_mtime_ns": 1, **columns})


def columns_of(status: State) -> dict[str, Any]:
    """What the constraints want of a row in that status."""
    columns: dict[str, Any] = {"transfer_status": status}
    if status is State.PENDING:
        columns |= {"next_attempt_at": NOW}
    if status is State.UPLOADING:
        columns |= {"lease_number": 1, "lease_owner": OWNER, "lease_expires_at": NOW + timedelta(seconds=40)}
        columns |= {"upload_started_at": NOW}
    if status is State.FAILED:
        columns |= {"error_code": "file_missing", "error_message": "The file is not there."}
    if status in UPLOADED:
        columns |= {"object_generation": 11, "object_crc32c": "AAAAAA==", "bytes_uploaded": 1000}
        columns |= {"upload_started_at": NOW - timedelta(minutes=2), "upload_completed_at": NOW - timedelta(minutes=1)}
    if status is State.CLEANUP_PENDING:
        columns |= {"cleanup_scheduled_at": NOW + timedelta(hours=24)}
    if status is State.CLEANUP_COMPLETED:
        columns |= {"cleanup_scheduled_at": NOW, "cleanup_completed_at": NOW}
    return columns


def transfer(status: State = State.PENDING, *, of: Recording | None = None, **columns: Any) -> GCPVideoTransfer:
    of = of or recording(f"{uuid.uuid4()}.mp4")
    batch = columns.pop("batch", None) or TransferBatch.objects.create()
    values = {
        "recording": of,
        "batch": batch,
        "site": of.camera.site,
        "installation_id": "test",
        "original_local_path": of.local_path,
        "gcp_bucket": "footage",
        "gcp_storage_path": f"recordings/{of.camera_id}/{of.pk}/{of.name}",
        "file_size_bytes": of.file_size_bytes,
    }
    return GCPVideoTransfer.objects.create(**{**values, **columns_of(status), **columns})


def lease(on: GCPVideoTransfer, *, number: int | None = None, seconds: float = 40) -> Lease:
    """A lease as a worker holds it; the row gets the same one unless `number` differs."""
    expires_at = NOW + timedelta(seconds=seconds)
    held = Lease(on.pk, on.lease_number if number is None else number, OWNER, expires_at)
    if number is None:
        GCPVideoTransfer.objects.filter(pk=on.pk).update(lease_owner=OWNER, lease_expires_at=expires_at)
    return held


def claim_many(
    most: int, *, owner_id: uuid.UUID = OWNER, site_id: uuid.UUID | None = None, now: datetime = NOW,
    lease_seconds: float = 40, actor: str = "worker",
) -> list[Claim]:  # fmt: skip
    """The next due transfers, as a worker that has just begun claims them."""
    queue = BatchQueue(owner_id=owner_id, site_id=site_id, lease_seconds=lease_seconds, actor=actor)
    return queue.claim_due(most, now=now)


def claim(**arguments: Any) -> Claim | None:
    return next(iter(claim_many(1, **arguments)), None)


def orphan(of: GCPVideoTransfer, **columns: Any) -> OrphanedObject:
    """What an earlier upload of the transfer left under its first name."""
    values = {
        "transfer": of,
        "gcp_bucket": of.gcp_bucket,
        "gcp_storage_path": f"{of.gcp_storage_path}.orphan",
        "object_generation": 5,
        "size_bytes": of.file_size_bytes,
        "object_crc32c": "AAAAAA==",
        "why": OrphanedObject.Why.FILE_CHANGED,
        "orphaned_at": NOW,
    }
    return OrphanedObject.objects.create(**{**values, **columns})


def receipt(of: GCPVideoTransfer, **columns: Any) -> DeletionReceipt:
    values = {
        "transfer": of,
        "outcome": DeletionReceipt.Outcome.DELETED,
        "actor": "system",
        "opened_at": NOW,
        "closed_at": NOW,
        "local_path": of.original_local_path,
        "size_bytes": of.file_size_bytes,
        "gcp_bucket": of.gcp_bucket,
        "gcp_storage_path": of.gcp_storage_path,
        "object_generation": 11,
        "object_crc32c": "AAAAAA==",
        "proof_read_at": NOW,
        "compared": DeletionReceipt.Compared.IDENTITY,
    }
    return DeletionReceipt.objects.create(**{**values, **columns})
