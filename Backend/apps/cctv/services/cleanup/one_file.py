"""Steps 2 to 6 of a run, for one file: claim, read back, compare and rename, commit the receipt, unlink (P1).

Until the receipt says `deleting`, whatever goes wrong leaves the file in its place or puts it back.
"""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction

from apps.cctv.leasing.leases import claim_cleanup
from apps.cctv.models import DeletionReceipt, GCPVideoTransfer
from apps.cctv.services.cleanup.attempt import (
    CleanupAttempt,
    identity_at,
    is_at_path,
    read_row,
    row_check,
    why_not_ours,
)
from apps.cctv.services.cleanup.comparison import Compared, file_check, file_refusal, object_check, owner_check
from apps.cctv.services.cleanup.file_stays import back_out, keep, leave, postpone
from apps.cctv.services.cleanup.guards import bucket_now, is_missing, marker_check, refusal_of_bucket
from apps.cctv.services.cleanup.report import FileReport, Outcome
from apps.cctv.services.cleanup.run_state import Run, RunStopped
from apps.cctv.services.disk_reserve import make_room
from apps.cctv.services.retention import FileStays, Waiver, bucket_time_check
from offload.errors import FileProblem, LeaseLost, ObjectProblem, OffloadError, Reason, StopAndTell, TryAgain
from offload.source import Source, SourceIdentity
from offload.states import Move, State

log = structlog.get_logger("coldreel.cleanup")

UNLINK_MARGIN_SECONDS = 30
"""A proof that is about to grow too old is renewed before the last questions to the database are asked."""


def file_clean(run: Run, transfer_id: UUID, *, waiver: Waiver | None) -> FileReport:
    """Delete one local file, or say why it stays. A dry run asks the same questions and changes nothing.

    The numbers are those of `cleanup_run` and of docs/design/cleanup.md.

    2. Claim the row and read it again under the lease. A receipt that an earlier run left open is finished, or undone
       where its reasons are gone. By its columns the file may go (`services/retention.py`).
    3. Read back the object: the recorded generation, size and CRC32C, ours, without a hold. The waiting period has
       passed by the bucket's clock as well.
    4. Compare the file with what was uploaded, look for an open writer, and rename it into the trash.
    5. Commit the receipt `deleting`, under the lease and only while the recording is not held. With a quarantine the
       attempt ends here, and a run after the quarantine goes on with the open receipt in step 2.
    6. Read back again where the proof is older than 30 seconds, renew the lease, look for a hold and the receipt once
       more, and see that the proof is still fresh. Then look for a writer, compare, unlink; and close the receipt
       together with the move.

    Raises RunStopped where the disk or the bucket turns out to be wrong. `run.refusing` and `run.failure` are
    set where the bucket refuses everything or cannot be reached at all.
    """
    row = read_row(transfer_id)
    report = _claim_and_clean(run, row, waiver)
    log.info(
        "cleanup.file",
        transfer=str(row.pk),
        recording=str(row.recording_id),
        camera=str(row.recording.camera_id),
        site=str(row.site_id),
        attempt=row.cleanup_failures + 1,
        outcome=report.outcome.value,
        reason=report.reason.value,
        detail=report.detail,
        size_bytes=report.size_bytes,
        dry_run=run.dry_run,
        actor=run.actor,
    )
    return report


# --- 2. Claim ----------------------------------------------------------------------------------------


def _claim_and_clean(run: Run, row: GCPVideoTransfer, waiver: Waiver | None) -> FileReport:
    try:
        row_check(run, row)
    except FileStays as stays:
        # A row that waits for its cleanup is leased all the same: it may have to leave that state, or its file may
        # lie in the trash.
        if row.transfer_status != State.CLEANUP_PENDING or stays.reason is Reason.OTHER_INSTALLATION:
            return CleanupAttempt(run, row, None, waiver).report(Outcome.SKIPPED, stays.reason, stays.detail)
    if run.dry_run:
        return _clean_or_back_out(CleanupAttempt(run, row, None, waiver))
    claim = claim_cleanup(
        owner_id=run.owner_id,
        transfer_id=row.pk,
        now=run.clock.now(),
        lease_seconds=run.settings.timings.lease_seconds,
        actor=run.actor,
    )
    if claim is None:
        first = why_not_ours(run, row)
        return FileReport.of(row, Outcome.SKIPPED, first.reason, first.detail)
    return _clean_or_back_out(CleanupAttempt(run, claim.transfer, claim.lease, waiver))


