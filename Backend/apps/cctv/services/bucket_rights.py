"""A 403 beside which the bucket says "you may": retried for ten minutes before it is believed.

Rights take minutes to spread: https://cloud.google.com/iam/docs/access-change-propagation
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max, Min

from apps.cctv.models import GCPVideoTransfer, RightInDoubt
from offload.errors import Reason
from offload.states import UPLOADED, Move, State

BELIEVED_AFTER = timedelta(minutes=10)

HOLDS_IN = "holds in "


def right_doubt(*, subject: str, now: datetime) -> bool:
    """Note such an answer; whether the first one is old enough to be believed."""
    with transaction.atomic():
        doubt = RightInDoubt.objects.select_for_update().filter(subject=subject).first()
        if doubt is None:  # where another process notes the first one in this instant, one row is enough
            RightInDoubt.objects.bulk_create([RightInDoubt(subject=subject, since=now)], ignore_conflicts=True)
            return False
        if doubt.since > now:  # written by a clock that has been put back
            RightInDoubt.objects.filter(pk=doubt.pk).update(since=now)
            return False
        return now - doubt.since >= BELIEVED_AFTER


def rights_proven(subjects: Collection[str]) -> None:
    RightInDoubt.objects.filter(subject__in=subjects).delete()


def rights_forget() -> None:
    """Drop doubts that nothing waits for any more: the next one is a first one again."""
    for subject in RightInDoubt.objects.values_list("subject", flat=True):
        if not _is_waited_for(subject):
            rights_proven([subject])


def _is_waited_for(subject: str) -> bool:
    if subject.startswith(HOLDS_IN):
        rows = GCPVideoTransfer.objects.filter(transfer_status__in=UPLOADED)
        rows = rows.filter(gcp_bucket=subject.removeprefix(HOLDS_IN))
        return rows.exclude(recording__hold_wanted=F("recording__hold_confirmed")).exists()
    rows = GCPVideoTransfer.objects.filter(transfer_status__in=[State.PENDING, State.UPLOADING])
    return rows.filter(gcp_bucket=subject, error_code=Reason.PERMISSION_DENIED).exists()


def is_refused_alone(row: GCPVideoTransfer, now: datetime) -> bool:
    """Whether the bucket takes other files for ten minutes already, begun after it refused this one first."""
    begun = row.events.filter(move__in=[Move.REQUEST, Move.RETRY]).aggregate(at=Max("at"))["at"]
    refused = row.events.filter(move=Move.PUT_BACK, reason=Reason.PERMISSION_DENIED)
    first = (refused.filter(at__gte=begun) if begun else refused).aggregate(at=Min("at"))["at"]
    if first is None:
        return False
    others = GCPVideoTransfer.objects.filter(gcp_bucket=row.gcp_bucket, upload_started_at__gt=first)
    taken = others.aggregate(first=Min("upload_completed_at"), last=Max("upload_completed_at"))
    believed = now - BELIEVED_AFTER
    return taken["first"] is not None and taken["first"] <= believed < taken["last"]
