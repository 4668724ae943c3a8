"""The web server: waitress, with a deadline for every request, and a limit for the memory that bodies take.

waitress reads and writes all connections in one thread and calls the application in a few others, so that a slow
client costs a connection and no thread. It closes connections on which nothing moves. It would keep a client that
sends one byte now and then for ever, so here a request has a deadline, counted from its first byte.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, cast
from wsgiref.types import WSGIApplication

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What one server process allows its clients."""

    threads: int = 16
    connections: int = 2000
    header_bytes: int = 32 * KIB
    body_bytes: int = 1 * MIB
    header_seconds: float = 10
    """From the first byte of a request to the end of its headers."""
    body_seconds: float = 20
    """From the first byte of a request to its last."""
    idle_seconds: float = 75
    """For a connection without a request. More than the 60 s of nginx, which should be the first to close one."""
    small_body_bytes: int = 64 * KIB
    buffered_bytes: int = 16 * MIB
    """The largest sum of all bodies above the small size that are received or answered at the same time."""
    refused_seconds: float = 2
    """How long a client whose request is refused may go on sending: many read the answer only after that."""
    stop_seconds: float = 30
    """How long running requests may take once the server was told to stop, which is what the longest one takes."""


class NoRoom(Error):  # type: ignore[misc]
    """The limit of `Limits.buffered_bytes` is reached."""

    code = 503
    reason = "Service Unavailable"


_SENTENCES = {
    400: "The request is not valid HTTP.",
    413: "The body is larger than 1 MiB.",
    431: "The headers are larger than 32 KiB.",
    501: "That transfer encoding is not known here.",
    503: "Too many large requests at once. Try again in a few seconds.",
}
"""The answers that the server gives by itself, without the application, by status."""


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    completed: bool
    headers_finished: bool
    error: Error | None
    path = ""
    """waitress logs the path, also of a request that is too malformed to have one."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel.adj)
        self._channel = channel

    @property
    def buffered_bytes(self) -> int:
        """How much memory the body may take, by the headers of the request."""
        if self.body_rcv is None or self.error is not None:
            return 0
        return int(self.adj.max_request_body_size) if self.chunked else int(self.content_length)

    def received(self, data: bytes) -> int:
        before = self.headers_finished
        consumed = int(super().received(data))
        if not before and self.headers_finished and not self.completed and not self._channel.server.has_room_for(self):
            self.error = NoRoom("")
            self.completed = True
        return consumed


class _Task(WSGITask):  # type: ignore[misc]
    def get_environment(self) -> dict[str, Any]:
        environ = cast("dict[str, Any]", super().get_environment())
        # With a file wrapper, the one thread that serves all connections would read the file.
        environ.pop("wsgi.file_wrapper", None)
        return environ


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    def execute(self) -> None:
        error = self.request.error
        detail = _SENTENCES.get(error.code, "A fault of Coldreel; the log has it.")
        body = json.dumps({"detail": detail}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        if error.code == NoRoom.code:
            self.response_headers.append(("Retry-After", "5"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection. Only the answering of a request runs in another thread than the server's own."""

    task_class = _Task
    error_task_class = _ErrorTask
    server: Server
    close_when_flushed: bool
    began_at: float | None = None
    """When the first byte of the request came that is incomplete now."""
    _refused = False
    _closes_at: float | None = None
    """When the connection of a refused client is closed, although it still sends."""

    def parser_class(self, _adj: Adjustments) -> _Parser:
        return _Parser(self)

    @property
    def buffered_bytes(self) -> int:
        return sum(request.buffered_bytes for request in (*self.requests, self.request) if request is not None)

    def received(self, data: bytes) -> bool:
        if self._closes_at is not None:
            return False
        self._note_beginning()
        answer = bool(super().received(data))
        if self.request is not None:  # the next request may have begun in the same bytes
            self._note_beginning()
        return answer

    def _note_beginning(self) -> None:
        if self.began_at is None:
            self.began_at = self.server.clock()

    def on_request(self, request: _Parser) -> None:
        """A request is complete, or refused before it was."""
        self.began_at = None
        self._refused = request.error is not None

    def handle_write(self) -> None:
        if not (self._refused and self.close_when_flushed):
            super().handle_write()
            return
        # A connection that is closed while bytes come in is reset, and the client does not get to read the answer.
        self._flush_exception(self._flush_some)
        if self.connected and not self.will_close and not self.total_outbufs_len:
            self.close_when_flushed = False
            self._closes_at = self.server.clock() + self.server.limits.refused_seconds
            self.socket.shutdown(socket.SHUT_WR)
        elif self.will_close:
            self.handle_close()

    def is_overdue(self, now: float) -> bool:
        if self._closes_at is not None:
            return now > self._closes_at
        if self.began_at is None:
            return False
        if self.requests or self.total_outbufs_len:
            self.began_at = now  # nothing is read while the request before is answered
            return False
        limits = self.server.limits
        has_headers = self.request is not None and self.request.headers_finished
        return now - self.began_at > (limits.body_seconds if has_headers else limits.header_seconds)


