"""An upload's two ends: the job that the engine gets, and the record of how it ended.

`uploads_record` is step 7 of docs/design/upload.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F

from apps.cctv.installation import installation_id
from apps.cctv.leasing.leases import Claim, lease_clock
from apps.cctv.models import Alarm, GCPVideoTransfer, OrphanedObject, RightInDoubt
from apps.cctv.services.alarms import STOP_CODES, alarm_raise, alarms_clear
from apps.cctv.services.retention import cleanup_time
from apps.cctv.services.rights_in_doubt import is_refused_alone, right_doubt_note, right_doubts_end
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.moves import VerifiedUpload
from apps.cctv.tables.sql import Where, any_rows
from offload import store
from offload.digest import to_base64
from offload.errors import Disposition, LeaseLost, OffloadError, PermissionUnclear, Reason, StopAndTell, TryAgain
from offload.journal import StoredSession
from offload.naming import object_name, public_url
from offload.source import SourceIdentity
from offload.states import MOVES, Move
from offload.uploader import UploadJob, UploadResult

log = structlog.get_logger("coldreel.upload")

# Not from the machine's own table of types, which differs from one machine to the next.
_CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
    ".mts": "video/mp2t",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
}

# --- What to upload -----------------------------------------------------------------------------------


def upload_job(claim: Claim, *, settings: ServiceSettings) -> UploadJob:
    """The engine's view of a claimed transfer. Raises InstallationUnknown."""
    transfer, recording = claim.transfer, claim.transfer.recording
    registered = recording.file_mtime_ns is not None
    session = None
    if transfer.session_uri and transfer.session_started_at is not None:
        identity = SourceIdentity.decode(transfer.session_identity)
        session = StoredSession(uri=transfer.session_uri, started_at=transfer.session_started_at, identity=identity)
    whole_orphans: list[tuple[str, int]] = []
    if transfer.name_version:  # orphans that were whole when their file changed: few transfers have any
        orphans = transfer.orphans.left_in_bucket().filter(
            gcp_bucket=transfer.gcp_bucket, why=OrphanedObject.Why.FILE_CHANGED
        )
        whole_orphans = list(orphans.values_list("gcp_storage_path", "object_generation"))
    return UploadJob(
        transfer_id=str(transfer.pk),
        bucket=transfer.gcp_bucket,
        relative_path=transfer.original_local_path,
        content_type=_CONTENT_TYPES.get(_path(transfer).suffix.lower(), "application/octet-stream"),
        storage_class=settings.storage_class or None,
        metadata={
            store.META_INSTALLATION: installation_id(),
            store.META_TRANSFER: str(transfer.pk),
            store.META_RECORDING: str(recording.pk),
            store.META_CAMERA: str(recording.camera_id),
            store.META_STARTED_AT: recording.started_at.isoformat(),
            store.META_ENDED_AT: recording.ended_at.isoformat() if recording.ended_at else "",
            store.META_LOCAL_PATH: transfer.original_local_path,
            store.META_SIZE: str(recording.file_size_bytes),
        },
        temporary_hold=recording.hold_wanted,
        object_name=partial(_object_name, transfer),
        name_version=transfer.name_version,
        session=session,
        expected_size_bytes=recording.file_size_bytes if registered else None,
        expected_mtime_ns=recording.file_mtime_ns,
        passes_conflict=transfer.passes_conflict,
        whole_orphans=whole_orphans,
    )


def _path(transfer: GCPVideoTransfer) -> PurePosixPath:
    return PurePosixPath(transfer.original_local_path)


def _object_name(transfer: GCPVideoTransfer, name_version: int) -> str:
    """The row's own name where it has one: a later release may name objects otherwise."""
    if name_version == transfer.name_version and transfer.gcp_storage_path:
        return transfer.gcp_storage_path
    return object_name(
        camera_id=str(transfer.recording.camera_id),
        recording_id=str(transfer.recording_id),
        file_name=_path(transfer).name,
        name_version=name_version,
    )


# --- Uploaded -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A verified upload. Its first byte was sent `sending_seconds` ago, where the row does not say when."""

    claim: Claim
    result: UploadResult
    sending_seconds: float | None = None

    def started_at(self, now: datetime) -> datetime:
        if self.sending_seconds is None:
            return self.claim.transfer.upload_started_at or now
        return now - timedelta(seconds=self.sending_seconds)


