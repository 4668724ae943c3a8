"""One file's cleanup under one lease: what its steps share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from apps.cctv.leasing.leases import release_cleanup, renew
from apps.cctv.models import DeletionReceipt, GCPVideoTransfer
from apps.cctv.services.cleanup.proof import Proof
from apps.cctv.services.cleanup.report import FileReport, Outcome
from apps.cctv.services.cleanup.rules import object_check, row_check
from apps.cctv.services.cleanup.run_state import Run
from apps.cctv.services.retention import MAY_GO_EARLY, FileStays, Waiver
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.moves import Lease
from offload.errors import FileProblem, LeaseLost, Reason
from offload.source import MediaRoot, SourceIdentity
from offload.states import Move

TOLD = frozenset({Reason.HOLD_UNKNOWN, Reason.OTHER_INSTALLATION, Reason.BUCKET_SETTING_CHANGED})
"""Refusals that no waiting mends: an alarm tells a person, one a bucket and site."""


class Attempt:
    """`lease` is None in a dry run, which changes nothing. `taken_now`: the file was renamed by this attempt."""

    def __init__(self, run: Run, row: GCPVideoTransfer, lease: Lease | None, waiver: Waiver | None) -> None:
        self.run = run
        self.row = row
        self.waiver = waiver
        self.key = str(row.pk)
        self.path = row.original_local_path
        self.subject = Subject(SubjectKind.TRANSFER, self.key)
        self.receipt: DeletionReceipt | None = None
        self.taken_now = False
        self._lease = lease
        self._renew_at = run.clock.monotonic() + run.settings.timings.lease_seconds / 4
        self._blank = FileReport.of(row, Outcome.SKIPPED, Reason.BUSY)

    # --- The lease ------------------------------------------------------------------------------------

    @property
    def dry_run(self) -> bool:
        return self._lease is None

    @property
    def lease(self) -> Lease:
        if self._lease is None:
            raise LeaseLost("a dry run holds no lease")
        return self._lease

    def keep_lease(self) -> None:
        """Called for every piece of a long checksum. Raises LeaseLost."""
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

    # --- Questions ------------------------------------------------------------------------------------

    def prove(self, *, margin_seconds: float = 0) -> Proof:
        """Read back, now or less than a minute ago: the object is there, whole, ours and unheld. Raises FileStays."""
        proof = self.run.proofs.of(self.row, margin_seconds=margin_seconds)
        self.run.missing_remotely.note(self.row.pk, missing=proof.info is None)
        self.run.missing_remotely.check()
        object_check(self.row, proof.info, self.run.installation)
        return proof

    def demand_row(self) -> None:
        """Inside a transaction: the lease is ours, nothing holds the recording. Raises FileStays.

        Locks the row and its recording, so that a hold comes before what follows here, or finds it.
        """
        rows = GCPVideoTransfer.objects.under_lease(self.lease, self.run.now())
        rows = rows.filter(MAY_GO_EARLY)
        if rows.select_related("recording").select_for_update(of=("self", "recording")).first() is None:
            raise whoever_was_first(self.run, self.row)

    # --- Changes --------------------------------------------------------------------------------------

    def move(self, move: Move, refused: FileStays, **changes: object) -> None:
        GCPVideoTransfer.objects.move(
            self.row.pk,
            move,
            actor=self.run.actor,
            now=self.run.now(),
            reason=refused.reason,
            detail=refused.detail,
            lease=self.lease,
            changes={"next_attempt_at": None, **changes},
        )

    def mark_cleaned(self, receipt: DeletionReceipt, reason: Reason) -> None:
        self.row.mark_cleanup_completed(
            lease=self.lease, receipt=receipt, now=self.run.now(), actor=self.run.actor, reason=reason
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
        """Inside a transaction. Raises LeaseLost."""
        if not GCPVideoTransfer.objects.under_lease(self.lease, self.run.now()).exists():
            raise LeaseLost(f"the lease of transfer {self.key} is another's now")
        receipts = DeletionReceipt.objects.filter(transfer=self.row.pk, closed_at__isnull=True)
        receipts.update(outcome=DeletionReceipt.Outcome.PUT_BACK, closed_at=self.run.clock.now(), detail=detail)
        self.receipt = None

    def receipt_columns(self, proof: Proof) -> dict[str, Any]:
        row = self.row
        return {
            "transfer": row,
            "actor": self.run.actor,
            "forced": self.run.force,
            "opened_at": self.run.clock.now(),
            "local_path": self.path,
            "size_bytes": row.file_size_bytes,
            "gcp_bucket": row.gcp_bucket,
            "gcp_storage_path": row.gcp_storage_path,
            "object_generation": row.object_generation,
            "object_crc32c": row.object_crc32c,
            "proof_read_at": proof.read_at,
            "detail": self.waiver or "",
        }

    # --- Words ----------------------------------------------------------------------------------------

    @property
    def reason(self) -> Reason:
        return Reason.DISK_PRESSURE if self.waiver is Waiver.DISK_PRESSURE else Reason.CLEANED

    def report(self, outcome: Outcome, reason: Reason, detail: str = "") -> FileReport:
        if reason in TOLD:
            files = Subject.of_bucket_at_site(SubjectKind.CLEANUP_FILES, self.row.gcp_bucket, self.row.site_id)
            self.run.alarms[reason, files] = f"{self.row.gcp_storage_path}: {detail}"
        return replace(self._blank, outcome=outcome, reason=reason, detail=detail)


def identity_at(root: MediaRoot, path: str) -> SourceIdentity | None:
    try:
        return root.stat(path)
    except FileProblem:
        return None


def is_at_path(root: MediaRoot, path: str, receipt: DeletionReceipt) -> bool:
    """Whether the file that the receipt speaks for lies at its path, whoever put it back.

    By size and mtime: a mount made anew may number its devices and files anew.
    """
    found, expected = identity_at(root, path), SourceIdentity.decode(receipt.source_identity)
    return found is not None and (found.size_bytes, found.mtime_ns) == (expected.size_bytes, expected.mtime_ns)


def read_row(pk: UUID) -> GCPVideoTransfer:
    return GCPVideoTransfer.objects.select_related("recording__camera", "site").get(pk=pk)


def whoever_was_first(run: Run, row: GCPVideoTransfer) -> FileStays:
    """Why the row is not to be had: it was changed meanwhile, or somebody else is at it."""
    try:
        row_check(read_row(row.pk), run.settings, run.installation, now=run.clock.now())
    except FileStays as refused:
        return refused
    return FileStays(Reason.BUSY, "another cleanup has the lease")
