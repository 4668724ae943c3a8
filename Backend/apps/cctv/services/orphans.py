"""Orphaned objects: what an upload left in the bucket, and how a person deletes one.

Nothing else deletes an orphan: it may be the last copy of a recording whose file changed.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction

from apps.cctv.installation import installation_id
from apps.cctv.models import GCPVideoTransfer, OrphanedObject
from apps.cctv.selectors.visibility import orphans_visible_to
from apps.cctv.services import Conflict, NotFound
from apps.cctv.services.cleanup.comparison import object_check
from apps.cctv.services.retention import FileStays
from apps.users.models import User
from offload.digest import to_base64
from offload.errors import ObjectProblem, Reason
from offload.states import UPLOADED
from offload.store import META_INSTALLATION, META_TRANSFER, ObjectInfo, ObjectStore

log = structlog.get_logger("coldreel.transfer")


def orphan_delete(*, orphan_id: UUID, store: ObjectStore, user: User, now: datetime) -> OrphanedObject:
    """Delete an orphan from the bucket, by its generation, and note in its row who did and when.

    1. The recording's current object is read back and is the one that was uploaded and verified.
    2. The orphan is read back: that generation, size and CRC32C, of this installation and this transfer, not held.
    3. Who asks is committed while row and recording are locked, the recording is not held, and the current object is
       the one of step 1.
    4. The object is deleted by its generation, and the row says so. Where the process dies in between, a person may ask
       again.

    An orphan that is no longer in the bucket is noted as gone. Raises NotFound, Conflict, and what the store raises.
    """
    orphan = orphans_visible_to(user).select_related("transfer__recording").filter(pk=orphan_id).first()
    if orphan is None:
        raise NotFound("There is no such orphaned object.")
    if orphan.deleted_at is not None:
        raise Conflict(f"{orphan.deleted_by} deleted it at {orphan.deleted_at:%Y-%m-%d %H:%M:%S} UTC.")
    # 1 and 2. The two objects.
    proven = _proven_object(orphan.transfer, store)
    found = store.get(orphan.gcp_bucket, orphan.gcp_storage_path, generation=orphan.object_generation)
    if found is not None:
        _orphan_check(orphan, found)
    _ask(orphan, proven, user, now)
    # 4. The deletion.
    detail = "" if found is not None and _delete(orphan, store) else "It was gone from the bucket already."
    OrphanedObject.objects.filter(pk=orphan.pk, deleted_at__isnull=True).update(deleted_at=now, detail=detail)
    orphan.refresh_from_db()
    log.info(
        "orphan_deleted",
        transfer=str(orphan.transfer_id),
        recording=str(orphan.transfer.recording_id),
        object=orphan.gcp_storage_path,
        generation=orphan.object_generation,
        actor=user.get_username(),
    )
    return orphan


def _proven_object(row: GCPVideoTransfer, store: ObjectStore) -> ObjectInfo:
    """The recording's current object, as the bucket shows it now. Raises Conflict where it is not proven."""
    if row.transfer_status not in UPLOADED:
        raise Conflict("The recording has no verified object yet: this may be its last copy.")
    try:
        return object_check(row, store.get(row.gcp_bucket, row.gcp_storage_path), installation_id())
    except FileStays as stays:
        raise Conflict(f"The recording's own object is not as it was uploaded: {stays.detail}.") from stays


def _orphan_check(orphan: OrphanedObject, found: ObjectInfo) -> None:
    """Whether this is the object that was left there (P2), and without a hold (P5). Raises Conflict."""
    shown = (found.generation, found.size_bytes, to_base64(found.crc32c))
    if shown != (orphan.object_generation, orphan.size_bytes, orphan.object_crc32c):
        raise Conflict("The bucket shows another object than the one that was left there.")
    marks = (found.metadata.get(META_INSTALLATION), found.metadata.get(META_TRANSFER))
    if marks != (installation_id(), str(orphan.transfer_id)):
        raise Conflict("The object does not carry the marks of this installation and this transfer.")
    if found.held:
        raise Conflict("The bucket holds the object. It is deleted only once the hold is released.")


def _ask(orphan: OrphanedObject, proven: ObjectInfo, user: User, now: datetime) -> None:
    """Step 3: commit who asks, before the bucket is asked. Raises Conflict."""
    with transaction.atomic():
        # The transfer first, then the recording: all code locks them in this order, so that no two wait for each other.
        row = GCPVideoTransfer.objects.select_for_update().get(pk=orphan.transfer_id)
        recording = type(row.recording).objects.select_for_update().get(pk=row.recording_id)
        if recording.hold_wanted or recording.hold_confirmed:
            raise Conflict("The recording is held: nothing of it is deleted.")
        own = (row.gcp_bucket, row.gcp_storage_path, row.object_generation)
        if row.transfer_status not in UPLOADED or own != (proven.bucket, proven.name, proven.generation):
            raise Conflict("The recording's own object changed in this moment.")
        if _is_a_transfers(orphan):
            raise Conflict("It is the object of a recording, not an orphan any more.")
        asked = OrphanedObject.objects.filter(pk=orphan.pk, deleted_at__isnull=True)
        if asked.update(deleted_by=user.get_username(), deletion_asked_at=now) != 1:
            raise Conflict("Another person deleted it in this moment.")


def _is_a_transfers(orphan: OrphanedObject) -> bool:
    """Whether a transfer counts the object as its own: its file is gone, and this was found to be the recording."""
    return GCPVideoTransfer.objects.filter(
        gcp_bucket=orphan.gcp_bucket,
        gcp_storage_path=orphan.gcp_storage_path,
        object_generation=orphan.object_generation,
    ).exists()


def _delete(orphan: OrphanedObject, store: ObjectStore) -> bool:
    """Whether the bucket still had it."""
    try:
        store.delete(orphan.gcp_bucket, orphan.gcp_storage_path, generation=orphan.object_generation)
    except ObjectProblem as problem:
        if problem.code is not Reason.OBJECT_MISSING:
            raise
        return False
    return True
