"""Compare, rename into the trash, commit the receipt, unlink, close the receipt. In that order (P1).

Until the receipt says `deleting`, whatever goes wrong leaves the file in its place or puts it back.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q

from apps.cctv.models import DeletionReceipt, Recording
from apps.cctv.services.cleanup.attempt import Attempt
from apps.cctv.services.cleanup.guards import is_missing, marker_check
from apps.cctv.services.cleanup.proof import Proof
from apps.cctv.services.cleanup.report import FileReport, Outcome
from apps.cctv.services.retention import FileStays
from offload.digest import crc32c_of, to_base64
from offload.errors import FileChanged, FileProblem, LeaseLost, Reason, TryAgain
from offload.source import Source, SourceIdentity, check_settled

UNLINK_MARGIN_SECONDS = 30
"""A proof that is about to grow too old is renewed before the last questions to the database are asked."""

ANOTHER_FILE = frozenset(
    {
        Reason.LOCAL_CHANGED,
        Reason.FILE_CHANGED,
        Reason.FILE_EMPTY,
        Reason.FILE_IS_LINK,
        Reason.FILE_NOT_REGULAR,
        Reason.FILE_OUTSIDE_MEDIA_ROOT,
        Reason.NAME_NOT_UTF8,
    }
)
"""What the engine says of a path under which the recording does not lie any more."""

Compared = DeletionReceipt.Compared
Receipt = DeletionReceipt.Outcome


def take_and_delete(attempt: Attempt, proof: Proof) -> FileReport:
    """The file at its path, or the news that it is gone already. Raises FileStays, OffloadError."""
    if _is_gone(attempt):
        return _already_missing(attempt, proof)
    with _open(attempt) as source:
        compared = compare(attempt, source, attempt.row.source_identity)
        source.demand_no_writer()  # asked again at the unlink, which may come a quarantine later
        if attempt.dry_run:
            return attempt.report(Outcome.CLEANED, attempt.reason)
        attempt.renew_lease()
        attempt.taken_now = True
        taken = _rename(attempt, source)
    receipt = _open_receipt(attempt, compared, taken)
    if attempt.run.settings.quarantine:
        return quarantined(attempt, receipt)
    return delete(attempt, receipt, taken, attempt.reason)


def compare(attempt: Attempt, source: Source, recorded: str) -> Compared:
    """Whether this is the file that was uploaded: by its identity, or by a fresh CRC32C of it all. Raises FileStays."""
    row = attempt.row
    if source.identity.size_bytes != row.file_size_bytes:
        raise FileStays(
            Reason.LOCAL_CHANGED, f"uploaded: {row.file_size_bytes} bytes, now: {source.identity.size_bytes}"
        )
    if _is_proof(recorded, source.identity):
        return Compared.IDENTITY
    time = source.time(attempt.run.clock, may_write=not attempt.dry_run)
    if source.identity.step_ns(time):  # a change while the sum is made would not show
        check_settled(source.identity, time=time, settle_seconds=0)
    try:
        found = to_base64(crc32c_of(source, row.file_size_bytes, abort=attempt.keep_lease))
        unchanged = source.identity_now() == source.identity
    except FileProblem as problem:
        raise _refusal(problem) from problem
    if found != row.object_crc32c or not unchanged:
        raise FileStays(Reason.LOCAL_CHANGED, f"uploaded: CRC32C {row.object_crc32c}, now: {found}")
    if _is_anothers(attempt, source.identity):
        raise FileStays(Reason.LOCAL_CHANGED, "the file is another recording's now, though with the same bytes")
    return Compared.CRC32C


def _is_proof(recorded: str, found: SourceIdentity) -> bool:
    """Whether the identity alone tells that this is the uploaded file; one that was taken too early does not."""
    try:
        expected = SourceIdentity.decode(recorded)
    except ValueError:
        return False
    return expected.trusted and found == expected


def _is_anothers(attempt: Attempt, identity: SourceIdentity) -> bool:
    """Whether another recording was registered with this very file, or still needs whatever lies at its path."""
    others = Recording.objects.filter(local_path=attempt.path).exclude(pk=attempt.row.recording_id)
    needs_it = Q(file_mtime_ns=identity.mtime_ns) | Q(hold_wanted=True) | Q(storage_type=Recording.StorageType.LOCAL)
    return others.filter(needs_it).exists()


def delete(attempt: Attempt, receipt: DeletionReceipt, expected: SourceIdentity, reason: Reason) -> FileReport:
    """The last questions, then the unlink. `expected` is what was compared, as it lies in the trash."""
    run = attempt.run
    proof = attempt.prove(margin_seconds=UNLINK_MARGIN_SECONDS)
    found = run.trash.find(attempt.key)
    if found is None:  # put back or deleted by another: the next run finds out which
        raise TryAgain("the file left the trash during the cleanup")
    if found != expected:
        raise FileStays(Reason.LOCAL_CHANGED, "the file was touched in the trash")
    _last_look(attempt, receipt, proof)
    if not run.proofs.is_fresh(proof):
        raise TryAgain("the proof grew too old before the file could be deleted")
    _unlink(attempt, expected)
    return close(attempt, receipt, reason)


def _unlink(attempt: Attempt, expected: SourceIdentity) -> None:
    """Raises FileStays where the file was touched; where it is open for writing, it goes back to its place."""
    try:
        attempt.run.trash.unlink(attempt.key, expected=expected)
    except FileProblem as problem:
        if problem.code is Reason.FILE_IN_USE:
            attempt.taken_now = True  # also out of a quarantine: its writer knows it by its old name
        raise _refusal(problem) from problem


def close(attempt: Attempt, receipt: DeletionReceipt, reason: Reason) -> FileReport:
    """The receipt and the move, together."""
    with transaction.atomic():
        receipt.outcome = Receipt.DELETED
        receipt.closed_at = attempt.run.clock.now()
        receipt.save(update_fields=["outcome", "closed_at"])
        attempt.mark_cleaned(receipt, reason)
    return attempt.report(Outcome.CLEANED, reason)


def quarantined(attempt: Attempt, receipt: DeletionReceipt) -> FileReport:
    until = receipt.opened_at + attempt.run.settings.quarantine
    attempt.release()
    return attempt.report(Outcome.SKIPPED, Reason.QUARANTINED, f"until {until:%Y-%m-%d %H:%M} UTC")


def _is_gone(attempt: Attempt) -> bool:
    run = attempt.run
    if not is_missing(run.root, attempt.path):
        return False
    marker_check(run.root)  # on a disk that was unmounted during the run, everything is missing
    run.trash.places.demand_there(attempt.path)
    return run.trash.find(attempt.key) is None


def _already_missing(attempt: Attempt, proof: Proof) -> FileReport:
    """The file is gone and the object is proven: the row says so, with a receipt that claims no deletion."""
    if not attempt.dry_run:
        with transaction.atomic():
            attempt.demand_row()
            receipt = DeletionReceipt.objects.create(
                **attempt.receipt_columns(proof),
                outcome=Receipt.ALREADY_MISSING,
                closed_at=attempt.run.clock.now(),
                compared=Compared.NOTHING,
            )
            attempt.mark_cleaned(receipt, Reason.ALREADY_MISSING)
    return attempt.report(Outcome.ALREADY_MISSING, Reason.ALREADY_MISSING)


def _open(attempt: Attempt) -> Source:
    run = attempt.run
    if attempt.dry_run and run.trash.find(attempt.key) is not None:
        return run.trash.open(attempt.key)
    try:
        return run.root.open(attempt.path)
    except FileProblem as problem:
        raise _refusal(problem) from problem


def _rename(attempt: Attempt, source: Source) -> SourceIdentity:
    try:
        return attempt.run.trash.take(attempt.path, attempt.key, expected=source.identity)
    except FileProblem as problem:
        raise _refusal(problem) from problem


def _open_receipt(attempt: Attempt, compared: Compared, taken: SourceIdentity) -> DeletionReceipt:
    """The receipt `deleting`, only under the lease and only where nothing holds the recording. Raises FileStays."""
    proof = attempt.prove()
    with transaction.atomic():
        attempt.demand_row()
        attempt.receipt = DeletionReceipt.objects.create(
            **attempt.receipt_columns(proof),
            trash_path=attempt.run.trash.path_of(attempt.key),
            compared=compared,
            source_identity=taken.encode(),
        )
    return attempt.receipt


def _last_look(attempt: Attempt, receipt: DeletionReceipt, proof: Proof) -> None:
    """A hold that came after the receipt still saves the file. Raises FileStays, LeaseLost."""
    attempt.renew_lease()
    with transaction.atomic():
        attempt.demand_row()
        still_open = DeletionReceipt.objects.filter(pk=receipt.pk, closed_at__isnull=True)
        if still_open.update(proof_read_at=proof.read_at) != 1:
            raise LeaseLost("the receipt was closed by somebody else")


def _refusal(problem: FileProblem) -> Exception:
    """A file that is another one now is refused; a disk that fails is a failed try."""
    if isinstance(problem, FileChanged) or problem.code in ANOTHER_FILE:
        return FileStays(Reason.LOCAL_CHANGED, problem.detail)
    return problem