def uploads_record(*, uploads: Sequence[Uploaded], now: datetime, settings: ServiceSettings) -> set[UUID]:
    """Record verified uploads in one transaction: each row, its catalogue entry, cleanup time and event.

    Returns the transfers recorded. One whose lease was lost is left as it is and hinders no other; after any other
    error nothing is recorded.
    """
    now = lease_clock(now)
    # No savepoint: in a group commit this runs in the group's transaction, which is rolled back as a whole.
    with transaction.atomic(savepoint=False):
        held = GCPVideoTransfer.objects.lock_leased([one.claim.lease for one in uploads], now)
        kept = [one for one in uploads if one.claim.transfer.pk in held]
        if kept:
            verified = [_verified(one, now, settings) for one in kept]
            moves = GCPVideoTransfer.objects.complete_uploads(verified, now=now)
            uploads_work(claims=[one.claim for one in kept], now=now)
            transaction.on_commit(lambda: _log_uploaded(kept, moves), robust=True)
    return held


def _verified(one: Uploaded, now: datetime, settings: ServiceSettings) -> VerifiedUpload:
    result, info, transfer = one.result, one.result.info, one.claim.transfer
    if result.found_in_bucket:
        # The local file is gone already, and the bucket has it whole: there is nothing to clean up.
        reason, identity, cleaned_at = Reason.FOUND_IN_BUCKET, transfer.source_identity, now
    elif result.identity is None:
        raise ValueError("an upload is complete only with the identity of its file")
    else:
        reason = Reason.ADOPTED if result.adopted else Reason.UPLOADED
        identity, cleaned_at = result.identity.encode(), None
    # The object as the bucket described it: every later operation goes by these columns alone.
    columns: dict[str, Any] = {
        "object_generation": info.generation,
        "installation_id": installation_id(),
        "gcp_bucket": info.bucket,
        "gcp_storage_path": info.name,
        "gcp_public_url": public_url(info.bucket, info.name),
        "name_version": result.name_version,
        "object_stored_at": info.stored_at,
        "file_size_bytes": info.size_bytes,
        "bytes_uploaded": info.size_bytes,
        "upload_started_at": one.started_at(now),
        "object_crc32c": to_base64(result.crc32c),
        "source_identity": identity,
        "cleanup_completed_at": cleaned_at,
    }
    return VerifiedUpload(
        one.claim.lease,
        transfer.recording_id,
        info.name,
        columns,
        actor=one.claim.actor,
        reason=reason,
        cleanup_at=None if result.found_in_bucket else cleanup_time(settings, now),
        found_in_bucket=result.found_in_bucket,
        hold_confirmed=info.temporary_hold,
    )


def _log_uploaded(kept: Sequence[Uploaded], moves: Mapping[UUID, Move]) -> None:
    for one in kept:
        log.info(
            "upload.completed",
            size_bytes=one.result.info.size_bytes,
            sent_bytes=one.result.bytes_sent,
            resumed_from_bytes=one.result.resumed_from_bytes,
            status=MOVES[moves[one.claim.transfer.pk]].target.value,
            **_log_fields(one.claim),
        )


def uploads_work(*, claims: Sequence[Claim], now: datetime) -> None:
    """Clear the alarms of what kept all uploads from working: the bucket took bytes."""
    stopped: Where = [("cleared_at", "IS", None), ("code", "IN", _UPLOADS_STOPPED)]
    if not any_rows([(Alarm, stopped), (RightInDoubt, [])]):  # one question: every upload asks it
        return
    buckets = sorted({claim.transfer.gcp_bucket for claim in claims})
    right_doubts_end(SubjectKind.BUCKET, buckets)
    for bucket in buckets:
        alarms_clear(codes=STOP_CODES, subject=Subject(SubjectKind.BUCKET, bucket), now=now)
    for site_id in {claim.transfer.site_id for claim in claims}:
        subject = Subject.of_site(SubjectKind.MEDIA_ROOT, site_id)
        alarms_clear(codes=[Reason.MEDIA_ROOT_NOT_MOUNTED], subject=subject, now=now)


_UPLOADS_STOPPED = sorted({*STOP_CODES, Reason.MEDIA_ROOT_NOT_MOUNTED})


def upload_note_start(*, claim: Claim, seconds_ago: float, now: datetime) -> None:
    """Record when the first byte of a small file was sent, for people who watch a slow one. Raises LeaseLost."""
    now = lease_clock(now)
    GCPVideoTransfer.objects.note(claim.lease, now, {"upload_started_at": now - timedelta(seconds=seconds_ago)})


# --- Not uploaded -------------------------------------------------------------------------------------


