"""What nobody foresaw, told without a secret."""

from __future__ import annotations

import traceback

import structlog

log = structlog.get_logger("coldreel.upload")


def log_crash(event: str, error: BaseException, **fields: object) -> None:
    """Where it happened, not what it said: a foreign library's message may hold a session URI (P10)."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    log.error(event, error=type(error).__name__, trace=trace, **fields)
