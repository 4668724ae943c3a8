from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.cctv.services.importing.local_time import utc_of

BERLIN = ZoneInfo("Europe/Berlin")


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("shown", "meant"),
    [
        ("2026-01-15 12:00", "2026-01-15 11:00"),
        ("2026-07-15 12:00", "2026-07-15 10:00"),
        ("2026-03-29 01:59:59", "2026-03-29 00:59:59"),
        ("2026-03-29 03:00", "2026-03-29 01:00"),
        ("2026-10-25 01:59:59", "2026-10-24 23:59:59"),
        ("2026-10-25 03:00", "2026-10-25 02:00"),
    ],
)
def test_a_clock_is_read_in_its_own_zone(shown: str, meant: str) -> None:
    assert utc_of(local(shown), BERLIN) == utc(meant)


def test_skipped_hour_is_read_as_by_an_unchanged_clock() -> None:
    assert utc_of(local("2026-03-29 02:30"), BERLIN) == utc("2026-03-29 01:30")
    assert utc_of(local("2026-03-29 02:30"), BERLIN, evidence=utc("2026-03-29 00:30")) == utc("2026-03-29 01:30")


def test_repeated_hour_is_told_apart_by_the_file() -> None:
    shown = local("2026-10-25 02:30")

    assert utc_of(shown, BERLIN, evidence=utc("2026-10-25 00:30:04")) == utc("2026-10-25 00:30")
    assert utc_of(shown, BERLIN, evidence=utc("2026-10-25 01:30:04")) == utc("2026-10-25 01:30")


@pytest.mark.parametrize("evidence", [None, utc("2026-11-20 08:00"), utc("2020-01-01 00:00")])
def test_repeated_hour_is_the_first_without_a_clue(evidence: datetime | None) -> None:
    assert utc_of(local("2026-10-25 02:30"), BERLIN, evidence=evidence) == utc("2026-10-25 00:30")


def test_recordings_of_the_clock_change_keep_their_order() -> None:
    start = utc("2026-10-24 23:00")
    moments = [start + timedelta(minutes=10 * number) for number in range(24)]

    read = [utc_of(moment.astimezone(BERLIN).replace(tzinfo=None), BERLIN, evidence=moment) for moment in moments]

    assert read == moments
