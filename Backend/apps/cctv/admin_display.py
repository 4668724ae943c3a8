"""How the admin shows sizes, times, progress and reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.contrib.admin import display
from django.utils.html import format_html
from django.utils.safestring import SafeString

from offload.reasons import MEANING
from offload.states import State

Shown = TypeVar("Shown", bound=Callable[..., Any])
NOTHING = "-"
STATUS_COLOURS: dict[str, str] = {
    State.PENDING: "default",
    State.UPLOADING: "info",
    State.COMPLETED: "success",
    State.CLEANUP_PENDING: "warning",
    State.CLEANUP_COMPLETED: "primary",
    State.FAILED: "danger",
}
_MEANING = {reason.value: text for reason, text in MEANING.items()}
_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_STEPS = ((86_400, "d"), (3600, "h"), (60, "min"))


def size(size_bytes: int) -> str:
    """Binary units, as file managers of recorders use them: 125.5 MiB."""
    # A logarithm would be shorter and wrong at the borders.
    unit, below = "B", 1
    for larger in _UNITS:
        if round(size_bytes / below, 1) >= _STEP:
            unit, below = larger, below * _STEP
    return f"{size_bytes} B" if unit == "B" else f"{size_bytes / below:.1f} {unit}"


def span(length: timedelta) -> str:
    """One unit is enough to decide whether to get up: 42 s, 5 min, 3 h, 2 d."""
    seconds = abs(length.total_seconds())
    for step_seconds, unit in _STEPS:
        if seconds >= step_seconds:
            return f"{int(seconds // step_seconds)} {unit}"
    return f"{int(seconds)} s"


def when(moment: datetime | None) -> str | SafeString:
    """Short in the list, whole when pointed at; always UTC."""
    if moment is None:
        return NOTHING
    whole = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    short = f"{moment:%d %b %H:%M}"
    return format_html('<time datetime="{}" title="{}" class="cr-when">{}</time>', moment.isoformat(), whole, short)


def moment(at: datetime | None) -> str:
    """For detail pages: whole, with its zone."""
    return NOTHING if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def progress(percent: float, status: str) -> SafeString:
    return format_html(
        '<span class="cr-progress" data-status="{}" role="progressbar" aria-valuenow="{}" aria-valuemin="0" '
        'aria-valuemax="100"><span class="cr-track"><span class="cr-fill" style="width:{}%"></span></span>'
        '<span class="cr-percent">{}</span></span>',
        status,
        percent,
        percent,
        f"{percent:.0f} %" if percent in {0, 100} else f"{percent:.1f} %",
    )


def status_name(status: str) -> str:
    return status.replace("_", " ")


def meaning(code: str) -> str:
    """What a reason code means, for people; empty where the code is unknown or absent."""
    return _MEANING.get(code, "")


def path(text: str) -> str | SafeString:
    return format_html('<code class="cr-path">{}</code>', text) if text else NOTHING


# --- Columns and fields ---------------------------------------------------------------------------
def section(title: str | None, *lines: Any) -> Any:
    """A part of a detail page; each line is a field, or a tuple of those that stand side by side."""
    return title, {"fields": lines}


def badge(colours: Mapping[str, str], *, description: str, ordering: str | None = None) -> Callable[[Shown], Shown]:
    """A column of coloured labels: its method returns the key of the colour and the text."""

    def decorate(method: Shown) -> Shown:
        shown: Any = display(description=description, ordering=ordering)(method)
        shown.label = dict(colours)
        return shown  # type: ignore[no-any-return]

    return decorate


def moment_of(field: str, description: str) -> Callable[[Any], str]:
    """A field of a detail page: a time, whole."""

    @display(description=description)
    def shown(row: Any) -> str:
        return moment(getattr(row, field))

    return _called(shown, field)


def path_of(field: str, description: str) -> Callable[[Any], str]:
    """A field of a detail page: a path or an address, which may be long."""

    @display(description=description)
    def shown(row: Any) -> str:
        return path(getattr(row, field))

    return _called(shown, field)


def _called(shown: Callable[[Any], str], field: str) -> Callable[[Any], str]:
    # The admin makes the field's CSS class of it.
    shown.__name__ = field
    return shown
