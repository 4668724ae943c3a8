"""A receipt `deleting` that an earlier run left open: finished, or undone where its reasons are gone."""

from __future__ import annotations

import structlog
from django.db import transaction

from apps.cctv.models import DeletionReceipt, GCPVideoTransfer
from apps.cctv.services.cleanup.attempt import Attempt, identity_at, is_at_path
from apps.cctv.services.cleanup.deletion import close, compare, delete, quarantined
from apps.cctv.services.cleanup.guards import marker_check
from apps.cctv.services.cleanup.report import FileReport, Outcome
from apps.cctv.services.cleanup.rules import object_check, owner_check, row_check
from apps.cctv.services.cleanup.run_state import Run
from apps.cctv.services.retention import FileStays
from offload.errors import Reason
from offload.source import SourceIdentity
from offload.states import Move, State

log = structlog.get_logger("coldreel.cleanup")


def finish(attempt: Attempt, receipt: DeletionReceipt) -> FileReport | None:
    """None where the file had been put back, and the cleanup begins anew. Raises FileStays, OffloadError."""
    run, row = attempt.run, attempt.row
    owner_check(row, run.settings, run.installation)
    found = run.trash.find(attempt.key)
    if _was_put_back(attempt, receipt, found):
        return _begin_anew(attempt)
    if found is None:
        return _close_unlinked(attempt, receipt)
    row_check(row, run.settings, run.installation, now=run.clock.now())
    if receipt.opened_at + run.settings.quarantine > run.clock.now():
        return quarantined(attempt, receipt)
    attempt.prove()
    with run.trash.open(attempt.key) as source:
        compare(attempt, source, receipt.source_identity)
    if attempt.dry_run:
        return attempt.report(Outcome.CLEANED, Reason.RECEIPT_FINISHED)
    return delete(attempt, receipt, source.identity, Reason.RECEIPT_FINISHED)


def _was_put_back(attempt: Attempt, receipt: DeletionReceipt, found: SourceIdentity | None) -> bool:
    """The file lies at its path again, alone or (a crash in mid-way) under both names or behind a placeholder."""
    if found is None:
        return is_at_path(attempt.run.root, attempt.path, receipt)
    at_path = identity_at(attempt.run.root, attempt.path)
    if at_path is None:
        return False
    same_file = (at_path.device, at_path.inode) == (found.device, found.inode)
    return same_file or (at_path.size_bytes == 0 and attempt.run.trash.is_going_back(attempt.key))


def close_left_open(run: Run) -> None:
    """Close the receipts of transfers that left the line with their file in its place (an earlier version did so).

    Such a receipt says that a file is being deleted which is not, for as long as it stays open.
    """
    left = DeletionReceipt.objects.filter(closed_at__isnull=True).select_related("transfer")
    for receipt in left.exclude(transfer__transfer_status=State.CLEANUP_PENDING):
        row = receipt.transfer
        if row.installation_id == run.installation and is_at_path(run.root, row.original_local_path, receipt):
            left.filter(pk=receipt.pk).update(
                outcome=DeletionReceipt.Outcome.PUT_BACK,
                closed_at=run.clock.now(),
                detail="the transfer had left the line, and the file lies in its place",
            )
            log.info("cleanup.receipt_closed", transfer=str(row.pk), reason=Reason.RENAMED_BACK.value)


def _begin_anew(attempt: Attempt) -> FileReport | None:
    if attempt.dry_run:
        return attempt.report(Outcome.CLEANED, Reason.RECEIPT_FINISHED)
    attempt.put_back()
    with transaction.atomic():
        attempt.close_put_back("a put-back that was interrupted was finished")
    return None


def _close_unlinked(attempt: Attempt, receipt: DeletionReceipt) -> FileReport:
    """The crash came after the unlink. The receipt is closed; then the object had better be there."""
    run = attempt.run
    marker_check(run.root)
    run.trash.places.demand_there(receipt.trash_path)
    proof = run.proofs.of(attempt.row)
    if attempt.dry_run:
        return attempt.report(Outcome.CLEANED, Reason.RECEIPT_FINISHED)
    report = close(attempt, receipt, Reason.RECEIPT_FINISHED)
    try:
        object_check(attempt.row, proof.info, run.installation)
    except FileStays as refused:
        if refused.move is Move.FAIL:
            return _lost(attempt, refused)
    return report


def _lost(attempt: Attempt, refused: FileStays) -> FileReport:
    """No local file and no object: the one thing that must never be quiet."""
    GCPVideoTransfer.objects.filter(pk=attempt.row.pk).update(
        error_code=Reason.OBJECT_LOST, error_message=refused.detail, needs_attention=True
    )
    attempt.run.alarms[Reason.OBJECT_LOST, attempt.subject] = f"{attempt.row.gcp_storage_path}: {refused.detail}"
    return attempt.report(Outcome.FAILED, Reason.OBJECT_LOST, refused.detail)
