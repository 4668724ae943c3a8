"""The web server's own rules, with real sockets: what a request may take, and what the application gets to see."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from config.listening import listen
from config.web_server import Limits, Server

PATIENCE_SECONDS = 60
"""Only ever waited for when something is wrong."""
GET = b"GET / HTTP/1.1\r\nHost: here\r\n"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def tell_environment(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    answer = json.dumps({**told, "names": sorted(environ), "body_bytes": len(body)}).encode()
    start("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


@contextmanager
def running(application: Any = tell_environment, **options: Any) -> Iterator[Server]:
    server = Server(application, listen("127.0.0.1", 0), **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE_SECONDS)
        ended = not thread.is_alive()
        server.task_dispatcher.shutdown()
        for channel in list(server.active_channels.values()):
            channel.handle_close()
        server.trigger.close()
        assert ended


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.effective_port), timeout=PATIENCE_SECONDS)


def told_by(connection: socket.socket) -> dict[str, Any]:
    """The application's answer that comes next, its headers and body."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += receive(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    while len(body) < length:
        body += receive(connection)
    found: dict[str, Any] = json.loads(body[:length])
    return found


def receive(connection: socket.socket) -> bytes:
    piece = connection.recv(65_536)
    assert piece, "closed"
    return piece


def ends(connection: socket.socket) -> bool:
    """Waits for the server to close it."""
    with suppress(ConnectionResetError):
        while connection.recv(65_536):
            pass
    return True


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_looked_after(server: Server) -> None:
    """The server has looked for overdue requests since."""
    before = server.next_channel_cleanup
    until(lambda: server.next_channel_cleanup > before + 1)


@pytest.mark.parametrize(
    ("sent", "seconds"), [(GET, 10), (GET + b"Content-Length: 9\r\n\r\nabc", 20), (b"\r\n\r\n", 10), (b"G", 10)]
)
def test_slow_request_is_ended_by_its_deadline(sent, seconds):
    clock = Clock()
    with running(clock=clock) as server, connect(server) as slow, connect(server) as idle:
        slow.sendall(sent)
        until(lambda: any(channel.began_at for channel in list(server.active_channels.values())))
        clock.now += seconds - 1
        slow.sendall(b"\r\n" if sent == b"\r\n\r\n" else b"x")
        until_looked_after(server)
        assert len(server.active_channels) == 2
        clock.now += 2
        assert ends(slow)
        idle.sendall(GET + b"\r\n")
        assert told_by(idle)


def test_next_request_has_its_whole_time_after_an_answer():
    """It is not read before, so its sender cannot be called slow."""
    clock = Clock()
    go_on = threading.Event()

    def takes_long(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        assert go_on.wait(PATIENCE_SECONDS)
        return tell_environment(environ, start)

    with running(takes_long, clock=clock) as server, connect(server) as connection:
        connection.sendall(GET + b"\r\n" + b"GET /second HTTP/1.1\r\nHost: here\r\n")
        until(lambda: any(channel.requests for channel in list(server.active_channels.values())))
        clock.now += 100
        until_looked_after(server)
        go_on.set()
        assert told_by(connection)["PATH_INFO"] == "/"
        connection.sendall(b"\r\n")
        assert told_by(connection)["PATH_INFO"] == "/second"


def test_large_bodies_are_taken_while_there_is_room():
    limits = Limits(small_body_bytes=100, buffered_bytes=1500)
    large = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n"
    with running(limits=limits) as server, connect(server) as first, connect(server) as second:

        def buffered_bytes() -> int:
            return sum(channel.buffered_bytes for channel in list(server.active_channels.values()))

        first.sendall(large)
        until(lambda: buffered_bytes() == 1000)
        second.sendall(large)
        answer = receive(second)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in answer
        with connect(server) as small:
            small.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)
            assert told_by(small)["body_bytes"] == 100
        first.sendall(b"x" * 1000)
        assert told_by(first)["body_bytes"] == 1000
        until(lambda: buffered_bytes() == 0)  # the answer goes out a moment before its request's body is dropped
        with connect(server) as third:
            third.sendall(large + b"x" * 1000)
            assert told_by(third)["body_bytes"] == 1000


def test_no_body_is_written_to_a_temporary_file(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there is none"))
    with running() as server, connect(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1048576\r\n\r\n" + b"x" * 1_048_576)
        assert told_by(connection)["body_bytes"] == 1_048_576


def test_application_gets_no_way_to_send_whole_files():
    with running() as server, connect(server) as connection:
        connection.sendall(GET + b"\r\n")
        assert "wsgi.file_wrapper" not in told_by(connection)["names"]


@pytest.mark.parametrize("trust_proxy_headers", [False, True])
def test_proxy_headers_arrive_only_where_one_is_trusted(trust_proxy_headers):
    sent = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=192.0.2.1\r\n\r\n"
    with running(trust_proxy_headers=trust_proxy_headers) as server, connect(server) as connection:
        connection.sendall(GET + sent)
        told = told_by(connection)
    assert told["REMOTE_ADDR"] == "127.0.0.1"
    assert told["wsgi.url_scheme"] == "http"
    assert {name for name in told if "FORWARDED" in name} == (
        {"HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_FORWARDED"} if trust_proxy_headers else set()
    )


def test_running_request_is_answered_before_the_server_ends():
    begun, go_on = threading.Event(), threading.Event()

    def takes_long(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return tell_environment(environ, start)

    with running(takes_long) as server, connect(server) as connection:
        connection.sendall(GET + b"\r\n")
        assert begun.wait(PATIENCE_SECONDS)
        server.stop()
        until(lambda: server.socket.fileno() == -1)
        go_on.set()
        assert told_by(connection)


def test_second_request_of_a_connection_is_answered_alike():
    with running() as server, connect(server) as connection:
        for _ in range(3):
            connection.sendall(GET + b"\r\n")
            assert told_by(connection)["HTTP_HOST"] == "here"
        assert [channel.began_at for channel in server.active_channels.values()] == [None]