def _clean_or_back_out(attempt: CleanupAttempt) -> FileReport:
    try:
        return _clean_or_keep(attempt)
    except RunStopped as stopped:
        back_out(attempt, stopped.detail)
        raise
    except DatabaseError:
        # Without the database the lease cannot be renewed: then the file stays in the trash, where the next
        # run and the sweep find it.
        with contextlib.suppress(DatabaseError):
            back_out(attempt, "the database failed")
        raise


def _clean_or_keep(attempt: CleanupAttempt) -> FileReport:
    try:
        try:
            return _clean(attempt)
        except FileProblem as problem:
            # On a disk that is full to the last byte even the trash folder cannot be made.
            if attempt.dry_run or not make_room(problem, for_cleanup=True):
                raise
            return _clean(attempt)
    except FileStays as stays:
        return keep(attempt, stays)
    except LeaseLost:
        return leave(attempt)
    except OffloadError as error:
        if isinstance(error, FileProblem) and error.code is Reason.MEDIA_ROOT_NOT_MOUNTED:
            raise RunStopped(error.code, error.detail) from error
        refusal = refusal_of_bucket(attempt.run, attempt.row, error)
        if refusal is not None:
            attempt.run.refuse(attempt.row.gcp_bucket, refusal)
        is_odd = refusal is None and isinstance(error, (ObjectProblem, StopAndTell))
        return postpone(attempt, error, needs_attention=is_odd)


def _clean(attempt: CleanupAttempt) -> FileReport:
    run, row = attempt.run, attempt.row
    # 2. The row, read under the lease.
    attempt.receipt = row.receipts.filter(closed_at__isnull=True).first()
    if attempt.receipt is not None:
        report = _finish_receipt(attempt, attempt.receipt)
        if report is not None:
            return report
    row_check(run, row, waived=attempt.waiver is not None)
    # 3. The object.
    info = attempt.read_back()
    if attempt.waiver is None:
        now = bucket_now(run, row.gcp_bucket)
        bucket_time_check(row, stored_at=info.stored_at, bucket_now=now, settings=run.settings)
    # 4. The file.
    if not attempt.dry_run:
        attempt.put_back()  # in the trash without a receipt: a crash came between rename and receipt
    if _is_gone(attempt):
        return _close_already_missing(attempt)
    with _open(attempt) as source:
        compared = _compare(attempt, source, row.source_identity)
        source.demand_no_writer()  # asked again at the unlink, which may come a quarantine later
        if attempt.dry_run:
            return attempt.report(Outcome.CLEANED, _reason_of(attempt))
        attempt.renew_lease()
        attempt.taken_now = True
        try:
            taken = run.trash.take(attempt.path, attempt.key, expected=source.identity)
        except FileProblem as problem:
            raise file_refusal(problem) from problem
    # 5. The receipt.
    receipt = _open_receipt(attempt, compared, taken)
    if run.settings.quarantine:
        return _quarantined(attempt, receipt)
    # 6. The unlink.
    return _delete(attempt, receipt, taken, _reason_of(attempt))


def _reason_of(attempt: CleanupAttempt) -> Reason:
    return Reason.DISK_PRESSURE if attempt.waiver is Waiver.DISK_PRESSURE else Reason.CLEANED


# --- 4. Compare and rename ---------------------------------------------------------------------------


def _is_gone(attempt: CleanupAttempt) -> bool:
    run = attempt.run
    if not is_missing(run.root, attempt.path):
        return False
    marker_check(run.root)  # on a disk that was unmounted during the run, everything is missing
    run.trash.places.demand_there(attempt.path)
    return run.trash.find(attempt.key) is None


