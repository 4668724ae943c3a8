"""Sessions and small uploads of a real GoogleStore against the development emulator."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from gcs_emulator.process import EmulatorProcess
from offload.errors import (
    ChecksumRefused,
    LineDown,
    PermissionUnclear,
    PreconditionFailed,
    Reason,
    SessionGone,
    StopAndTell,
    TryAgain,
)
from offload.gcs import GoogleStore
from offload.store import ObjectSpec, SessionStatus
from tests.integration.gcs.conftest import QUANTUM, Bytes, crc32c, made_store, put
from tests.integration.gcs.scripted_server import Connection, ScriptedServer, header

MIB = 1024 * 1024


@pytest.fixture
def data() -> bytes:
    return os.urandom(3 * MIB + 12345)


@pytest.fixture
def spec(bucket: str, data: bytes) -> ObjectSpec:
    return ObjectSpec(
        bucket=bucket,
        name="recordings/Tür 1/ä?#%/clip 1+2.mp4",
        size_bytes=len(data),
        content_type="video/mp4",
        metadata={"coldreel-camera": "Tür 1", "coldreel-size-bytes": str(len(data))},
        storage_class="NEARLINE",
        temporary_hold=True,
    )


def test_object_sent_in_chunks_has_all_that_was_asked(store, spec, data) -> None:
    uri = store.start_session(spec)
    assert store.session_status(uri, spec) == SessionStatus(0)
    assert store.send(uri, spec, Bytes(data[: 2 * MIB]), offset_bytes=0) == SessionStatus(2 * MIB)
    done = store.send(uri, spec, Bytes(data[2 * MIB :]), offset_bytes=2 * MIB, crc32c=crc32c(data))
    info = done.finished
    assert info is not None
    assert (done.committed_bytes, info.size_bytes, info.crc32c) == (len(data), len(data), crc32c(data))
    assert (info.bucket, info.name, info.content_type) == (spec.bucket, spec.name, spec.content_type)
    assert (dict(info.metadata), info.storage_class) == (spec.metadata, "NEARLINE")
    assert info.temporary_hold
    assert store.session_status(uri, spec) == done
    assert store.get(spec.bucket, spec.name) == info
    assert b"".join(store.read_range(info)) == data


def test_small_object_goes_in_one_request_described_alike(store, emulator, spec, data) -> None:
    info = put(store, spec, data)
    assert [request["kind"] for request in emulator.requests(bucket=spec.bucket)] == ["multipart"]
    assert store.get(spec.bucket, spec.name) == info
    assert (info.crc32c, dict(info.metadata), info.temporary_hold) == (crc32c(data), spec.metadata, True)
    assert b"".join(store.read_range(info)) == data


@pytest.mark.parametrize("ending", [b"", b"\r\n", b"--", b"\r\n--"])
def test_bytes_that_look_like_multipart_survive_it(store, spec, ending) -> None:
    data = b"\r\n--boundary\r\nContent-Type: x\r\n\r\n" + ending
    info = put(store, replace(spec, size_bytes=len(data)), data)
    assert b"".join(store.read_range(info)) == data


def test_session_for_a_taken_name_changes_nothing(store, spec, data) -> None:
    uri = store.start_session(spec)
    other = replace(spec, size_bytes=5)
    there = put(store, other, b"other")
    with pytest.raises(PreconditionFailed):
        store.send(uri, spec, Bytes(data), offset_bytes=0, crc32c=crc32c(data))
    assert store.get(spec.bucket, spec.name) == there


def test_taken_name_is_refused_to_session_and_small_object(store, spec, data) -> None:
    there = put(store, replace(spec, size_bytes=5), b"other")
    with pytest.raises(PreconditionFailed):
        store.start_session(spec)
    with pytest.raises(PreconditionFailed):
        put(store, spec, data)
    assert store.get(spec.bucket, spec.name) == there


def test_asking_how_far_a_session_is_never_finishes_it(store, emulator, spec, data) -> None:
    """``bytes */size`` would, once all bytes are there, with no checksum compared."""
    whole = 2 * MIB
    spec = replace(spec, size_bytes=whole)
    uri = store.start_session(spec)
    emulator.fault("status", kind="final_chunk", status=503, after_bytes=whole)
    with pytest.raises(TryAgain):
        store.send(uri, spec, Bytes(data[:whole]), offset_bytes=0, crc32c=crc32c(data[:whole]))
    for _ in range(2):
        assert store.session_status(uri, spec).finished is None
    assert store.get(spec.bucket, spec.name) is None


def test_committed_bytes_are_told_not_sent_ones(store, emulator, spec, data) -> None:
    uri = store.start_session(spec)
    emulator.fault("partial_commit", kind="chunk", commit_bytes=3 * QUANTUM)
    assert store.send(uri, spec, Bytes(data[: 2 * MIB]), offset_bytes=0) == SessionStatus(3 * QUANTUM)
    assert store.session_status(uri, spec) == SessionStatus(3 * QUANTUM)


def test_wrong_object_is_refused_and_does_not_exist(store, spec, data) -> None:
    uri = store.start_session(spec)
    with pytest.raises(ChecksumRefused):
        store.send(uri, spec, Bytes(data), offset_bytes=0, crc32c=crc32c(data) ^ 1)
    with pytest.raises(ChecksumRefused):
        store.put_small(spec, Bytes(data), crc32c=crc32c(data) ^ 1)
    assert store.get(spec.bucket, spec.name) is None


def test_byte_that_flips_on_the_way_is_refused(store, emulator, spec, data) -> None:
    emulator.fault("flip_byte", kind="chunk", after_bytes=1000)
    uri = store.start_session(spec)
    store.send(uri, spec, Bytes(data[: 2 * MIB]), offset_bytes=0)
    with pytest.raises(ChecksumRefused):
        store.send(uri, spec, Bytes(data[2 * MIB :]), offset_bytes=2 * MIB, crc32c=crc32c(data))
    assert store.get(spec.bucket, spec.name) is None


def test_cancelled_session_takes_nothing_and_may_be_cancelled_again(store, spec, data) -> None:
    uri = store.start_session(spec)
    store.cancel_session(uri)
    store.cancel_session(uri)
    with pytest.raises(SessionGone):
        store.session_status(uri, spec)
    with pytest.raises(SessionGone):
        store.send(uri, spec, Bytes(data), offset_bytes=0, crc32c=crc32c(data))


@pytest.mark.parametrize("status", [404, 410])
def test_expired_session_is_gone_and_cancelling_it_is_fine(store, emulator, spec, data, status) -> None:
    uri = store.start_session(spec)
    emulator.expire_sessions(status)
    with pytest.raises(SessionGone):
        store.session_status(uri, spec)
    with pytest.raises(SessionGone):
        store.send(uri, spec, Bytes(data), offset_bytes=0, crc32c=crc32c(data))
    store.cancel_session(uri)


def test_finished_session_may_be_cancelled_and_its_object_stays(store, spec, data) -> None:
    uri = store.start_session(spec)
    store.send(uri, spec, Bytes(data), offset_bytes=0, crc32c=crc32c(data))
    store.cancel_session(uri)
    assert store.get(spec.bucket, spec.name) is not None


def test_lost_answer_to_the_last_part_is_found(store, emulator, spec, data) -> None:
    uri = store.start_session(spec)
    emulator.fault("lost_answer", kind="final_chunk")
    with pytest.raises(LineDown):
        store.send(uri, spec, Bytes(data), offset_bytes=0, crc32c=crc32c(data))
    found = store.session_status(uri, spec).finished
    assert found is not None
    assert found.crc32c == crc32c(data)


@pytest.mark.parametrize("action", ["status", "reset"])
def test_session_goes_on_after_a_failure_in_mid_chunk(store, emulator, spec, data, action) -> None:
    uri = store.start_session(spec)
    emulator.fault(action, kind="chunk", after_bytes=MIB + 5)
    with pytest.raises(TryAgain):
        store.send(uri, spec, Bytes(data[: 2 * MIB]), offset_bytes=0)
    committed = store.session_status(uri, spec).committed_bytes
    assert committed % QUANTUM == 0
    assert committed <= MIB
    done = store.send(uri, spec, Bytes(data[committed:]), offset_bytes=committed, crc32c=crc32c(data))
    assert done.finished is not None
    assert len(emulator.requests(bucket=spec.bucket, kind="chunk")) == 1


def test_the_bucket_decides_how_long_to_wait(store, emulator, spec) -> None:
    emulator.fault("status", kind="session_start", status=429, retry_after_seconds=17)
    with pytest.raises(TryAgain) as caught:
        store.start_session(spec)
    assert caught.value.retry_after_seconds == 17


def test_a_session_survives_the_bucket_being_killed(store, tmp_path, data) -> None:
    with EmulatorProcess(tmp_path / "data", buckets=["killed"]) as emulator:
        store = made_store(emulator.url)
        spec = ObjectSpec("killed", "clip.mp4", len(data), "video/mp4", {})
        uri = store.start_session(spec)
        store.send(uri, spec, Bytes(data[:MIB]), offset_bytes=0)
        emulator.kill()
        with pytest.raises(LineDown):
            store.send(uri, spec, Bytes(data[MIB : 2 * MIB]), offset_bytes=MIB)
        with pytest.raises(LineDown):
            store.get("killed", "clip.mp4")
        emulator.start()
        assert store.session_status(uri, spec) == SessionStatus(MIB)
        assert store.send(uri, spec, Bytes(data[MIB:]), offset_bytes=MIB, crc32c=crc32c(data)).finished is not None


def test_a_bucket_that_is_not_there_stops_everything(store, spec, data) -> None:
    elsewhere = replace(spec, bucket="no-such-bucket")
    for call in (lambda: store.start_session(elsewhere), lambda: put(store, elsewhere, data)):
        with pytest.raises(StopAndTell) as caught:
            call()
        assert caught.value.code is Reason.BUCKET_NOT_FOUND


def test_right_that_the_whole_bucket_denies_stops_everything(store, emulator, spec, data) -> None:
    emulator.set_bucket(spec.bucket, deniedPermissions=["storage.objects.create"])
    for call in (lambda: store.start_session(spec), lambda: put(store, spec, data)):
        with pytest.raises(StopAndTell) as caught:
            call()
        assert caught.value.code is Reason.PERMISSION_DENIED
        assert "storage.objects.create" in caught.value.detail


def test_403_that_the_bucket_does_not_confirm_waits(store, emulator, spec) -> None:
    emulator.fault("status", kind="session_start", status=403, reason="forbidden")
    with pytest.raises(PermissionUnclear) as caught:
        store.start_session(spec)
    assert caught.value.code is Reason.PERMISSION_DENIED


def test_chunk_that_would_finish_unseen_is_not_sent(store, spec, data) -> None:
    spec = replace(spec, size_bytes=2 * MIB)
    uri = store.start_session(spec)
    for length in (2 * MIB, 2 * MIB + QUANTUM, MIB + 1):
        with pytest.raises(ValueError, match="256 KiB"):
            store.send(uri, spec, Bytes(data[:length]), offset_bytes=0)
    with pytest.raises(ValueError, match="where the object does"):
        store.send(uri, spec, Bytes(data[:QUANTUM]), offset_bytes=0, crc32c=0)
    assert store.session_status(uri, spec) == SessionStatus(0)


def test_a_content_type_cannot_add_headers(store, spec, data) -> None:
    sneaky = replace(spec, content_type="video/mp4\r\nX-Evil: 1")
    with pytest.raises(ValueError, match="printable"):
        store.start_session(sneaky)
    with pytest.raises(ValueError, match="printable"):
        put(store, sneaky, data)


FOREIGN = (
    "http://storage.googleapis.com/upload?upload_id=x",
    "https://storage.googleapis.com.evil.example/upload?upload_id=x",
    "https://evil.example/upload?upload_id=x",
    "https://storage.googleapis.com:8443/upload?upload_id=x",
    "https://user@storage.googleapis.com/upload?upload_id=x",
    "https://storage.googleapis.com\\@evil.example/upload?upload_id=x",
    "file:///etc/passwd",
    "ftp://storage.googleapis.com/upload",
    "https://[::1/upload",
    "https://störage.googleapis.com/upload",
    "http://127.0.0.1:1/upload",
    "",
)


@pytest.mark.parametrize("uri", FOREIGN)
def test_stored_session_at_another_place_is_never_used(spec, uri) -> None:
    with ScriptedServer().answering("200 OK") as stub:
        store = made_store(stub.url)
        with pytest.raises(SessionGone):
            store.session_status(uri, spec)
        with pytest.raises(SessionGone):
            store.send(uri, spec, Bytes(b"x" * spec.size_bytes), offset_bytes=0, crc32c=0)
        store.cancel_session(uri)
        assert stub.connections == 0


@pytest.mark.parametrize("location", [*FOREIGN[:4], ""])
def test_a_session_begun_at_another_place_is_refused(spec, location) -> None:
    with ScriptedServer().answering("200 OK", f"Location: {location}") as stub, pytest.raises(StopAndTell) as caught:
        made_store(stub.url).start_session(spec)
    assert caught.value.code is Reason.BUCKET_REFUSED


def test_no_token_goes_to_a_session(spec, data) -> None:
    def script(connection: Connection) -> None:
        while head := (asked := connection.request())[0]:
            stub.heads.append(head)
            stub.bodies.append(asked[1])
            place = f"Location: {stub.url}/upload/storage/v1/b/x/o?upload_id=k"
            connection.answer("200 OK", place) if head.startswith("POST") else connection.answer("308 Incomplete")

    with ScriptedServer(script) as stub:
        store = made_store(stub.url)
        uri = store.start_session(spec)
        store.session_status(uri, spec)
        store.send(uri, spec, Bytes(data[:MIB]), offset_bytes=0)
        with pytest.raises(TryAgain):  # a 200 without an object
            put(store, spec, data)
    start, status, chunk, small = stub.heads
    assert "uploadType=resumable&ifGenerationMatch=0" in start
    assert "uploadType=multipart&ifGenerationMatch=0" in small
    assert header(start, "x-upload-content-length") == str(len(data))
    assert header(start, "x-upload-content-type") == "video/mp4"
    assert header(status, "content-range") == "bytes */*"
    assert header(chunk, "content-range") == f"bytes 0-{MIB - 1}/{len(data)}"
    assert header(chunk, "x-goog-hash") is None
    assert header(status, "authorization") is None
    assert header(chunk, "authorization") is None


@pytest.mark.parametrize("answer", ["Range: bytes=5-9", "Range: bytes=0-x", "Range: lines=0-9"])
def test_range_that_cannot_be_read_is_not_guessed(spec, answer) -> None:
    with ScriptedServer().answering("308 Resume Incomplete", answer) as stub, pytest.raises(TryAgain):
        made_store(stub.url).session_status(f"{stub.url}/upload?upload_id=k", spec)


def test_twenty_threads_share_one_store(store: GoogleStore, spec, data) -> None:
    failures: list[BaseException] = []

    def send(number: int) -> None:
        own = replace(spec, name=f"clip-{number}", temporary_hold=False)
        try:
            uri = store.start_session(own)
            store.send(uri, own, Bytes(data[: 2 * MIB]), offset_bytes=0)
            store.send(uri, own, Bytes(data[2 * MIB :]), offset_bytes=2 * MIB, crc32c=crc32c(data))
            assert store.get(own.bucket, own.name) is not None
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(store.list_prefix(spec.bucket, "clip-"))) == 20
