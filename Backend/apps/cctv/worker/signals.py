"""Wake the dispatcher from other threads and from signals; stop gracefully once, at once the second time."""

from __future__ import annotations

import os
import select
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

SECOND_SIGNAL_STATUS = 1


class Waker:
    """A pipe: unlike a condition, it may be written to by a signal handler of the thread that waits.

    `wake_pipe` is a second one to wait for, to which other processes write.
    """

    def __init__(self, wake_pipe: int | None = None) -> None:
        self._reader, self._writer = os.pipe()
        self._wake_pipe = wake_pipe
        self._awaited = [self._reader] if wake_pipe is None else [self._reader, wake_pipe]
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def wake(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full: it is readable already
            os.write(self._writer, b"!")

    def wait(self, seconds: float) -> bool:
        """Wait until `wake` is called or a process writes to `wake_pipe`, at most `seconds`: whether a process did.

        What came since the last wait counts.
        """
        ready, _, _ = select.select(self._awaited, [], [], seconds)
        for pipe in ready:
            os.read(pipe, 65536)
        return self._wake_pipe in ready

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
