"""Rights in doubt: a 403 for a right that the bucket says we have. It is retried for ten minutes, then believed.

Rights take minutes to spread: https://cloud.google.com/iam/docs/access-change-propagation
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max, Min

from apps.cctv.models import GCPVideoTransfer, RightInDoubt
from apps.cctv.tables.alarms import Subject, SubjectKind
from offload.errors import Reason
from offload.states import UPLOADED, Move, State

BELIEVED_AFTER = timedelta(minutes=10)
"""Longer than Google says that a granted right usually takes to arrive everywhere."""


def right_doubt_note(*, subject: Subject, now: datetime) -> bool:
    """Note such an answer. Returns True where the first one of the subject is ten minutes old, and so is believed."""
    with transaction.atomic():
        doubt = RightInDoubt.objects.select_for_update().filter(**subject.columns).first()
        if doubt is None:  # where another process notes it at this moment, one row is enough
            RightInDoubt.objects.bulk_create([RightInDoubt(**subject.columns, since=now)], ignore_conflicts=True)
            return False
        if doubt.since > now:  # written by a clock that has been set back since
            RightInDoubt.objects.filter(pk=doubt.pk).update(since=now)
            return False
        return now - doubt.since >= BELIEVED_AFTER


def right_doubts_end(kind: SubjectKind, buckets: Collection[str]) -> None:
    """Remove the doubts about those buckets: they took an upload (kind `BUCKET`) or a hold (kind `HOLDS`)."""
    RightInDoubt.objects.filter(subject_kind=kind, subject_id__in=buckets).delete()


def right_doubts_drop_idle() -> None:
    """Remove doubts that no transfer waits for any more, so that the next 403 counts as the first one again."""
    # Without a kind it was noted by a worker of another release, which ends it.
    for doubt in RightInDoubt.objects.exclude(subject_kind=SubjectKind.UNKNOWN):
        rows = GCPVideoTransfer.objects.filter(gcp_bucket=doubt.subject.bucket)
        if doubt.subject.kind is SubjectKind.HOLDS:
            rows = rows.filter(transfer_status__in=UPLOADED)
            waiting = rows.exclude(recording__hold_wanted=F("recording__hold_confirmed"))
        else:
            rows = rows.filter(transfer_status__in=[State.PENDING, State.UPLOADING])
            waiting = rows.filter(error_code=Reason.PERMISSION_DENIED)
        if not waiting.exists():
            doubt.delete()


def is_refused_alone(row: GCPVideoTransfer, now: datetime) -> bool:
    """Whether the bucket refuses this file and takes others.

    True where, of the other uploads that began after the first refusal of this file since it was last requested, one
    was completed ten minutes ago or earlier, and one since then.
    """
    # Refusals before the last request do not count: the right may have been given since.
    begun = row.events.filter(move__in=[Move.REQUEST, Move.RETRY]).aggregate(at=Max("at"))["at"]
    refused = row.events.filter(move=Move.PUT_BACK, reason=Reason.PERMISSION_DENIED)
    first = (refused.filter(at__gte=begun) if begun else refused).aggregate(at=Min("at"))["at"]
    if first is None:
        return False
    others = GCPVideoTransfer.objects.filter(gcp_bucket=row.gcp_bucket, upload_started_at__gt=first)
    taken = others.aggregate(first=Min("upload_completed_at"), last=Max("upload_completed_at"))
    believed = now - BELIEVED_AFTER
    return taken["first"] is not None and taken["first"] <= believed < taken["last"]
