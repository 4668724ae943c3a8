"""Templates of recorders' paths: by ``{camera}/{date}/{time}.mp4`` a path gives the camera and the start of its file.

| placeholder | matches |
|---|---|
| ``{camera}`` ``{site}`` | a name, within one folder or file name |
| ``{date}`` | 2026-11-22, 20261122, 2026_11_22, 2026.11.22 |
| ``{time}`` | 12-30-05, 123005, 12.30.05, 12_30_05, 12:30:05, 12h30m05s, each also without seconds |
| ``{datetime}`` | both, with nothing, ``T``, a space, ``_``, ``-`` or ``.`` between; also with ``Z`` or an offset |
| ``{year}{month}{day}{hour}{minute}{second}`` | four digits, then two digits each |
| ``{yy}`` | a year of two digits: 69 to 99 are 1969 to 1999, the others 2000 to 2068 |
| ``{ampm}`` | AM or PM, also ``a.m.``; the hour before or after it is one of 12 |
| ``{offset}`` | Z, UTC, GMT, +01:00, +0100, +01, GMT+1, UTC-03:30: plus is east, ahead of UTC |
| ``{epoch}`` ``{epoch_ms}`` | seconds, or milliseconds, since 1970 in UTC: 10 or 13 digits |
| ``{end}`` | nothing: the time in the path is the recording's end, not its start |
| ``{any}`` | anything within one folder or file name, also nothing |

All other text is literal; ``{{`` and ``}}`` are braces. Times are local unless an offset is with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from string import Formatter

_DATE = r"(?P<year{n}>\d{{4}})(?P<ds{n}>[-_.]?)(?P<month{n}>\d\d)(?P=ds{n})(?P<day{n}>\d\d)"
_TIME = (
    r"(?P<hour{n}>\d\d)(?P<ts{n}>[-_.:h]?)(?P<minute{n}>\d\d)"
    r"(?:(?:(?P=ts{n})|(?<=\d)m)(?P<second{n}>\d\d)s?)?(?!\d)"
)
_ZONE = r"(?P<zone{n}>Z|[+-]\d\d:?\d\d(?!\d)|[ _]?(?:GMT|UTC)(?:[+-]\d\d?(?::?\d\d)?(?!\d))?)?"
_PATTERNS = {
    "camera": r"(?P<camera>[^/]+?)",
    "site": r"(?P<site>[^/]+?)",
    "any": r"(?P<any{n}>[^/]*)",
    "date": _DATE,
    "time": _TIME,
    "datetime": _DATE + r"[T _.-]?" + _TIME + _ZONE,
    "year": r"(?P<year{n}>\d{{4}})",
    **{name: rf"(?P<{name}{{n}}>\d\d)" for name in ("month", "day", "hour", "minute", "second")},
    "yy": r"(?P<yy{n}>\d\d)",
    "ampm": r"(?P<ampm{n}>[AaPp]\.?[Mm]\.?)",
    "offset": r"(?P<zone{n}>Z|(?:GMT|UTC)(?:[+-]\d\d?(?::?\d\d)?)?|[+-]\d\d?(?::?\d\d)?)(?!\d)",
    "epoch": r"(?<!\d)(?P<epoch{n}>\d{{10}})(?!\d)",
    "epoch_ms": r"(?<!\d)(?P<epochms{n}>\d{{13}})(?!\d)",
    "end": "",
}
_NAMES = ("camera", "site")
_FREE = {*_NAMES, "any"}
_FIELDS = ("year", "month", "day", "hour", "minute", "second")
_MOST_FREE = 3
"""In one folder or file name. With more, a name of 255 underscores would take hours to match."""
# No path can have this character in it.
_BOUNDARY = "\0"
_YEARS = range(1970, 2200)
_CENTURY_TURNS = 69
"""As in POSIX (strptime(3), %y): a recorder whose clock was never set writes 70 and means 1970."""
_CLOCK_PLACEHOLDERS = frozenset({"time", "datetime", "hour"})
_MOST_OFFSET = timedelta(hours=14)

# Only as a word of its own: not in "Pump" or "CAM1".
_AM_OR_PM = re.compile(r"(?<![A-Za-z])[AaPp]\.?[Mm](?![A-Za-z])")
_OFFSET = re.compile(
    r"[ _]?(?:Z(?![A-Za-z])|GMT|UTC|(?:[+-](?:0\d|1[0-4]):?(?:00|15|30|45)|\+(?:0\d|1[0-4]))(?!\d|[-_.:]\d))"
)
_BETWEEN = re.compile(r"[s _.]{0,2}")
_LOOKS_LIKE_A_TIME = re.compile(
    r"(?<!\d)(?<!\d\.)(?:"
    r"(?:19|20)\d\d(?P<d>[-_.]?)(?:0[1-9]|1[0-2])(?P=d)(?:0[1-9]|[12]\d|3[01])(?:\d{6})?"  # 2026-11-22, 20261122123005
    r"|(?:[01]\d|2[0-3])(?P<t>[-_.:h])[0-5]\d(?:(?P=t)|m)[0-5]\d"  # 12-30-05
    r"|\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[-_T ]?(?:[01]\d|2[0-3])[0-5]\d[0-5]\d"  # 261122123005
    r"|[12]\d{9}(?:\d{3})?"  # since 1970
    r")(?!\d)(?!\.\d)",
    re.ASCII,
)
_LOOKS_LIKE_A_TIME_OF_DAY = re.compile(r"(?<!\d)(?:[01]\d|2[0-3])[0-5]\d[0-5]\d(?!\d)", re.ASCII)
"""Six digits may be any number, so they count as a time only beside a date."""


class TemplateError(ValueError):
    """The template is invalid; the message says why and what was expected."""


@dataclass(frozen=True, slots=True)
class PathMatch:
    """What a path says. `local_start` is naive, by the site's clock; `start` is aware, where the path has an offset.

    With `is_end` they are the end of the recording. `unclear` says why the time may mean another one than was read.
    `unread` is a part of the path that looks like a time, where the template reads none.
    """

    camera: str | None = None
    site: str | None = None
    local_start: datetime | None = None
    start: datetime | None = None
    is_end: bool = False
    unclear: str = ""
    unread: str = ""


class PathTemplate:
    """A template, compiled once and matched with many paths. Raises TemplateError where `text` is invalid."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            raise TemplateError(f"{text!r}: {error}; write {{{{ for a brace.") from error
        if not text or text.startswith("/") or ".." in text.split("/"):
            raise TemplateError(
                f"{text!r}: expected a path below FOLDER, for example {{camera}}/{{date}}/{{time}}.mp4."
            )
        names: list[str] = []
        pattern = ""
        for number, (literal, name, spec, conversion) in enumerate(parts):
            pattern += _BOUNDARY.join(re.escape(piece) for piece in literal.split("/"))
            if name is None:
                continue
            if name not in _PATTERNS or spec or conversion:
                known = " ".join(f"{{{known}}}" for known in _PATTERNS)
                raise TemplateError(f"{text!r}: {{{name}}} is no placeholder; expected one of {known}.")
            if not literal and names and names[-1] in _FREE and name in _FREE:
                raise TemplateError(f"{text!r}: nothing tells where {{{names[-1]}}} ends and {{{name}}} begins.")
            # A camera or site that the template has twice has to be the same both times.
            pattern += f"(?P={name})" if name in _NAMES and name in names else _PATTERNS[name].format(n=f"_{number}")
            names.append(name)
        _check_clocks(text, names)
        for component in text.split("/"):
            if sum(component.count(f"{{{name}}}") for name in _FREE) > _MOST_FREE:
                free = ", ".join(f"{{{name}}}" for name in sorted(_FREE))
                raise TemplateError(f"{text!r}: expected at most {_MOST_FREE} of {free} in {component!r}.")
        self.placeholders = frozenset(names)
        # Atomic groups: a later component that does not match never tries an earlier one again.
        components = pattern.split(_BOUNDARY)
        self._pattern = re.compile("/".join(rf"(?>{component}(?=/|\Z))" for component in components), re.ASCII)

    def match(self, relative_path: str) -> PathMatch | None:
        """What `relative_path`, with ``/`` between its components, says; None where it does not match.

        A path with an impossible date, or with two different ones, does not match either.
        """
        found = self._pattern.fullmatch(relative_path)
        if found is None:
            return None
        groups = {name: value for name, value in found.groupdict().items() if value is not None}
        # Milliseconds since 1970.
        told = {int(value) * 1000 for group, value in groups.items() if group.startswith("epoch_")}
        told |= {int(value) for group, value in groups.items() if group.startswith("epochms")}
        if len(told) > 1:
            return None
        try:
            local = _local_start(groups)
            zone = _zone(groups)
            start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=told.pop()) if told else None
        except (ValueError, OverflowError):
            return None
        if start is not None and start.year not in _YEARS:
            return None
        if local is not None and zone is not None:
            start = local.replace(tzinfo=zone).astimezone(UTC)
        unread = ""
        if local is None and start is None:
            has_date = any(group.startswith("day") for group in groups)
            free = [value for group, value in groups.items() if group.startswith(("any", "camera", "site"))]
            unread = next(filter(None, (looks_like_a_time(value, below_a_date=has_date) for value in free)), "")
        return PathMatch(
            groups.get("camera"),
            groups.get("site"),
            local,
            start,
            is_end="end" in self.placeholders,
            unclear=_unclear(found, local, zone),
            unread=unread,
        )


def _check_clocks(text: str, names: list[str]) -> None:
    """Raises TemplateError for a template by which times would be read wrong."""
    clock = bool(_CLOCK_PLACEHOLDERS.intersection(names))
    if clock and {"epoch", "epoch_ms"}.intersection(names):
        raise TemplateError(f"{text!r}: a time since 1970 and a time of day: write {{any}} for one of them.")
    if "ampm" in names and not clock:
        raise TemplateError(f"{text!r}: {{ampm}} without an hour that it could belong to.")
    if "yy" in names and "year" in names:
        raise TemplateError(f"{text!r}: either {{year}} or {{yy}}.")
    if "end" in names and not (clock or {"epoch", "epoch_ms"}.intersection(names)):
        raise TemplateError(f"{text!r}: {{end}} without a time that could be the end.")
    if clock and _AM_OR_PM.search(re.sub(r"{[^}]*}", "\0", text)):
        raise TemplateError(f"{text!r}: write {{ampm}} for AM or PM, or half of the files would be read wrong.")


def _local_start(groups: dict[str, str]) -> datetime | None:
    """None where date, hour or minute is missing. Raises ValueError where there is no such time, or two of them."""
    fields: dict[str, int] = {}
    for group, value in groups.items():
        name, number = group.partition("_")[0], value
        if name == "yy":
            name, number = "year", f"{19 if int(value) >= _CENTURY_TURNS else 20}{value}"
        if name in _FIELDS and fields.setdefault(name, int(number)) != int(number):
            raise ValueError(f"two different values of {name}")
    half = {value[0].lower() for group, value in groups.items() if group.startswith("ampm")}
    if half and "hour" in fields:
        # 12 AM is midnight, 12 PM is noon.
        if len(half) > 1 or not 1 <= fields["hour"] <= 12:  # noqa: PLR2004 - a clock of twelve hours
            raise ValueError("no hour of a clock of twelve")
        fields["hour"] = fields["hour"] % 12 + (12 if half == {"p"} else 0)
    if not {"year", "month", "day", "hour", "minute"} <= fields.keys():
        return None
    if fields["year"] not in _YEARS:
        raise ValueError("no year of a recording")
    return datetime(*(fields.get(name, 0) for name in _FIELDS))  # type: ignore[arg-type]  # noqa: DTZ001 - local


def _zone(groups: dict[str, str]) -> timezone | None:
    """Plus is ahead of UTC, as in ISO 8601. In POSIX, and in the name ``Etc/GMT+1``, it is the opposite."""
    offsets: set[timedelta] = set()
    for text in (value for group, value in groups.items() if group.startswith("zone")):
        number = text.strip(" _").removeprefix("GMT").removeprefix("UTC").replace(":", "")
        if number in {"", "Z"}:
            offsets.add(timedelta())
            continue
        digits = number[1:]
        hours, minutes = (digits, "0") if len(digits) <= 2 else (digits[:-2], digits[-2:])  # noqa: PLR2004 - hours alone
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        if offset > _MOST_OFFSET or int(minutes) >= 60:  # noqa: PLR2004 - minutes of an hour
            raise ValueError("no offset of any place")
        offsets.add(-offset if number[0] == "-" else offset)
    if len(offsets) > 1:
        raise ValueError("two different offsets")
    return timezone(offsets.pop()) if offsets else None


def _unclear(found: re.Match[str], local: datetime | None, zone: timezone | None) -> str:
    """Why the time of day may be another one than was read: AM, PM or an offset beside it that was not read."""
    if local is None:
        return ""
    groups = {name: value for name, value in found.groupdict().items() if value}
    clock = [name for name in groups if name.startswith(("hour", "minute", "second"))]
    ends_at = max(found.end(name) for name in clock)
    # Only what stands in the same folder or file name as the time can belong to it.
    first = found.string.rfind("/", 0, min(found.start(name) for name in clock)) + 1
    last = (found.string + "/").find("/", ends_at)
    # Where the template reads AM or PM, another one beside the time is part of a name.
    has_half = any(name.startswith("ampm") for name in groups)
    beside = [name for name in groups if name.startswith("any") and first <= found.start(name) <= last]
    for name in beside:
        if not has_half and (half := _AM_OR_PM.search(groups[name])):
            return f"{half[0]!r} beside the time is not read: write {{ampm}} for it in the template"
        follows = _BETWEEN.fullmatch(found.string, ends_at, found.start(name))
        if zone is None and follows and (offset := _OFFSET.match(groups[name])):
            return f"{offset[0].strip(' _')!r} behind the time is not read: write {{offset}} for it in the template"
    return ""


def looks_like_a_time(text: str, *, below_a_date: bool = False) -> str:
    """The part of `text` that looks like a date, a time or a number of seconds since 1970; empty where none does."""
    found = _LOOKS_LIKE_A_TIME.search(text) or (_LOOKS_LIKE_A_TIME_OF_DAY.search(text) if below_a_date else None)
    return found[0] if found else ""
