"""What a stranger typed, or a recorder named a file, cannot act on a terminal or pass for a line of the log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from textwrap import indent

import pytest

FAKED = "2026-01-01T00:00:00Z [warning  ] login.failed"
STRANGE = {
    "colours": "\x1b[31mred\x1b[0m",
    "title of the window": "\x1b]0;owned\x07",
    "eight-bit control": "\x9b31mred",
    "second line": f"x\n{FAKED}",
    "carriage return": f"x\r{FAKED}",
    "other line ends": f"x\u2028\u0085\x0b\x0c{FAKED}",
    "backspaces": "admin\b\b\b\b\b",
    "written from right to left": "gate\u202e4pm.exe",
    "no Unicode at all": "gate\udcff.mp4",
    "no character": "gate\x00",
}
PLACES = {
    "value": 'log.warning("login.failed", username=text)',
    "event": "log.warning(text)",
    "list": 'log.warning("walk", paths=[text, {"deep": (text,)}])',
    "path": 'log.warning("walk", path=pathlib.PurePath("a") / text.replace("\\0", ""))',
    "error": 'log.warning("walk", error=ValueError(text))',
    "Django's": 'logging.getLogger("django.request").warning("Not Found: %s", text)',
    "bound name": 'structlog.get_logger("coldreel.test", camera=text).warning("walk")',
    "trace": 'try:\n    raise ValueError(text)\nexcept ValueError:\n    log.exception("fault")',
    "Django's trace": (
        "try:\n    raise ValueError(text)\nexcept ValueError:\n"
        '    logging.getLogger("django.request").exception("Internal Server Error: %s", text)'
    ),
}
PROGRAM = """
import logging, pathlib, structlog, sys
from config.logs import logging_config
logging_config({format!r}, level="INFO")
log = structlog.get_logger("coldreel.test")
for text in {texts}:
{call}
"""


def logged(call: str, texts: Collection[str], log_format: str) -> list[str]:
    program = PROGRAM.format(format=log_format, texts=ascii(list(texts)), call=indent(call, "    "))
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, check=True, timeout=60)
    return done.stderr.decode().split("\n")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_control_character_reaches_the_log(log_format: str) -> None:
    lines = logged("\n".join(PLACES.values()), STRANGE.values(), log_format)

    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in lines if line.startswith("2026-01-01")] == []
    assert len([line for line in lines if line and not line.startswith(" ")]) == len(STRANGE) * len(PLACES)


def test_what_is_readable_stays_so() -> None:
    lines = logged(f"{PLACES['value']}\n{PLACES['trace']}", ["Müller_門_Ворота"], "console")

    assert lines[0].endswith(" username=Müller_門_Ворота")
    assert "  Traceback (most recent call last):" in lines
    assert "  ValueError: Müller_門_Ворота" in lines
