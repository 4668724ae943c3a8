"""Local times of recorders as UTC, also in the two nights of a year when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

CLOSE_ENOUGH = timedelta(minutes=30)
"""The two moments that a repeated local time can mean are an hour apart (30 minutes on Lord Howe Island)."""


def utc_of(local: datetime, zone: ZoneInfo, *, evidence: datetime | None = None) -> datetime:
    """The moment, in UTC, when a clock in `zone` showed `local` (naive).

    In the hour that a clock shows twice (autumn), it is the later moment only where `evidence`, which is what the file
    itself says of the moment, is near it, and else the earlier one. A time in the hour that is left out (spring) is
    read as by a clock that was not put forward.
    """
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    # In a gap `fold=1` is the earlier moment: https://peps.python.org/pep-0495/#the-fold-attribute
    if second <= first or evidence is None:
        return first
    nearer = abs(evidence - second) < abs(evidence - first)
    return second if nearer and abs(evidence - second) < CLOSE_ENOUGH else first