def _close_already_missing(attempt: CleanupAttempt) -> FileReport:
    """The file is gone and the object is proven: the row says so, with a receipt that claims no deletion."""
    if not attempt.dry_run:
        with transaction.atomic():
            attempt.lock_row()
            receipt = _new_receipt(attempt, Compared.NOTHING)
            receipt.outcome, receipt.closed_at = DeletionReceipt.Outcome.ALREADY_MISSING, receipt.opened_at
            receipt.save()
            attempt.mark_cleaned(receipt, Reason.ALREADY_MISSING)
    return attempt.report(Outcome.ALREADY_MISSING, Reason.ALREADY_MISSING)


def _open(attempt: CleanupAttempt) -> Source:
    run = attempt.run
    if attempt.dry_run and run.trash.find(attempt.key) is not None:
        return run.trash.open(attempt.key)
    try:
        return run.root.open(attempt.path)
    except FileProblem as problem:
        raise file_refusal(problem) from problem


def _compare(attempt: CleanupAttempt, source: Source, recorded: str) -> Compared:
    """Raises FileStays, FileProblem, LeaseLost."""
    return file_check(
        attempt.row,
        source,
        recorded=recorded,
        file_time=lambda: source.time(attempt.run.clock, may_write=not attempt.dry_run),
        while_reading=attempt.keep_lease,
    )


# --- 5. The receipt ----------------------------------------------------------------------------------


def _open_receipt(attempt: CleanupAttempt, compared: Compared, taken: SourceIdentity) -> DeletionReceipt:
    """Commit the receipt `deleting`, under the lease and while the recording is not held. Raises FileStays."""
    attempt.read_back()
    with transaction.atomic():
        attempt.lock_row()
        receipt = _new_receipt(attempt, compared)
        receipt.trash_path, receipt.source_identity = attempt.run.trash.path_of(attempt.key), taken.encode()
        receipt.save()
    attempt.receipt = receipt
    return receipt


def _new_receipt(attempt: CleanupAttempt, compared: Compared) -> DeletionReceipt:
    """Not saved yet. What was compared, with what, by whom."""
    row = attempt.row
    columns: dict[str, Any] = {
        "transfer": row,
        "actor": attempt.run.actor,
        "forced": attempt.run.force,
        "opened_at": attempt.run.clock.now(),
        "local_path": attempt.path,
        "size_bytes": row.file_size_bytes,
        "gcp_bucket": row.gcp_bucket,
        "gcp_storage_path": row.gcp_storage_path,
        "object_generation": row.object_generation,
        "object_crc32c": row.object_crc32c,
        "proof_read_at": attempt.proof.read_at,
        "compared": compared,
        "detail": attempt.waiver or "",
    }
    return DeletionReceipt(**columns)


def _quarantined(attempt: CleanupAttempt, receipt: DeletionReceipt) -> FileReport:
    until = receipt.opened_at + attempt.run.settings.quarantine
    attempt.release()
    return attempt.report(Outcome.SKIPPED, Reason.QUARANTINED, f"until {until:%Y-%m-%d %H:%M} UTC")


# --- 6. Unlink and close -----------------------------------------------------------------------------


def _delete(attempt: CleanupAttempt, receipt: DeletionReceipt, expected: SourceIdentity, reason: Reason) -> FileReport:
    """The last questions, then the unlink. `expected` is what was compared, as it lies in the trash."""
    run = attempt.run
    attempt.read_back(margin_seconds=UNLINK_MARGIN_SECONDS)
    found = run.trash.find(attempt.key)
    if found is None:  # put back or deleted by another: the next run finds out which
        raise TryAgain("the file left the trash during the cleanup")
    if found != expected:
        raise FileStays(Reason.LOCAL_CHANGED, "the file was touched in the trash")
    _last_look(attempt, receipt)
    # Nothing stands between here and the unlink but the file itself: no question to the database, none to the bucket.
    if not run.proofs.is_fresh(attempt.proof):
        raise TryAgain("the proof grew too old before the file could be deleted")
    try:
        run.trash.unlink(attempt.key, expected=expected)  # looks for a writer and compares once more
    except FileProblem as problem:
        if problem.code is Reason.FILE_IN_USE:
            attempt.taken_now = True  # it goes back, also out of a quarantine: its writer knows it by its old name
        raise file_refusal(problem) from problem
    return _close(attempt, receipt, reason)


