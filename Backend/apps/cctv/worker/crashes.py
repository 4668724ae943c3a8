"""What nobody foresaw, told without a secret."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextlib import suppress

import structlog
from django.db import InterfaceError, OperationalError, connection

from apps.cctv.services.disk_reserve import log_disk_full

log = structlog.get_logger("coldreel.upload")

_STDERR = 2


def log_crash(event: str, error: BaseException, **fields: object) -> None:
    """Where it happened, not what it said: a foreign library's message may hold a session URI (P10).

    A full disk is no fault to trace: it is told in one line, once a minute.
    """
    if log_disk_full(event, error, **fields):
        return
    trace = "".join(traceback.format_tb(error.__traceback__))
    log.error(event, error=type(error).__name__, trace=trace, **fields)


def survive(step: Callable[[], object], event: str, **fields: object) -> bool:
    """One round of a thread that has to go on: whatever it raises is logged as `event`. False where it raised.

    A database that is busy or away is told without a trace. The thread's database connection is closed then: the
    next round begins on a new one. A MemoryError may meet the logging as well; then the name of the event is all
    that is told.
    """
    try:
        step()
    except BaseException as error:  # noqa: BLE001 - a thread that ends without a word costs more than any bug
        try:
            _tell(event, error, **fields)
        except BaseException:  # noqa: BLE001 - no memory, or nothing to log to
            with suppress(OSError):
                os.write(_STDERR, f"{event}\n".encode())
        with suppress(Exception):
            connection.close()
        return False
    return True


def _tell(event: str, error: BaseException, **fields: object) -> None:
    if log_disk_full(event, error, **fields):
        return
    if isinstance(error, (OperationalError, InterfaceError)):
        log.warning(event, error=type(error).__name__, **fields)
    else:
        log_crash(event, error, **fields)
