"""The HTTP server: connections, routing, faults, the log.

Each connection has a thread. A body is passed on as a stream and is never in memory as a whole.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import struct
import sys
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from gcs_emulator.admin import Admin
from gcs_emulator.answers import Answer, Cut, FilePart, Refusal
from gcs_emulator.calls import MAX_PAGE, Calls
from gcs_emulator.clock import EmulatorClock
from gcs_emulator.faults import Faults
from gcs_emulator.limits import RateLimit
from gcs_emulator.request import Body, Request
from gcs_emulator.requestlog import RequestLog
from gcs_emulator.routes import Call, no_length, route
from gcs_emulator.sessions import Sessions
from gcs_emulator.signing import SignatureCheck
from gcs_emulator.storage import Storage
from gcs_emulator.uploads import Uploads

LINGER_SECONDS = 2.0
IDLE_SECONDS = 3600
ERROR_STATUS = 400


@dataclass(slots=True)
class Options:
    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    buckets: list[str] = field(default_factory=list)
    tls: tuple[Path, Path] | None = None
    mbytes_per_second: float = 0
    page_objects: int = MAX_PAGE
    signer_key: Path | None = None


class Emulator:
    """The emulator behind the HTTP server: storage, sessions, faults and log."""

    def __init__(self, options: Options) -> None:
        options.data.mkdir(parents=True, exist_ok=True)
        self.clock = EmulatorClock()
        self.limit = RateLimit(options.mbytes_per_second)
        self.faults = Faults()
        self.log = RequestLog(options.data)
        storage = Storage(options.data, self.clock)
        sessions = Sessions(options.data, storage)
        for name in options.buckets:
            # Buckets are kept on disk: after a restart they exist.
            with contextlib.suppress(Refusal):
                storage.create_bucket({"name": name})
        self._signature = SignatureCheck(options.signer_key, self.clock)
        self._calls = _call_table(
            Calls(storage, options.page_objects),
            Uploads(storage, sessions),
            Admin(storage, sessions, faults=self.faults, log=self.log, clock=self.clock, limit=self.limit),
        )

    def handle(self, request: Request) -> Answer:
        """Answer one request. Raises Cut where a fault leaves it unanswered, Refusal for an error."""
        call = route(request)
        if call.startswith("admin_"):
            return self._calls[call](request)
        if call == "signed_get":
            self._signature.check(request)
        fault = request.fault = request.body.fault = self.faults.take(request.method, request.kind, request.name)
        if fault is None:
            return self._calls[call](request)
        if fault.action == "delay":
            time.sleep(fault.seconds)
        # A request without a body never reaches the byte at which the fault waits.
        if fault.after_bytes == 0 or request.body.length_bytes == 0:
            request.body.apply_fault()
        answer = self._calls[call](request)
        if fault.action == "lost_answer":
            raise Cut
        return answer


def _call_table(calls: Calls, uploads: Uploads, admin: Admin) -> dict[str, Call]:
    table: dict[str, Call] = {
        name: getattr(calls, name)
        for name in ("bucket_insert", "bucket_get", "test_permissions", "list", "get", "download", "signed_get")
    }
    table |= {"patch": calls.patch, "delete": calls.delete}
    table |= {"insert": uploads.insert, "put": uploads.put, "cancel": uploads.cancel}
    admin_calls = ("faults", "requests", "stats", "clock", "rate", "bucket", "expire_sessions", "objects")
    table |= {f"admin_{name}": getattr(admin, name) for name in admin_calls}
    table |= {f"admin_object_{name}": getattr(admin, f"object_{name}") for name in ("put", "patch", "delete")}
    return table


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "gcs_emulator"
    sys_version = ""
    timeout = IDLE_SECONDS
    # Fewer system calls for gigabytes than with the base class's 8 KiB.
    rbufsize = 64 * 1024

    @property
    def _emulator(self) -> Emulator:
        return cast(EmulatorServer, self.server).emulator

    def _serve(self) -> None:
        request = self._request()
        status: int | None = None
        try:
            try:
                answer = self._answer(request)
            except Refusal as refusal:
                answer = refusal.answer()
            status = answer.status
            # Noted before it is sent: a client that has its answer finds the request in the log.
            self._note(request, status)
            self._send(request, answer)
        except Cut as cut:
            if status is None:
                self._note(request, None)
            self._cut(hard=cut.hard)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def __getattr__(self, name: str) -> Any:
        """The base class asks for ``do_GET`` and so on: all are `_serve`, which routes by method."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        repeated = parse_qs(parts.query, keep_blank_values=True)
        length = self.headers.get("Content-Length", "0")
        scheme = "https" if cast(EmulatorServer, self.server).tls else "http"
        return Request(
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in repeated.items()},
            repeated_query=repeated,
            headers=self.headers,
            body=Body(self.rfile, int(length) if length.isdigit() else 0, self._emulator.limit),
            base_url=f"{scheme}://{self.headers.get('Host', 'localhost')}",
        )

    def _answer(self, request: Request) -> Answer:
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise no_length()
        return self._emulator.handle(request)

    def _note(self, request: Request, status: int | None) -> None:
        if request.kind.startswith("admin_"):
            return
        self._emulator.log.note(
            {
                "at": round(self._emulator.clock.now(), 3),
                "method": request.method,
                "kind": request.kind,
                "bucket": request.bucket,
                "name": request.name,
                "offset_bytes": request.offset_bytes,
                "length_bytes": request.body.length_bytes,
                "received_bytes": request.body.received_bytes,
                "sent_again_bytes": request.sent_again_bytes,
                "status": status,
                "fault": request.fault.action if request.fault else None,
            }
        )

    def _send(self, request: Request, answer: Answer) -> None:
        length = answer.body.length_bytes if isinstance(answer.body, FilePart) else len(answer.body)
        if request.body.left_bytes:
            self.close_connection = True
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in {204, 304}:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(answer.body)
        if request.body.left_bytes:
            self._linger()

    def _send_body(self, body: bytes | FilePart) -> None:
        if isinstance(body, bytes):
            self.wfile.write(body)
            return
        with body.path.open("rb") as file:
            file.seek(body.offset_bytes)
            left = body.length_bytes
            while left and (piece := file.read(min(left, 1024 * 1024))):
                self.wfile.write(piece)
                left -= len(piece)

    def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes resets the connection, and the client may lose the answer."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_SECONDS)
            give_up_at = time.monotonic() + LINGER_SECONDS
            while time.monotonic() < give_up_at and self.rfile.read1(1024 * 1024):
                pass

    def _cut(self, *, hard: bool) -> None:
        self.close_connection = True
        if hard:
            # A linger time of 0 makes close() send a reset instead of an orderly end (socket(7)).
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self.connection.close()

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        return self._emulator.clock.http_date()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: paths contain session ids, which are keys. `/_emulator/requests` shows the log."""


class EmulatorServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    # A connection may be kept open by its client: the process must end all the same.
    daemon_threads = True
    # Tests open hundreds of connections at once; the base class would let five wait.
    request_queue_size = 256

    def __init__(self, options: Options) -> None:
        self.emulator = Emulator(options)
        self.tls: ssl.SSLContext | None = None
        if options.tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*options.tls)
        if ":" in options.host:
            self.address_family = socket.AF_INET6
        super().__init__((options.host, options.port), Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"{'https' if self.tls else 'http'}://{host!s}:{port}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Make the TLS handshake in the connection's own thread, so that a slow one delays no other."""
        # Without this a small answer waits up to 40 ms for the acknowledgement of the one before.
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            request.settimeout(LINGER_SECONDS * 5)
            request = self.tls.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            if self.tls:
                self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, except where the client went away: any other error is a fault of the emulator."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError)):
            super().handle_error(request, client_address)
