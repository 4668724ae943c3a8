"""Log lines: the name of an event and its fields, readable on a terminal, or JSON with COLDREEL_LOG_FORMAT=json."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import MutableMapping
from typing import Any

import structlog

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class _NoTraceOfRefusals(logging.Filter):
    """Keeps the line of a refused request and drops the traceback that Django adds to it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.") and getattr(record, "status_code", 500) < 500:  # noqa: PLR2004
            record.exc_info = None
        return True


class ConsoleLines:
    """Renders an entry for a terminal: one line, and the traceback of an error indented below it.

    Names of users, files and cameras come from outside. Characters that are not printable are escaped as Python
    writes them, so that a name cannot control the terminal or look like another log line.
    """

    def __init__(self) -> None:
        # The default traceback prints the local variables of every frame: passwords, session URIs (P10).
        self._render = structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
        )

    def __call__(self, logger: Any, name: str, entry: MutableMapping[str, Any]) -> str:
        below = [entry.pop(key, None) for key in ("stack", "exception")]
        lines = [f"  {line}" for text in below if text for line in text.split("\n")]
        return "\n".join(map(_printable, [self._render(logger, name, entry), *lines]))


def _printable(text: str) -> str:
    # Nearly every line is: those are not taken apart.
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def logging_config(log_format: str, *, level: str) -> None:
    """Set up structlog and the standard library's logging for this process; everything goes to standard error."""
    renderer: Any = structlog.processors.JSONRenderer() if log_format == "json" else ConsoleLines()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "lines": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": _SHARED,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.format_exc_info,
                        renderer,
                    ],
                }
            },
            "filters": {"refusals": {"()": _NoTraceOfRefusals}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["refusals"]}},
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {
                "coldreel": {"level": level},
                "django.server": {"level": "WARNING"},
                # It writes a line for each request as soon as more requests wait than there are threads.
                "waitress.queue": {"level": "ERROR"},
            },
        }
    )
