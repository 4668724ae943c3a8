"""Wall-clock times of recorders, as UTC: also on the two nights a year when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

CLOSE_ENOUGH = timedelta(minutes=30)
"""Between the two meanings of a doubled hour lies an hour (30 minutes on Lord Howe Island)."""


def utc_of(local: datetime, zone: ZoneInfo, *, evidence: datetime | None = None) -> datetime:
    """The moment (UTC) when a clock in `zone` showed `local` (naive).

    An hour that the clock showed twice (autumn) means the later one only where `evidence`, what the file
    itself says of its start, lies near it; else the earlier. An hour that it never showed (spring) is read
    as by a clock that was not put forward.
    """
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    # In a gap `fold=1` is the earlier moment: https://peps.python.org/pep-0495/#the-fold-attribute
    if second <= first or evidence is None:
        return first
    nearer = abs(evidence - second) < abs(evidence - first)
    return second if nearer and abs(evidence - second) < CLOSE_ENOUGH else first
