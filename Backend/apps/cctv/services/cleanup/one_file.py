"""One file, from the look at its row to its report."""

from __future__ import annotations

import contextlib
from uuid import UUID

import structlog
from django.db import DatabaseError

from apps.cctv.leasing.leases import claim_cleanup
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.cleanup.attempt import Attempt, read_row, whoever_was_first
from apps.cctv.services.cleanup.deletion import take_and_delete
from apps.cctv.services.cleanup.file_stays import back_out, leave, postpone, refuse
from apps.cctv.services.cleanup.guards import RunStopped
from apps.cctv.services.cleanup.odd_objects import refusal_of_bucket
from apps.cctv.services.cleanup.open_receipts import finish
from apps.cctv.services.cleanup.report import FileReport, Outcome
from apps.cctv.services.cleanup.rules import object_check, row_check
from apps.cctv.services.cleanup.run_state import Run
from apps.cctv.services.disk_reserve import make_room
from apps.cctv.services.retention import FileStays, Waiver, bucket_time_check
from offload.errors import FileProblem, LeaseLost, ObjectProblem, OffloadError, Reason, StopAndTell
from offload.states import State

log = structlog.get_logger("coldreel.cleanup")


def file_clean(run: Run, transfer_id: UUID, *, waiver: Waiver | None) -> FileReport:
    """Delete one local file, or say why not. A dry run asks the same questions and changes nothing.

    Raises RunStopped where the disk or the bucket turns out to be wrong. `run.refusing` and `run.failure` are
    set where the bucket refuses everything or does not answer at all.
    """
    row = read_row(transfer_id)
    report = _file_clean(run, row, waiver)
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


def _file_clean(run: Run, row: GCPVideoTransfer, waiver: Waiver | None) -> FileReport:
    try:
        row_check(row, run.settings, run.installation, now=run.clock.now())
    except FileStays as refused:
        # A row in line is leased all the same: it may leave the line, or its file may lie in the trash.
        if row.transfer_status != State.CLEANUP_PENDING or refused.reason is Reason.OTHER_INSTALLATION:
            return Attempt(run, row, None, waiver).report(Outcome.SKIPPED, refused.reason, refused.detail)
    if run.dry_run:
        return _attempt(Attempt(run, row, None, waiver))
    claim = claim_cleanup(
        owner_id=run.owner_id,
        transfer_id=row.pk,
        now=run.clock.now(),
        lease_seconds=run.settings.timings.lease_seconds,
        actor=run.actor,
    )
    if claim is None:
        first = whoever_was_first(run, row)
        return FileReport.of(row, Outcome.SKIPPED, first.reason, first.detail)
    return _attempt(Attempt(run, claim.transfer, claim.lease, waiver))


def _attempt(attempt: Attempt) -> FileReport:
    try:
        return _clean_or_say_why(attempt)
    except RunStopped as stopped:
        back_out(attempt, stopped.detail)
        raise
    except DatabaseError:
        # Without the database the lease cannot be renewed: then the file stays in the trash, where the next
        # run and the sweep find it.
        with contextlib.suppress(DatabaseError):
            back_out(attempt, "the database failed")
        raise


def _clean_or_say_why(attempt: Attempt) -> FileReport:
    try:
        return _clean_although_full(attempt)
    except FileStays as refused:
        return refuse(attempt, refused)
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


def _clean_although_full(attempt: Attempt) -> FileReport:
    """On a disk that is full to the last byte even the trash folder cannot be made."""
    try:
        return _clean(attempt)
    except FileProblem as problem:
        if attempt.dry_run or not make_room(problem, for_cleanup=True):
            raise
        return _clean(attempt)


def _clean(attempt: Attempt) -> FileReport:
    run, row = attempt.run, attempt.row
    attempt.receipt = row.receipts.filter(closed_at__isnull=True).first()
    if attempt.receipt is not None:
        report = finish(attempt, attempt.receipt)
        if report is not None:
            return report
    row_check(row, run.settings, run.installation, now=run.clock.now(), waived=attempt.waiver is not None)
    proof = attempt.prove()
    if attempt.waiver is None:
        info = object_check(row, proof.info, run.installation)
        bucket_now = run.bucket_now(row.gcp_bucket)
        bucket_time_check(row, stored_at=info.stored_at, bucket_now=bucket_now, settings=run.settings)
    if not attempt.dry_run:
        attempt.put_back()  # in the trash without a receipt: a crash came between rename and receipt
    return take_and_delete(attempt, proof)
