"""An upload sends no byte of footage before its pace allows it."""

from __future__ import annotations

import pytest

from offload.errors import Stopped, TryAgain
from offload.store import Abort, never_abort
from tests.unit.upload_bench import QUANTUM


class Thousands:
    """Lets a thousand bytes go at a time, and counts them."""

    def __init__(self) -> None:
        self.taken_bytes = 0

    def take(self, wanted_bytes: int, abort: Abort) -> int:
        abort()
        taken_bytes = min(wanted_bytes, 1000)
        self.taken_bytes += taken_bytes
        return taken_bytes


@pytest.mark.parametrize(
    ("small_limit_bytes", "size_bytes"),
    [(0, 3 * QUANTUM), (0, 3 * QUANTUM + 12_345), (0, 777), (100 * QUANTUM, 2 * QUANTUM + 7)],
    ids=["chunks", "chunks and a tail", "a tail only", "one small request"],
)
def test_every_byte_was_let_go_by_the_pace(make_bench, small_limit_bytes, size_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.pace = Thousands()
    bench.write(size_bytes)
    result = bench.upload()

    bench.assert_proven(result)
    assert bench.pace.taken_bytes == result.bytes_sent == size_bytes


@pytest.mark.parametrize("small_limit_bytes", [0, 100 * QUANTUM], ids=["session", "small"])
def test_what_the_pace_raises_ends_the_upload(make_bench, small_limit_bytes):
    """A worker that was asked to stop does not wait for a chunk that a narrow line drags out."""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(3 * QUANTUM)

    class Endless(Thousands):
        def take(self, wanted_bytes: int, abort: Abort) -> int:
            if self.taken_bytes >= QUANTUM:
                raise Stopped("asked to stop while it waited")
            return super().take(wanted_bytes, abort)

    bench.pace = Endless()
    bench.fails(Stopped, abort=never_abort)
    assert bench.store.objects() == []


def test_bytes_that_are_sent_twice_are_let_go_twice(make_bench):
    bench = make_bench()
    bench.pace = Thousands()
    bench.write(3 * QUANTUM)
    bench.store.fault("send", TryAgain("503"), skip=1, after_bytes=1000)
    result = bench.upload()

    assert result.bytes_sent > 3 * QUANTUM
    assert bench.pace.taken_bytes == result.bytes_sent
