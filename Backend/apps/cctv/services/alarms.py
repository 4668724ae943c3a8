"""Alarms: what a person must know, once, however often it is met."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import F

from apps.cctv.models import Alarm
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
"""What keeps every upload to a bucket from working until a person acts; the subject is the bucket."""


def alarm_raise(*, code: Reason, subject: str, detail: str, now: datetime) -> bool:
    """Open an alarm, or note that the open one was met again. True where it is a new one."""
    with transaction.atomic():
        if _seen_again(code=code, subject=subject, detail=detail, now=now):
            return False
        # Another process may open the same alarm in this instant: the unique constraint has one winner.
        opened = Alarm.objects.bulk_create(
            [Alarm(code=code, subject=subject, detail=detail, raised_at=now, last_seen_at=now)], ignore_conflicts=True
        )
    log.warning("alarm.raised", code=code, subject=subject, detail=detail)
    return bool(opened)


def alarm_clear(*, code: Reason, subject: str, now: datetime) -> bool:
    """Close the open alarm of that code and subject. True where there was one."""
    return alarms_clear(codes=[code], subject=subject, now=now) > 0


def alarms_clear(*, codes: Collection[Reason], subject: str, now: datetime) -> int:
    """Close the open alarms of those codes and that subject; how many there were."""
    closed = Alarm.objects.filter(code__in=sorted(codes), subject=subject, cleared_at__isnull=True).update(
        cleared_at=now
    )
    if closed:
        log.info("alarm.cleared", codes=sorted(codes), subject=subject, count=closed)
    return closed


def _seen_again(*, code: Reason, subject: str, detail: str, now: datetime) -> bool:
    open_row = Alarm.objects.filter(code=code, subject=subject, cleared_at__isnull=True)
    return open_row.update(last_seen_at=now, seen_count=F("seen_count") + 1, detail=detail) > 0
