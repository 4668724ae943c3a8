"""A server that misbehaves exactly as a test says, one connection after the other."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 30.0


class Connection:
    """One accepted connection, with the few words of HTTP that a script needs."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(PATIENCE_SECONDS)
        self._socket = connected
        self._unread = b""

    def head(self) -> str:
        """The next request's line and headers; ``""`` where the client has gone."""
        while b"\r\n\r\n" not in self._unread:
            more = self._socket.recv(65536)
            if not more:
                return ""
            self._unread += more
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def body(self, length_bytes: int) -> bytes:
        """The next `length_bytes`, or fewer where the client has gone."""
        while len(self._unread) < length_bytes:
            more = self._socket.recv(65536)
            if not more:
                break
            self._unread += more
        taken, self._unread = self._unread[:length_bytes], self._unread[length_bytes:]
        return taken

    def request(self) -> tuple[str, bytes]:
        """A whole request: its head and its body."""
        head = self.head()
        return head, self.body(int(header(head, "content-length") or 0))

    def answer(self, status: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def drain(self) -> int:
        """Read until the client closes; how many bytes came."""
        total = len(self._unread)
        with contextlib.suppress(ConnectionError):
            while more := self._socket.recv(65536):
                total += len(more)
        return total

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        self._socket.close()


Script = Callable[[Connection], object]


class ScriptedServer:
    """Serves its scripts, the last one again and again, each in a thread of its own."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.connections = 0
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._closing = False

    def __enter__(self) -> Self:
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connected in self._open:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        self._accepting.join(PATIENCE_SECONDS)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        assert not self.errors, self.errors

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._open.append(connected)
            thread = threading.Thread(target=self._serve, args=(connected, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket, script: Script) -> None:
        try:
            with connected:
                script(Connection(connected))
        except ConnectionError:
            pass  # the client went first: some scripts provoke it
        except BaseException as error:  # noqa: BLE001 - told at the end of the test
            if not self._closing:
                self.errors.append(error)

    def answering(self, status: str, *headers: str, body: bytes = b"") -> ScriptedServer:
        """Keep answering every request the same, and keep what was asked."""

        def script(connection: Connection) -> None:
            while True:
                head, sent = connection.request()
                if not head:
                    return
                self.heads.append(head)
                self.bodies.append(sent)
                connection.answer(status, *headers, body=body)

        self._scripts.append(script)
        return self


def header(head: str, name: str) -> str | None:
    for line in head.split("\r\n")[1:]:
        found, _, value = line.partition(":")
        if found.strip().lower() == name:
            return value.strip()
    return None
