"""Leases, progress and secrets of an upload (P6, P9, P10)."""

from __future__ import annotations

import pytest
import structlog

from offload.errors import (
    ChecksumRefused,
    Disposition,
    LeaseLost,
    LineDown,
    OffloadError,
    PreconditionFailed,
    SessionGone,
    StopAndTell,
    TryAgain,
)
from offload.store import META_TRANSFER
from offload.testing import MemoryJournal, MemoryStore
from tests.unit.upload_bench import QUANTUM, UploadBench, noise

# --- P6 ---


@pytest.mark.parametrize("after_calls", range(4))
def test_worker_that_lost_its_lease_writes_nothing_more(bench, after_calls):
    """The journal refuses a call: the session, or a progress."""
    bench.write(3 * QUANTUM)
    bench.journal.lose_lease(after_calls=after_calls)
    error = bench.fails(LeaseLost)

    assert error.disposition is Disposition.ABANDON
    assert len(bench.journal.events) == after_calls
    assert bench.kinds() == ["start_session", "send", "send", "send"][: after_calls + 1]


def test_without_a_stored_session_no_byte_is_sent(bench):
    bench.write(3 * QUANTUM)
    bench.journal.lose_lease()
    bench.fails(LeaseLost)

    assert bench.kinds() == ["start_session"]


def test_lease_lost_in_mid_chunk_ends_the_request(make_bench):
    bench = make_bench(chunk_min_bytes=100 * QUANTUM, chunk_max_bytes=100 * QUANTUM)
    bench.write(50 * QUANTUM)
    asked = []

    def abort():
        asked.append(1)
        if len(asked) == 20:
            bench.journal.lose_lease()
        bench.journal.check_lease()

    bench.fails(LeaseLost, abort=abort)
    [call] = bench.store.calls_of("send")
    assert 0 < call.received_bytes < 49 * QUANTUM
    assert bench.journal.events == ["session_started"]


def test_lease_lost_while_tidying_up_is_raised(bench):
    """The file changed, but the journal is another's: the next owner must find its session there."""
    bench.write(3 * QUANTUM)

    def change():
        bench.path.write_bytes(noise(5))
        bench.journal.lose_lease()

    bench.store.fault("send", skip=1, action=change)
    bench.fails(LeaseLost)

    assert bench.journal.session is not None


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_bytes_after_a_lost_lease_become_one_object_or_none(bench, chunk):
    """Its request hangs; the next owner uploads all of it meanwhile; then the request goes on."""
    bench.write(3 * QUANTUM)
    results = []

    def taken_over():
        stalled, bench.journal = bench.journal, MemoryJournal(bench.journal.session)
        stalled.lose_lease()
        results.append(bench.upload())

    bench.store.fault("send", skip=chunk, action=taken_over)
    bench.fails(LeaseLost)

    [result] = results
    bench.assert_proven(result)
    assert bench.store.objects() == [result.info]


@pytest.mark.parametrize("small_limit_bytes", [0, 100 * QUANTUM], ids=["session", "small"])
def test_worker_without_its_lease_deletes_nothing(make_bench, small_limit_bytes):
    """The next owner found the object, recorded it, and the file changed only then."""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(3 * QUANTUM)
    results = []

    def taken_over_and_changed():
        stalled, bench.journal = bench.journal, MemoryJournal(bench.journal.session)
        stalled.lose_lease()
        results.append(bench.upload())
        bench.path.write_bytes(noise(3 * QUANTUM, seed=1))

    bench.store.fault("send", skip=2, then=taken_over_and_changed)
    bench.store.fault("put_small", then=taken_over_and_changed)
    bench.fails(LeaseLost)

    assert bench.store.objects() == [results[0].info]
    assert bench.store.calls_of("delete") == []


# --- P9 ---


class SlowStore(MemoryStore):
    """A second a chunk."""

    def send(self, *args, **rest):
        self.clock.advance(1)
        return super().send(*args, **rest)


