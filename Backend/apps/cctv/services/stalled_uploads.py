"""StalledUploads: transfers wait, nothing fails, and yet nothing arrives (F7). It is told like an error."""

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

_SUBJECT = Subject(SubjectKind.INSTALLATION)


@dataclass(frozen=True, slots=True)
class StalledUploads:
    """`lasted` is since the last verified upload, or since the oldest waiting transfer was asked for."""

    lasted: timedelta
    last_upload_at: datetime | None
    waiting: int
    oldest_waited: timedelta

    def __str__(self) -> str:
        since = "ever" if self.last_upload_at is None else f"since {self.last_upload_at:%Y-%m-%d %H:%M} UTC"
        hours = self.oldest_waited.total_seconds() / 3600
        return f"Nothing was uploaded {since}. Transfers waiting: {self.waiting}, the first for {hours:.0f} h."


def stalled_uploads(now: datetime) -> StalledUploads | None:
    """None where nothing waits, or something arrived within `NOTICED_AFTER`.

    Times that lie ahead are a wrong clock's: an upload that ended then breaks no silence, and a transfer asked for
    then waits since the first other thing that is known of it, or since now.
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
    """Raise the alarm, or clear it. True while it is silent.

    An upload on its way without a failure breaks the silence: a long recording on a thin line takes hours.
    """
    silence = stalled_uploads(now)
    moving = GCPVideoTransfer.objects.filter(
        transfer_status=State.UPLOADING, lease_expires_at__gt=lease_clock(now), bytes_uploaded__gt=0, failures_in_row=0
    )
    if silence is None or moving.exists():
        alarm_clear(code=Reason.SILENCE, subject=_SUBJECT, now=now)
        return False
    alarm_raise(code=Reason.SILENCE, subject=_SUBJECT, detail=str(silence), now=now)
    return True
