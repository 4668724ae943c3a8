"""Logs unforeseen exceptions, without a secret."""

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
    """Log where an exception was raised, not its message: a library's message may contain a session URI (P10).

    A full disk is no fault of the code: it is logged in one line, once a minute.
    """
    if log_disk_full(event, error, **fields):
        return
    trace = "".join(traceback.format_tb(error.__traceback__))
    log.error(event, error=type(error).__name__, trace=trace, **fields)


def survive(step: Callable[[], object], event: str, **fields: object) -> bool:
    """Call one round of a thread that has to go on; whatever it raises is logged as `event`. False where it raised.

    A database that is busy or away is logged without a trace. After an error the thread's database connection is
    closed: the next round begins on a new one. Where memory is too short for the logging as well, only the name of the
    event is written.
    """
    try:
        step()
    except BaseException as error:  # noqa: BLE001 - a heartbeat or a guard that ended unseen would be worse than its error
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
