"""How sizes and spans of time are written for people: in pages, commands, findings and alarms alike."""

from __future__ import annotations

from datetime import timedelta

_STEP = 1024
_LARGER_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_TIME_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def human_size(size_bytes: int) -> str:
    """A size in the largest binary unit that gives at least 1, with one decimal: `125.5 MiB`."""
    unit, unit_bytes = "B", 1
    # A logarithm would be wrong at the borders: 1 GiB less one byte is to be written 1.0 GiB, not 1024.0 MiB.
    for larger in _LARGER_UNITS:
        if round(size_bytes / unit_bytes, 1) >= _STEP:
            unit, unit_bytes = larger, unit_bytes * _STEP
    return f"{size_bytes} B" if unit == "B" else f"{size_bytes / unit_bytes:.1f} {unit}"


def span(length: timedelta) -> str:
    """A length of time in one unit, rounded down, without a sign: `42 s`, `5 min`, `3 h`, `2 d`."""
    seconds = abs(length.total_seconds())
    for unit_seconds, unit in _TIME_UNITS:
        if seconds >= unit_seconds:
            return f"{int(seconds // unit_seconds)} {unit}"
    return f"{int(seconds)} s"