def upload_record_failure(
    *, claim: Claim, error: OffloadError, now: datetime, random: Callable[[], float], settings: ServiceSettings
) -> GCPVideoTransfer | None:
    """Put the transfer back, or fail it, as the error's disposition says; returns the row as it is then.

    None, and nothing is written, where the error says that another worker has it. Raises LeaseLost likewise.
    """
    if error.disposition is Disposition.ABANDON:
        return None
    now = lease_clock(now)
    with transaction.atomic():
        row = GCPVideoTransfer.objects.under_lease(claim.lease, now).select_for_update().first()
        if row is None:
            raise LeaseLost(f"the lease of transfer {claim.transfer.pk} is another's now")
        if not row.session_uri:  # what a dropped session had taken is confirmed no more (P9)
            GCPVideoTransfer.objects.note(claim.lease, now, {"bytes_uploaded": 0})
        _raise_alarm(claim, error, now)
        refused_alone = isinstance(error, PermissionUnclear) and is_refused_alone(row, now)
        if refused_alone or error.disposition is Disposition.FAIL:
            _fail(claim, row, error.code, error.detail, now)
        elif error.disposition is Disposition.RELEASE:
            _move_back(claim, row, Reason.LEASE_RETURNED, now, next_attempt_at=now)
        elif error.disposition is Disposition.WAIT:
            # No failure is counted: neither the transfer nor its file is the cause.
            _put_back(claim, row, error, now, next_attempt_at=now + _pause(1, error, random, settings))
        else:
            _retry(claim, row, error, now, random, settings=settings)
        event = "upload.put_back" if row.next_attempt_at else "upload.given_up"
        transaction.on_commit(lambda: log.info(event, reason=error.code, **_log_fields(claim)), robust=True)
    return row


def _raise_alarm(claim: Claim, error: OffloadError, now: datetime) -> None:
    """One alarm for all files of a bucket or site: the transfers themselves only wait."""
    subject = Subject(SubjectKind.BUCKET, claim.transfer.gcp_bucket)
    if isinstance(error, StopAndTell):
        if error.code is Reason.MEDIA_ROOT_NOT_MOUNTED:
            subject = Subject.of_site(SubjectKind.MEDIA_ROOT, claim.transfer.site_id)
        alarm_raise(code=error.code, subject=subject, detail=error.detail, now=now)
    elif isinstance(error, PermissionUnclear) and right_doubt_note(subject=subject, now=now):
        alarm_raise(code=error.code, subject=subject, detail=error.detail, now=now)


def _retry(
    claim: Claim,
    row: GCPVideoTransfer,
    error: OffloadError,
    now: datetime,
    random: Callable[[], float],
    *,
    settings: ServiceSettings,
) -> None:
    # Both limits: twenty failures with pauses of up to 45 s take about ten minutes, and a bucket may fail for longer.
    failures = row.failures_in_row + 1
    failing_since = min(row.failing_since or now, now)  # a clock that was ahead must not keep it from ever failing
    long_enough = now - failing_since >= settings.retry_at_least
    columns = {"failures_in_row": failures, "failing_since": failing_since}
    if failures >= settings.retry_limit and long_enough:
        detail = f"{failures} tries in a row since {failing_since:%Y-%m-%d %H:%M} failed; the last one: {error.detail}"
        _fail(claim, row, Reason.RETRIES_EXHAUSTED, detail, now, **columns)
        return
    at = now + _pause(failures, error, random, settings)
    _put_back(claim, row, error, now, next_attempt_at=at, retry_count=F("retry_count") + 1, **columns)


def _pause(failures: int, error: OffloadError, random: Callable[[], float], settings: ServiceSettings) -> timedelta:
    retry_after_seconds = error.retry_after_seconds if isinstance(error, TryAgain) else None
    seconds = settings.timings.backoff.delay_seconds(failures, random=random, retry_after_seconds=retry_after_seconds)
    return timedelta(seconds=seconds)


def _put_back(claim: Claim, row: GCPVideoTransfer, error: OffloadError, now: datetime, **columns: Any) -> None:
    _move_back(
        claim, row, error.code, now, detail=error.detail, error_code=error.code, error_message=error.detail, **columns
    )


def _move_back(
    claim: Claim, row: GCPVideoTransfer, reason: Reason, now: datetime, *, detail: str = "", **columns: Any
) -> None:
    GCPVideoTransfer.objects.move(
        row.pk,
        Move.PUT_BACK,
        actor=claim.actor,
        now=now,
        reason=reason,
        detail=detail,
        lease=claim.lease,
        changes=columns,
    )
    row.refresh_from_db()


def _fail(claim: Claim, row: GCPVideoTransfer, reason: Reason, detail: str, now: datetime, **columns: Any) -> None:
    row.mark_upload_failed(lease=claim.lease, reason=reason, detail=detail, now=now, actor=claim.actor, **columns)


def _log_fields(claim: Claim) -> dict[str, str | int]:
    recording = claim.transfer.recording
    return {
        "transfer": str(claim.transfer.pk),
        "recording": str(recording.pk),
        "camera": str(recording.camera_id),
        "site": str(claim.transfer.site_id),
        "attempt": claim.lease.number,
    }
