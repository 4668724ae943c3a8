"""Upload sessions: what is committed is told exactly, and an object comes to be only whole and once."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import timedelta

import pytest

from offload.errors import (
    ChecksumRefused,
    Disposition,
    FileChanged,
    LineDown,
    OffloadError,
    PreconditionFailed,
    SessionGone,
    Stopped,
    TryAgain,
)
from offload.store import ObjectSpec, SessionStatus
from tests.contract.benches import (
    QUANTUM,
    Bench,
    BytesBody,
    ControlledBench,
    EmulatorBench,
    crc_of,
    noise,
    settled_status,
)

LONG = 16 * QUANTUM
"""More than any store buffers: what is shorter it may send again by itself when a connection breaks."""


def send_last(
    bench: Bench, uri: str, spec: ObjectSpec, data: bytes, offset: int = 0, *, crc: int | None = None
) -> SessionStatus:
    whole = crc_of(data) if crc is None else crc
    return bench.store.send(uri, spec, BytesBody(data[offset:]), offset_bytes=offset, crc32c=whole)


def begun(bench: Bench, size_bytes: int) -> tuple[bytes, ObjectSpec, str]:
    """A session for a new object of that size: its bytes, what was asked for, and the session's URI."""
    data = noise(size_bytes)
    spec = bench.spec("clip.mp4", size_bytes)
    return data, spec, bench.store.start_session(spec)


def test_session_without_bytes_has_committed_nothing(bench: Bench) -> None:
    spec = bench.spec("clip.mp4", 3 * QUANTUM)
    uri = bench.store.start_session(spec)
    status = bench.store.session_status(uri, spec)
    assert (status.committed_bytes, status.finished) == (0, None)


def test_session_alone_makes_no_object(bench: Bench) -> None:
    spec = bench.spec("clip.mp4", 2 * QUANTUM)
    uri = bench.store.start_session(spec)
    bench.store.send(uri, spec, BytesBody(noise(QUANTUM)), offset_bytes=0)
    assert bench.store.get(bench.bucket, spec.name) is None
    assert list(bench.store.list_prefix(bench.bucket, spec.name)) == []


def test_chunks_add_up_to_the_object(bench: Bench) -> None:
    data, spec, uri = begun(bench, 3 * QUANTUM + 1234)
    first = bench.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
    assert (first.committed_bytes, first.finished) == (QUANTUM, None)
    second = bench.store.send(uri, spec, BytesBody(data[QUANTUM : 3 * QUANTUM]), offset_bytes=QUANTUM)
    assert second.committed_bytes == 3 * QUANTUM
    last = send_last(bench, uri, spec, data, 3 * QUANTUM)
    assert last.finished is not None
    assert last.committed_bytes == len(data)
    assert bench.content(last.finished) == data


def test_finished_object_is_what_the_bucket_says_it_is(bench: Bench) -> None:
    data = noise(QUANTUM + 1)
    spec = bench.spec("clip.mp4", len(data), metadata={"coldreel-installation": "i", "coldreel-transfer": "t"})
    uri = bench.store.start_session(spec)
    info = send_last(bench, uri, spec, data).finished
    assert info is not None
    assert (info.bucket, info.name, info.size_bytes, info.crc32c) == (bench.bucket, spec.name, len(data), crc_of(data))
    assert info.generation > 0
    assert info.metageneration == 1
    assert dict(info.metadata) == {"coldreel-installation": "i", "coldreel-transfer": "t"}
    assert info.content_type == "video/mp4"
    assert info.storage_class == "STANDARD"
    assert not info.held
    assert bench.store.get(bench.bucket, spec.name) == info


def test_object_was_stored_by_the_clock_of_the_bucket(bench: Bench) -> None:
    before = bench.store.bucket_time(bench.bucket)
    info = bench.upload()
    after = bench.store.bucket_time(bench.bucket)
    assert before - timedelta(seconds=2) <= info.stored_at <= after + timedelta(seconds=2)
    assert info.stored_at.utcoffset() == timedelta(0)