def _last_look(attempt: CleanupAttempt, receipt: DeletionReceipt) -> None:
    """A hold that came after the receipt still saves the file. Raises FileStays, LeaseLost."""
    attempt.renew_lease()
    with transaction.atomic():
        attempt.lock_row()
        still_open = DeletionReceipt.objects.filter(pk=receipt.pk, closed_at__isnull=True)
        if still_open.update(proof_read_at=attempt.proof.read_at) != 1:
            raise LeaseLost("the receipt was closed by another process")


def _close(attempt: CleanupAttempt, receipt: DeletionReceipt, reason: Reason) -> FileReport:
    """The receipt and the move, in one transaction."""
    with transaction.atomic():
        receipt.outcome = DeletionReceipt.Outcome.DELETED
        receipt.closed_at = attempt.run.clock.now()
        receipt.save(update_fields=["outcome", "closed_at"])
        attempt.mark_cleaned(receipt, reason)
    return attempt.report(Outcome.CLEANED, reason)


# --- A receipt that an earlier run left open ---------------------------------------------------------


def _finish_receipt(attempt: CleanupAttempt, receipt: DeletionReceipt) -> FileReport | None:
    """Go on from where the earlier run died, or undo what it did. Raises FileStays, OffloadError.

    - The file lies at its path again: close the receipt as `put_back` and begin anew (None).
    - The file is nowhere: the crash came after the unlink. Close the receipt as `deleted`.
    - The file lies in the trash: steps 2, 3 and 4 once more, the last against the identity in the receipt; then 6.
    """
    run, row = attempt.run, attempt.row
    owner_check(row, run.settings, run.installation)
    found = run.trash.find(attempt.key)
    if _was_put_back(attempt, receipt, found):
        if attempt.dry_run:
            return attempt.report(Outcome.CLEANED, Reason.RECEIPT_FINISHED)
        attempt.put_back()  # the rest of it, where a crash came halfway
        with transaction.atomic():
            attempt.close_put_back("a put-back that was interrupted was finished")
        return None
    if found is None:
        return _close_unlinked(attempt, receipt)
    row_check(run, row)
    if receipt.opened_at + run.settings.quarantine > run.clock.now():
        return _quarantined(attempt, receipt)
    attempt.read_back()
    with run.trash.open(attempt.key) as source:
        _compare(attempt, source, receipt.source_identity)
    if attempt.dry_run:
        return attempt.report(Outcome.CLEANED, Reason.RECEIPT_FINISHED)
    return _delete(attempt, receipt, source.identity, Reason.RECEIPT_FINISHED)


def _was_put_back(attempt: CleanupAttempt, receipt: DeletionReceipt, found: SourceIdentity | None) -> bool:
    """The file lies at its path again, alone or (a crash came halfway) under both names or behind a placeholder."""
    if found is None:
        return is_at_path(attempt.run.root, attempt.path, receipt)
    at_path = identity_at(attempt.run.root, attempt.path)
    if at_path is None:
        return False
    same_file = (at_path.device, at_path.inode) == (found.device, found.inode)
    return same_file or (at_path.size_bytes == 0 and attempt.run.trash.is_going_back(attempt.key))


def _close_unlinked(attempt: CleanupAttempt, receipt: DeletionReceipt) -> FileReport:
    """Close the receipt of a file that is gone. If the object is missing as well, an alarm says so."""
    run = attempt.run
    marker_check(run.root)
    run.trash.places.demand_there(receipt.trash_path)
    proof = run.proofs.of(attempt.row)
    if attempt.dry_run:
        return attempt.report(Outcome.CLEANED, Reason.RECEIPT_FINISHED)
    report = _close(attempt, receipt, Reason.RECEIPT_FINISHED)
    try:
        object_check(attempt.row, proof.info, run.installation)
    except FileStays as stays:
        if stays.move is Move.FAIL:
            GCPVideoTransfer.objects.filter(pk=attempt.row.pk).update(
                error_code=Reason.OBJECT_LOST, error_message=stays.detail, needs_attention=True
            )
            run.alarms[Reason.OBJECT_LOST, attempt.subject] = f"{attempt.row.gcp_storage_path}: {stays.detail}"
            return attempt.report(Outcome.FAILED, Reason.OBJECT_LOST, stays.detail)
    return report
