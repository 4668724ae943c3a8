"""How a cleanup ends that does not delete its file: the file is in its place, and the row says why."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction

from apps.cctv.models import GCPVideoTransfer, Recording
from apps.cctv.services.cleanup.attempt import CleanupAttempt, is_at_path, why_not_ours
from apps.cctv.services.cleanup.guards import is_missing
from apps.cctv.services.cleanup.recovery import file_recover
from apps.cctv.services.cleanup.report import FileReport, Outcome
from apps.cctv.services.retention import FileStays
from apps.cctv.tables.alarms import Subject, SubjectKind
from offload.errors import FileProblem, LeaseLost, OffloadError, Reason, TryAgain
from offload.retry import Backoff
from offload.states import Move

log = structlog.get_logger("coldreel.cleanup")

BACKOFF = Backoff(base_seconds=60, cap_seconds=3600)
DAILY_SECONDS = 24 * 3600
"""How often a file is still tried after `GCP_CLEANUP_MAX_RETRIES` failures."""


def keep(attempt: CleanupAttempt, stays: FileStays) -> FileReport:
    """Put the file back in its place, and make the move that the reason asks for. Raises RunStopped."""
    outcome = Outcome.FAILED if stays.move is Move.FAIL else Outcome.SKIPPED
    if attempt.dry_run:
        return attempt.report(outcome, stays.reason, stays.detail)
    try:
        back = attempt.put_back()
        if not back and attempt.receipt is not None and not is_at_path(attempt.run.root, attempt.path, attempt.receipt):
            # Neither in the trash nor in its place: the next run finds out from the receipt what became of the file.
            return postpone(attempt, TryAgain(f"the file left the trash during the cleanup ({stays.detail})"))
        if stays.move is Move.FAIL and is_missing(attempt.run.root, attempt.path):
            # Without a local file, an object that is missing or differs is footage lost.
            stays = FileStays(Reason.OBJECT_LOST, f"{stays.reason.value}: {stays.detail}")
        with transaction.atomic():
            if attempt.receipt is not None:  # a row that moves on with its file in its place leaves no receipt open
                attempt.close_put_back(f"{stays.reason.value}: {stays.detail}")
            _move_on(attempt, stays)
    except LeaseLost:
        return leave(attempt)
    except FileProblem as problem:
        return postpone(attempt, problem, needs_attention=True)
    return attempt.report(outcome, stays.reason, stays.detail)


def leave(attempt: CleanupAttempt) -> FileReport:
    """The lease is lost: the row stays as it is, and the file is the business of the process that has the lease now.

    A file that this attempt took and whose row no process has leased goes back to its place, as the sweep would do.
    """
    run = attempt.run
    if attempt.taken_now:
        lease_seconds = run.settings.timings.lease_seconds
        file_recover(run.trash, attempt.key, run.clock.now(), owner_id=run.owner_id, lease_seconds=lease_seconds)
    first = why_not_ours(run, attempt.row)
    return attempt.report(Outcome.SKIPPED, first.reason, first.detail)


def postpone(attempt: CleanupAttempt, error: OffloadError, *, needs_attention: bool = False) -> FileReport:
    """A try that failed: the file stays, or is put back, and is tried again later (F1, F2)."""
    if not attempt.dry_run:
        try:
            _try_later(attempt, error, needs_attention=needs_attention)
        except LeaseLost:
            return leave(attempt)
    return attempt.report(Outcome.FAILED, error.code, error.detail)


def back_out(attempt: CleanupAttempt, why: str) -> None:
    """The run stops: put back a file that this attempt took, and leave the row as it was."""
    if attempt.dry_run:
        return
    try:
        back = attempt.taken_now and _put_back_if_possible(attempt)
        with transaction.atomic():
            _close_if_back(attempt, why, back=back)
            attempt.release()
    except LeaseLost:
        leave(attempt)


def _move_on(attempt: CleanupAttempt, stays: FileStays) -> None:
    """Inside a transaction. Without a move the lease is given back, and the row waits for a later run."""
    if stays.move is Move.UNSCHEDULE_CLEANUP:
        # A row whose file is another one keeps the reason, so that it is not scheduled again by itself.
        trouble = stays.reason is Reason.LOCAL_CHANGED
        _move(
            attempt,
            Move.UNSCHEDULE_CLEANUP,
            stays,
            cleanup_scheduled_at=None,
            error_code=stays.reason if trouble else "",
            error_message=stays.detail if trouble else "",
            needs_attention=trouble,
        )
    elif stays.move is Move.FAIL:
        _fail(attempt, stays)
    else:
        attempt.release()


def _fail(attempt: CleanupAttempt, stays: FileStays) -> None:
    """The object is missing or another one: the local file is the recording again (F18)."""
    _move(
        attempt,
        Move.FAIL,
        stays,
        error_code=stays.reason,
        error_message=stays.detail,
        cleanup_scheduled_at=None,
        needs_attention=True,
    )
    if stays.reason is not Reason.OBJECT_LOST:
        Recording.objects.filter(pk=attempt.row.recording_id).update(
            storage_type=Recording.StorageType.LOCAL, file_path=attempt.path
        )
    attempt.run.alarms[stays.reason, attempt.subject] = f"{attempt.row.gcp_storage_path}: {stays.detail}"


def _try_later(attempt: CleanupAttempt, error: OffloadError, *, needs_attention: bool) -> None:
    # A file that an earlier run took stays in the trash: putting it back would begin its quarantine again.
    back = attempt.taken_now and _put_back_if_possible(attempt)
    run = attempt.run
    failures = attempt.row.cleanup_failures + 1
    is_spent = failures > run.settings.cleanup_max_retries
    needs_attention = needs_attention or is_spent
    retry_after_seconds = error.retry_after_seconds if isinstance(error, TryAgain) else None
    delay_seconds = BACKOFF.delay_seconds(failures, random=run.random, retry_after_seconds=retry_after_seconds)
    with transaction.atomic():
        _close_if_back(attempt, f"{error.code.value}: {error.detail}", back=back)
        _move(
            attempt,
            Move.POSTPONE_CLEANUP,
            FileStays(error.code, error.detail),
            error_code=error.code,
            error_message=error.detail,
            cleanup_failures=failures,
            needs_attention=needs_attention,
            next_attempt_at=run.clock.now() + timedelta(seconds=DAILY_SECONDS if is_spent else delay_seconds),
        )
    if needs_attention:
        failing = Subject.of_site(SubjectKind.FAILING_FILES, attempt.row.site_id)
        run.alarms[Reason.CLEANUP_FAILED, failing] = f"{attempt.path}: {error.detail}"


def _move(attempt: CleanupAttempt, move: Move, stays: FileStays, **changes: object) -> None:
    """Raises LeaseLost."""
    GCPVideoTransfer.objects.move(
        attempt.row.pk,
        move,
        actor=attempt.run.actor,
        now=attempt.lease_now(),
        reason=stays.reason,
        detail=stays.detail,
        lease=attempt.lease,
        changes={"next_attempt_at": None, **changes},
    )


def _put_back_if_possible(attempt: CleanupAttempt) -> bool:
    """False where the disk does not let it. Raises LeaseLost."""
    try:
        return attempt.put_back()
    except FileProblem as problem:
        # It stays in the trash, where the next run and the sweep find it.
        log.warning("cleanup.put_back_failed", transfer=attempt.key, reason=problem.code, detail=problem.detail)
        return False


def _close_if_back(attempt: CleanupAttempt, why: str, *, back: bool) -> None:
    """Inside a transaction: no receipt stays open over a file in its place, also where another process put it there."""
    if attempt.receipt is not None and (back or is_at_path(attempt.run.root, attempt.path, attempt.receipt)):
        attempt.close_put_back(why)
