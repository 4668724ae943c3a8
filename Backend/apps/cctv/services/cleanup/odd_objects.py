"""A refusal is looked at twice: only a bucket that refuses other objects too ends its part of the run.

One object may be odd for many reasons: rewritten under a customer's key, locked away by a condition of the bucket's
policy, or refused with a status that nothing explains. It must not keep the others on the disk, run after run.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import structlog

from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.cleanup.run_state import Run
from offload.errors import LineDown, ObjectProblem, OffloadError, StopAndTell, TryAgain
from offload.store import ObjectStore

log = structlog.get_logger("coldreel.cleanup")

OTHERS = 10
"""Objects asked for, from one end of the line to the other, before a bucket counts as refusing."""

READ = "storage.objects.get"


def refusal_of_bucket(run: Run, row: GCPVideoTransfer, error: OffloadError) -> OffloadError | None:
    """The error by which the whole bucket refuses; None where it answers for others, and this object is odd."""
    if not isinstance(error, (StopAndTell, LineDown)):
        return None
    try:
        run.store.bucket_time(row.gcp_bucket)
        return None if _others_are_answered(run, row) else error
    except OffloadError as refused:
        return refused


def objects_check(run: Run, rows: Iterable[GCPVideoTransfer]) -> None:
    """Count the rows whose object is gone. Raises RunStopped, and LineDown; notes buckets that refuse."""
    for row in rows:
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


def _others_are_answered(run: Run, row: GCPVideoTransfer) -> bool:
    """Raises OffloadError where the bucket refuses the question itself."""
    bucket = row.gcp_bucket
    names = _names_of_others(run, row)
    if not names:
        report = run.store.bucket_report(bucket)
        return report.exists and READ not in report.missing_permissions
    for name in names:
        if _is_answered(run.store, bucket, name):
            run.answered[bucket] = name
            return True
    return False


def _is_answered(store: ObjectStore, bucket: str, name: str) -> bool:
    try:
        store.get(bucket, name)
    except ObjectProblem:
        return True
    except (StopAndTell, TryAgain):
        return False
    return True


def _names_of_others(run: Run, row: GCPVideoTransfer) -> list[str]:
    """Of objects in the same bucket: the one that answered last, then some from all over the line, newest first."""
    others = [one.transfer_id for one in run.line if one.bucket == row.gcp_bucket and one.transfer_id != row.pk]
    spread = _spread(others)
    rows = GCPVideoTransfer.objects.filter(pk__in=spread, installation_id=run.installation)
    names = dict(rows.values_list("pk", "gcp_storage_path"))
    last = run.answered.get(row.gcp_bucket)
    first = [] if last is None or last == row.gcp_storage_path else [last]
    return first + [names[pk] for pk in spread if pk in names]


def _spread(ids: list[UUID]) -> list[UUID]:
    if len(ids) <= OTHERS:
        return ids[::-1]
    return [ids[-1 - number * (len(ids) - 1) // (OTHERS - 1)] for number in range(OTHERS)]