class Server(TcpWSGIServer):  # type: ignore[misc]
    """Serves `application` on a listening socket until `stop`. It owns the socket, and closes it."""

    channel_class = Channel

    def __init__(
        self,
        application: WSGIApplication,
        listener: socket.socket,
        *,
        trust_proxy_headers: bool = False,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `trust_proxy_headers` the application sees the headers that a proxy sets, without it none of them."""
        self.limits = limits = limits or Limits()
        self.clock = clock
        self._told_to_stop = threading.Event()
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(limits.threads)
        adjustments = Adjustments(
            sockets=[listener],
            threads=limits.threads,
            connection_limit=limits.connections,
            max_request_header_size=limits.header_bytes,
            # waitress refuses a body that reaches its limit, and ours may be reached.
            max_request_body_size=limits.body_bytes + 1,
            # Larger than the largest body, so that none is written to a temporary file.
            inbuf_overflow=2 * limits.body_bytes,
            channel_timeout=limits.idle_seconds,
            cleanup_interval=1,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=not trust_proxy_headers,
            ident="",
        )
        super().__init__(
            application,
            {},
            _sock=listener,
            dispatcher=dispatcher,
            adj=adjustments,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    def run(self) -> None:
        """Serve until `stop`, then answer the running requests, for `Limits.stop_seconds` at most."""
        while not self._told_to_stop.is_set():
            self._turn()
        self.accepting = False
        self.del_channel()
        self.socket.close()
        ends_at = self.clock() + self.limits.stop_seconds
        while self.clock() < ends_at and any(found.requests or found.total_outbufs_len for found in self._channels()):
            self._turn()

    def stop(self) -> None:
        """Make `run` return once the running requests are answered. A signal handler may call it."""
        self._told_to_stop.set()
        self.pull_trigger()

    def has_room_for(self, request: _Parser) -> bool:
        """Whether the body of this request, which has begun, keeps to `Limits.buffered_bytes`."""
        if request.buffered_bytes <= self.limits.small_body_bytes:
            return True
        buffered = (found.buffered_bytes for found in self._channels())
        return sum(size for size in buffered if size > self.limits.small_body_bytes) <= self.limits.buffered_bytes

    def add_task(self, task: Channel) -> None:
        task.on_request(task.requests[0])
        super().add_task(task)

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        by_ours = self.clock()
        for channel in self._channels():
            if channel.is_overdue(by_ours):
                channel.will_close = True

    def _channels(self) -> tuple[Channel, ...]:
        return tuple(self.active_channels.values())

    def _turn(self) -> None:
        wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)


def serve(application: WSGIApplication, listener: socket.socket, *, trust_proxy_headers: bool) -> None:
    """Serve until SIGTERM or SIGINT."""
    connections = min(Limits.connections, raise_file_limit(Limits.connections + _OTHER_FILES) - _OTHER_FILES)
    server = Server(
        application, listener, trust_proxy_headers=trust_proxy_headers, limits=Limits(connections=connections)
    )

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    server.run()


_OTHER_FILES = 200
"""Open files beside connections: databases of the threads, footage that is played, the log."""


def raise_file_limit(wanted: int) -> int:
    """Raise this process's limit of open files to `wanted`, or as far as the system allows; how many it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
