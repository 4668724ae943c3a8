"""The circuit breaker: during an outage one upload at a time is a trial, with growing pauses."""

from __future__ import annotations

from uuid import UUID

import pytest

from apps.cctv.worker.breaker import CircuitBreaker
from offload.retry import Backoff
from offload.testing import FakeClock

A, B = UUID(int=1), UUID(int=2)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def breaker_of(clock: FakeClock, *, tripped: bool = False) -> CircuitBreaker:
    return CircuitBreaker(clock, Backoff(2, 45), lambda: 1.0, tripped=tripped)


def test_breaker_that_has_not_tripped_lets_every_upload_through(clock: FakeClock) -> None:
    breaker = breaker_of(clock)
    breaker.claimed(A)
    assert breaker.room(1)


def test_tripped_breaker_lets_one_try_after_a_pause(clock: FakeClock) -> None:
    breaker = breaker_of(clock)
    breaker.trip(A)
    assert not breaker.room(1)
    clock.advance(2)
    assert breaker.room(1)
    breaker.claimed(B)
    assert not breaker.room(1)
    breaker.ended(B)
    assert breaker.room(1)


def test_pauses_grow_to_their_cap_and_no_further(clock: FakeClock) -> None:
    breaker = breaker_of(clock)
    breaker.trip(A)
    pauses = []
    for _ in range(7):
        pause = 0
        while not breaker.room(1):
            clock.advance(1)
            pause += 1
        pauses.append(pause)
        breaker.claimed(B)
        breaker.trip(B)
        breaker.ended(B)
    assert pauses == [2, 4, 8, 16, 32, 45, 45]


def test_uploads_that_fail_together_count_once(clock: FakeClock) -> None:
    breaker = breaker_of(clock)
    for number in range(20):
        breaker.trip(UUID(int=number))
    clock.advance(2)
    assert breaker.room(1)


def test_first_bytes_that_get_through_reset_it(clock: FakeClock) -> None:
    breaker = breaker_of(clock, tripped=True)
    assert breaker.room(1)
    breaker.claimed(A)
    assert not breaker.room(1)
    assert breaker.reset()
    assert breaker.room(1)
    assert not breaker.reset()


def test_upload_that_tries_and_merely_ends_leaves_it_tripped(clock: FakeClock) -> None:
    breaker = breaker_of(clock, tripped=True)
    breaker.claimed(A)
    breaker.ended(A)
    breaker.claimed(B)
    assert not breaker.room(1)
