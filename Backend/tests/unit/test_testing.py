"""The fakes themselves, beyond what the contract suite holds the in-memory store to."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from offload.errors import LeaseLost, LineDown, PreconditionFailed, TryAgain
from offload.store import ObjectSpec
from offload.testing import FakeClock, MemoryJournal, MemoryStore
from tests.unit.upload_bench import BUCKET, QUANTUM, UploadBench, crc_of, noise


class BytesBody:
    def __init__(self, data: bytes) -> None:
        self.length_bytes = len(data)
        self._data = data
        self._position = 0

    def read(self, max_bytes: int) -> bytes:
        piece = self._data[self._position : self._position + max_bytes]
        self._position += len(piece)
        return piece

    def rewind(self) -> None:
        self._position = 0


def spec_of(data: bytes, name: str = "clip") -> ObjectSpec:
    return ObjectSpec(BUCKET, name, len(data), "video/mp4", {})


def test_clock_moves_only_when_told_to():
    clock = FakeClock()
    start, started = clock.now(), clock.monotonic()
    clock.sleep(3)
    clock.jump(-3600)

    assert clock.now() == start + timedelta(seconds=3 - 3600)
    assert clock.monotonic() == started + 3
    assert clock.sleeps == [3]


def test_of_many_threads_that_write_one_name_one_succeeds():
    store, data = MemoryStore(), noise(2 * QUANTUM)
    outcomes = []
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        barrier.wait()
        try:
            if number % 2:
                store.put_small(spec_of(data), BytesBody(data), crc32c=crc_of(data))
            else:
                uri = store.start_session(spec_of(data))
                store.send(uri, spec_of(data), BytesBody(data), offset_bytes=0, crc32c=crc_of(data))
            outcomes.append("written")
        except PreconditionFailed:
            outcomes.append("refused")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["refused"] * 7 + ["written"]
    assert len(store.objects()) == 1


def test_fault_strikes_after_so_many_calls_and_so_often():
    store = MemoryStore()
    store.fault("get", TryAgain("503"), skip=1, times=2)
    answers = []
    for _ in range(4):
        try:
            answers.append(store.get(BUCKET, "clip"))
        except TryAgain:
            answers.append("busy")

    assert answers == [None, "busy", "busy", None]


def test_cut_connection_commits_whole_quanta_and_is_logged():
    store, data = MemoryStore(), noise(3 * QUANTUM)
    uri = store.start_session(spec_of(data))
    store.fault("send", after_bytes=QUANTUM + 7)
    with pytest.raises(LineDown):
        store.send(uri, spec_of(data), BytesBody(data[: 2 * QUANTUM]), offset_bytes=0)

    [call] = store.calls_of("send")
    assert (call.received_bytes, call.committed_bytes) == (QUANTUM + 7, QUANTUM)
    assert store.session_status(uri, spec_of(data)).committed_bytes == QUANTUM


def test_bytes_sent_again_are_logged_and_change_nothing():
    store, data = MemoryStore(), noise(3 * QUANTUM)
    uri = store.start_session(spec_of(data))
    for _ in range(2):
        store.send(uri, spec_of(data), BytesBody(data[: 2 * QUANTUM]), offset_bytes=0)
    store.send(uri, spec_of(data), BytesBody(data[2 * QUANTUM :]), offset_bytes=2 * QUANTUM, crc32c=crc_of(data))

    assert [call.resent_bytes for call in store.calls_of("send")] == [0, 2 * QUANTUM, 0]
    assert store.data(BUCKET, "clip") == data


@pytest.mark.parametrize(
    ("length", "offset", "last"), [(QUANTUM + 1, 0, False), (3 * QUANTUM, 0, False), (0, 0, False), (QUANTUM, 0, True)]
)
def test_chunk_that_breaks_the_rules_is_the_callers_mistake(length, offset, last):
    store, data = MemoryStore(), noise(3 * QUANTUM)
    uri = store.start_session(spec_of(data))

    with pytest.raises(ValueError):
        store.send(
            uri, spec_of(data), BytesBody(data[:length]), offset_bytes=offset, crc32c=crc_of(data) if last else None
        )


def test_log_and_journal_hide_the_session_uri(bench: UploadBench):
    bench.write(2 * QUANTUM)
    bench.store.fault("send", TryAgain("503"), times=9)
    bench.fails(TryAgain)

    assert bench.journal.session is not None
    assert "memory://" not in repr(bench.store.calls) + repr(bench.journal.session)


def test_lost_lease_refuses_notes_and_keeps_earlier_ones():
    journal = MemoryJournal()
    journal.progress(5)
    journal.lose_lease(after_calls=1)
    journal.progress(6)
    for note in (lambda: journal.progress(7), journal.session_dropped, lambda: journal.name_changed(1, "x", None)):
        with pytest.raises(LeaseLost):
            note()

    assert (journal.progressed, journal.name_version, journal.events) == ([5, 6], 0, ["progress", "progress"])
