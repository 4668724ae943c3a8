"""The alarms of a cleanup: raised while their cause lasts, cleared by the run that does not meet it any more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db.models import QuerySet

from apps.cctv.models import Alarm, GCPVideoTransfer
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.services.cleanup.attempt import TOLD
from offload.errors import Reason
from offload.states import State

RUN_SUBJECT = "cleanup"
"""The subject of the alarm about a run that stopped."""

OBJECT_CODES = frozenset({Reason.OBJECT_MISSING, Reason.OBJECT_DIFFERS, Reason.OBJECT_LOST})

Alarms = Mapping[tuple[Reason, str], str]


def stop_tell(reason: Reason, detail: str, *, now: datetime) -> None:
    alarm_raise(code=reason, subject=RUN_SUBJECT, detail=detail, now=now)


def files_tell(alarms: Alarms, *, now: datetime) -> None:
    for (code, subject), detail in alarms.items():
        alarm_raise(code=code, subject=subject, detail=detail, now=now)


def run_clear(*, now: datetime) -> None:
    """A run got past its guards."""
    for code in _open_alarms().filter(subject=RUN_SUBJECT).values_list("code", flat=True):
        alarm_clear(code=Reason(code), subject=RUN_SUBJECT, now=now)


def files_clear(alarms: Alarms, *, now: datetime) -> None:
    """A run looked at everything that is due: what it did not meet is over."""
    for code, subject in _open_alarms().values_list("code", "subject"):
        if (code, subject) not in alarms and _is_over(code, subject):
            alarm_clear(code=Reason(code), subject=subject, now=now)


def _is_over(code: str, subject: str) -> bool:
    if code in TOLD:
        return subject.startswith("cleanup of ")
    if code == Reason.CLEANUP_FAILED:
        rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, needs_attention=True)
        return not rows.filter(site__name=subject).exists()
    if code in OBJECT_CODES:
        return not GCPVideoTransfer.objects.filter(pk=subject, error_code=code).exists()
    return False


def _open_alarms() -> QuerySet[Alarm]:
    return Alarm.objects.filter(cleared_at__isnull=True)
