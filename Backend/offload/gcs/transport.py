"""One HTTP request through libcurl: the bytes go from the file to the socket with one copy in between.

Facts about libcurl that this depends on, each checked by a test:

- A response of 300 or more that comes before the whole body was sent ends the sending and is reported as a
  response, if it can still be read.
- A reused connection that turns out to be closed is replaced silently, and the body is rewound to its start,
  however much of it was sent (https://curl.se/libcurl/c/CURLOPT_SEEKFUNCTION.html).
- A callback's exception is printed and forgotten by pycurl, so ours keep it, and it is raised afterwards.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pycurl

from offload.errors import TryAgain
from offload.gcs.error_rules import line_error, untrusted
from offload.gcs.responses import Response
from offload.store import SESSION_QUANTUM_BYTES, Abort, Body, never_abort

MIB = 1024 * 1024
ALL_BUFFERS_BYTES = 16 * MIB
"""How much memory all threads may use for their bodies together: each has libcurl's upload buffer and a piece of
the file on its way into it."""
PIECE_BYTES, QUICK_PIECE_BYTES = 256 * 1024, 1 * MIB
"""How much is read, summed and handed to the kernel at once, and how much the kernel may keep unsent; the second
where the line is quick. On a slow one the small piece keeps an abort prompt, and the line from looking stalled
while megabytes that libcurl has already handed over still drain. On a quick one the large piece saves a fifth of
the CPU: fewer system calls, fewer wake-ups."""
LEAST_BUFFER_BYTES = 16 * 1024
"""libcurl's own least: https://curl.se/libcurl/c/CURLOPT_UPLOAD_BUFFERSIZE.html"""
QUICK_BYTES_PER_SECOND = 16 * MIB
JUDGED_BYTES = 1 * MIB
"""Shorter requests are mostly waiting for their answer."""
ANSWER_LIMIT_BYTES = 64 * 1024
SHORT_REQUEST_SECONDS = 60
"""For requests without a file in them; those with one end by the low-speed limit alone."""
SLOWEST_BYTES_PER_SECOND = 1
_CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""TLS 1.3's, the cheapest strong one first, as browsers and Go offer them; OpenSSL's own order costs 5 % more CPU."""

_TLS_ERRORS = frozenset(
    {
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_ISSUER_ERROR,
    }
)
_LINE_ERRORS = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy's name was not resolved",
    pycurl.E_COULDNT_RESOLVE_HOST: "its name was not resolved",
    pycurl.E_COULDNT_CONNECT: "no connection",
    pycurl.E_OPERATION_TIMEDOUT: "time ran out or the line stalled",
    pycurl.E_GOT_NOTHING: "the connection was closed without an answer",
    pycurl.E_SEND_ERROR: "the connection broke while sending",
    pycurl.E_RECV_ERROR: "the connection broke while receiving",
    pycurl.E_PARTIAL_FILE: "the answer was cut short",
    pycurl.E_SSL_CONNECT_ERROR: "the TLS handshake failed",
    pycurl.E_SEND_FAIL_REWIND: "the connection was closed in mid-request",
}


class NoBytes:
    """The body of a request that has none."""

    length_bytes = 0

    def read(self, max_bytes: int) -> bytes:
        del max_bytes
        return b""

    def rewind(self) -> None:
        """Already at its first byte."""


class BytesBody:
    """A short body that is in memory anyway."""

    def __init__(self, data: bytes) -> None:
        self.length_bytes = len(data)
        self._data = data
        self._at = 0

    def read(self, max_bytes: int) -> bytes:
        piece = self._data[self._at : self._at + max_bytes]
        self._at += len(piece)
        return piece

    def rewind(self) -> None:
        self._at = 0


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """A request to send. Its `repr` shows no fields: `url` may be a session URI (P10)."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=NoBytes)
    seconds: float = 0
    """At most so long, altogether; 0 is without end."""


