"""Raises and clears alarms. A cause that is met again raises no second alarm."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import F

from apps.cctv.models import Alarm
from apps.cctv.selectors.alarms import open_alarms, subject_words
from apps.cctv.tables.alarms import Subject
from offload.errors import Reason

log = structlog.get_logger("coldreel.alarm")

STOP_CODES = frozenset(
    {
        Reason.CREDENTIALS_REFUSED,
        Reason.PERMISSION_DENIED,
        Reason.BUCKET_NOT_FOUND,
        Reason.BUCKET_REFUSED,
        Reason.QUOTA_EXCEEDED,
    }
)
"""Causes that stop every upload to a bucket, or every hold in it, until a person acts."""


def alarm_raise(*, code: Reason, subject: Subject, detail: str, now: datetime) -> bool:
    """Open an alarm, or note that the cause of the open one was met again. Returns True where it is a new one."""
    with transaction.atomic():
        met = open_alarms().filter(code=code, **subject.columns)
        # The update comes first: a cause that lasts is met far more often than it begins.
        if met.update(last_seen_at=now, seen_count=F("seen_count") + 1, detail=detail):
            return False
        # Another process may open the same alarm at this moment. The unique constraint lets one of them in.
        new = Alarm(code=code, **subject.columns, detail=detail, raised_at=now, last_seen_at=now)
        opened = Alarm.objects.bulk_create([new], ignore_conflicts=True)
    log.warning("alarm.raised", code=code, detail=detail, **_log_fields(subject))
    return bool(opened)


def alarm_clear(*, code: Reason, subject: Subject, now: datetime) -> bool:
    """Close the open alarm of that code and subject. Returns True where there was one."""
    return alarms_clear(codes=[code], subject=subject, now=now) > 0


def alarms_clear(*, codes: Collection[Reason], subject: Subject, now: datetime) -> int:
    """Close the open alarms of those codes and that subject; returns how many there were."""
    closed = open_alarms().filter(code__in=sorted(codes), **subject.columns).update(cleared_at=now)
    if closed:
        log.info("alarm.cleared", codes=sorted(codes), count=closed, **_log_fields(subject))
    return closed


def alarm_close(alarm: Alarm, now: datetime) -> bool:
    """Close an alarm that was read earlier. Returns False where it has been closed, or met again, since then."""
    same = open_alarms().filter(pk=alarm.pk, last_seen_at=alarm.last_seen_at)
    closed = same.update(cleared_at=now) > 0
    if closed:
        log.info("alarm.cleared", codes=[alarm.code], count=1, **_log_fields(alarm.subject))
    return closed


def _log_fields(subject: Subject) -> dict[str, str]:
    return {"subject": subject_words([subject])[subject], **subject.columns}
