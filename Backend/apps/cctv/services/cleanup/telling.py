"""The alarms of a cleanup: raised while their cause lasts, cleared by the run that does not meet it any more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from apps.cctv.models import Alarm, GCPVideoTransfer, Site
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.services.cleanup.attempt import TOLD
from offload.errors import Reason
from offload.states import State

OBJECT_CODES = frozenset({Reason.OBJECT_MISSING, Reason.OBJECT_DIFFERS, Reason.OBJECT_LOST})

Alarms = Mapping[tuple[Reason, str], str]


def stop_tell(reason: Reason, detail: str, *, site_id: UUID | None, now: datetime) -> None:
    """The run stopped before its work was done."""
    alarm_raise(code=reason, subject=_subject_of_run(site_id), detail=detail, now=now)


def files_tell(alarms: Alarms, *, now: datetime) -> None:
    for (code, subject), detail in alarms.items():
        alarm_raise(code=code, subject=subject, detail=detail, now=now)


def run_clear(*, site_id: UUID | None, now: datetime) -> None:
    """A run got past its guards."""
    subject = _subject_of_run(site_id)
    for code in _open_alarms().filter(subject=subject).values_list("code", flat=True):
        alarm_clear(code=Reason(code), subject=subject, now=now)


def files_clear(alarms: Alarms, *, site_id: UUID | None, now: datetime) -> None:
    """A run looked at everything that is due (at that site): what it did not meet is over."""
    ending = f" at {_name_of(site_id)}" if site_id else ""
    for code, subject in _open_alarms().values_list("code", "subject"):
        if (code, subject) not in alarms and _is_over(code, subject, ending):
            alarm_clear(code=Reason(code), subject=subject, now=now)


def _subject_of_run(site_id: UUID | None) -> str:
    return f"cleanup at {_name_of(site_id)}" if site_id else "cleanup"


def _name_of(site_id: UUID) -> str:
    return Site.objects.values_list("name", flat=True).get(pk=site_id)


def _is_over(code: str, subject: str, ending: str) -> bool:
    if code in TOLD:
        return subject.startswith("cleanup of ") and subject.endswith(ending)
    if code == Reason.CLEANUP_FAILED:
        rows = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING, needs_attention=True)
        return not rows.filter(site__name=subject).exists()
    if code in OBJECT_CODES:
        return not GCPVideoTransfer.objects.filter(pk=subject, error_code=code).exists()
    return False


def _open_alarms() -> QuerySet[Alarm]:
    return Alarm.objects.filter(cleared_at__isnull=True)
