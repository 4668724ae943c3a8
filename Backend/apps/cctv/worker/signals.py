"""Wake the dispatcher from other threads and from signals; stop gracefully once, at once the second time."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

from apps.cctv.leasing.listener import Listener

SECOND_SIGNAL_STATUS = 1


QUIET_SECONDS = 0.1
"""How long other processes are not listened to after one of them woke this one: any login of the database may notify
any channel, and each wake-up costs two queries."""


class Waker:
    """A pipe: unlike a condition, it may be written to by a signal handler of the thread that waits.

    `wake_pipe` is a second one to wait for, to which other processes write on SQLite; `listener` hears them on
    PostgreSQL.
    """

    def __init__(
        self,
        wake_pipe: int | None = None,
        listener: Listener | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader, self._writer = os.pipe()
        self._wake_pipe = wake_pipe
        self._listener = listener
        self._monotonic = monotonic
        self._quiet_until = monotonic()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def wake(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full: it is readable already
            os.write(self._writer, b"!")

    def wait(self, seconds: float) -> bool:
        """Wait until `wake` is called or another process wakes this one, at most `seconds`: whether a process did.

        What came since the last wait counts. For QUIET_SECONDS after a process woke this one, other wake-ups of
        processes wait. Raises Error where the connection to the database broke.
        """
        ends_at = self._monotonic() + seconds
        woken = False
        quiet_seconds = max(0.0, min(seconds, self._quiet_until - self._monotonic()))
        ready, _, _ = select.select([self._reader], [], [], quiet_seconds)
        left = ends_at - self._monotonic()
        if not ready and (left > 0 or not quiet_seconds):
            woken = self._is_woken_within(max(0.0, left))
        if woken:
            self._quiet_until = self._monotonic() + QUIET_SECONDS
        self._drain(self._reader)
        return woken

    def _is_woken_within(self, seconds: float) -> bool:
        """Wait for anything. Whether a process is what ended it."""
        listener = self._listener
        if listener is not None and listener.is_woken():  # read from its socket already, with a query's result
            return True
        sockets = [] if listener is None or listener.descriptor is None else [listener.descriptor]
        pipes = [] if self._wake_pipe is None else [self._wake_pipe]
        ready, _, _ = select.select([self._reader, *pipes, *sockets], [], [], seconds)
        for pipe in pipes:
            self._drain(pipe)
        woken = listener is not None and listener.is_woken()
        return woken or any(pipe in ready for pipe in pipes)

    def _drain(self, pipe: int) -> None:
        with suppress(BlockingIOError):
            os.read(pipe, 65536)

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


class StopSignals:
    """SIGTERM and SIGINT: the first sets `stopping`, the second ends the process where it stands.

    Both are safe: recovery finds what a crash would have left (P3).
    """

    def __init__(self, stopping: threading.Event, waker: Waker) -> None:
        self._stopping = stopping
        self._waker = waker
        self._asked = False
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._asked:
            os._exit(SECOND_SIGNAL_STATUS)
        self._asked = True
        self._stopping.set()
        self._waker.wake()
