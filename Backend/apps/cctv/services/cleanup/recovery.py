"""Recovery of the trash: what a crash left in it without a receipt, and receipts that were left open, are put right.

A file under an open receipt is not handled here: the next run finishes it (`one_file`, step 2).
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

import structlog
from django.db import transaction

from apps.cctv.installation import InstallationUnknown, installation_id
from apps.cctv.leasing.leases import claim_file_in_trash, lease_clock, release_cleanup
from apps.cctv.models import DeletionReceipt, GCPVideoTransfer
from apps.cctv.selectors.alarms import open_alarms
from apps.cctv.services.alarms import alarm_close, alarm_raise
from apps.cctv.services.cleanup.attempt import is_at_path
from apps.cctv.services.cleanup.due_rows import ROWS_AT_A_TIME
from apps.cctv.services.cleanup.run_state import Run
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.moves import Lease
from offload.errors import FileProblem, Reason
from offload.source import MediaRoot
from offload.states import State
from offload.trash import Trash

log = structlog.get_logger("coldreel.cleanup")

LEASE_SECONDS = 60


def trash_recover(root: MediaRoot, now: datetime, *, trash: Trash | None = None, owner_id: UUID | None = None) -> int:
    """Put back the files in the trash that wait for no cleanup; how many were put back. The sweep does this.

    1. Without the marker nothing is done: another disk may be mounted there.
    2. A file under an open receipt is left to the next cleanup, while its transfer is `cleanup_pending`.
    3. A file of an unknown transfer, or of another installation, is left alone, with an alarm.
    4. Any other file goes back under a lease of `owner_id`, not where another process has the row's lease; a receipt of
       its transfer that is still open is closed as `put_back`.
    5. The alarms of files that are in the trash no more are closed.
    """
    trash = trash or Trash(root)
    owner_id = owner_id or uuid4()
    if not root.has_marker():
        return 0
    keys = trash.keys()
    recovered = 0
    for start in range(0, len(keys), ROWS_AT_A_TIME):
        some = keys[start : start + ROWS_AT_A_TIME]
        waiting = _waiting(some)
        recovered += sum(file_recover(trash, key, now, owner_id=owner_id) for key in some if UUID(key) not in waiting)
    in_trash = set(keys)
    for alarm in open_alarms().filter(subject_kind=SubjectKind.TRASH):
        if alarm.subject_id not in in_trash:
            alarm_close(alarm, now)
    return recovered


def _waiting(keys: list[str]) -> set[UUID]:
    """Those of the transfers that wait for a cleanup with an open receipt; many while a quarantine is set."""
    ids = [UUID(key) for key in keys]
    open_receipts = DeletionReceipt.objects.filter(transfer__in=ids, closed_at__isnull=True)
    pending = open_receipts.filter(transfer__transfer_status=State.CLEANUP_PENDING)
    return set(pending.values_list("transfer_id", flat=True))


def file_recover(
    trash: Trash, key: str, now: datetime, *, owner_id: UUID, lease_seconds: float = LEASE_SECONDS
) -> bool:
    """Put back one file under a lease of its own; False where it is not there, another's, or under a receipt."""
    row = GCPVideoTransfer.objects.filter(pk=UUID(key)).first()
    if row is None:
        # Another database's file: it is not known here where it belongs, and nothing unlinks it.
        _alarm(key, Reason.OTHER_INSTALLATION, "There is a file in the trash whose transfer is not known here.", now)
        return False
    if not _is_ours(row):
        # A copy of this database on the same share, or the database that this one was copied from.
        _alarm(key, Reason.OTHER_INSTALLATION, "There is a file in the trash that another installation took.", now)
        return False
    claim = claim_file_in_trash(owner_id=owner_id, transfer_id=row.pk, now=now, lease_seconds=lease_seconds)
    if claim is None:
        return False
    row = claim.transfer
    try:
        # Under the lease: the receipt may have been opened since the keys were read.
        is_pending = row.transfer_status == State.CLEANUP_PENDING
        if is_pending and row.receipts.filter(closed_at__isnull=True).exists():
            return False
        return _put_back(trash, row, claim.lease, now)
    finally:
        release_cleanup(claim.lease, now)


def _is_ours(row: GCPVideoTransfer) -> bool:
    try:
        return row.installation_id == installation_id()
    except InstallationUnknown:
        return False


def _put_back(trash: Trash, row: GCPVideoTransfer, lease: Lease, now: datetime) -> bool:
    try:
        trash.put_back(str(row.pk), row.original_local_path)
    except FileProblem as problem:
        if problem.code is not Reason.FILE_MISSING:  # another process put it back in this moment
            _alarm(str(row.pk), problem.code, problem.detail, now)
        return False
    with transaction.atomic():
        if GCPVideoTransfer.objects.under_lease(lease, lease_clock(now)).select_for_update().exists():
            receipts = DeletionReceipt.objects.filter(transfer=row, closed_at__isnull=True)
            receipts.update(
                outcome=DeletionReceipt.Outcome.PUT_BACK, closed_at=now, detail="the transfer waits for no cleanup now"
            )
    log.info("cleanup.put_back", transfer=str(row.pk), reason=Reason.RENAMED_BACK.value)
    return True


def _alarm(key: str, code: Reason, detail: str, now: datetime) -> None:
    alarm_raise(code=code, subject=Subject(SubjectKind.TRASH, key), detail=detail, now=now)


def receipts_recover(run: Run) -> None:
    """Close receipts left open of transfers that wait for no cleanup, where the file lies in its place.

    An earlier version left such receipts. Such a receipt says that a file is being deleted, which is not true.
    """
    left = DeletionReceipt.objects.filter(closed_at__isnull=True).select_related("transfer")
    for receipt in left.exclude(transfer__transfer_status=State.CLEANUP_PENDING):
        row = receipt.transfer
        if row.installation_id == run.installation and is_at_path(run.root, row.original_local_path, receipt):
            left.filter(pk=receipt.pk).update(
                outcome=DeletionReceipt.Outcome.PUT_BACK,
                closed_at=run.clock.now(),
                detail="the transfer waited for no cleanup, and the file lies in its place",
            )
            log.info("cleanup.receipt_closed", transfer=str(row.pk), reason=Reason.RENAMED_BACK.value)
