"""The threads that upload: few on a quick line, many on a slow one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from apps.cctv.worker.pool import FEWEST, LONGEST_LOOK_SECONDS, LOOK_SECONDS, ThreadPool

MOST = 8


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Processor:
    """Clocks in the test's hand: wall time, and the CPU time that the process took of it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.taken = 3.0

    def run(self, seconds: float, *, busy_cores: float) -> None:
        self.now += seconds
        self.taken += seconds * busy_cores


class Uploads:
    """Jobs that run until they are let go."""

    def __init__(self) -> None:
        self.begun = 0
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(0)

    def task(self) -> None:
        with self._lock:
            self.begun += 1
        assert self._turns.acquire(timeout=30)

    def let_go(self, count: int) -> None:
        self._turns.release(count)

    def wait_for(self, begun: int) -> None:
        wait_until(lambda: self.begun >= begun)


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def processor() -> Processor:
    return Processor()


@pytest.fixture
def uploads() -> Uploads:
    return Uploads()


@pytest.fixture
def wakes() -> Wakes:
    return Wakes()


@pytest.fixture
def pool(processor: Processor, uploads: Uploads, wakes: Wakes) -> Iterator[ThreadPool]:
    pool = ThreadPool(
        most=MOST, wake=wakes, monotonic=lambda: processor.now, process_seconds=lambda: processor.taken, cores=4
    )
    yield pool
    uploads.let_go(1000)
    pool.close()


def submit(pool: ThreadPool, uploads: Uploads, count: int) -> None:
    for _ in range(count):
        pool.submit(uploads.task)


def let_all_in(pool: ThreadPool, processor: Processor) -> None:
    """The processor idles until no more may be let in."""
    while pool.look() is not None:
        processor.run(LONGEST_LOOK_SECONDS, busy_cores=0)


def test_few_begin_where_they_keep_the_processor_busy(pool: ThreadPool, uploads: Uploads, processor: Processor) -> None:
    submit(pool, uploads, MOST)
    uploads.wait_for(FEWEST)
    for _ in range(5):
        processor.run(LONGEST_LOOK_SECONDS, busy_cores=1.2)
        assert pool.look()
    uploads.let_go(1)
    uploads.wait_for(FEWEST + 1)
    assert uploads.begun == FEWEST + 1


def test_twice_as_many_are_let_in_while_waiting(pool: ThreadPool, uploads: Uploads, processor: Processor) -> None:
    submit(pool, uploads, MOST)
    for begun in (FEWEST, 2 * FEWEST, 4 * FEWEST):
        uploads.wait_for(begun)
        assert uploads.begun == begun
        processor.run(LOOK_SECONDS, busy_cores=0.1)
        pool.look()
    assert 4 * FEWEST == MOST


def test_look_that_comes_too_soon_judges_nothing(pool: ThreadPool, uploads: Uploads, processor: Processor) -> None:
    submit(pool, uploads, MOST)
    uploads.wait_for(FEWEST)
    processor.run(LOOK_SECONDS / 4, busy_cores=0)
    assert pool.look() == pytest.approx(LOOK_SECONDS * 3 / 4)
    uploads.let_go(1)
    uploads.wait_for(FEWEST + 1)
    assert uploads.begun == FEWEST + 1


def test_busy_processor_is_looked_at_less_and_less_often(
    pool: ThreadPool, uploads: Uploads, processor: Processor
) -> None:
    submit(pool, uploads, MOST)
    pauses = []
    for _ in range(6):
        processor.run(LONGEST_LOOK_SECONDS, busy_cores=1.2)
        pauses.append(pool.look())
    assert pauses == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.4])
    processor.run(LONGEST_LOOK_SECONDS, busy_cores=0.1)
    assert pool.look() == LOOK_SECONDS
    uploads.wait_for(2 * FEWEST)


@pytest.mark.parametrize(("busy_cores", "more"), [(1.3, True), (1.5, False)])
def test_no_more_are_let_in_beyond_a_third_of_cores(
    processor: Processor, uploads: Uploads, wakes: Wakes, busy_cores: float, more: bool
) -> None:
    """Of four cores here. By their own share alone eight threads would let in more at both figures."""
    pool = ThreadPool(
        most=16, wake=wakes, monotonic=lambda: processor.now, process_seconds=lambda: processor.taken, cores=4
    )
    submit(pool, uploads, 16)
    for cores in (0.1, 0.1, busy_cores):
        processor.run(LOOK_SECONDS, busy_cores=cores)
        pool.look()
    uploads.wait_for(16 if more else 8)
    uploads.let_go(1)
    uploads.wait_for(16 if more else 9)
    assert uploads.begun == (16 if more else 9)
    uploads.let_go(1000)
    pool.close()


def test_idle_time_before_the_first_task_does_not_count(
    pool: ThreadPool, uploads: Uploads, processor: Processor
) -> None:
    processor.run(3600, busy_cores=0)
    submit(pool, uploads, MOST)
    processor.run(LOOK_SECONDS, busy_cores=1.2)
    assert pool.look()
    uploads.wait_for(FEWEST)
    uploads.let_go(1)
    uploads.wait_for(FEWEST + 1)
    assert uploads.begun == FEWEST + 1


