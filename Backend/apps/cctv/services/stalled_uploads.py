"""Stalled uploads: transfers wait, nothing fails, and yet nothing arrives (F7). An alarm tells it like an error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, DateTimeField, F, Max, Min, Value, When

from apps.cctv.leasing.leases import lease_clock
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.tables.alarms import Subject, SubjectKind
from offload.errors import Reason
from offload.states import State

NOTICED_AFTER = timedelta(hours=2)
"""With nothing uploaded for this long, waiting uploads count as stalled."""

_SUBJECT = Subject(SubjectKind.INSTALLATION)


@dataclass(frozen=True, slots=True)
class StalledUploads:
    """How long nothing has arrived, and what waits. `str()` is the text of the alarm and of `doctor`'s finding.

    `lasted` counts from the last verified upload, or from the request of the oldest waiting transfer if that is later.
    """

    lasted: timedelta
    last_upload_at: datetime | None
    waiting: int
    oldest_waited: timedelta

    def __str__(self) -> str:
        since = "ever" if self.last_upload_at is None else f"since {self.last_upload_at:%Y-%m-%d %H:%M} UTC"
        hours = self.oldest_waited.total_seconds() / 3600
        return f"Nothing was uploaded {since}. Transfers waiting: {self.waiting}, the first for {hours:.0f} h."


def stalled_uploads(now: datetime) -> StalledUploads | None:
    """What is stalled; None where nothing waits, or an upload ended less than `NOTICED_AFTER` ago.

    A time in the future was written by a wrong clock. An upload that ended in the future does not count. A transfer
    that was requested in the future counts from another time that its row has, or from now.
    """
    waiting = GCPVideoTransfer.objects.filter(transfer_status__in=[State.PENDING, State.UPLOADING])
    known = ("created_at", "failing_since", "next_attempt_at", "upload_started_at")
    since = Case(*(When(**{f"{name}__lte": now, "then": F(name)}) for name in known), default=Value(now))
    oldest = waiting.aggregate(at=Min(since, output_field=DateTimeField()))["at"]
    if oldest is None:
        return None
    last = GCPVideoTransfer.objects.filter(upload_completed_at__lte=now).aggregate(at=Max("upload_completed_at"))["at"]
    lasted = now - max(oldest, last or oldest)
    if lasted < NOTICED_AFTER:
        return None
    return StalledUploads(lasted, last, waiting.count(), now - oldest)


def stalled_uploads_check(now: datetime) -> bool:
    """Raise the alarm `silence`, or clear it. Returns True while uploads are stalled.

    An upload that sends bytes and has not failed clears it: a long recording on a thin line takes hours.
    """
    stalled = stalled_uploads(now)
    # The ends of leases are in the database's time.
    moving = GCPVideoTransfer.objects.filter(
        transfer_status=State.UPLOADING, lease_expires_at__gt=lease_clock(now), bytes_uploaded__gt=0, failures_in_row=0
    )
    if stalled is None or moving.exists():
        alarm_clear(code=Reason.SILENCE, subject=_SUBJECT, now=now)
        return False
    alarm_raise(code=Reason.SILENCE, subject=_SUBJECT, detail=str(stalled), now=now)
    return True
