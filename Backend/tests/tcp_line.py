"""A line on loopback that a test cuts or stalls: a TCP proxy in a thread."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE_BYTES = 65536


class TcpLine:
    """`with TcpLine(port) as line: line.port`. What connects there is connected to `port` of 127.0.0.1.

    `cut` ends all connections and refuses new ones; `stall` lets none move a byte, new ones included; `restore` ends both.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._others: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._is_cut = self._is_stalled = self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended = True
        self._thread.join()
        for end in self._ends():
            end.close()
        self._listener.close()
        self._selector.close()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for end in self._ends():
                self._close(end)

    def stall(self) -> None:
        with self._lock:
            self._is_stalled = True

    def restore(self) -> None:
        with self._lock:
            self._is_cut = self._is_stalled = False

    def _run(self) -> None:
        while not self._has_ended:
            ready = self._selector.select(0.02)
            with self._lock:
                if self._is_stalled:
                    ready = []
                for key, _ in ready:
                    self._move(key.fileobj)  # type: ignore[arg-type]
            if self._is_stalled:
                threading.Event().wait(0.02)

    def _move(self, end: socket.socket) -> None:
        if end is self._listener:
            self._accept()
        elif end in self._others:
            other = self._others[end]
            with suppress(OSError):
                if data := end.recv(_PIECE_BYTES):
                    other.sendall(data)
                    return
            self._close(end)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._is_cut:
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._to_port), timeout=5)
        except OSError:
            near.close()
            return
        for end, other in ((near, far), (far, near)):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._others[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _ends(self) -> Iterator[socket.socket]:
        return iter(list(self._others))

    def _close(self, end: socket.socket) -> None:
        other = self._others.pop(end, None)
        if other is None:
            return
        self._others.pop(other, None)
        for one in (end, other):
            with suppress(KeyError, ValueError):
                self._selector.unregister(one)
            one.close()
