"""How many bytes a second a line may carry, by the hours of a place: `08:00-18:00 2 MB/s, else unlimited`.

    text   rule, rule, …       separated by commas, semicolons or new lines; the first that applies counts
    rule   [days] [hours] rate
           else rate           last; without it, the line is unlimited at all other times
    days   mon-fri             or several: `sat sun`, `mon-wed,fri`
    hours  08:00-18:00         or several; `22:00-06:00` begins on the days named and ends on the day after
    rate   2 MB/s              kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s, kbit/s, Mbit/s, Gbit/s; or `unlimited`

It goes by the clock on the wall. An hour that this clock shows twice is limited twice, one that it skips is not
there, and a limit that should begin in the skipped hour begins right after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

LEAST_BYTES_PER_SECOND = 64_000
"""Below it, each of twenty uploads on one line moves so little that a server may close it as dead."""
MOST_BYTES_PER_SECOND = 10**12
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOOKED_AHEAD = timedelta(days=15)
"""A rule comes round in a week; one whose hour is skipped this time, in two."""

_DAY = "|".join(DAYS)
_BETWEEN_DAYS = re.compile(rf"(?<=\b)({_DAY})\s*,\s*(?=(?:{_DAY})\b)", re.IGNORECASE)
_SEPARATOR = re.compile(r"[,;\n]")
_DAYS = re.compile(rf"({_DAY})(?:-({_DAY}))?", re.IGNORECASE)
_HOURS = re.compile(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)")
_RATE = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]+/s)")
_FIRST = re.compile(r"\S+")
_UNITS = {
    "kB/s": 1000, "MB/s": 1000**2, "GB/s": 1000**3,
    "KiB/s": 1024, "MiB/s": 1024**2, "GiB/s": 1024**3,
    "kbit/s": 125, "Mbit/s": 125_000, "Gbit/s": 125_000_000,
}  # fmt: skip
_SPELLINGS = {**_UNITS, "KB/s": 1000, "Kbit/s": 125, "kiB/s": 1024}
_DAY_MINUTES = 24 * 60
_EXAMPLE = "for example `08:00-18:00 2 MB/s, else unlimited`"


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes of the day; `end` is 1440 for midnight, and not after `begin` where the night belongs to it."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TimetableRule:
    """On those days (0 is Monday), in those hours; empty means all day. `bytes_per_second` None is no limit."""

    days: frozenset[int]
    hours: tuple[Hours, ...]
    bytes_per_second: int | None

    def applies(self, weekday: int, minute: int) -> bool:
        if not self.hours:
            return weekday in self.days
        today, yesterday = weekday in self.days, (weekday - 1) % 7 in self.days
        for hours in self.hours:
            if hours.begin < hours.end:
                applies = today and hours.begin <= minute < hours.end
            else:
                applies = (today and minute >= hours.begin) or (yesterday and minute < hours.end)
            if applies:
                return True
        return False


@dataclass(frozen=True, slots=True)
class Timetable:
    rules: tuple[TimetableRule, ...] = ()

    def rate_at(self, now: datetime, zone: ZoneInfo) -> int | None:
        """Bytes a second at that moment (aware), None where there is no limit."""
        local = now.astimezone(zone)
        weekday, minute = local.weekday(), local.hour * 60 + local.minute
        found = (rule for rule in self.rules if rule.applies(weekday, minute))
        rule = next(found, None)
        return None if rule is None else rule.bytes_per_second

    def next_change(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """The next moment (UTC) with another rate than `now`; None where there is none within LOOKED_AHEAD."""
        if not any(rule.hours or len(rule.days) < len(DAYS) for rule in self.rules):
            return None
        rate = self.rate_at(now, zone)
        today = now.astimezone(zone).date()
        days = [today + timedelta(days=day) for day in range(-1, LOOKED_AHEAD.days + 1)]
        edges = {0} | {
            edge % _DAY_MINUTES for rule in self.rules for hours in rule.hours for edge in (hours.begin, hours.end)
        }
        # Both folds: a clock that is put back shows a time twice.
        boundaries = {
            datetime.combine(day, time(edge // 60, edge % 60, fold=fold), zone).astimezone(UTC)
            for day in days
            for edge in edges
            for fold in (0, 1)
        }
        moments = sorted({*boundaries, *_clock_changes(now, zone)})
        return next((moment for moment in moments if moment > now and self.rate_at(moment, zone) != rate), None)


def parse(text: str) -> Timetable:
    """Read a timetable; blank is no limit. Raises ValueError: which part is invalid, and what is expected."""
    rules: list[TimetableRule] = []
    ended_by = ""
    for part in _SEPARATOR.split(_BETWEEN_DAYS.sub(r"\1 ", text)):
        words = " ".join(part.split())
        if not words:
            continue
        if ended_by:
            raise ValueError(f"{words!r} never applies: {ended_by!r} before it is for all times. Put that one last.")
        rule = _rule(words)
        rules.append(rule)
        if not rule.hours and len(rule.days) == len(DAYS):
            ended_by = words
    return Timetable(tuple(rules))


def rate_text(bytes_per_second: int | None) -> str:
    """For people: `2 MB/s`, `unlimited`."""
    if bytes_per_second is None:
        return "unlimited"
    unit, size = next(
        (unit, size) for unit, size in reversed(list(_UNITS.items())[:3]) if bytes_per_second >= size or unit == "kB/s"
    )
    return f"{Decimal(bytes_per_second) / size:.2f}".rstrip("0").rstrip(".") + f" {unit}"


def _rule(words: str) -> TimetableRule:
    rest = words
    days: set[int] = set()
    hours: list[Hours] = []
    is_else = rest.lower() == "else" or rest.lower().startswith("else ")
    if is_else:
        rest = rest[len("else") :].lstrip()
    while not is_else and (first := _FIRST.match(rest)):
        if found := _DAYS.fullmatch(first[0]):
            begin, end = (DAYS.index(day.lower()) for day in (found[1], found[2] or found[1]))
            days |= {(begin + day) % len(DAYS) for day in range((end - begin) % len(DAYS) + 1)}
        elif found := _HOURS.fullmatch(first[0]):
            hours.append(_hours(found))
        else:
            break
        rest = rest[first.end() :].lstrip()
    return TimetableRule(frozenset(days or range(len(DAYS))), tuple(hours), _rate(rest, words))


def _hours(found: re.Match[str]) -> Hours:
    begin, end = (int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3))
    minutes_are_right = int(found[2]) < 60 and int(found[4]) < 60  # noqa: PLR2004 - an hour's
    if not minutes_are_right or begin >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise ValueError(f"{found[0]!r} is not a time of day: expected 00:00 to 24:00, as in 08:00-18:00.")
    if begin == end:
        raise ValueError(f"{found[0]!r} ends when it begins. Leave the hours out for the whole day.")
    return Hours(begin, end)


def _rate(text: str, rule: str) -> int | None:
    if text.lower() == "unlimited":
        return None
    if not text:
        raise ValueError(f"{rule!r} has no limit at its end: expected a rate like 2 MB/s, or unlimited.")
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} in {rule!r} is not understood: expected days, hours and a rate, {_EXAMPLE}; "
            f"days are {', '.join(DAYS)}."
        )
    if found[2] not in _SPELLINGS:
        raise ValueError(f"{found[2]!r} in {rule!r} is not a unit: expected one of {', '.join(_UNITS)}.")
    bytes_per_second = int(Decimal(found[1]) * _SPELLINGS[found[2]])
    if not LEAST_BYTES_PER_SECOND <= bytes_per_second <= MOST_BYTES_PER_SECOND:
        raise ValueError(f"{text!r} is too little or too much: 64 kB/s to 1000 GB/s is possible.")
    return bytes_per_second


def _clock_changes(now: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Moments (UTC, whole minutes) when the clock is put forward or back."""
    hour = timedelta(hours=1)
    at = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while at < now + LOOKED_AHEAD:
        if _offset(at, zone) != _offset(at + hour, zone):
            yield next(
                moment
                for moment in (at + timedelta(minutes=minute) for minute in range(1, 61))
                if _offset(moment, zone) == _offset(at + hour, zone)
            )
        at += hour


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
