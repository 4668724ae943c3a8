from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.retry import LONGEST_WAIT_SECONDS, Backoff


def delay(failures, random=1.0, retry_after_seconds=None):
    return Backoff(2, 45).delay_seconds(failures, random=lambda: random, retry_after_seconds=retry_after_seconds)


def test_delays_double_up_to_the_cap():
    assert [delay(failures) for failures in range(1, 8)] == [2, 4, 8, 16, 32, 45, 45]


@given(st.integers(-5, 10**9), st.floats(0, 1))
def test_jitter_keeps_between_half_and_all(failures, random):
    assert delay(failures, 1.0) / 2 <= delay(failures, random) <= delay(failures, 1.0) <= 45


def test_transfers_that_failed_together_do_not_come_back_together():
    assert delay(3, 0.1) != delay(3, 0.9)


@pytest.mark.parametrize(("asked", "wanted"), [(100, 100), (1, 8), (10**9, LONGEST_WAIT_SECONDS), (None, 8)])
def test_bucket_is_left_alone_while_it_asks_reasonably(asked, wanted):
    assert delay(3, 1.0, asked) == wanted


@pytest.mark.parametrize(
    ("usual", "of_an_attempt"), [(Backoff(2, 45), Backoff(1, 8)), (Backoff(1, 5), Backoff(0.5, 5))]
)
def test_attempt_reconnects_sooner_than_the_transfer_is_tried_again(usual, of_an_attempt):
    assert usual.between_reconnects() == of_an_attempt
