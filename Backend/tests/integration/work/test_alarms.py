"""Alarms: one open row a code and subject, however often it is met."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.cctv.models import Alarm
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.tables.alarms import Subject, SubjectKind
from offload.errors import Reason
from tests.integration.db.rows import NOW
from tests.threads import all_at_once

FOOTAGE = Subject(SubjectKind.BUCKET, "footage")


def raised(bucket: str = "footage", *, minutes: float = 0) -> bool:
    return alarm_raise(
        code=Reason.QUOTA_EXCEEDED,
        subject=Subject(SubjectKind.BUCKET, bucket),
        detail="full",
        now=NOW + timedelta(minutes=minutes),
    )


@pytest.mark.django_db
def test_alarm_met_again_is_one_alarm() -> None:
    assert raised()
    assert not raised(minutes=5)
    alarm = Alarm.objects.get()
    assert (alarm.seen_count, alarm.raised_at, alarm.last_seen_at) == (2, NOW, NOW + timedelta(minutes=5))


@pytest.mark.django_db
def test_other_subject_is_another_alarm() -> None:
    assert raised("a")
    assert raised("b")


@pytest.mark.django_db
def test_cleared_alarm_may_be_raised_anew() -> None:
    raised()
    assert alarm_clear(code=Reason.QUOTA_EXCEEDED, subject=FOOTAGE, now=NOW)
    assert not alarm_clear(code=Reason.QUOTA_EXCEEDED, subject=FOOTAGE, now=NOW)
    assert raised(minutes=1)
    assert Alarm.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_alarm_raised_by_many_at_once_is_one_alarm() -> None:
    assert len(all_at_once(6, raised)) == 6
    assert Alarm.objects.filter(cleared_at=None).count() == 1
