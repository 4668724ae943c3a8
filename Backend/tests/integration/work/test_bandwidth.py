"""The limit of a site's line: one schedule for all its workers, in the database."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.cctv.models import GCPVideoTransfer, Site, SiteLine
from apps.cctv.services.bandwidth import LONGEST_QUEUE_SECONDS, QUEUE_SECONDS, limit_of, limits_in_force, line_take
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.upload_attempt import UploadAttempt
from offload.clock import SystemClock
from offload.errors import LeaseLost
from offload.pace import LATE_SECONDS, Pace, SharedPace, Stretch, Turn
from offload.states import State
from offload.store import Abort, never_abort
from offload.testing import FakeClock, MemoryStore
from offload.uploader import UploadSettings
from tests.integration.db import rows
from tests.integration.work.conftest import MakeTransfer, written_at_once
from tests.threads import all_at_once
from tests.worker_tools import worker_tools

pytestmark = pytest.mark.django_db

MB = 1_000_000
RATE = 4 * MB


def same(now: datetime) -> datetime:
    """The schedule's time in tests: the fake clock's, also where the product would ask the database."""
    return now


@pytest.fixture
def limited(site: Site) -> Site:
    return set_limit(site, "4 MB/s")


def set_limit(site: Site, text: str, *, time_zone: str = "UTC") -> Site:
    site.bandwidth_limit, site.time_zone = text, time_zone
    site.save()
    return site


def take(site: Site, clock: FakeClock, seconds: float = 0.5) -> Stretch:
    found = line_take(site_id=site.pk, wanted_seconds=seconds, clock=clock, time_of=same)
    assert found is not None
    return found


def seconds_of(stretch: Stretch) -> float:
    return stretch.size_bytes / stretch.bytes_per_second


# --- the schedule ---


def test_stretches_follow_each_other_without_a_gap(limited: Site, clock: FakeClock) -> None:
    stretches = [take(limited, clock) for _ in range(5)]
    for earlier, later in itertools.pairwise(stretches):
        assert later.begins_at == pytest.approx(earlier.begins_at + seconds_of(earlier), abs=1e-5)


def test_idle_line_gives_back_no_more_than_allowed(limited: Site, clock: FakeClock) -> None:
    take(limited, clock)
    clock.advance(3600)
    assert take(limited, clock).begins_at == pytest.approx(clock.monotonic() - LATE_SECONDS, abs=1e-5)


def test_stretches_get_shorter_as_the_queue_grows(limited: Site, clock: FakeClock) -> None:
    lengths = [seconds_of(take(limited, clock)) for _ in range(30)]
    assert lengths[0] == pytest.approx(0.5)
    assert lengths == sorted(lengths, reverse=True)
    assert sum(lengths) < QUEUE_SECONDS + 1.5


def test_each_site_has_a_line_of_its_own(limited: Site, clock: FakeClock) -> None:
    other = set_limit(Site.objects.create(name="Yard"), "1 MB/s")
    assert take(limited, clock).begins_at == take(other, clock).begins_at
    assert take(other, clock).bytes_per_second == MB


def test_new_limit_begins_at_once(limited: Site, clock: FakeClock) -> None:
    for _ in range(10):
        take(limited, clock)
    set_limit(limited, "1 MB/s")
    stretch = take(limited, clock)
    assert (stretch.begins_at, stretch.bytes_per_second) == (clock.monotonic(), MB)


def test_clock_set_back_stops_the_line_for_seconds(limited: Site, clock: FakeClock) -> None:
    take(limited, clock)
    held = take(limited, clock)
    clock.jump(-3 * 3600)
    after = take(limited, clock)
    assert held.begins_at + seconds_of(held) <= after.begins_at <= clock.monotonic() + QUEUE_SECONDS


def test_clock_set_back_little_stops_the_line_briefly(limited: Site, clock: FakeClock) -> None:
    take(limited, clock)
    clock.jump(-(LONGEST_QUEUE_SECONDS - 1))
    assert take(limited, clock).begins_at <= clock.monotonic() + LONGEST_QUEUE_SECONDS


def test_clock_that_is_put_forward_makes_no_burst(limited: Site, clock: FakeClock) -> None:
    take(limited, clock)
    clock.jump(3 * 3600)
    stretches = [take(limited, clock) for _ in range(4)]
    assert stretches[0].begins_at == pytest.approx(clock.monotonic() - LATE_SECONDS, abs=1e-5)
    assert stretches[-1].begins_at > clock.monotonic()


def test_site_without_a_limit_has_no_line(site: Site, clock: FakeClock) -> None:
    assert line_take(site_id=site.pk, wanted_seconds=0.5, clock=clock, time_of=same) is None


@pytest.mark.django_db(transaction=True)
def test_many_takers_at_once_get_stretches_that_never_overlap(limited: Site) -> None:
    clock = SystemClock()
    taken: list[Stretch] = []

    def taker() -> None:
        for _ in range(10):
            stretch = line_take(site_id=limited.pk, wanted_seconds=0.5, clock=clock)
            assert stretch is not None
            taken.append(stretch)

    all_at_once(6, taker)

    assert len(taken) == 60
    taken.sort(key=lambda stretch: stretch.begins_at)
    for earlier, later in itertools.pairwise(taken):
        # Two clocks are read for each, one after the other: they differ by what lies between.
        assert later.begins_at >= earlier.begins_at + seconds_of(earlier) - 0.02


# --- what is in force ---


def test_limit_follows_the_sites_own_hour(site: Site) -> None:
    limit = limit_of(set_limit(site, "08:00-18:00 2 MB/s, else unlimited", time_zone="Europe/Berlin"))
    noon = datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
    assert limit.rate_at(noon) == 2 * MB
    change = limit.next_change(noon)
    assert change == datetime(2026, 7, 1, 18, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert change.hour == 18


def test_invalid_text_limits_nothing_and_says_so(site: Site, clock: FakeClock) -> None:
    set_limit(site, "08:00-18:00 slow")
    assert limits_in_force(site_ids=[site.pk], clock=clock, time_of=same) == {site.pk: None}
    assert "slow" in limit_of(site).problem


def test_unknown_time_zone_means_utc_and_says_so(site: Site) -> None:
    limit = limit_of(set_limit(site, "08:00-18:00 2 MB/s", time_zone="Middle/Earth"))
    assert limit.rate_at(datetime(2026, 7, 1, 8, 0, tzinfo=UTC)) == 2 * MB
    assert "Middle/Earth" in limit.problem


# --- workers, in simulated time ---


class Worker:
    """The pace of one process with so many uploads, each of which sends a piece as soon as it may."""

    def __init__(self, site: Site, clock: FakeClock, *, uploads: int) -> None:
        self.sent: list[tuple[float, int, int]] = []
        self.bandwidth = Bandwidth(clock, time_of=same)
        self._clock = clock
        self._within = ExitStack()
        self._paces = [self._within.enter_context(self.bandwidth.of(site.pk)) for _ in range(uploads)]
        self._turns: list[Turn | None] = [None] * uploads
        self._next_step_at = 0.0
        self.takes_a_piece_every = 0.0
        self._not_before = [0.0] * uploads

    def run(self) -> None:
        """One moment of its life."""
        now = self._clock.monotonic()
        if now >= self._next_step_at:
            self._next_step_at = now + (self.bandwidth.step() or 1)
        for number, pace in enumerate(self._paces):
            assert isinstance(pace, SharedPace)
            self._send(number, pace, now)

    def _send(self, number: int, pace: SharedPace, now: float) -> None:
        turn = self._turns[number]
        if turn is None and now >= self._not_before[number]:
            turn = self._turns[number] = pace.ask(256 * 1024)
        if turn is not None and pace.seconds_left(turn) <= 0:
            self.sent.append((now, turn.size_bytes, number))
            pace.leave(turn)
            self._turns[number] = None
            self._not_before[number] = now + self.takes_a_piece_every

    def end(self) -> None:
        self._within.close()

    def sent_bytes(self, begins_at: float, ends_at: float) -> int:
        return sum(size for at, size, _ in self.sent if begins_at <= at < ends_at)


@pytest.fixture
def make_workers(clock: FakeClock) -> Iterator[Callable[..., list[Worker]]]:
    made: list[Worker] = []

    def make(site: Site, *uploads: int) -> list[Worker]:
        made.extend(Worker(site, clock, uploads=count) for count in uploads)
        return made

    yield make
    for worker in made:
        worker.end()


def live(clock: FakeClock, workers: list[Worker], seconds: float, *, moment: float = 0.01) -> None:
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        for worker in workers:
            worker.run()
        clock.advance(moment)


def windows(clock: FakeClock, workers: list[Worker], *, since: float) -> list[float]:
    """What all of them sent in every ten seconds since then, as a part of what the limit allows."""
    starts = [since + step / 4 for step in range(int((clock.monotonic() - 10 - since) * 4) + 1)]
    return [sum(worker.sent_bytes(start, start + 10) for worker in workers) / (10 * RATE) for start in starts]


@pytest.mark.parametrize("uploads", [(1,), (20,), (3, 3), (1, 8), (2, 2, 2, 2, 2, 2)], ids=str)
def test_any_ten_seconds_are_within_five_percent(
    limited: Site, clock: FakeClock, make_workers: Callable[..., list[Worker]], uploads: tuple[int, ...]
) -> None:
    workers = make_workers(limited, *uploads)
    began = clock.monotonic()
    live(clock, workers, 25)
    found = windows(clock, workers, since=began)
    assert max(found) <= 1.05
    assert min(found[4:]) >= 0.95


def test_all_uploads_of_a_worker_get_the_same(
    limited: Site, clock: FakeClock, make_workers: Callable[..., list[Worker]]
) -> None:
    (worker,) = make_workers(limited, 20)
    live(clock, [worker], 22)
    each = [sum(size for _, size, upload in worker.sent if upload == number) for number in range(20)]
    assert min(each) > 0.85 * max(each)


def test_worker_that_needs_little_leaves_the_rest(
    limited: Site, clock: FakeClock, make_workers: Callable[..., list[Worker]]
) -> None:
    slow, fast = make_workers(limited, 1, 4)
    slow.takes_a_piece_every = 2.0
    began = clock.monotonic()
    live(clock, [slow, fast], 25)
    assert fast.sent_bytes(began + 5, began + 25) >= 0.8 * 20 * RATE
    assert max(windows(clock, [slow, fast], since=began)) <= 1.05


def test_workers_come_and_die_without_a_burst(
    limited: Site, clock: FakeClock, make_workers: Callable[..., list[Worker]]
) -> None:
    first, second, third = make_workers(limited, 2, 2, 2)
    began = clock.monotonic()
    live(clock, [first, second], 7)
    live(clock, [second], 7)  # the first is killed with what it holds
    live(clock, [second, third], 11)
    found = windows(clock, [first, second, third], since=began)
    assert max(found) <= 1.05
    assert min(found[4:]) >= 0.9


def test_another_limit_is_in_force_within_two_seconds(
    limited: Site, clock: FakeClock, make_workers: Callable[..., list[Worker]]
) -> None:
    workers = make_workers(limited, 2, 2)
    live(clock, workers, 10)
    set_limit(limited, "1 MB/s")
    changed = clock.monotonic()
    live(clock, workers, 12.5)
    after = sum(worker.sent_bytes(changed + 2, changed + 12) for worker in workers)
    assert after == pytest.approx(10 * MB, rel=0.05)

    set_limit(limited, "")
    lifted = clock.monotonic()
    live(clock, workers, 2)
    pieces = [size for worker in workers for at, size, _ in worker.sent if at >= lifted + 1.2]
    assert set(pieces) == {256 * 1024}

    set_limit(limited, "2 MB/s")
    limited_at = clock.monotonic()
    live(clock, workers, 12.5)
    after = sum(worker.sent_bytes(limited_at + 2, limited_at + 12) for worker in workers)
    assert after == pytest.approx(20 * MB, rel=0.05)


def test_timetable_takes_effect_at_its_minute(
    site: Site, clock: FakeClock, make_workers: Callable[..., list[Worker]]
) -> None:
    begins = (clock.now() + timedelta(minutes=2)).replace(second=0, microsecond=0)
    set_limit(site, f"{begins:%H:%M}-{begins + timedelta(hours=1):%H:%M} 1 MB/s, else 4 MB/s")
    workers = make_workers(site, 2, 2)
    clock.advance((begins - clock.now()).total_seconds() - 11)
    turn = clock.monotonic() + 11
    live(clock, workers, 24)
    before = sum(worker.sent_bytes(turn - 10, turn) for worker in workers)
    after = sum(worker.sent_bytes(turn + 2, turn + 12) for worker in workers)
    assert before == pytest.approx(40 * MB, rel=0.05)
    assert after == pytest.approx(10 * MB, rel=0.05)


# --- one upload ---


@pytest.mark.django_db(transaction=True)
def test_lost_lease_ends_a_paced_upload_and_records_nothing(
    site: Site, make_transfer: MakeTransfer, store: MemoryStore, bandwidth: Bandwidth, media_root: Path
) -> None:
    """At 64 kB/s the file would take eight minutes."""
    clock = SystemClock()
    transfer = make_transfer(size_bytes=32 * MB)
    set_limit(site, "64 kB/s")
    tools = worker_tools(
        store,
        media_root,
        clock,
        upload_settings=UploadSettings(settle_seconds=0),
        bandwidth=bandwidth,
        group_commit=written_at_once(clock),
    )
    claim = rows.claim(now=clock.now())
    assert claim is not None
    attempt = UploadAttempt(claim, tools, claimed_at=clock.monotonic())
    running = threading.Thread(target=attempt.run)
    running.start()
    until(SiteLine.objects.filter(bytes_per_second=64_000).exists)
    attempt.lose()
    running.join(30)
    assert not running.is_alive()
    assert GCPVideoTransfer.objects.get(pk=transfer.pk).transfer_status == State.UPLOADING
    assert store.objects() == []


def until(happened: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


# --- the database ---


def writes(captured: CaptureQueriesContext) -> int:
    return sum(not query["sql"].startswith(("SELECT", "SAVEPOINT", "RELEASE", "BEGIN")) for query in captured)


def test_limit_costs_four_writes_a_second_a_worker(
    limited: Site, clock: FakeClock, make_workers: Callable[..., list[Worker]]
) -> None:
    (worker,) = make_workers(limited, 5)
    live(clock, [worker], 1)
    with CaptureQueriesContext(connection) as captured:
        live(clock, [worker], 10)
    assert 10 <= writes(captured) <= 41


def test_site_without_a_limit_costs_one_look_a_second(
    site: Site, clock: FakeClock, make_workers: Callable[..., list[Worker]]
) -> None:
    (worker,) = make_workers(site, 3)
    live(clock, [worker], 1)
    with CaptureQueriesContext(connection) as captured:
        live(clock, [worker], 10)
    assert writes(captured) == 0
    assert len(captured) <= 11
    assert not SiteLine.objects.exists()


def test_nothing_is_asked_where_nothing_uploads(limited: Site, clock: FakeClock) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert Bandwidth(clock, time_of=same).step() is None
    assert len(captured) == 0


@pytest.mark.django_db(transaction=True)
def test_locked_database_makes_paced_uploads_wait_and_nothing_else(limited: Site, bandwidth: Bandwidth) -> None:
    """No worker gets the line's row while another process has locked it; afterwards uploads go on by themselves."""
    with bandwidth.of(limited.pk) as pace:
        assert pace.take(1000, never_abort) == 1000
        with transaction.atomic():
            SiteLine.objects.select_for_update().get()
            with pytest.raises(LeaseLost):
                take_for_ever(pace, LostAfterSeconds(4))
        assert pace.take(1000, never_abort) == 1000


def take_for_ever(pace: Pace, abort: Abort) -> None:
    while True:
        pace.take(10 * MB, abort)


class LostAfterSeconds:
    """An `Abort` that gives up on one wait after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._clock = SystemClock()
        self._at = self._clock.monotonic() + seconds

    def __call__(self) -> None:
        if self._clock.monotonic() > self._at:
            raise LeaseLost("waited long enough")