class Pieces:
    """Shares ALL_BUFFERS_BYTES among `handles` threads: each gets more while few of them send."""

    def __init__(self, handles: int) -> None:
        self._lock = threading.Lock()
        self._free_bytes = ALL_BUFFERS_BYTES // 2
        self._idle = max(1, handles)
        self._least_bytes = min(PIECE_BYTES, self._free_bytes // self._idle)

    @contextmanager
    def granted(self, wanted_bytes: int) -> Iterator[int]:
        """At most `wanted_bytes`, until the block ends, and so few that every other thread can still get the least."""
        with self._lock:
            self._idle -= 1
            spare_bytes = self._free_bytes - self._idle * self._least_bytes
            piece_bytes = min(wanted_bytes, max(spare_bytes, self._least_bytes))
            self._free_bytes -= piece_bytes
        try:
            yield piece_bytes
        finally:
            with self._lock:
                self._idle += 1
                self._free_bytes += piece_bytes


class _ThreadHandle(threading.local):
    """A thread's libcurl handle with its kept-alive connection, and whether the line was quick when it last sent."""

    def __init__(self) -> None:
        self.handle = pycurl.Curl()
        self.quick = False


class Transport:
    """One kept-alive libcurl handle for each thread that sends."""

    def __init__(
        self,
        *,
        ca_file: str,
        upload_handles: int,
        stall_seconds: int,
        connect_seconds: int,
        quick_bytes_per_second: int = QUICK_BYTES_PER_SECOND,
    ) -> None:
        self._ca_file = ca_file
        self._pieces = Pieces(upload_handles)
        self._stall_seconds = stall_seconds
        self._connect_seconds = connect_seconds
        self._quick_bytes_per_second = quick_bytes_per_second
        self._thread = _ThreadHandle()

    def perform(self, request: Request, *, abort: Abort = never_abort) -> Response:
        """Send `request` and return whatever was answered.

        Raises what `abort` or the body raised; LineDown where there was no answer, StopAndTell where the
        server's certificate is not trusted, TryAgain for every other error of libcurl.
        """
        # One handle a thread: libcurl keeps its connection, and TLS is negotiated once, not for every chunk.
        handle = self._thread.handle
        exchange = _Exchange(request.body, abort)
        try:
            with self._pieces.granted(min(self._line_bytes(), request.body.length_bytes)) as piece_bytes:
                self._prepare(handle, request, exchange, piece_bytes)
                handle.perform()
        except pycurl.error as error:
            # A refusal counts although the connection broke after it. A success must have come whole; and a proxy's
            # response to CONNECT is not the bucket's, nor is it RESPONSE_CODE to libcurl.
            code = 0 if exchange.refused_with(handle.getinfo(pycurl.RESPONSE_CODE)) else error.args[0]
        else:
            code = 0
        finally:
            # A request that was long enough to show the line's speed chooses the size of the next one's pieces.
            if request.body.length_bytes >= JUDGED_BYTES:
                quick = handle.getinfo(pycurl.SPEED_UPLOAD_T) >= self._quick_bytes_per_second
                if quick != self._thread.quick:
                    self._thread.quick = quick
                    _limit_unsent(handle.getinfo(pycurl.ACTIVESOCKET), self._line_bytes())
            handle.reset()  # drops the body, the address and the callbacks; keeps the connection
        exchange.raise_failure()
        # Without libcurl's text, which names hosts and addresses (P10).
        if code in _TLS_ERRORS:
            raise untrusted() from None
        if code in _LINE_ERRORS:
            raise line_error(_LINE_ERRORS[code]) from None
        if code:
            raise TryAgain(f"The request failed (libcurl error {code}).") from None
        return Response(exchange.status, exchange.headers, bytes(exchange.received))

    def _line_bytes(self) -> int:
        return QUICK_PIECE_BYTES if self._thread.quick else PIECE_BYTES

    def _prepare(self, handle: pycurl.Curl, request: Request, exchange: _Exchange, piece_bytes: int) -> None:
        for option, value in {
            pycurl.URL: request.url,
            pycurl.HTTPHEADER: [*(f"{name}: {value}" for name, value in request.headers.items()), "Expect:"],
            pycurl.USERAGENT: "coldreel",
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.FOLLOWLOCATION: 0,  # footage and tokens go only to the address that was checked
            pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
            pycurl.TLS13_CIPHERS: _CIPHERS,
            pycurl.CAINFO: self._ca_file,
            pycurl.PROXY_CAINFO: self._ca_file,
            pycurl.CONNECTTIMEOUT: self._connect_seconds,
            pycurl.TIMEOUT_MS: round(request.seconds * 1000),
            pycurl.LOW_SPEED_LIMIT: SLOWEST_BYTES_PER_SECOND,
            pycurl.LOW_SPEED_TIME: self._stall_seconds,
            pycurl.NOSIGNAL: 1,  # libcurl's signals are unsafe with threads: https://curl.se/libcurl/c/threadsafe.html
            pycurl.TCP_NODELAY: 1,
            pycurl.TCP_KEEPALIVE: 1,
            pycurl.UPLOAD_BUFFERSIZE: max(piece_bytes, LEAST_BUFFER_BYTES),
            pycurl.SOCKOPTFUNCTION: self._opened,
            pycurl.NOPROGRESS: 0,
            pycurl.XFERINFOFUNCTION: exchange.tick,
            pycurl.READFUNCTION: exchange.read,
            pycurl.SEEKFUNCTION: exchange.seek,
            pycurl.HEADERFUNCTION: exchange.header,
            pycurl.WRITEFUNCTION: exchange.write,
            # To libcurl every request is an upload, whatever its method: a body of known length from the read callback.
            pycurl.UPLOAD: 1,
            pycurl.INFILESIZE_LARGE: request.body.length_bytes,
            pycurl.CUSTOMREQUEST: request.method,
        }.items():
            handle.setopt(option, value)

    def _opened(self, descriptor: int, _purpose: int) -> int:
        _limit_unsent(descriptor, self._line_bytes())
        return int(pycurl.SOCKOPT_OK)


class _Exchange:
    """The callbacks of one request. `failure` is what one of them raised."""

    def __init__(self, body: Body, abort: Abort) -> None:
        self.failure: BaseException | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.received = bytearray()
        self._header_bytes = 0
        self._headers_complete = False
        self._body = body
        self._abort = abort
        self._read_bytes = 0

    def refused_with(self, status: int) -> bool:
        return self._headers_complete and self.status == status >= 300  # noqa: PLR2004 - not a success

    def raise_failure(self) -> None:
        """Raise a callback's exception, once; if it were kept, it and its frames would keep each other in memory."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def tick(self, *_progress: int) -> int:
        """Called by libcurl at least once a second, also where nothing moves. Non-zero ends the request.

        https://curl.se/libcurl/c/CURLOPT_XFERINFOFUNCTION.html
        """
        try:
            self._abort()
        except BaseException as error:  # noqa: BLE001 - carried across C, raised again in perform
            self.failure = error
            return 1
        return 0

    def read(self, max_bytes: int) -> bytes | int:
        try:
            self._abort()
            piece = self._body.read(max_bytes)
        except BaseException as error:  # noqa: BLE001 - as above
            self.failure = error
            abort: int = pycurl.READFUNC_ABORT
            return abort
        self._read_bytes += len(piece)
        return piece

    def seek(self, offset_bytes: int, _origin: int) -> int:
        """Rewind the body for a new connection, if so little was read that a session has committed none of it (P3)."""
        try:
            if offset_bytes != 0 or self._read_bytes >= SESSION_QUANTUM_BYTES:
                return int(pycurl.SEEKFUNC_FAIL)
            self._body.rewind()
        except BaseException as error:  # noqa: BLE001 - as above
            self.failure = error
            return int(pycurl.SEEKFUNC_FAIL)
        self._read_bytes = 0
        return int(pycurl.SEEKFUNC_OK)

    def header(self, line: bytes) -> int | None:
        self._header_bytes += len(line)
        if self._header_bytes > ANSWER_LIMIT_BYTES:
            return 0
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):
            # A proxy's CONNECT and a 100 have headers of their own; the last block is the answer's.
            self.status, self.headers, self._headers_complete = int(text.split(maxsplit=2)[1]), {}, False
        elif text:
            name, _, value = text.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        else:
            self._headers_complete = True
        return None

    def write(self, piece: bytes) -> int | None:
        self.received += piece
        return None if len(self.received) <= ANSWER_LIMIT_BYTES else 0


def _limit_unsent(descriptor: int, most_bytes: int) -> None:
    if descriptor < 0:  # the connection is closed
        return
    connection = socket.socket(fileno=descriptor)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most_bytes)
    finally:
        connection.detach()