def test_object_can_be_held_from_its_first_moment(bench: Bench) -> None:
    data = noise(QUANTUM)
    spec = bench.spec("clip.mp4", len(data), temporary_hold=True)
    info = send_last(bench, bench.store.start_session(spec), spec, data).finished
    assert info is not None
    assert info.temporary_hold


def test_storage_class_is_the_one_asked_for(bench: Bench) -> None:
    data = noise(1000)
    spec = bench.spec("clip.mp4", len(data), storage_class="COLDLINE")
    info = send_last(bench, bench.store.start_session(spec), spec, data).finished
    assert info is not None
    assert info.storage_class == "COLDLINE"


def test_status_tells_exactly_what_is_committed(bench: Bench) -> None:
    data, spec, uri = begun(bench, 3 * QUANTUM)
    bench.store.send(uri, spec, BytesBody(data[: 2 * QUANTUM]), offset_bytes=0)
    assert bench.store.session_status(uri, spec).committed_bytes == 2 * QUANTUM


def test_asking_never_finishes_an_upload(bench: Bench) -> None:
    spec = bench.spec("clip.mp4", 2 * QUANTUM)
    uri = bench.store.start_session(spec)
    bench.store.send(uri, spec, BytesBody(noise(QUANTUM)), offset_bytes=0)
    for _ in range(3):
        assert bench.store.session_status(uri, spec).finished is None
    assert bench.store.get(bench.bucket, spec.name) is None


def test_another_process_resumes_where_the_first_one_stopped(bench: Bench) -> None:
    data, spec, uri = begun(bench, 2 * QUANTUM + 5)
    bench.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
    second = bench.another_store()
    committed = second.session_status(uri, spec).committed_bytes
    assert committed == QUANTUM
    body = BytesBody(data[committed:])
    finished = second.send(uri, spec, body, offset_bytes=committed, crc32c=crc_of(data)).finished
    assert finished is not None
    assert bench.content(finished) == data


def test_status_of_a_finished_session_is_the_object(bench: Bench) -> None:
    data, spec, uri = begun(bench, QUANTUM + 9)
    finished = send_last(bench, uri, spec, data).finished
    status = bench.store.session_status(uri, spec)
    assert status.finished == finished
    assert status.committed_bytes == len(data)


def test_wrong_checksum_is_refused_and_leaves_no_object(bench: Bench) -> None:
    data, spec, uri = begun(bench, 2 * QUANTUM)
    bench.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
    with pytest.raises(ChecksumRefused):
        send_last(bench, uri, spec, data, QUANTUM, crc=crc_of(data) ^ 1)
    assert bench.store.get(bench.bucket, spec.name) is None
    assert list(bench.store.list_prefix(bench.bucket, spec.name)) == []


def test_byte_turned_over_on_the_way_is_refused(controlled: ControlledBench) -> None:
    data, spec, uri = begun(controlled, QUANTUM + 3)
    controlled.flip_byte(small=False)
    with pytest.raises(ChecksumRefused):
        send_last(controlled, uri, spec, data)
    assert controlled.store.get(controlled.bucket, spec.name) is None


def test_session_over_a_living_object_is_refused(bench: Bench) -> None:
    before = bench.upload("clip.mp4", b"the first one")
    data = noise(QUANTUM)
    spec = bench.spec("clip.mp4", len(data))
    with pytest.raises(PreconditionFailed):
        send_last(bench, bench.store.start_session(spec), spec, data)
    after = bench.store.get(bench.bucket, spec.name)
    assert after == before
    assert bench.content(before) == b"the first one"


