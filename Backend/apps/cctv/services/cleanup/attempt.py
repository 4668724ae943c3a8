"""One file's cleanup under one lease: what its steps share, and what more than one of them does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from apps.cctv.leasing.leases import lease_clock, release_cleanup, renew
from apps.cctv.models import DeletionReceipt, GCPVideoTransfer
from apps.cctv.services.cleanup.comparison import object_check, owner_check
from apps.cctv.services.cleanup.proof import Proof
from apps.cctv.services.cleanup.report import WITH_ALARM, FileReport, Outcome
from apps.cctv.services.cleanup.run_state import Run
from apps.cctv.services.retention import MAY_GO_EARLY, FileStays, Waiver, retention_check
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.moves import Lease
from offload.errors import FileProblem, LeaseLost, Reason
from offload.source import MediaRoot, SourceIdentity
from offload.store import ObjectInfo


class CleanupAttempt:
    """`row` has its recording and camera loaded. A dry run has no lease and changes nothing.

    `receipt` is the open one. `taken_now`: this attempt renamed the file into the trash, and puts it back where it
    does not delete it. `proof` is the last answer of the bucket, there from the first `read_back` on.
    """

    proof: Proof

    def __init__(self, run: Run, row: GCPVideoTransfer, lease: Lease | None, waiver: Waiver | None) -> None:
        self.run = run
        self.row = row
        self.waiver = waiver
        self.key = str(row.pk)
        self.path = row.original_local_path
        self.subject = Subject(SubjectKind.TRANSFER, self.key)
        self.receipt: DeletionReceipt | None = None
        self.taken_now = False
        self.dry_run = lease is None
        self._lease = lease
        self._renew_at = run.clock.monotonic() + run.settings.timings.lease_seconds / 4
        self._blank = FileReport.of(row, Outcome.SKIPPED, Reason.BUSY)

    # --- The lease ------------------------------------------------------------------------------------

    @property
    def lease(self) -> Lease:
        if self._lease is None:
            raise LeaseLost("a dry run has no lease")
        return self._lease

    def keep_lease(self) -> None:
        """Renew the lease where a quarter of it has passed; called for every piece of a long checksum.

        Raises LeaseLost.
        """
        if not self.dry_run and self.run.clock.monotonic() >= self._renew_at:
            self.renew_lease()

    def renew_lease(self) -> None:
        """Raises LeaseLost where it is another's now."""
        seconds = self.run.settings.timings.lease_seconds
        kept = renew(leases=[self.lease], now=self.run.clock.now(), lease_seconds=seconds)
        if self.row.pk not in kept:
            raise LeaseLost(f"the lease of transfer {self.key} is another's now")
        self._lease = kept[self.row.pk]
        self._renew_at = self.run.clock.monotonic() + seconds / 4

    def release(self) -> None:
        if not self.dry_run:
            release_cleanup(self.lease, self.run.clock.now())

    def lease_now(self) -> datetime:
        """The moment that leases are measured by: the database's clock on PostgreSQL."""
        return lease_clock(self.run.clock.now())

    # --- Questions ------------------------------------------------------------------------------------

    def read_back(self, *, margin_seconds: float = 0) -> ObjectInfo:
        """Read back, now or less than a minute ago: the object is there, whole, ours and without a hold.

        `proof` is good for at least `margin_seconds` more then. Raises FileStays, RunStopped, and the bucket's errors.
        """
        self.proof = self.run.proofs.of(self.row, margin_seconds=margin_seconds)
        # A bucket that loses its objects while the run goes on stops it as well.
        self.run.missing_remotely.note_and_check(self.row.pk, missing=self.proof.info is None)
        return object_check(self.row, self.proof.info, self.run.installation)

    def lock_row(self) -> None:
        """Inside a transaction: the lease is ours, and the recording is not held. Raises FileStays.

        Locks the row and its recording: a hold is either set before and seen here, or set later and sees what follows.
        """
        rows = GCPVideoTransfer.objects.under_lease(self.lease, self.lease_now()).filter(MAY_GO_EARLY)
        if rows.select_related("recording").select_for_update(of=("self", "recording")).first() is None:
            raise why_not_ours(self.run, self.row)

    # --- Changes --------------------------------------------------------------------------------------

    def mark_cleaned(self, receipt: DeletionReceipt, reason: Reason) -> None:
        self.row.mark_cleanup_completed(
            lease=self.lease, receipt=receipt, now=self.lease_now(), actor=self.run.actor, reason=reason
        )

    def put_back(self) -> bool:
        """Put the file back where it came from; False where the trash has none. Raises FileProblem.

        The lease is renewed first: what lies in the trash belongs to the run that has it (P6). Raises LeaseLost.
        """
        if self.run.trash.find(self.key) is None:
            return False
        self.renew_lease()
        self.run.trash.put_back(self.key, self.path)
        return True

    def close_put_back(self, detail: str) -> None:
        """Inside a transaction: close the open receipt as `put_back`. Raises LeaseLost."""
        if not GCPVideoTransfer.objects.under_lease(self.lease, self.lease_now()).exists():
            raise LeaseLost(f"the lease of transfer {self.key} is another's now")
        receipts = DeletionReceipt.objects.filter(transfer=self.row.pk, closed_at__isnull=True)
        receipts.update(outcome=DeletionReceipt.Outcome.PUT_BACK, closed_at=self.run.clock.now(), detail=detail)
        self.receipt = None

    # --- The report -----------------------------------------------------------------------------------

    def report(self, outcome: Outcome, reason: Reason, detail: str = "") -> FileReport:
        """How it ended; where only a person can end the reason, an alarm is due, one for each bucket and site."""
        if reason in WITH_ALARM:
            files = Subject.of_bucket_at_site(SubjectKind.CLEANUP_FILES, self.row.gcp_bucket, self.row.site_id)
            self.run.alarms[reason, files] = f"{self.row.gcp_storage_path}: {detail}"
        return replace(self._blank, outcome=outcome, reason=reason, detail=detail)


def row_check(run: Run, row: GCPVideoTransfer, *, waived: bool = True) -> None:
    """Whether the row's own columns let its file go; `waived` leaves the waiting period out. Raises FileStays."""
    owner_check(row, run.settings, run.installation)
    retention_check(row, settings=run.settings, now=run.clock.now(), waived=waived)


def read_row(pk: UUID) -> GCPVideoTransfer:
    return GCPVideoTransfer.objects.select_related("recording__camera", "site").get(pk=pk)


def why_not_ours(run: Run, row: GCPVideoTransfer) -> FileStays:
    """Why the row cannot be leased or locked: it has changed meanwhile, or another process has its lease."""
    try:
        row_check(run, read_row(row.pk))
    except FileStays as stays:
        return stays
    return FileStays(Reason.BUSY, "another cleanup has the lease")


def identity_at(root: MediaRoot, path: str) -> SourceIdentity | None:
    try:
        return root.stat(path)
    except FileProblem:
        return None


def is_at_path(root: MediaRoot, path: str, receipt: DeletionReceipt) -> bool:
    """Whether the file of the receipt lies at its path, no matter which process put it back.

    Size and mtime tell: a mount made anew may number its devices and files anew.
    """
    found, expected = identity_at(root, path), SourceIdentity.decode(receipt.source_identity)
    return found is not None and (found.size_bytes, found.mtime_ns) == (expected.size_bytes, expected.mtime_ns)
