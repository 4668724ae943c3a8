"""How a cleanup ends that does not delete: the file in its place, the row saying why."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction

from apps.cctv.models import Recording
from apps.cctv.services.cleanup.attempt import Attempt, is_at_path, whoever_was_first
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


def refuse(attempt: Attempt, refused: FileStays) -> FileReport:
    """Put the file back where it was taken, then end the lease as the reason asks. Raises RunStopped."""
    if attempt.dry_run:
        return attempt.report(_outcome(refused), refused.reason, refused.detail)
    try:
        back = attempt.put_back()
        if not back and attempt.receipt is not None and not is_at_path(attempt.run.root, attempt.path, attempt.receipt):
            # Neither here nor there: the next run finds out from the receipt what became of the file.
            return postpone(attempt, TryAgain(f"the file left the trash during the cleanup ({refused.detail})"))
        refused = _as_lost(attempt, refused)
        with transaction.atomic():
            if attempt.receipt is not None:  # whoever leaves the line with the file in its place closes it
                attempt.close_put_back(f"{refused.reason.value}: {refused.detail}")
            _end(attempt, refused)
    except LeaseLost:
        return leave(attempt)
    except FileProblem as problem:
        return postpone(attempt, problem, needs_attention=True)
    return attempt.report(_outcome(refused), refused.reason, refused.detail)


def leave(attempt: Attempt) -> FileReport:
    """The lease is lost: the row is as somebody else left it, and the file is theirs.

    A file that this attempt took and that no run is at goes back to its place, as the sweep would bring it.
    """
    run = attempt.run
    if attempt.taken_now:
        file_recover(
            run.trash,
            attempt.key,
            run.clock.now(),
            owner_id=run.owner_id,
            lease_seconds=run.settings.timings.lease_seconds,
        )
    first = whoever_was_first(run, attempt.row)
    return attempt.report(Outcome.SKIPPED, first.reason, first.detail)


def postpone(attempt: Attempt, error: OffloadError, *, needs_attention: bool = False) -> FileReport:
    """A try that failed: the file stays, or is put back, and is tried again later (F1, F2)."""
    if not attempt.dry_run:
        try:
            _try_later(attempt, error, needs_attention=needs_attention)
        except LeaseLost:
            return leave(attempt)
    return attempt.report(Outcome.FAILED, error.code, error.detail)


def back_out(attempt: Attempt, why: str) -> None:
    """The run stops: leave the file in its place and the row in line."""
    if attempt.dry_run:
        return
    try:
        back = attempt.taken_now and put_back_if_it_goes(attempt)
        with transaction.atomic():
            if attempt.receipt is not None and (back or is_at_path(attempt.run.root, attempt.path, attempt.receipt)):
                attempt.close_put_back(why)
            attempt.release()
    except LeaseLost:
        leave(attempt)


def _outcome(refused: FileStays) -> Outcome:
    return Outcome.FAILED if refused.move is Move.FAIL else Outcome.SKIPPED


def _as_lost(attempt: Attempt, refused: FileStays) -> FileStays:
    """Without a local file, an object that is missing or differs is footage lost."""
    if refused.move is Move.FAIL and is_missing(attempt.run.root, attempt.path):
        return FileStays(Reason.OBJECT_LOST, f"{refused.reason.value}: {refused.detail}")
    return refused


def _end(attempt: Attempt, refused: FileStays) -> None:
    if refused.move is Move.UNSCHEDULE_CLEANUP:
        attempt.move(Move.UNSCHEDULE_CLEANUP, refused, cleanup_scheduled_at=None, **_trouble_of(refused))
    elif refused.move is Move.FAIL:
        _fail(attempt, refused)
    else:
        attempt.release()


def _trouble_of(refused: FileStays) -> dict[str, object]:
    """A row whose file is another one keeps the reason, so that nothing schedules it again by itself."""
    if refused.reason is Reason.LOCAL_CHANGED:
        return {"error_code": refused.reason, "error_message": refused.detail, "needs_attention": True}
    return {"error_code": "", "error_message": "", "needs_attention": False}


def _fail(attempt: Attempt, refused: FileStays) -> None:
    """The object is missing or another one: the local file is the recording again (F18)."""
    attempt.move(
        Move.FAIL,
        refused,
        error_code=refused.reason,
        error_message=refused.detail,
        cleanup_scheduled_at=None,
        needs_attention=True,
    )
    if refused.reason is not Reason.OBJECT_LOST:
        Recording.objects.filter(pk=attempt.row.recording_id).update(
            storage_type=Recording.StorageType.LOCAL, file_path=attempt.path
        )
    attempt.run.alarms[refused.reason, attempt.subject] = f"{attempt.row.gcp_storage_path}: {refused.detail}"


def _try_later(attempt: Attempt, error: OffloadError, *, needs_attention: bool) -> None:
    # A file that an earlier run took stays in the trash: putting it back would begin its quarantine again.
    back = attempt.taken_now and put_back_if_it_goes(attempt)
    run = attempt.run
    failures = attempt.row.cleanup_failures + 1
    needs_attention = needs_attention or failures > run.settings.cleanup_max_retries
    with transaction.atomic():
        if attempt.receipt is not None and (back or is_at_path(run.root, attempt.path, attempt.receipt)):
            attempt.close_put_back(f"{error.code.value}: {error.detail}")
        attempt.move(
            Move.POSTPONE_CLEANUP,
            FileStays(error.code, error.detail),
            error_code=error.code,
            error_message=error.detail,
            cleanup_failures=failures,
            needs_attention=needs_attention,
            next_attempt_at=run.clock.now() + timedelta(seconds=_delay_seconds(attempt, failures, error)),
        )
    if needs_attention:
        failing = Subject.of_site(SubjectKind.FAILING_FILES, attempt.row.site_id)
        run.alarms[Reason.CLEANUP_FAILED, failing] = f"{attempt.path}: {error.detail}"


def put_back_if_it_goes(attempt: Attempt) -> bool:
    """False where the disk does not let it. Raises LeaseLost."""
    try:
        return attempt.put_back()
    except FileProblem as problem:
        # It stays in the trash, where the next run and the sweep find it.
        log.warning("cleanup.put_back_failed", transfer=attempt.key, reason=problem.code, detail=problem.detail)
        return False


def _delay_seconds(attempt: Attempt, failures: int, error: OffloadError) -> float:
    if failures > attempt.run.settings.cleanup_max_retries:
        return DAILY_SECONDS
    retry_after_seconds = error.retry_after_seconds if isinstance(error, TryAgain) else None
    return BACKOFF.delay_seconds(failures, random=attempt.run.random, retry_after_seconds=retry_after_seconds)