def test_object_that_appears_meanwhile_is_not_overwritten(bench: Bench) -> None:
    data, spec, uri = begun(bench, QUANTUM + 7)
    other = bench.upload("clip.mp4", b"somebody was faster")
    with pytest.raises(PreconditionFailed):
        send_last(bench, uri, spec, data)
    assert bench.store.get(bench.bucket, spec.name) == other
    assert bench.content(other) == b"somebody was faster"


def test_of_two_sessions_for_one_name_one_wins(bench: Bench) -> None:
    ours, theirs = noise(QUANTUM + 1, seed=1), noise(QUANTUM + 1, seed=2)
    spec = bench.spec("clip.mp4", len(ours))
    first, second = bench.store.start_session(spec), bench.store.start_session(spec)
    won = send_last(bench, second, spec, theirs).finished
    with pytest.raises(PreconditionFailed):
        send_last(bench, first, spec, ours)
    assert won is not None
    assert bench.content(won) == theirs


def test_cancelled_session_takes_nothing_more(bench: Bench) -> None:
    spec = bench.spec("clip.mp4", 2 * QUANTUM)
    data = noise(2 * QUANTUM)
    uri = bench.store.start_session(spec)
    bench.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
    bench.store.cancel_session(uri)
    with pytest.raises(SessionGone):
        bench.store.session_status(uri, spec)
    with pytest.raises(SessionGone):
        send_last(bench, uri, spec, data)
    assert bench.store.get(bench.bucket, spec.name) is None


def test_session_can_be_cancelled_twice(bench: Bench) -> None:
    uri = bench.store.start_session(bench.spec("clip.mp4", QUANTUM))
    bench.store.cancel_session(uri)
    bench.store.cancel_session(uri)


def test_cancelling_after_the_end_leaves_the_object(bench: Bench) -> None:
    data, spec, uri = begun(bench, 100)
    finished = send_last(bench, uri, spec, data).finished
    bench.store.cancel_session(uri)
    assert bench.store.get(bench.bucket, spec.name) == finished


def test_session_of_a_week_ago_is_gone(controlled: ControlledBench) -> None:
    spec = controlled.spec("clip.mp4", 2 * QUANTUM)
    uri = controlled.store.start_session(spec)
    controlled.store.send(uri, spec, BytesBody(noise(QUANTUM)), offset_bytes=0)
    controlled.pass_days(7.1)
    with pytest.raises(SessionGone):
        controlled.store.session_status(uri, spec)
    with pytest.raises(SessionGone):
        send_last(controlled, uri, spec, noise(2 * QUANTUM))


def test_session_of_six_days_ago_goes_on(controlled: ControlledBench) -> None:
    data, spec, uri = begun(controlled, 2 * QUANTUM)
    controlled.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
    controlled.pass_days(6)
    assert controlled.store.session_status(uri, spec).committed_bytes == QUANTUM
    assert send_last(controlled, uri, spec, data, QUANTUM).finished is not None


def test_chunk_committed_in_part_says_so_and_is_continued(controlled: ControlledBench) -> None:
    data, spec, uri = begun(controlled, 4 * QUANTUM + 3)
    controlled.commit_only(QUANTUM)
    status = controlled.store.send(uri, spec, BytesBody(data[: 3 * QUANTUM]), offset_bytes=0)
    assert status.committed_bytes == QUANTUM
    assert controlled.store.session_status(uri, spec).committed_bytes == QUANTUM
    finished = send_last(controlled, uri, spec, data, QUANTUM).finished
    assert finished is not None
    assert controlled.content(finished) == data


def test_chunk_of_which_nothing_was_committed_is_sent_again(controlled: ControlledBench) -> None:
    data, spec, uri = begun(controlled, 2 * QUANTUM)
    controlled.commit_only(0)
    assert controlled.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0).committed_bytes == 0
    assert send_last(controlled, uri, spec, data).finished is not None


