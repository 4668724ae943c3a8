"""The facts about libcurl that the data path depends on."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
import weakref
from pathlib import Path

import pytest

from gcs_emulator.process import EmulatorProcess
from offload.errors import FileChanged, LeaseLost, LineDown, Reason, StopAndTell, Stopped, TryAgain
from offload.gcs.transport import PIECE_BYTES, QUICK_PIECE_BYTES, BytesBody, Pieces, Request, Transport
from offload.store import ObjectSpec
from tests.integration.gcs.conftest import Bytes, made_store
from tests.integration.gcs.scripted_server import Connection, ScriptedServer, header

MIB = 1024 * 1024


class Endless:
    """A body of any length, made as it is read."""

    def __init__(self, length_bytes: int) -> None:
        self.length_bytes = length_bytes
        self.read_bytes = 0
        self.rewinds = 0
        self.largest_piece_bytes = 0

    def read(self, max_bytes: int) -> bytes:
        piece = bytes(min(max_bytes, self.length_bytes - self.read_bytes))
        self.largest_piece_bytes = max(self.largest_piece_bytes, len(piece))
        self.read_bytes += len(piece)
        return piece

    def rewind(self) -> None:
        self.rewinds += 1
        self.read_bytes = 0


def transport(**settings: int) -> Transport:
    wanted = {"upload_handles": 20, "stall_seconds": 20, "connect_seconds": 5, **settings}
    return Transport(ca_file=_ca_file(), **wanted)


def _ca_file() -> str:
    import certifi

    return certifi.where()


def test_request_says_http_1_1_exact_length_no_expect() -> None:
    with ScriptedServer().answering("200 OK") as stub:
        transport().perform(Request("PUT", f"{stub.url}/x", {"Content-Range": "bytes 0-1/2"}, BytesBody(b"ab")))
    assert stub.heads[0].startswith("PUT /x HTTP/1.1\r\n")
    assert header(stub.heads[0], "content-length") == "2"
    assert header(stub.heads[0], "content-range") == "bytes 0-1/2"
    assert header(stub.heads[0], "expect") is None
    assert header(stub.heads[0], "transfer-encoding") is None
    assert stub.bodies == [b"ab"]


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_an_empty_body_is_sent_as_length_zero(method: str) -> None:
    with ScriptedServer().answering("499 Client Closed Request", "X-Word: Kept") as stub:
        answer = transport().perform(Request(method, f"{stub.url}/x"))
    assert stub.heads[0].startswith(f"{method} /x ")
    assert header(stub.heads[0], "content-length") == "0"
    assert (answer.status, answer.headers["x-word"]) == (499, "Kept")


def test_one_thread_keeps_one_connection_for_all_its_requests() -> None:
    with ScriptedServer().answering("200 OK") as stub:
        sender = transport()
        for _ in range(5):
            sender.perform(Request("PUT", f"{stub.url}/x", {}, BytesBody(b"a" * MIB)))
        assert stub.connections == 1
        other = threading.Thread(target=sender.perform, args=(Request("PUT", f"{stub.url}/x"),))
        other.start()
        other.join()
        assert stub.connections == 2


def test_refusal_in_mid_body_ends_the_sending() -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.body(MIB)
        connection.answer("503 Service Unavailable", "Retry-After: 7")
        connection.drain()

    with ScriptedServer(script) as stub:
        body = Endless(1024 * MIB)
        answer = transport().perform(Request("PUT", f"{stub.url}/x", {}, body))
    assert (answer.status, answer.retry_after_seconds) == (503, 7.0)
    assert body.read_bytes < body.length_bytes


def test_early_308_ends_the_sending_and_keeps_its_range() -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.body(MIB)
        connection.answer("308 Resume Incomplete", "Range: bytes=0-262143")
        connection.drain()

    with ScriptedServer(script) as stub:
        answer = transport().perform(Request("PUT", f"{stub.url}/x", {}, Endless(1024 * MIB)))
    assert (answer.status, answer.headers["range"]) == (308, "bytes=0-262143")


def test_refusal_followed_by_a_reset_is_tried_again() -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.answer("503 Service Unavailable")
        connection.reset()

    with ScriptedServer(script) as stub, contextlib.suppress(LineDown):  # the reset may overtake the answer
        assert transport().perform(Request("PUT", f"{stub.url}/x", {}, Endless(256 * MIB))).status == 503


def test_success_that_is_cut_short_is_no_answer() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection._socket.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"size":')
        connection.close()

    with ScriptedServer(script) as stub, pytest.raises(LineDown):
        transport().perform(Request("PUT", f"{stub.url}/x"))


def test_closed_connection_is_replaced_and_the_body_restarts() -> None:
    def closes_on_the_second(connection: Connection) -> None:
        connection.request()
        connection.answer("200 OK")
        connection.head()

    def second(connection: Connection) -> None:
        stub.bodies.append(connection.request()[1])
        connection.answer("200 OK")

    with ScriptedServer(closes_on_the_second, second) as stub:
        sender = transport()
        sender.perform(Request("PUT", f"{stub.url}/x"))
        body = Bytes(b"abc" * 1000)
        assert sender.perform(Request("PUT", f"{stub.url}/x", {}, body)).status == 200
    assert stub.bodies == [b"abc" * 1000]
    assert body.rewinds == 1


def test_bytes_perhaps_committed_are_not_sent_again_silently() -> None:
    """Libcurl would start a chunk again on a new connection, from its first byte (P3)."""

    def closes_in_mid_chunk(connection: Connection) -> None:
        connection.request()
        connection.answer("308 Resume Incomplete")
        connection.head()
        connection.body(8 * MIB)
        connection.reset()

    with ScriptedServer(closes_in_mid_chunk).answering("200 OK") as stub:
        sender = transport()
        sender.perform(Request("PUT", f"{stub.url}/x"))
        body = Endless(64 * MIB)
        with pytest.raises(LineDown):
            sender.perform(Request("PUT", f"{stub.url}/x", {}, body))
    assert body.rewinds == 0
    assert stub.heads == []


@pytest.mark.parametrize("raised", [LeaseLost("gone"), Stopped("asked to"), KeyboardInterrupt()])
def test_error_from_abort_ends_the_request_and_is_raised(raised: BaseException) -> None:
    received: list[int] = []

    def script(connection: Connection) -> None:
        connection.head()
        received.append(connection.drain())

    body = Endless(1024 * MIB)

    def abort() -> None:
        if body.read_bytes > 4 * MIB:
            raise raised

    with ScriptedServer(script) as stub, pytest.raises(type(raised)) as caught:
        transport().perform(Request("PUT", f"{stub.url}/x", {}, body), abort=abort)
    assert caught.value is raised
    assert received[0] < body.length_bytes


def test_abort_ends_the_wait_for_an_answer() -> None:
    waiting = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        waiting.set()
        connection.drain()

    def abort() -> None:
        if waiting.is_set():
            raise LeaseLost("gone")

    with ScriptedServer(script) as stub, pytest.raises(LeaseLost):
        transport(stall_seconds=300).perform(Request("PUT", f"{stub.url}/x", {}, BytesBody(b"a")), abort=abort)


def test_what_the_body_raises_is_raised_itself() -> None:
    changed = FileChanged("shorter now")

    class Shrinking(Endless):
        def read(self, max_bytes: int) -> bytes:
            if self.read_bytes > 2 * MIB:
                raise changed
            return super().read(max_bytes)

    with (
        ScriptedServer(lambda connection: (connection.head(), connection.drain())) as stub,
        pytest.raises(FileChanged) as caught,
    ):
        transport().perform(Request("PUT", f"{stub.url}/x", {}, Shrinking(64 * MIB)))
    assert caught.value is changed


def test_a_line_that_stalls_ends_by_itself() -> None:
    released = threading.Event()

    def script(connection: Connection) -> None:
        connection.head()
        released.wait(60)

    with ScriptedServer(script) as stub:
        started = time.monotonic()
        with pytest.raises(LineDown):
            transport(stall_seconds=1).perform(Request("PUT", f"{stub.url}/x", {}, Endless(1024 * MIB)))
        assert time.monotonic() - started < 60
        released.set()


def test_a_redirect_is_not_followed() -> None:
    with (
        ScriptedServer().answering("200 OK") as elsewhere,
        ScriptedServer().answering("307 Temporary Redirect", f"Location: {elsewhere.url}/x") as stub,
    ):
        answer = transport().perform(Request("PUT", f"{stub.url}/x", {}, BytesBody(b"footage")))
        assert answer.status == 307
        assert elsewhere.connections == 0


def test_an_endless_answer_is_cut_off() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection._socket.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection._socket.sendall(b" " * 65536)

    with ScriptedServer(script) as stub, pytest.raises(TryAgain):
        transport().perform(Request("PUT", f"{stub.url}/x"))


def test_a_long_refusal_keeps_its_status() -> None:
    with ScriptedServer().answering("503 Service Unavailable", body=b"<html>" + b" " * MIB) as stub:
        answer = transport().perform(Request("PUT", f"{stub.url}/x"))
    assert answer.status == 503
    assert len(answer.body) < 256 * 1024


def test_closed_port_is_a_line_that_is_down() -> None:
    with ScriptedServer() as stub:
        url = stub.url
    with pytest.raises(LineDown) as caught:
        transport().perform(Request("PUT", f"{url}/x"))
    assert "127.0.0.1" not in str(caught.value)


def test_a_proxy_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer().answering("200 OK") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        transport().perform(Request("PUT", "http://bucket.example/x"))
    assert proxy.heads[0].startswith("PUT http://bucket.example/x HTTP/1.1")


def test_refusing_proxy_is_the_line_not_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer().answering("403 Forbidden") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(LineDown):
            transport().perform(Request("PUT", "https://bucket.example/x"))
    assert proxy.heads[0].startswith("CONNECT bucket.example:443")


def test_only_the_given_authorities_are_trusted(certificate, tmp_path) -> None:
    path, key = certificate
    with EmulatorProcess(tmp_path / "data", buckets=["tls-bucket"], tls=(path, key), ca_file=path) as emulator:
        trusting = made_store(emulator.url, ca_file=str(path))
        assert trusting.get("tls-bucket", "nothing") is None
        with pytest.raises(StopAndTell):
            made_store(emulator.url).get("tls-bucket", "nothing")
        with pytest.raises(StopAndTell) as caught:
            transport().perform(Request("PUT", emulator.url))
    assert caught.value.code is Reason.BUCKET_REFUSED


@pytest.mark.parametrize("kind", ["get", "chunk"])
def test_broken_tls_connection_is_the_line_not_the_certificate(certificate, tmp_path, kind) -> None:
    path, key = certificate
    with EmulatorProcess(tmp_path / "data", buckets=["tls-bucket"], tls=(path, key), ca_file=path) as emulator:
        store = made_store(emulator.url, ca_file=str(path))
        spec = ObjectSpec("tls-bucket", "clip.mp4", 8 * MIB, "video/mp4", {})
        uri = store.start_session(spec)
        for _ in range(5):
            emulator.fault("reset", kind=kind, times=2, after_bytes=MIB)
            with pytest.raises(LineDown):
                store.get("tls-bucket", "x") if kind == "get" else store.send(
                    uri, spec, Endless(4 * MIB), offset_bytes=0
                )
            emulator.clear_faults()


def test_nothing_of_a_request_is_kept_after_it() -> None:
    with ScriptedServer().answering("200 OK") as stub:
        sender = transport()
        body = Endless(1024)
        sender.perform(Request("PUT", f"{stub.url}/x", {}, body))
        kept = weakref.ref(body)
        del body
        gc.collect()
        assert kept() is None


@pytest.mark.parametrize("handles", [1, 2, 4, 5, 20, 64])
def test_all_buffers_together_stay_within_sixteen_mebibytes(handles: int) -> None:
    pieces = Pieces(handles)
    with contextlib.ExitStack() as sending:
        granted = [sending.enter_context(pieces.granted(QUICK_PIECE_BYTES)) for _ in range(handles)]
    assert 2 * sum(granted) <= 16 * MIB
    assert granted[0] == QUICK_PIECE_BYTES or handles > 20
    assert min(granted) >= 128 * 1024


def test_memory_of_a_request_that_failed_is_given_back() -> None:
    sender = transport(upload_handles=20, quick_bytes_per_second=1)
    for _ in range(100):
        with pytest.raises(LineDown):
            sender.perform(Request("PUT", "http://127.0.0.1:1/x", {}, Endless(4 * MIB)))
    with ScriptedServer().answering("200 OK") as stub:
        for _ in range(2):
            body = Endless(4 * MIB)
            sender.perform(Request("PUT", f"{stub.url}/x", {}, body))
    assert body.largest_piece_bytes > PIECE_BYTES


class Slow(Endless):
    """Its disk, or the line behind it, gives 2 MiB a second."""

    def read(self, max_bytes: int) -> bytes:
        piece = super().read(max_bytes)
        time.sleep(len(piece) / (2 * MIB))
        return piece


def test_pieces_grow_on_a_quick_line_and_shrink_on_slow() -> None:
    sender = transport(upload_handles=4, quick_bytes_per_second=4 * MIB)
    pieces, held_back = [], []
    with ScriptedServer().answering("200 OK") as stub:
        for kind in (Endless, Endless, Slow, Slow, Endless, Endless):
            body = kind(MIB + 1)
            sender.perform(Request("PUT", f"{stub.url}/x", {}, body))
            pieces.append(body.largest_piece_bytes)
            held_back.append(_unsent_limit_bytes(stub))
        assert stub.connections == 1
    assert [size_bytes > PIECE_BYTES for size_bytes in pieces] == [False, True, True, False, False, True]
    small, large = PIECE_BYTES, QUICK_PIECE_BYTES
    assert held_back == [large, large, small, small, large, large]


def _unsent_limit_bytes(stub: ScriptedServer) -> int:
    """TCP_NOTSENT_LOWAT of this process's connection to `stub`."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            connection = socket.socket(fileno=os.dup(int(path.name)))
            with connection:
                if connection.getpeername() == stub.address:
                    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    raise AssertionError("there is no connection")
