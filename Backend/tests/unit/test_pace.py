"""The pace of uploads that share a line, by a clock of the tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.errors import LeaseLost
from offload.pace import LATE_SECONDS, LEAST_PIECE_BYTES, UNLIMITED, SharedPace, Stretch
from offload.store import never_abort
from offload.testing import FakeClock

RATE = 1_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pace(clock: FakeClock) -> SharedPace:
    pace = SharedPace(clock)
    pace.set_limit(RATE)
    return pace


def stretch(clock: FakeClock, *, after_seconds: float = 0, seconds: float = 1, rate: int = RATE) -> Stretch:
    return Stretch(clock.monotonic() + after_seconds, int(seconds * rate), rate)


class LostAfter:
    """An `Abort` of a lease that is lost so many seconds from now."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self._clock = clock
        self._at = clock.monotonic() + seconds

    def __call__(self) -> None:
        if self._clock.monotonic() >= self._at:
            raise LeaseLost("lost")


def test_unlimited_upload_gets_all_it_wants_at_once():
    assert UNLIMITED.take(12345, never_abort) == 12345


def test_line_without_a_limit_gives_all_at_once(clock):
    pace = SharedPace(clock)
    pace.set_limit(None)
    before = clock.monotonic()
    assert pace.take(10**9, never_abort) == 10**9
    assert clock.monotonic() == before


def test_nothing_goes_before_the_limit_is_known(clock):
    with pytest.raises(LeaseLost):
        SharedPace(clock).take(1, LostAfter(clock, 60))


def test_bytes_go_at_the_instant_of_their_schedule(clock, pace):
    began = clock.monotonic()
    pace.add(stretch(clock))
    sent = 0
    while sent < RATE:
        sent += pace.take(RATE, never_abort)
        assert clock.monotonic() - began == pytest.approx(sent / RATE)


def test_small_piece_is_no_larger_than_was_asked_for(clock, pace):
    pace.add(stretch(clock))
    assert pace.take(17, never_abort) == 17