def test_cut_connection_leaves_whole_quanta_and_is_resumed(controlled: ControlledBench) -> None:
    data, spec, uri = begun(controlled, 2 * LONG + 77)
    controlled.cut_after(LONG + QUANTUM + 1000)
    with pytest.raises(LineDown):
        controlled.store.send(uri, spec, BytesBody(data[: 2 * LONG]), offset_bytes=0)
    committed = settled_status(controlled.store, uri, spec).committed_bytes
    assert committed == LONG + QUANTUM
    finished = send_last(controlled, uri, spec, data, committed).finished
    assert finished is not None
    assert controlled.content(finished) == data


def test_session_with_every_byte_is_not_finished_by_asking(controlled: ControlledBench) -> None:
    data, spec, uri = begun(controlled, 4 * QUANTUM)
    controlled.commit_only(len(data), last=True)
    assert send_last(controlled, uri, spec, data) == SessionStatus(len(data), None)
    assert controlled.store.session_status(uri, spec) == SessionStatus(len(data), None)
    assert controlled.store.get(controlled.bucket, spec.name) is None
    finished = send_last(controlled, uri, spec, data, 3 * QUANTUM).finished
    assert finished is not None
    assert controlled.content(finished) == data


@pytest.mark.parametrize("odd", [1, QUANTUM - 1, QUANTUM + 1, 2 * QUANTUM - 5])
def test_any_committed_offset_is_told_and_continued(controlled: ControlledBench, odd: int) -> None:
    """The next chunk goes from it to a multiple of 256 KiB."""
    data, spec, uri = begun(controlled, 5 * QUANTUM + 3)
    controlled.commit_exactly(odd)
    sent = controlled.store.send(uri, spec, BytesBody(data[: 2 * QUANTUM]), offset_bytes=0)
    assert sent == controlled.store.session_status(uri, spec) == SessionStatus(odd, None)
    more = controlled.store.send(uri, spec, BytesBody(data[odd : 4 * QUANTUM]), offset_bytes=odd)
    assert more == SessionStatus(4 * QUANTUM, None)
    finished = send_last(controlled, uri, spec, data, 4 * QUANTUM).finished
    assert finished is not None
    assert controlled.content(finished) == data


def test_lost_answer_to_a_chunk_is_learned_by_asking(controlled: ControlledBench) -> None:
    data, spec, uri = begun(controlled, LONG + 1)
    controlled.lose_next_answer(last=False)
    with pytest.raises(LineDown):
        controlled.store.send(uri, spec, BytesBody(data[:LONG]), offset_bytes=0)
    assert controlled.store.session_status(uri, spec).committed_bytes == LONG


def test_lost_answer_to_the_last_chunk_is_found(controlled: ControlledBench) -> None:
    data, spec, uri = begun(controlled, LONG + 5)
    controlled.lose_next_answer(last=True)
    with pytest.raises(LineDown):
        send_last(controlled, uri, spec, data)
    finished = controlled.store.session_status(uri, spec).finished
    assert finished is not None
    assert (finished.size_bytes, finished.crc32c) == (len(data), crc_of(data))


def test_chunk_beyond_what_is_committed_is_for_another_try(bench: Bench) -> None:
    data, spec, uri = begun(bench, 4 * QUANTUM)
    with pytest.raises(TryAgain):
        bench.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=2 * QUANTUM)
    assert bench.store.session_status(uri, spec).committed_bytes == 0


def test_chunk_that_the_bucket_has_already_adds_nothing(bench: Bench) -> None:
    data, spec, uri = begun(bench, 3 * QUANTUM)
    bench.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
    again = bench.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
    assert again.committed_bytes == QUANTUM
    finished = send_last(bench, uri, spec, data, QUANTUM).finished
    assert finished is not None
    assert bench.content(finished) == data