def test_progress_is_confirmed_by_the_bucket(make_bench):
    bench = make_bench(progress_seconds=3)
    bench.store = SlowStore(clock=bench.clock)
    bench.write(10 * QUANTUM + 1)
    bench.upload()

    assert bench.journal.progressed == [3 * QUANTUM, 6 * QUANTUM, 9 * QUANTUM]


def test_bytes_sent_but_not_committed_are_no_progress(make_bench):
    bench = make_bench(chunk_min_bytes=4 * QUANTUM, chunk_max_bytes=4 * QUANTUM)
    bench.write(10 * QUANTUM)
    bench.store.fault("send", commit_bytes=QUANTUM)
    bench.store.fault("send", StopAndTell("403"))
    bench.fails(StopAndTell)

    assert bench.journal.progressed == [QUANTUM]


@pytest.mark.parametrize("error", [TryAgain("503"), LineDown("no answer"), StopAndTell("403"), SessionGone("410")])
def test_progress_is_noted_before_a_failure_is_handed_on(make_bench, error):
    """Confirmed progress refreshes the retry budget, so it must not be forgotten with the failure."""
    bench = make_bench(progress_seconds=3600)
    bench.write(10 * QUANTUM)
    bench.store.fault("send", error, skip=4, times=4)
    bench.store.fault("start_session", skip=1, times=4, error=StopAndTell("403"))
    with pytest.raises(OffloadError):
        bench.upload()

    assert bench.journal.progressed == [4 * QUANTUM]


def test_progress_begins_again_with_a_new_session(bench):
    bench.write(4 * QUANTUM)
    bench.store.fault("send", SessionGone("410"), skip=3)
    bench.upload()

    assert bench.journal.progressed == [QUANTUM * count for count in (1, 2, 3, 1, 2, 3, 4)]


# --- P10 ---


def everything_goes_wrong(bench: UploadBench) -> None:
    """A life of faults, each call of the store at least once."""
    store = bench.store
    store.fault("send", TryAgain("503"))
    store.fault("send", lost_answer=True)
    store.fault("send", flip_byte_at=3)
    store.fault("cancel_session", StopAndTell("403"))
    store.fault("session_status", LineDown("no answer"))
    store.fault("send", SessionGone("410"), skip=2)
    store.fault("get", TryAgain("503"))
    store.fault("send", PreconditionFailed("412"), skip=1)
    store.fault("send", ChecksumRefused("400"), skip=1)
    store.fault("send", StopAndTell("403"), skip=1)


def test_session_uri_reaches_no_log_error_or_repr(bench):
    bench.write(5 * QUANTUM)
    everything_goes_wrong(bench)
    seen = []
    with structlog.testing.capture_logs() as logs:
        for _ in range(6):
            try:
                seen.append(bench.upload())
            except OffloadError as error:
                seen += [error, error.detail, error.args, error.__cause__, error.__context__]
            seen += [bench.journal.session, bench.store.calls]
        bench.existing(noise(3), **{META_TRANSFER: "transfer-2"})
        try:
            bench.upload()
        except OffloadError as error:
            seen += [error, error.args]
    text = repr(seen) + repr(logs) + "".join(str(one) for one in seen)

    assert any(isinstance(one, OffloadError) for one in seen)
    assert len(logs) > 10
    assert "memory://" not in text
    assert "secret" not in text


def test_log_tells_what_every_failure_means(bench):
    bench.write(2 * QUANTUM)
    bench.store.fault("start_session", StopAndTell("may not create objects"))
    with structlog.testing.capture_logs() as logs:
        bench.fails(StopAndTell)

    assert logs[-1] == {
        "event": "upload.failed",
        "log_level": "warning",
        "reason": "permission_denied",
        "next": "wait",
        "detail": "may not create objects",
        "transfer": "transfer-1",
        "recording": "recording-1",
        "camera": "camera-1",
    }
