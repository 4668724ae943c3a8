"""Whatever ends a call, the next one continues from the bucket's last committed byte (P3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from offload.errors import (
    Disposition,
    LineDown,
    ObjectProblem,
    Reason,
    SessionGone,
    StopAndTell,
    Stopped,
    TryAgain,
)
from offload.store import META_TRANSFER
from offload.testing import MemoryStore
from tests.unit.upload_bench import QUANTUM, noise


class Killed(BaseException):
    """The process is gone: no handler runs."""


def kill() -> None:
    raise Killed


def kill_at(bench, kind: str, skip: int) -> None:
    """Upload until the process is killed just before a call of the store."""
    bench.store.fault(kind, action=kill, skip=skip)
    with pytest.raises(Killed):
        bench.upload()
    bench.store.clear_faults()


def assert_nothing_committed_was_sent_again(bench) -> None:
    assert [call.resent_bytes for call in bench.store.calls_of("send") if call.resent_bytes] == []


# --- killed ---


@pytest.mark.parametrize("chunks_before", [0, 1, 3])
def test_killed_worker_is_continued_from_the_last_committed_byte(bench, chunks_before):
    bench.write(5 * QUANTUM + 9)
    kill_at(bench, "send", chunks_before)
    result = bench.upload()

    bench.assert_proven(result)
    assert result.resumed_from_bytes == chunks_before * QUANTUM
    assert result.bytes_sent == 5 * QUANTUM + 9 - chunks_before * QUANTUM
    assert len(bench.store.calls_of("start_session")) == 1
    assert_nothing_committed_was_sent_again(bench)


def test_killed_before_its_session_was_stored_begins_another(bench):
    bench.write(3 * QUANTUM)
    bench.store.fault("start_session", lost_answer=True, error=LineDown("killed"), times=4)
    bench.fails(LineDown)
    assert bench.journal.session is None

    bench.assert_proven(bench.upload())


def test_killed_after_the_last_byte_finds_its_object(bench):
    bench.write(3 * QUANTUM)
    bench.store.fault("send", skip=2, lost_answer=True)
    bench.store.fault("session_status", action=kill)
    with pytest.raises(Killed):
        bench.upload()
    result = bench.upload()

    bench.assert_proven(result)
    assert (result.bytes_sent, result.adopted, result.resumed_from_bytes) == (0, False, 3 * QUANTUM)
    assert len(bench.store.objects()) == 1


def test_killed_before_the_record_asks_its_session(bench):
    bench.write(3 * QUANTUM)
    first = bench.upload()  # and no row recorded it
    calls = len(bench.kinds())
    second = bench.upload()

    bench.assert_proven(second)
    assert second.info == first.info
    assert (second.adopted, second.bytes_sent) == (False, 0)
    assert bench.kinds()[calls:] == ["session_status"]


def test_small_file_killed_before_the_record_is_adopted(make_bench):
    bench = make_bench(small_limit_bytes=QUANTUM)
    bench.write(1000)
    first = bench.upload()
    second = bench.upload()

    assert (second.info, second.adopted) == (first.info, True)


# --- sessions that cannot be continued ---


def test_session_older_than_six_days_is_replaced(bench):
    bench.write(4 * QUANTUM)
    kill_at(bench, "send", 2)
    bench.clock.advance(6 * 86400)
    result = bench.upload()

    bench.assert_proven(result)
    assert result.resumed_from_bytes == 0
    assert len(bench.store.calls_of("cancel_session")) == 1
    assert bench.journal.events.count("session_dropped") == 1
    assert bench.store.open_sessions() == 0


def test_session_a_little_younger_is_continued(bench):
    bench.write(4 * QUANTUM)
    kill_at(bench, "send", 2)
    bench.clock.advance(6 * 86400 - 60)

    assert bench.upload().resumed_from_bytes == 2 * QUANTUM


@pytest.mark.parametrize("change", ["content", "touched", "replaced"])
def test_session_of_another_file_is_never_continued(bench, change):
    bench.write(4 * QUANTUM)
    kill_at(bench, "send", 2)
    if change == "content":
        bench.write(noise(4 * QUANTUM, seed=1))
    elif change == "touched":
        bench.touch(7200)
    else:
        bench.path.rename(bench.path.with_name("old"))
        bench.write(4 * QUANTUM)
    result = bench.upload()

    bench.assert_proven(result)
    assert result.resumed_from_bytes == 0
    assert len(bench.store.calls_of("cancel_session")) == 1


def test_session_that_cannot_be_deleted_stops_nothing(bench):
    bench.write(4 * QUANTUM)
    kill_at(bench, "send", 2)
    bench.clock.advance(6 * 86400)
    bench.store.fault("cancel_session", TryAgain("busy"))

    bench.assert_proven(bench.upload())


def test_session_that_the_bucket_forgot_is_begun_anew(bench):
    bench.write(4 * QUANTUM)
    kill_at(bench, "send", 2)
    bench.store.forget_sessions()

    bench.assert_proven(bench.upload())
    assert len(bench.store.calls_of("start_session")) == 2


def test_session_lost_in_mid_upload_is_begun_anew(bench):
    bench.write(4 * QUANTUM)
    bench.store.fault("send", SessionGone("410"), skip=2)

    bench.assert_proven(bench.upload())
    assert [offset for offset, _ in bench.sent()][-4:] == [0, QUANTUM, 2 * QUANTUM, 3 * QUANTUM]


def test_lost_last_answer_without_session_sends_nothing_again(bench):
    """The object is there; the session that made it is not: one look at the object tells."""
    bench.write(4 * QUANTUM)
    bench.store.fault("send", skip=3, lost_answer=True)
    bench.store.fault("session_status", SessionGone("410"))
    result = bench.upload()

    bench.assert_proven(result)
    assert result.bytes_sent == 4 * QUANTUM
    assert len(bench.store.calls_of("get")) == 1
    assert len(bench.store.calls_of("start_session")) == 1


def test_killed_after_the_last_byte_sends_nothing_again(bench):
    bench.store.refuse_at_start = False
    bench.write(4 * QUANTUM)
    bench.store.fault("send", skip=3, then=kill)
    with pytest.raises(Killed):
        bench.upload()
    bench.store.forget_sessions()
    result = bench.upload()

    bench.assert_proven(result)
    assert (result.bytes_sent, result.adopted) == (0, True)
    assert len(bench.store.calls_of("start_session")) == 1


@pytest.mark.parametrize("ended", ["too old", "of another ctime"])
def test_refused_session_is_dropped_after_one_look(bench, ended):
    """It had ended with the whole object, and that was not recorded."""
    bench.store.refuse_at_start = False
    bench.write(4 * QUANTUM)
    bench.upload()
    if ended == "too old":
        bench.clock.advance(6 * 86400)
    else:
        bench.path.chmod(0o600)
    result = bench.upload()

    bench.assert_proven(result)
    assert (result.bytes_sent, result.adopted) == (0, True)
    assert len(bench.store.objects()) == 1


def test_lost_session_of_a_taken_name_conflicts_unsent(bench):
    bench.write(4 * QUANTUM)
    kill_at(bench, "send", 2)
    bench.existing(noise(9), **{META_TRANSFER: "transfer-2"})
    bench.store.forget_sessions()
    bench.store.refuse_at_start = False

    assert bench.fails(ObjectProblem).code is Reason.OBJECT_CONFLICT
    assert len(bench.sent()) == 2


def test_bucket_that_loses_every_session_is_tried_again_later(bench):
    bench.write(4 * QUANTUM)
    bench.store.fault("send", SessionGone("410"), times=99)
    error = bench.fails(TryAgain)

    assert (error.code, error.disposition) == (Reason.SESSION_GONE, Disposition.RETRY)
    assert len(bench.store.calls_of("start_session")) == 3
    assert bench.journal.session is None


def test_session_with_every_byte_is_finished_by_its_last_part(bench):
    """The bucket failed while it made the object; the last part, which it has, is repeated once."""
    bench.write(4 * QUANTUM)
    bench.store.fault("send", skip=3, commit_bytes=QUANTUM)

    bench.assert_proven(bench.upload())
    assert bench.sent()[-2:] == [(3 * QUANTUM, QUANTUM), (3 * QUANTUM, QUANTUM)]
    assert len(bench.store.calls_of("start_session")) == 1


def test_last_part_is_not_repeated_for_ever(bench):
    bench.write(4 * QUANTUM)
    bench.store.fault("send", skip=3, commit_bytes=QUANTUM, times=2)

    bench.assert_proven(bench.upload())
    assert len(bench.store.calls_of("start_session")) == 2


def test_session_with_every_byte_and_no_object_is_dropped(bench):
    """Refused for its checksum, and the worker killed before it dropped the session."""
    bench.write(4 * QUANTUM)
    bench.store.fault("send", skip=3, flip_byte_at=0)
    bench.store.fault("cancel_session", action=kill)
    with pytest.raises(Killed):
        bench.upload()

    bench.assert_proven(bench.upload())
    assert len(bench.store.calls_of("start_session")) == 2


# --- the line ---


@pytest.mark.parametrize("after_bytes", [0, 1, QUANTUM - 1, QUANTUM, 2 * QUANTUM + 5, 3 * QUANTUM])
def test_cut_chunk_is_continued_where_the_bucket_got_to(make_bench, after_bytes):
    bench = make_bench(chunk_min_bytes=3 * QUANTUM, chunk_max_bytes=3 * QUANTUM)
    bench.write(7 * QUANTUM + 1)
    bench.store.fault("send", after_bytes=after_bytes)

    bench.assert_proven(bench.upload())
    assert bench.store.calls_of("send")[1].offset_bytes == after_bytes // QUANTUM * QUANTUM
    assert_nothing_committed_was_sent_again(bench)


ODD = [1, QUANTUM - 1, QUANTUM + 1, 2 * QUANTUM - 5, 3 * QUANTUM - 1]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("size_bytes", [4 * QUANTUM, 4 * QUANTUM + 1, 7 * QUANTUM + 100])
def test_any_committed_offset_is_continued(make_bench, odd, size_bytes):
    """The next chunk goes from it to a multiple of 256 KiB, and has at least as many bytes, or it is the last part."""
    bench = make_bench(chunk_min_bytes=3 * QUANTUM, chunk_max_bytes=3 * QUANTUM)
    bench.write(size_bytes)
    bench.store.fault("send", commit_bytes=odd)

    bench.assert_proven(bench.upload())
    assert_nothing_committed_was_sent_again(bench)
    for call in bench.store.calls_of("send")[1:]:
        end_bytes = (call.offset_bytes or 0) + call.received_bytes
        assert call.last or (end_bytes % QUANTUM == 0 and call.received_bytes >= QUANTUM)


@pytest.mark.parametrize("odd", ODD)
def test_killed_worker_is_continued_from_any_committed_offset(make_bench, odd):
    bench = make_bench(chunk_min_bytes=3 * QUANTUM, chunk_max_bytes=3 * QUANTUM)
    bench.write(4 * QUANTUM + 7)
    bench.store.fault("send", commit_bytes=odd, then=kill)
    with pytest.raises(Killed):
        bench.upload()
    result = bench.upload()

    bench.assert_proven(result)
    assert result.resumed_from_bytes == odd
    assert_nothing_committed_was_sent_again(bench)


@pytest.mark.parametrize("after_bytes", [0, 1, 99])
def test_cut_last_part_is_sent_again_whole(bench, after_bytes):
    bench.write(2 * QUANTUM + 100)
    bench.store.fault("send", skip=2, after_bytes=after_bytes)

    bench.assert_proven(bench.upload())


@pytest.mark.parametrize("quanta", [0, 1, 2])
def test_bucket_that_commits_less_than_was_sent_is_believed(make_bench, quanta):
    bench = make_bench(chunk_min_bytes=3 * QUANTUM, chunk_max_bytes=3 * QUANTUM)
    bench.write(7 * QUANTUM + 1)
    bench.store.fault("send", commit_bytes=quanta * QUANTUM, times=2)

    bench.assert_proven(bench.upload())
    assert [offset // QUANTUM for offset, _ in bench.sent()[:3]] == [0, quanta, 2 * quanta]
    assert_nothing_committed_was_sent_again(bench)


def test_partly_committed_last_part_gets_the_rest(bench):
    bench.write(QUANTUM + 100)
    bench.store.fault("send", skip=1, commit_bytes=0)

    bench.assert_proven(bench.upload())


def test_bucket_that_never_commits_anything_is_tried_again_later(bench):
    bench.write(3 * QUANTUM)
    bench.store.fault("send", commit_bytes=0, times=99)

    bench.fails(TryAgain)
    assert len(bench.sent()) == 4


def test_lost_answer_to_a_chunk_sends_nothing_twice(bench):
    bench.write(4 * QUANTUM)
    bench.store.fault("send", lost_answer=True, times=3)

    bench.assert_proven(bench.upload())
    assert [offset // QUANTUM for offset, _ in bench.sent()] == [0, 1, 2, 3]


def test_lost_answer_to_the_last_part_sends_nothing_twice(bench):
    bench.write(2 * QUANTUM + 5)
    bench.store.fault("send", skip=2, lost_answer=True)
    result = bench.upload()

    bench.assert_proven(result)
    assert result.bytes_sent == 2 * QUANTUM + 5
    assert not result.adopted


def test_lost_answer_to_a_small_file_finds_its_object(make_bench):
    """F14: the retry is answered 412 although the first write had succeeded."""
    bench = make_bench(small_limit_bytes=QUANTUM)
    bench.write(1000)
    bench.store.fault("put_small", lost_answer=True)
    result = bench.upload()

    bench.assert_proven(result)
    assert result.adopted
    assert len(bench.store.objects()) == 1


@pytest.mark.parametrize("kind", ["start_session", "send", "session_status", "put_small", "get"])
def test_fourth_failure_in_a_row_is_handed_on(make_bench, kind):
    bench = make_bench(small_limit_bytes=QUANTUM if kind == "put_small" else 0)
    bench.write(QUANTUM if kind == "put_small" else 3 * QUANTUM)
    if kind == "session_status":
        kill_at(bench, "send", 1)
    if kind == "get":
        bench.existing(bench.data)
    bench.store.fault(kind, TryAgain("503"), times=3)
    bench.assert_proven(bench.upload())
    assert 3 <= sum(bench.clock.sleeps) <= 3 * 8

    bench.store.remove(bench.job.bucket, bench.job.object_name(0))
    bench.journal.session_dropped()
    if kind == "session_status":
        kill_at(bench, "send", 1)
    if kind == "get":
        bench.existing(bench.data)
    bench.store.fault(kind, TryAgain("503"), times=4)
    bench.fails(TryAgain)


def test_confirmed_progress_makes_the_line_good_again(make_bench):
    """A line that is cut in every chunk, but gets on, uploads all the same."""
    bench = make_bench(chunk_min_bytes=2 * QUANTUM, chunk_max_bytes=2 * QUANTUM)
    bench.write(20 * QUANTUM + 5)
    bench.store.fault("send", after_bytes=QUANTUM, times=99)

    bench.assert_proven(bench.upload())
    assert len(bench.sent()) == 21
    assert_nothing_committed_was_sent_again(bench)


def test_long_pause_is_left_to_the_worker(bench):
    bench.write(3 * QUANTUM)
    bench.store.fault("send", TryAgain("429", retry_after_seconds=60))

    assert bench.fails(TryAgain).retry_after_seconds == 60
    assert bench.clock.sleeps == []


def test_stop_is_obeyed_while_waiting_for_the_line(bench):
    bench.write(3 * QUANTUM)
    bench.store.fault("send", TryAgain("503"), times=3)

    def abort():
        if bench.clock.sleeps:
            raise Stopped("stop")

    bench.fails(Stopped, abort=abort)
    assert len(bench.clock.sleeps) == 1
    assert bench.clock.sleeps[0] <= 0.5


@pytest.mark.parametrize("kind", ["start_session", "send", "session_status"])
def test_error_for_a_person_is_raised_and_keeps_the_session(bench, kind):
    bench.write(4 * QUANTUM)
    kill_at(bench, "send", 2)
    session = bench.journal.session
    if kind == "start_session":
        bench.journal.session = session = None
    bench.store.fault(kind, StopAndTell("403"))
    error = bench.fails(StopAndTell)

    assert error.disposition is Disposition.WAIT
    assert bench.journal.session == session
    assert bench.clock.sleeps == []
    bench.assert_proven(bench.upload())


def test_stop_between_chunks_keeps_everything_for_the_next_call(bench):
    bench.write(5 * QUANTUM)
    sent = bench.store.calls

    def abort():
        if sum(call.kind == "send" for call in sent) == 2:
            raise Stopped("SIGTERM")

    error = bench.fails(Stopped, abort=abort)
    assert error.disposition is Disposition.RELEASE
    result = bench.upload()

    bench.assert_proven(result)
    assert result.resumed_from_bytes == 2 * QUANTUM


class FinishingStore(MemoryStore):
    """Asked to stop, it ends no request that runs."""

    def send(self, uri, spec, body, *, abort, **rest):
        return super().send(uri, spec, body, **rest)


def test_stop_is_obeyed_between_chunks(bench):
    bench.store = FinishingStore(clock=bench.clock)
    bench.write(5 * QUANTUM)

    def abort():
        if len(bench.sent()) == 2:
            raise Stopped("SIGTERM")

    bench.fails(Stopped, abort=abort)
    assert len(bench.sent()) == 2


def test_resumed_upload_asks_to_stop_while_reading(bench):
    bench.write(40 * QUANTUM)
    kill_at(bench, "send", 36)
    asked = []

    def abort():
        asked.append(len(bench.store.calls_of("send")))
        if len(asked) == 5:
            raise Stopped("stop")

    bench.fails(Stopped, abort=abort)
    assert len(set(asked)) == 1  # nothing was sent in this call


def test_changed_small_limit_strands_no_session(bench):
    bench.write(4 * QUANTUM)
    kill_at(bench, "send", 2)
    bench.settings = replace(bench.settings, small_limit_bytes=100 * QUANTUM)
    result = bench.upload()

    bench.assert_proven(result)
    assert result.resumed_from_bytes == 2 * QUANTUM