@pytest.mark.parametrize(
    ("offset_bytes", "length_bytes", "last"),
    [
        (0, QUANTUM + 1, False),
        (0, 1, False),
        (0, 0, False),
        (0, 2 * QUANTUM, False),
        (0, QUANTUM, True),
        (0, 0, True),
        (1, QUANTUM, False),
        (QUANTUM - 5, 5, False),
    ],
)
def test_chunk_of_a_wrong_length_is_the_callers_mistake(
    bench: Bench, offset_bytes: int, length_bytes: int, last: bool
) -> None:
    spec = bench.spec("clip.mp4", 2 * QUANTUM)
    uri = bench.store.start_session(spec)
    body = BytesBody(noise(length_bytes))
    with pytest.raises(ValueError):
        bench.store.send(uri, spec, body, offset_bytes=offset_bytes, crc32c=1 if last else None)
    assert body.read_bytes == 0


def stop_after(calls: int, error: OffloadError) -> Callable[[], None]:
    left = [calls]

    def abort() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error

    return abort


def test_stopped_sender_leaves_a_session_that_can_be_resumed(bench: Bench) -> None:
    data, spec, uri = begun(bench, 64 * QUANTUM + 11)
    body = BytesBody(data[: 64 * QUANTUM])
    with pytest.raises(Stopped):
        bench.store.send(uri, spec, body, offset_bytes=0, abort=stop_after(3, Stopped("stop")))
    committed = settled_status(bench.store, uri, spec).committed_bytes
    assert committed < 64 * QUANTUM
    finished = send_last(bench, uri, spec, data, committed).finished
    assert finished is not None
    assert bench.content(finished) == data


def test_file_that_shrank_under_way_becomes_no_object(bench: Bench) -> None:
    data, spec, uri = begun(bench, 4 * QUANTUM)
    body = BytesBody(data, fail_after_bytes=2 * QUANTUM + 100, error=FileChanged("it shrank"))
    with pytest.raises(FileChanged):
        bench.store.send(uri, spec, body, offset_bytes=0, crc32c=crc_of(data))
    assert settled_status(bench.store, uri, spec).finished is None
    assert bench.store.get(bench.bucket, spec.name) is None


@pytest.mark.parametrize("call", ["start_session", "session_status", "send"])
def test_busy_bucket_is_tried_again_when_it_says(controlled: ControlledBench, call: str) -> None:
    spec = controlled.spec("clip.mp4", 2 * QUANTUM)
    uri = controlled.store.start_session(spec)
    controlled.answer_once(call)
    calls: dict[str, Callable[[], object]] = {
        "start_session": lambda: controlled.store.start_session(spec),
        "session_status": lambda: controlled.store.session_status(uri, spec),
        "send": lambda: controlled.store.send(uri, spec, BytesBody(noise(QUANTUM)), offset_bytes=0),
    }
    with pytest.raises(TryAgain) as caught:
        calls[call]()
    assert caught.value.retry_after_seconds == 7
    assert caught.value.disposition is Disposition.RETRY


def test_session_uri_is_in_no_error(wired: EmulatorBench) -> None:
    data, spec, uri = begun(wired, QUANTUM)
    key = uri.rpartition("upload_id=")[2]
    assert len(key) > 20
    texts: list[str] = []

    def collect(call: Callable[[], object]) -> None:
        try:
            call()
        except OffloadError as error:
            texts.append("".join(traceback.format_exception(error)) + repr(error) + repr(error.__dict__))
        else:
            raise AssertionError("an error was expected")

    for status, reason in [(500, ""), (403, "forbidden"), (400, "invalid"), (410, ""), (429, ""), (301, "")]:
        wired.emulator.fault("status", kind="final_chunk", status=status, reason=reason, message=f"see {uri}")
        collect(lambda: send_last(wired, uri, spec, data))
    for action in ("reset", "lost_answer"):
        wired.emulator.fault(action, kind="status")
        collect(lambda: wired.store.session_status(uri, spec))
    collect(lambda: wired.store.session_status(uri + "x", spec))
    assert not [text for text in texts if key in text]
    assert not [one for one in wired.emulator.requests() if key in str(one)]
