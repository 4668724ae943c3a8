"""Templates of recorders' paths: ``{camera}/{date}/{time}.mp4`` tells the camera and the start of a file.

| placeholder | matches |
|---|---|
| ``{camera}`` ``{site}`` | a name, within one folder or file name |
| ``{date}`` | 2026-11-22, 20261122, 2026_11_22, 2026.11.22 |
| ``{time}`` | 12-30-05, 123005, 12.30.05, 12_30_05, 12:30:05, 12h30m05s, each also without seconds |
| ``{datetime}`` | both, with nothing, ``T``, a space, ``_``, ``-`` or ``.`` between; also with ``Z`` or an offset |
| ``{year}{month}{day}{hour}{minute}{second}`` | four digits, then two digits each |
| ``{any}`` | anything within one folder or file name, also nothing |

Everything else stands for itself; ``{{`` and ``}}`` are braces. Times are local unless they carry an offset.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from string import Formatter

_DATE = r"(?P<year{n}>\d{{4}})(?P<ds{n}>[-_.]?)(?P<month{n}>\d\d)(?P=ds{n})(?P<day{n}>\d\d)"
_TIME = (
    r"(?P<hour{n}>\d\d)(?P<ts{n}>[-_.:h]?)(?P<minute{n}>\d\d)"
    r"(?:(?:(?P=ts{n})|(?<=\d)m)(?P<second{n}>\d\d)s?)?(?!\d)"
)
_ZONE = r"(?P<zone{n}>Z|[+-]\d\d:?\d\d)?"
_PATTERNS = {
    "camera": r"(?P<camera>[^/]+?)",
    "site": r"(?P<site>[^/]+?)",
    "any": r"[^/]*",
    "date": _DATE,
    "time": _TIME,
    "datetime": _DATE + r"[T _.-]?" + _TIME + _ZONE,
    "year": r"(?P<year{n}>\d{{4}})",
    **{name: rf"(?P<{name}{{n}}>\d\d)" for name in ("month", "day", "hour", "minute", "second")},
}
_NAMES = ("camera", "site")
_FREE = {*_NAMES, "any"}
_FIELDS = ("year", "month", "day", "hour", "minute", "second")
_MOST_FREE = 3
"""In one folder or file name: with more, a name of 255 underscores would take hours to match."""
_BOUNDARY = "\0"
_YEARS = range(1970, 2200)


class TemplateError(ValueError):
    """The template makes no sense; the message says why and what is wanted."""


@dataclass(frozen=True, slots=True)
class PathMatch:
    """What a path tells. `local_start` is naive, by the site's clock; `start` is aware: the path has an offset."""

    camera: str | None = None
    site: str | None = None
    local_start: datetime | None = None
    start: datetime | None = None


class PathTemplate:
    """Raises TemplateError where `text` makes no sense."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.placeholders: frozenset[str] = frozenset()
        components = "".join(self._compiled(_parsed(text))).split(_BOUNDARY)
        # Atomic groups: a later component that does not match never tries an earlier one again.
        self._pattern = re.compile("/".join(rf"(?>{component}(?=/|\Z))" for component in components), re.ASCII)

    def match(self, relative_path: str) -> PathMatch | None:
        """What `relative_path`, with ``/`` between its components, tells; None where it does not match.

        Neither does a path with an impossible date, or one that tells two different ones.
        """
        found = self._pattern.fullmatch(relative_path)
        if found is None:
            return None
        groups = {name: value for name, value in found.groupdict().items() if value is not None}
        try:
            local = _local_start(_fields(groups))
            zone = _zone(groups)
        except ValueError:
            return None
        start = local.replace(tzinfo=zone).astimezone(UTC) if local is not None and zone is not None else None
        return PathMatch(groups.get("camera"), groups.get("site"), local, start)

    def _compiled(self, parts: list[tuple[str, str | None]]) -> Iterator[str]:
        names: list[str] = []
        for number, (literal, name) in enumerate(parts):
            yield _BOUNDARY.join(re.escape(piece) for piece in literal.split("/"))
            if name is None:
                continue
            # A name that is given twice has to be the same both times.
            yield f"(?P={name})" if name in _NAMES and name in names else _PATTERNS[name].format(n=f"_{number}")
            names.append(name)
        self.placeholders = frozenset(names)


def _parsed(text: str) -> list[tuple[str, str | None]]:
    """Pairs of literal text and the placeholder after it."""
    try:
        parts = [
            (literal, name, bool(spec or conversion)) for literal, name, spec, conversion in Formatter().parse(text)
        ]
    except ValueError as error:
        raise TemplateError(f"{text!r}: {error}; write {{{{ for a brace.") from error
    if not text or text.startswith("/") or ".." in text.split("/"):
        raise TemplateError(f"{text!r}: a path below FOLDER is wanted, {{camera}}/{{date}}/{{time}}.mp4 say.")
    before: str | None = None
    for literal, name, extra in parts:
        if name is None:
            continue
        if name not in _PATTERNS or extra:
            known = " ".join(f"{{{known}}}" for known in _PATTERNS)
            raise TemplateError(f"{text!r}: {{{name}}} is no placeholder; known are {known}.")
        if not literal and before in _FREE and name in _FREE:
            raise TemplateError(f"{text!r}: nothing tells where {{{before}}} ends and {{{name}}} begins.")
        before = name
    for component in text.split("/"):
        if sum(component.count(f"{{{name}}}") for name in _FREE) > _MOST_FREE:
            free = ", ".join(f"{{{name}}}" for name in sorted(_FREE))
            raise TemplateError(f"{text!r}: at most {_MOST_FREE} of {free} are wanted in {component!r}.")
    return [(literal, name) for literal, name, _ in parts]


def _fields(groups: dict[str, str]) -> dict[str, int]:
    """Year to second as far as they are told. Raises ValueError where one is told twice and differs."""
    fields: dict[str, int] = {}
    for group, value in groups.items():
        name = group.partition("_")[0]
        if name in _FIELDS and fields.setdefault(name, int(value)) != int(value):
            raise ValueError(f"two different values of {name}")
    return fields


def _local_start(fields: dict[str, int]) -> datetime | None:
    """None where the date, the hour or the minute is not told. Raises ValueError where there is no such time."""
    if not {"year", "month", "day", "hour", "minute"} <= fields.keys():
        return None
    if fields["year"] not in _YEARS:
        raise ValueError("no year of a recording")
    return datetime(*(fields.get(name, 0) for name in _FIELDS))  # type: ignore[arg-type]  # noqa: DTZ001 - local


def _zone(groups: dict[str, str]) -> timezone | None:
    told = {value for group, value in groups.items() if group.startswith("zone")}
    if not told:
        return None
    if len(told) > 1:
        raise ValueError("two different offsets")
    text = told.pop()
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)
