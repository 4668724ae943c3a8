"""The web server under slow, idle and greedy clients that have not signed in."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.web_server import WebServer, until

MIB = 2**20
MOST_BYTES = 250_000_000
HEAD = b"POST /api/v0/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with WebServer(tmp_path_factory.mktemp("web"), "--no-worker") as running:
        yield running


def still_open(connections: list[socket.socket]) -> list[socket.socket]:
    """Those that the server has not closed. What it may have sent is thrown away."""
    found = []
    for connection in connections:
        try:
            connection.setblocking(False)
            while data := connection.recv(65_536):
                del data
        except BlockingIOError:
            found.append(connection)
        except ConnectionError:
            pass
    return found


def trickle(connections: list[socket.socket], enough: threading.Event) -> None:
    """A byte a second down each of them, for ever."""
    while not enough.wait(1):
        for connection in connections:
            with suppress(OSError):
                connection.send(b"x")


def test_slow_and_idle_connections_keep_no_other_client_waiting(served: WebServer) -> None:
    enough = threading.Event()
    idle = [served.connect() for _ in range(200)]
    slow = [served.connect() for _ in range(500)]
    for number, connection in enumerate(slow):
        headers = b"Content-Length: 100000\r\n\r\n{" if number % 2 else b"X-Slow: "
        connection.sendall(HEAD + headers)
    trickling = threading.Thread(target=trickle, args=(slow, enough))
    trickling.start()
    try:
        for _ in range(20):
            assert served.status_of("/api/v0/openapi.json") == 200
        until(lambda: not still_open(slow), "the end of the slow ones", patience_seconds=30)
        assert len(still_open(idle)) == 200
        idle[0].setblocking(True)
        idle[0].sendall(b"GET /api/v0/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle[0].recv(15) == b"HTTP/1.1 200 OK"
    finally:
        enough.set()
        trickling.join()
        for connection in [*idle, *slow]:
            connection.close()


def flood(served: WebServer, *parts: bytes) -> list[bytes]:
    with ThreadPoolExecutor(64) as senders:
        return list(senders.map(lambda _: served.exchange(*parts), range(64)))


EMPTY_OBJECTS = b"[" + b"{}," * ((8 * MIB - 4) // 3) + b"{}]"


def test_flood_of_large_bodies_leaves_memory_small(tmp_path: Path) -> None:
    with WebServer(tmp_path, "--no-worker") as served:
        length = b"Content-Length: %d\r\n\r\n" % len(EMPTY_OBJECTS)
        answers = flood(served, HEAD + length, EMPTY_OBJECTS)
        assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 413", b""}
        chunk = b"%x\r\n%b\r\n" % (64 * 1024, b"{}," * (64 * 1024 // 3) + b" ")
        flood(served, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 128)
        assert served.status_of("/api/v0/openapi.json") == 200
        assert served.peak_bytes() < MOST_BYTES


@pytest.mark.parametrize(
    ("path", "kind", "piece"),
    [
        (b"/api/v0/token/", b"application/json", b"{},"),
        (b"/api/v0/token/", b"application/json", b"[[[[[[[]]]]]]],"),
        (b"/api/v0/recordings/transfer-to-gcp/", b"application/json", b"{},"),
        (b"/admin/login/", b"application/x-www-form-urlencoded", b"a=b&"),
    ],
)
def test_flood_of_the_largest_accepted_bodies_leaves_memory_small(
    tmp_path: Path, path: bytes, kind: bytes, piece: bytes
) -> None:
    body = b"[" + piece * ((MIB - 4) // len(piece)) + b"{}]"
    head = HEAD.replace(b"/api/v0/token/", path).replace(b"application/json", kind)
    head += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with WebServer(tmp_path, "--no-worker") as served:
        for _ in range(3):
            answers = flood(served, head, body)
            assert all(answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 503")) for answer in answers)
        assert served.peak_bytes() < MOST_BYTES


def test_body_above_one_mebibyte_is_refused_unsent(served: WebServer) -> None:
    head, _, body = served.exchange(HEAD + b"Content-Length: %d\r\n\r\n" % (MIB + 1)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"application/json" in head
    assert json.loads(body) == {"detail": "The body is larger than 1 MiB."}


def test_client_sending_too_large_a_body_reads_why(served: WebServer) -> None:
    answer = served.exchange(HEAD + b"Content-Length: %d\r\n\r\n" % (3 * MIB), b" " * (3 * MIB))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_body_of_one_mebibyte_reaches_the_application(served: WebServer) -> None:
    padded = b" " * (MIB - 2) + b"{}"
    head = HEAD.replace(b"token/", b"recordings/transfer-to-gcp/") + b"Connection: close\r\n"
    assert served.exchange(head + b"Content-Length: %d\r\n\r\n" % MIB, padded).startswith(b"HTTP/1.1 401 ")


def test_headers_above_32_kibibytes_are_refused(served: WebServer) -> None:
    assert served.exchange(HEAD + b"X-Long: " + b"x" * 40_000).split()[1] == b"431"
    assert served.exchange(
        b"GET /api/v0/openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Long: "
        + b"x" * 30_000
        + b"\r\n\r\n"
    ).startswith(b"HTTP/1.1 200 ")


def test_garbage_is_answered_without_a_trace(served: WebServer) -> None:
    assert served.exchange(b"\x16\x03\x01\x02\x00\r\n\r\n").startswith(b"HTTP/1.0 400 ")
    assert "Traceback" not in served.log_text()


def test_multipart_body_is_refused_before_it_is_read(served: WebServer) -> None:
    head = HEAD.replace(b"/api/v0/token/", b"/admin/login/").replace(
        b"application/json", b"multipart/form-data; boundary=b"
    )
    assert served.exchange(head + b"Connection: close\r\nContent-Length: 3\r\n\r\n", b"--b").startswith(
        b"HTTP/1.1 415 "
    )


def test_foreign_host_is_refused_in_one_line(served: WebServer) -> None:
    for path in (b"/admin/login/", b"/api/v0/recordings/"):
        before = len(served.log_text().splitlines())
        request = b"GET %b HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n" % path
        assert served.exchange(request).startswith(b"HTTP/1.1 400 ")
        (line,) = served.log_text().splitlines()[before:]
        assert "evil.example" in line


def test_connections_beyond_the_usual_limit_of_files_are_taken(served: WebServer) -> None:
    """Many systems let a process open 1,024 files unless it asks for more."""
    many = [served.connect() for _ in range(1100)]
    try:
        assert served.status_of("/api/v0/openapi.json") == 200
    finally:
        for connection in many:
            connection.close()
