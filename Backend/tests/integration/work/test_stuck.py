"""Work that does not move loses its lease: a thread may hang in a read, in a lock or in a log for ever (P4, P6)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from apps.cctv import wiring
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.wiring import service_settings
from apps.cctv.worker import run_worker
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.heartbeat import moving
from apps.cctv.worker.periodic import Periodic, PeriodicThread, Worker
from apps.cctv.worker.upload_attempt import AttemptPace, Tools, UploadAttempt
from offload.clock import Clock
from offload.errors import LeaseLost
from offload.retry import Backoff
from offload.source import MediaRoot
from offload.states import State
from offload.store import Abort
from offload.testing import FakeClock, MemoryStore
from offload.uploader import UploadSettings
from tests.integration.db import rows
from tests.integration.work.conftest import MakeTransfer, written_at_once
from tests.worker_tools import worker_tools

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 2**20
QUICK = replace(
    wiring.timings(),
    poll_seconds=0.02, heartbeat_seconds=0.1, lease_seconds=2, margin_seconds=0.3, backoff=Backoff(0.05, 0.4), stuck_seconds=1,
)  # fmt: skip
SETTINGS = UploadSettings(
    settle_seconds=0, progress_seconds=0, small_limit_bytes=0, chunk_min_bytes=MIB, chunk_max_bytes=MIB, reconnects=0
)


@pytest.fixture
def work(store: MemoryStore, media_root: Path, tmp_path: Path) -> Callable[[], None]:
    """Runs a worker in this thread until it is stopped."""
    return lambda: run_worker(
        store=store, root=MediaRoot(media_root), home=tmp_path, settings=replace(service_settings(), timings=QUICK),
        upload_settings=SETTINGS, uploads=4, periodic=False,
    )  # fmt: skip


def until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def status() -> str:
    return GCPVideoTransfer.objects.get().transfer_status


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def beside(action: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        try:
            action()
        finally:
            stop()
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_hanging_upload_loses_its_lease_and_changes_nothing(
    work: Callable[[], None], store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    """The store hangs without a sign, as a read of a dead file server does; another thread uploads the file."""
    make_transfer(size_bytes=2 * MIB)
    goes_on, ended = threading.Event(), threading.Event()

    def hang() -> None:
        assert goes_on.wait(60)
        ended.set()

    store.fault("send", times=1, action=hang)
    history: list[Any] = []

    def watch() -> None:
        until(lambda: status() == State.CLEANUP_PENDING)
        history.append(list(GCPVideoTransfer.objects.values()))
        goes_on.set()
        assert ended.wait(60)

    watching = beside(watch)
    work()
    watching.join()
    assert list(GCPVideoTransfer.objects.values()) == history[0]
    reasons = list(GCPVideoTransfer.objects.get().events.values_list("reason", flat=True))
    assert reasons == ["claimed", "lease_expired", "claimed", "uploaded"]
    assert len(store.objects()) == 1


def test_worker_ends_at_the_first_signal_despite_a_hang(
    work: Callable[[], None], store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer(size_bytes=2 * MIB)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        goes_on.wait(60)
        connections.close_all()

    store.fault("send", times=1, action=hang)
    watching = beside(lambda: until(hangs.is_set))
    work()
    watching.join()
    assert not goes_on.is_set()
    goes_on.set()
    assert status() == State.PENDING
    assert GCPVideoTransfer.objects.get().lease_owner is None


# --- what counts as movement ---


@pytest.fixture
def tools(store: MemoryStore, clock: FakeClock, media_root: Path) -> Tools:
    return worker_tools(store, media_root, clock, upload_settings=SETTINGS, group_commit=written_at_once(clock))


def attempts_of(tools: Tools, clock: FakeClock, count: int) -> list[UploadAttempt]:
    claims = rows.claim_many(count, now=clock.now())
    assert len(claims) == count
    found = [UploadAttempt(claim, tools, claimed_at=clock.monotonic()) for claim in claims]
    for attempt in found:
        attempt.has_begun = True
    return found


def stay_leased(attempts: list[UploadAttempt], clock: Clock) -> None:
    for attempt in attempts:
        attempt.renewed(clock.monotonic() + 40)


def test_silent_thread_is_given_up_for_good(tools: Tools, clock: FakeClock, make_transfer: MakeTransfer) -> None:
    make_transfer("one.ts")
    make_transfer("two.ts")
    attempts = one, two = attempts_of(tools, clock, 2)
    for _ in range(4):
        clock.advance(76)
        stay_leased(attempts, clock)
        one.check()
    assert moving(attempts) == [one]
    with pytest.raises(LeaseLost):
        two.check()
    assert moving(attempts) == [one], "a sign that comes later brings nothing back"


def test_waiting_for_a_thread_counts_as_movement_while_one_moves(
    tools: Tools, clock: FakeClock, make_transfer: MakeTransfer
) -> None:
    make_transfer("one.ts")
    make_transfer("two.ts")
    attempts = one, two = attempts_of(tools, clock, 2)
    two.has_begun = False
    clock.advance(3000)
    stay_leased(attempts, clock)
    one.check()
    assert moving(attempts) == [one, two]
    clock.advance(301)
    assert moving(attempts) == []


class Thin:
    """A slow line: each piece takes a while, and the waiting upload asks all the time whether to go on."""

    def __init__(self, clock: FakeClock, step: Callable[[], object]) -> None:
        self._clock, self._step = clock, step

    def take(self, wanted_bytes: int, abort: Abort) -> int:
        for _ in range(8):
            self._clock.advance(50)
            self._step()
            abort()
        return wanted_bytes


def test_waiting_for_a_thin_line_is_movement(tools: Tools, clock: FakeClock, make_transfer: MakeTransfer) -> None:
    make_transfer("one.ts")
    (one,) = attempts_of(tools, clock, 1)

    class Seen(Bandwidth):
        alive = True

        def stepped_within(self, seconds: float) -> bool:
            return self.alive

    bandwidth = Seen(clock)
    one = UploadAttempt(one.claim, replace(tools, bandwidth=bandwidth), claimed_at=clock.monotonic())
    one.has_begun = True
    pace = AttemptPace(one, Thin(clock, lambda: stay_leased([one], clock)))
    assert pace.take(100, one.check) == 100
    assert one.is_moving()
    bandwidth.alive = False
    assert pace.take(100, one.check) == 100
    assert not one.is_moving()


def test_bandwidth_tells_when_it_last_did_its_work(clock: FakeClock) -> None:
    bandwidth = Bandwidth(clock)
    clock.advance(300)
    assert not bandwidth.stepped_within(300)
    bandwidth.start()
    until(lambda: bandwidth.stepped_within(300))
    bandwidth.finish()


def test_periodic_job_that_hangs_keeps_no_lease(tools: Tools, clock: FakeClock, tmp_path: Path) -> None:
    """One that goes from file to file does, however long it takes."""
    worker = Worker(tools=tools, home=tmp_path, owner_id=rows.OWNER, site_id=None)
    seen: list[bool] = []

    def run(here: Worker) -> None:
        for _ in range(3):
            clock.advance(3000)
            here.should_stop()
            seen.append(thread.lease() is not None)
        clock.advance(3700)
        seen.append(thread.lease() is not None)

    thread = PeriodicThread(Periodic("count", lambda timings: 60, run), worker)
    thread.step()
    assert seen == [True, True, True, False]
