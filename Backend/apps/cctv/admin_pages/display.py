"""How the admin shows times, progress and reasons."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib.admin import display
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from offload.reasons import MEANING
from offload.states import State

Shown = Callable[[Any], str]
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


def short_time(moment: datetime | None, *, word: str = "") -> str | SafeString:
    """For lists: hour and minute over the day, with `word` before the day; in full on hover. Always UTC."""
    if moment is None:
        return NOTHING
    return format_html(
        '<time datetime="{}" title="{} UTC" class="cr-when">{} <small>{} {}</small></time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S}",
        f"{moment:%H:%M}",
        word,
        f"{moment:%d %b}",
    )


def full_time(at: datetime | None) -> str:
    """For detail pages: to the second, with its zone."""
    return NOTHING if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def progress_bar(percent: float, status: str) -> SafeString:
    return format_html(
        '<span class="cr-progress" data-status="{}" role="progressbar" aria-valuenow="{}" aria-valuemin="0" '
        'aria-valuemax="100"><span class="cr-track"><span class="cr-fill" style="width:{}%"></span></span>'
        '<span class="cr-percent">{}</span></span>',
        status,
        percent,
        percent,
        # Without a decimal only where it is exact: 99.6 must not be shown as 100.
        f"{percent:.0f} %" if percent in {0, 100} else f"{percent:.1f} %",
    )


def badge(text: str, colour: str) -> SafeString:
    """A coloured label; the colours are the theme's: default, info, success, warning, primary, danger."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "variant": colour})


def status_badge(name: str) -> SafeString:
    return badge(status_name(name), STATUS_COLOURS.get(name, "default"))


def status_name(status: str) -> str:
    return status.replace("_", " ")


def reason_meaning(code: str) -> SafeString:
    """What a reason code means, for people; empty where the code is unknown or absent."""
    parts = _MEANING.get(code, "").split("`")
    # Every second part stood between two backquotes.
    shown = [format_html("<code>{}</code>", part) if odd % 2 else part for odd, part in enumerate(parts)]
    return format_html_join("", "{}", ((part,) for part in shown))


def path(text: str) -> str | SafeString:
    return format_html('<code class="cr-path">{}</code>', text) if text else NOTHING


# --- Columns and fields ---------------------------------------------------------------------------
def section(title: str | None, *lines: Any) -> Any:
    """A part of a detail page; each line is a field, or a tuple of those that stand side by side."""
    return title, {"fields": lines}


def time_field(field: str, description: str) -> Shown:
    """A time to the second."""
    return _shown(field, description, full_time)


def path_field(field: str, description: str) -> Shown:
    """A path or an address, which may be long and is broken anywhere."""
    return _shown(field, description, path)


def text_field(field: str, description: str) -> Shown:
    """A field as it is, under another title."""
    return _shown(field, description, lambda value: NOTHING if value in {None, ""} else str(value))


def _shown(field: str, description: str, show: Callable[[Any], str]) -> Shown:
    @display(description=description)
    def shown(row: Any) -> str:
        return show(getattr(row, field))

    # The admin makes the field's CSS class of it, and would add the column's help text to its own name.
    shown.__name__ = f"{field}_shown"
    return shown
