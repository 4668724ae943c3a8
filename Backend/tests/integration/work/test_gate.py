"""The gate: during an outage one upload at a time tries the door, with growing pauses."""

from __future__ import annotations

from uuid import UUID

import pytest

from apps.cctv.worker.breaker import Gate
from apps.cctv.worker.timings import Timings
from offload.testing import FakeClock

A, B = UUID(int=1), UUID(int=2)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def gate_of(clock: FakeClock, *, closed: bool = False) -> Gate:
    return Gate(clock, Timings(retry_base_seconds=2, retry_cap_seconds=45), lambda: 1.0, closed=closed)


def test_open_gate_lets_everybody_through(clock: FakeClock) -> None:
    gate = gate_of(clock)
    gate.claimed(A)
    assert gate.room(1)


def test_closed_gate_lets_one_try_after_a_pause(clock: FakeClock) -> None:
    gate = gate_of(clock)
    gate.close(A)
    assert not gate.room(1)
    clock.advance(2)
    assert gate.room(1)
    gate.claimed(B)
    assert not gate.room(1)
    gate.ended(B)
    assert gate.room(1)


def test_pauses_grow_to_their_cap_and_no_further(clock: FakeClock) -> None:
    gate = gate_of(clock)
    gate.close(A)
    pauses = []
    for _ in range(7):
        pause = 0
        while not gate.room(1):
            clock.advance(1)
            pause += 1
        pauses.append(pause)
        gate.claimed(B)
        gate.close(B)
        gate.ended(B)
    assert pauses == [2, 4, 8, 16, 32, 45, 45]


def test_uploads_that_fail_together_count_once(clock: FakeClock) -> None:
    gate = gate_of(clock)
    for number in range(20):
        gate.close(UUID(int=number))
    clock.advance(2)
    assert gate.room(1)


def test_first_bytes_that_get_through_open_it(clock: FakeClock) -> None:
    gate = gate_of(clock, closed=True)
    assert gate.room(1)
    gate.claimed(A)
    assert not gate.room(1)
    assert gate.open()
    assert gate.room(1)
    assert not gate.open()


def test_upload_that_tries_and_merely_ends_leaves_it_closed(clock: FakeClock) -> None:
    gate = gate_of(clock, closed=True)
    gate.claimed(A)
    gate.ended(A)
    gate.claimed(B)
    assert not gate.room(1)
