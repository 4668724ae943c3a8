"""Step 1 of a run, the guards: what stops it before it touches anything, or keeps it from one bucket (F9, F16, F18).

A bucket that refuses one object need not refuse the others. One object may be odd for many reasons: it was rewritten
under a customer's key, a condition of the bucket's policy locks it away, or it is refused with a status that nothing
explains. Such an object must not keep all others on the disk, run after run.
"""

from __future__ import annotations

from datetime import datetime

from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.cleanup.due_rows import DueRow, load
from apps.cctv.services.cleanup.run_state import BucketClock, Run, RunStopped
from offload.errors import FileProblem, LineDown, ObjectProblem, OffloadError, Reason, StopAndTell, TryAgain
from offload.source import MediaRoot

LOCAL_SHARE = 1 / 2
REMOTE_SHARE = 1 / 10
"""Of the files on the disk and of the objects in the bucket: if more are missing, the run stops."""

CLOCK_SKEW_SECONDS = 300.0
"""A run stops where the bucket's clock and this machine's differ by more."""

SAMPLE_ROWS = 50
"""Objects that are read before the first deletion, however small the batches are."""

OTHERS = 10
"""Objects that are asked for, from one end of the queue to the other, before a bucket counts as refusing."""

READ = "storage.objects.get"


def guards_pass(run: Run, rows: list[DueRow]) -> None:
    """All guards over those rows, before any of them is touched. Raises RunStopped, LineDown.

    Files in the trash or under a receipt are accounted for: they do not count as missing.
    """
    run.queue += rows
    judged = [row for row in rows if _is_ours(run, row)]
    in_trash = set(run.trash.keys())
    for row in judged:
        if not row.has_open_receipt and str(row.transfer_id) not in in_trash:
            run.missing_locally.note(row.transfer_id, missing=is_missing(run.root, row.path))
    run.missing_locally.check()
    for bucket in sorted({row.bucket for row in judged}):
        try:
            bucket_now(run, bucket)
        except OffloadError as error:  # its files stay; those of other buckets are cleaned up
            run.refuse(bucket, error)
        if run.failure is not None:
            raise run.failure
    objects_pass(run, [row for row in judged if not row.held][:SAMPLE_ROWS])


def objects_pass(run: Run, rows: list[DueRow]) -> None:
    """Read those rows' objects and count the missing ones. Raises RunStopped, LineDown; notes buckets that refuse."""
    loaded = load(run.reachable([due for due in rows if not due.held and _is_ours(run, due)]))
    run.proofs.load(loaded)
    for row in loaded:
        if row.gcp_bucket in run.refusing:
            continue
        try:
            proof = run.proofs.of(row)
        except OffloadError as error:  # an odd object is asked for again when it is its file's turn
            refusal = refusal_of_bucket(run, row, error)
            if refusal is not None:
                run.refuse(row.gcp_bucket, refusal)
            continue
        run.missing_remotely.note(row.pk, missing=proof.info is None)
    run.missing_remotely.check()
    if run.failure is not None:
        raise run.failure


def _is_ours(run: Run, row: DueRow) -> bool:
    """Another installation's objects, and those of a bucket that the settings do not name, say nothing of this run."""
    return row.bucket in run.settings.trusted_buckets and row.installation == run.installation


# --- The disk ----------------------------------------------------------------------------------------


def marker_check(root: MediaRoot) -> None:
    """Raises RunStopped where the media root is not mounted."""
    if not root.has_marker():
        raise RunStopped(
            Reason.MEDIA_ROOT_NOT_MOUNTED,
            "the media root has no marker file: its disk is not mounted, or another disk is mounted there",
        )


def is_missing(root: MediaRoot, path: str) -> bool:
    """Whether there is nothing at all at that path. Raises RunStopped where the media root itself is gone."""
    try:
        root.stat(path)
    except FileProblem as problem:
        if problem.code is Reason.MEDIA_ROOT_NOT_MOUNTED:
            raise RunStopped(problem.code, problem.detail) from problem
        return problem.code is Reason.FILE_MISSING
    return False


# --- The bucket's clock ------------------------------------------------------------------------------


def bucket_now(run: Run, bucket: str) -> datetime:
    """What time it is by the bucket's clock, which is read once a run.

    Raises RunStopped where it differs too much from this machine's, and the bucket's errors.
    """
    if bucket not in run.bucket_clocks:
        read = run.store.bucket_time(bucket)
        # Read after the answer: else the time of the request would be counted twice, and a file could go too early.
        read_monotonic = run.clock.monotonic()
        ahead_seconds = (run.clock.now() - read).total_seconds()
        if abs(ahead_seconds) > CLOCK_SKEW_SECONDS:
            raise RunStopped(
                Reason.CLOCK_SKEW,
                f"this machine's clock is {abs(ahead_seconds):.0f} s {'ahead of' if ahead_seconds > 0 else 'behind'} "
                f"the one of the bucket {bucket}",
            )
        run.bucket_clocks[bucket] = BucketClock(read, read_monotonic)
    return run.bucket_clocks[bucket].now(run.clock)


# --- One odd object, or a bucket that refuses --------------------------------------------------------


def refusal_of_bucket(run: Run, row: GCPVideoTransfer, error: OffloadError) -> OffloadError | None:
    """The error by which the whole bucket refuses; None where it answers for others, and this object is odd."""
    if not isinstance(error, (StopAndTell, LineDown)):
        return None
    try:
        run.store.bucket_time(row.gcp_bucket)
        return None if _others_are_answered(run, row) else error
    except OffloadError as refused:
        return refused


def _others_are_answered(run: Run, row: GCPVideoTransfer) -> bool:
    """Raises OffloadError where the bucket refuses the question itself."""
    bucket = row.gcp_bucket
    names = _names_of_others(run, row)
    if not names:  # there is no other object to ask for: ask for the right to read
        report = run.store.bucket_report(bucket)
        return report.exists and READ not in report.missing_permissions
    for name in names:
        try:
            run.store.get(bucket, name)
        except ObjectProblem:
            pass  # an answer about that object
        except (StopAndTell, TryAgain):
            continue
        run.answered[bucket] = name
        return True
    return False


def _names_of_others(run: Run, row: GCPVideoTransfer) -> list[str]:
    """Of objects in the same bucket: the one that answered last, then some from all over the queue, newest first."""
    others = [one.transfer_id for one in run.queue if one.bucket == row.gcp_bucket and one.transfer_id != row.pk]
    spread = others[::-1]
    if len(others) > OTHERS:
        spread = [others[-1 - number * (len(others) - 1) // (OTHERS - 1)] for number in range(OTHERS)]
    rows = GCPVideoTransfer.objects.filter(pk__in=spread, installation_id=run.installation)
    names = dict(rows.values_list("pk", "gcp_storage_path"))
    last = run.answered.get(row.gcp_bucket)
    first = [] if last is None or last == row.gcp_storage_path else [last]
    return first + [names[pk] for pk in spread if pk in names]