def test_twenty_uploads_get_their_pieces_in_turn(clock, pace):
    pace.add(stretch(clock, seconds=5))
    turns = [pace.ask(RATE) for _ in range(20)]
    order = sorted(range(20), key=lambda number: turns[number].ready_at or 0)
    assert order == list(range(20))
    assert {turn.size_bytes for turn in turns} == {RATE // 20}


def test_first_come_is_first_served_by_the_next_stretch(clock, pace):
    first, second = pace.ask(RATE), pace.ask(RATE)
    pace.add(stretch(clock))
    assert first.ready_at is not None
    assert second.ready_at is not None
    assert first.ready_at < second.ready_at


def test_slow_line_still_sends_whole_memory_pages(clock):
    pace = SharedPace(clock)
    pace.set_limit(64_000)
    pace.add(stretch(clock, rate=64_000))
    assert pace.take(RATE, never_abort) == LEAST_PIECE_BYTES


def test_what_is_too_late_is_lost(clock, pace):
    pace.add(stretch(clock, seconds=1))
    clock.advance(0.8)
    at_once = 0
    while pace.seconds_left(turn := pace.ask(RATE)) == 0:
        at_once += turn.size_bytes
    assert at_once == pytest.approx(LATE_SECONDS * RATE, abs=RATE / 20)


def test_upload_that_overslept_gets_another_turn(clock, pace):
    """A process that was stopped for a while must not send all its promised pieces at once."""
    pace.add(stretch(clock, seconds=1))
    turn = pace.ask(RATE)
    clock.advance(5)
    assert pace.seconds_left(turn) > 0
    pace.add(stretch(clock))
    assert turn.ready_at == pytest.approx(clock.monotonic() + 0.05)


def test_lost_lease_ends_the_wait_at_once(clock, pace):
    began = clock.monotonic()
    pace.add(stretch(clock, after_seconds=1000))
    with pytest.raises(LeaseLost):
        pace.take(RATE, LostAfter(clock, 3))
    assert clock.monotonic() - began < 3.2


def test_upload_that_left_blocks_no_other(clock, pace):
    with pytest.raises(LeaseLost):
        pace.take(RATE, LostAfter(clock, 1))
    turn = pace.ask(RATE)
    pace.add(stretch(clock))
    assert turn.ready_at == pytest.approx(clock.monotonic() + 0.05)


def test_another_limit_drops_the_stretches_of_the_old_one(clock, pace):
    pace.add(stretch(clock, seconds=10))
    turn = pace.ask(RATE)
    pace.set_limit(2 * RATE)
    assert turn.ready_at is None
    pace.add(stretch(clock))
    assert turn.ready_at is None
    pace.add(stretch(clock, rate=2 * RATE))
    assert turn.size_bytes == 2 * RATE // 20


def test_limit_that_is_told_again_changes_nothing(clock, pace):
    pace.add(stretch(clock))
    turn = pace.ask(RATE)
    ready_at = turn.ready_at
    pace.set_limit(RATE)
    assert turn.ready_at == ready_at


def test_limit_that_is_lifted_lets_all_uploads_go(clock, pace):
    turn = pace.ask(RATE)
    assert pace.seconds_left(turn) > 0
    pace.set_limit(None)
    assert pace.seconds_left(turn) == 0
    assert turn.size_bytes == RATE


# --- how much it asks the line for ---


def test_pace_without_an_upload_asks_for_no_stretch(clock, pace):
    assert pace.wanted_seconds() == 0


def test_first_upload_calls_and_is_asked_for(clock):
    calls = []
    pace = SharedPace(clock, call=lambda: calls.append(1))
    pace.set_limit(RATE)
    pace.ask(RATE)
    assert calls
    assert pace.wanted_seconds() > 0


def test_line_is_asked_four_times_a_second_at_most(clock, pace):
    asked = 0
    for _ in range(1000):
        pace.ask(RATE)
        asked += pace.wanted_seconds() > 0
        clock.advance(0.01)
    assert 20 <= asked <= 41


def test_two_stretches_ahead_are_enough(clock, pace):
    for number in (1, 2):
        pace.add(stretch(clock, after_seconds=number))
    pace.ask(RATE)
    clock.advance(0.5)
    assert pace.wanted_seconds() == 0
    clock.advance(0.6)
    assert pace.wanted_seconds() > 0


def test_small_user_asks_for_less_then_more_again(clock, pace):
    def after(used_bytes: int) -> float:
        pace.add(stretch(clock, seconds=0.5))
        pace.ask(used_bytes)
        clock.advance(1)
        pace.ask(1)
        return pace.wanted_seconds()

    assert pace.wanted_seconds() == 0
    assert after(10_000) < 0.1
    assert after(RATE) == pytest.approx(0.1, rel=0.01)


# --- the promise ---


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, RATE)), max_size=200), st.integers(64_000, 10**9))
def test_no_window_exceeds_its_length_and_the_allowance(pauses, rate):
    """Stretches without end, an upload that pauses as it likes."""
    clock = FakeClock()
    pace = SharedPace(clock)
    pace.set_limit(rate)
    sent: list[tuple[float, int]] = []
    begins_at = clock.monotonic()
    for pause, wanted in pauses:
        while begins_at < clock.monotonic() + pause + 1:
            pace.add(Stretch(begins_at, rate // 4, rate))
            begins_at += (rate // 4) / rate
        clock.advance(pause)
        size_bytes = pace.take(wanted, never_abort)
        sent.append((clock.monotonic(), size_bytes))
    slack = LATE_SECONDS + max(1 / 20, LEAST_PIECE_BYTES / rate)
    for first, (start, _) in enumerate(sent):
        total = 0
        for end, size_bytes in sent[first:]:
            total += size_bytes
            assert total <= rate * (end - start + slack) + 1