def test_pool_takes_no_look_where_nothing_waits_or_all_run(
    pool: ThreadPool, uploads: Uploads, processor: Processor
) -> None:
    assert pool.look() is None
    submit(pool, uploads, FEWEST)
    uploads.wait_for(FEWEST)
    assert pool.look() is None
    submit(pool, uploads, MOST)
    for _ in range(3):
        processor.run(LOOK_SECONDS, busy_cores=0)
        pool.look()
    uploads.wait_for(MOST)
    assert pool.look() is None, "two still wait, but no more may run"


def test_few_begin_again_after_a_lull(pool: ThreadPool, uploads: Uploads, processor: Processor) -> None:
    submit(pool, uploads, MOST)
    let_all_in(pool, processor)
    uploads.wait_for(MOST)
    uploads.let_go(MOST)
    wait_until(lambda: pool._running == 0)
    submit(pool, uploads, MOST)
    uploads.wait_for(MOST + FEWEST)
    uploads.let_go(1)
    uploads.wait_for(MOST + FEWEST + 1)
    assert uploads.begun == MOST + FEWEST + 1


def test_threads_before_and_after_a_lull_run_together(pool: ThreadPool, uploads: Uploads, processor: Processor) -> None:
    submit(pool, uploads, MOST)
    processor.run(LOOK_SECONDS, busy_cores=0.1)
    pool.look()
    uploads.wait_for(2 * FEWEST)
    uploads.let_go(MOST)
    wait_until(lambda: pool._running == 0 and uploads.begun == MOST)
    submit(pool, uploads, MOST)
    for _ in range(2):
        processor.run(LOOK_SECONDS, busy_cores=0.1)
        pool.look()
    uploads.wait_for(2 * MOST)


def test_tasks_that_have_not_begun_are_taken_back(pool: ThreadPool, uploads: Uploads) -> None:
    submit(pool, uploads, MOST)
    uploads.wait_for(FEWEST)
    assert pool.take_back() == [uploads.task] * (MOST - FEWEST)
    uploads.let_go(MOST)
    pool.close()
    assert uploads.begun == FEWEST


def test_more_tasks_are_asked_for_before_none_is_left(pool: ThreadPool, uploads: Uploads, wakes: Wakes) -> None:
    submit(pool, uploads, 2 * FEWEST)
    uploads.wait_for(FEWEST)
    assert pool.has_plenty()
    before = wakes.count
    uploads.let_go(1)
    uploads.wait_for(FEWEST + 1)
    wait_until(lambda: wakes.count == before + 1)
    assert not pool.has_plenty()


def test_close_waits_for_every_task_and_leaves_no_thread(processor: Processor, uploads: Uploads, wakes: Wakes) -> None:
    before = threading.active_count()
    pool = ThreadPool(most=MOST, wake=wakes)
    submit(pool, uploads, MOST)
    uploads.let_go(MOST)
    pool.close()
    assert uploads.begun == MOST
    assert threading.active_count() == before


def test_close_ends_threads_that_had_to_wait_for_others(processor: Processor, uploads: Uploads, wakes: Wakes) -> None:
    before = threading.active_count()
    pool = ThreadPool(
        most=MOST, wake=wakes, monotonic=lambda: processor.now, process_seconds=lambda: processor.taken, cores=4
    )
    submit(pool, uploads, MOST)
    let_all_in(pool, processor)
    uploads.let_go(MOST)
    wait_until(lambda: pool._idle == MOST)
    submit(pool, uploads, MOST)
    uploads.wait_for(MOST + FEWEST)
    closing = threading.Thread(target=pool.close, daemon=True)
    closing.start()
    uploads.let_go(MOST)
    closing.join(30)
    assert not closing.is_alive()
    assert threading.active_count() == before


@pytest.mark.parametrize("most", [1, 2, 3])
def test_never_more_than_asked_for(most: int, wakes: Wakes) -> None:
    running, highest, lock = 0, 0, threading.Lock()
    pause = threading.Event()

    def task() -> None:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
        pause.wait(0.005)
        with lock:
            running -= 1

    pool = ThreadPool(most=most, wake=wakes, process_seconds=lambda: 0.0)
    for _ in range(20):
        pool.submit(task)
    for _ in range(100):
        pool.look()
        pause.wait(0.002)
    pool.close()
    assert highest == most


def test_task_that_raises_takes_no_place_from_the_others(pool: ThreadPool, uploads: Uploads) -> None:
    def raising() -> None:
        raise RuntimeError("a bug")

    for _ in range(2 * FEWEST):
        pool.submit(raising)
    submit(pool, uploads, FEWEST)
    uploads.wait_for(FEWEST)


def test_thread_that_the_system_refuses_is_asked_for_again(
    pool: ThreadPool, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        submit(pool, uploads, FEWEST)
    pool.look()
    pool.look()
    uploads.wait_for(FEWEST)
