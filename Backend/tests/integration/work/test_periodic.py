"""Periodic jobs: each runs once across all workers, and a failure only costs that run."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import Error, connection, connections
from django.db.models import F

from apps.cctv import wiring
from apps.cctv.leasing import leases
from apps.cctv.models import PeriodicJob, Site
from apps.cctv.wiring import service_settings
from apps.cctv.worker.periodic import PERIODIC, Periodic, PeriodicThread, Worker
from offload.errors import StopAndTell
from offload.testing import FakeClock, MemoryStore
from tests.integration.db.rows import NOW
from tests.integration.work.outage import outage
from tests.worker_tools import worker_tools

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]


@pytest.fixture
def worker(store: MemoryStore, clock: FakeClock, media_root: Path, tmp_path: Path) -> Worker:
    timings = replace(wiring.timings(), poll_seconds=0.01, cleanup_seconds=3600)
    tools = worker_tools(store, media_root, clock, settings=replace(service_settings(), timings=timings))
    return Worker(tools=tools, home=tmp_path, owner_id=uuid.uuid4(), site_id=None)


def due(name: str = "count") -> PeriodicJob:
    return PeriodicJob.objects.create(name=name, next_run_at=NOW)


def thread_of(worker: Worker, run: Callable[[Worker], object]) -> PeriodicThread:
    return PeriodicThread(Periodic("count", lambda timings: 60, run), worker)


def test_job_runs_when_due_and_says_how_it_ended(worker: Worker) -> None:
    due()
    assert thread_of(worker, lambda _: "3 files").run_if_due()
    job = PeriodicJob.objects.get()
    assert (job.last_result, job.lease_owner, job.lease_expires_at) == ("3 files", None, None)
    assert job.last_started_at is not None
    assert job.last_finished_at is not None
    assert job.next_run_at == job.last_finished_at + timedelta(seconds=60)


def test_job_that_is_not_due_waits(worker: Worker) -> None:
    PeriodicJob.objects.create(name="count", next_run_at=leases.lease_clock(NOW) + timedelta(seconds=50))
    assert not thread_of(worker, lambda _: 1 / 0).run_if_due()


def test_job_in_another_workers_hands_is_left_to_it(worker: Worker) -> None:
    PeriodicJob.objects.create(
        name="count", next_run_at=NOW, lease_owner=uuid.uuid4(), lease_expires_at=NOW + timedelta(days=4000)
    )
    assert not thread_of(worker, lambda _: 1 / 0).run_if_due()


def test_job_of_a_worker_that_died_runs_again(worker: Worker) -> None:
    PeriodicJob.objects.create(
        name="count", next_run_at=NOW, lease_owner=uuid.uuid4(), lease_expires_at=NOW - timedelta(days=4000)
    )
    assert thread_of(worker, lambda _: "done").run_if_due()


def test_worker_that_lost_the_job_writes_no_end(worker: Worker) -> None:
    due()

    def taken_by_another(_: Worker) -> str:
        PeriodicJob.objects.update(lease_owner=uuid.UUID(int=9), lease_number=5)
        return "mine"

    thread_of(worker, taken_by_another).run_if_due()
    job = PeriodicJob.objects.get()
    assert (job.last_result, job.lease_number) == ("", 5)


@pytest.mark.django_db(transaction=True)  # after a crash the job's connection is a new one
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StopAndTell("no right to list"), "failed: permission_denied: no right to list"),
        (ZeroDivisionError("https://bucket/?upload_id=key"), "failed: ZeroDivisionError"),
    ],
)
def test_job_that_fails_is_tried_next_time(worker: Worker, error: Exception, said: str) -> None:
    due()

    def run(_: Worker) -> None:
        raise error

    assert thread_of(worker, run).run_if_due()
    job = PeriodicJob.objects.get()
    assert job.last_result == said
    assert job.last_finished_at is not None
    assert job.next_run_at == job.last_finished_at + timedelta(seconds=60)


def test_time_beyond_the_interval_is_not_waited_for(worker: Worker) -> None:
    """A clock that stood in 2036 left it, or one that went back since, or an interval that is shorter now."""
    PeriodicJob.objects.create(name="count", next_run_at=leases.lease_clock(NOW) + timedelta(hours=6))
    assert thread_of(worker, lambda _: "done").run_if_due()
    job = PeriodicJob.objects.get()
    assert job.last_finished_at is not None
    assert job.next_run_at == job.last_finished_at + timedelta(seconds=60)


def test_worker_of_a_site_runs_that_sites_jobs(worker: Worker) -> None:
    site_id = Site.objects.create(name="Depot").pk
    here = Worker(tools=worker.tools, home=worker.home, owner_id=worker.owner_id, site_id=site_id)
    thread_of(here, lambda _: "done").step()
    assert PeriodicJob.objects.get().name == f"count@{site_id}"


# --- a database that is lost, or locked, in the middle ---


def in_time(worker: Worker) -> PeriodicJob:
    """The job is due again."""
    PeriodicJob.objects.update(next_run_at=NOW)
    return PeriodicJob.objects.get()


def beat(worker: Worker, *threads: PeriodicThread) -> None:
    """As the worker's heartbeat does, over and over."""
    running = [lease for thread in threads if (lease := thread.lease()) is not None]
    leases.renew_jobs(leases=running, now=worker.tools.clock.now(), lease_seconds=40)


@pytest.mark.django_db(transaction=True)
def test_job_that_lost_its_database_runs_again(worker: Worker) -> None:
    due()
    with outage() as begin:

        def run(_: Worker) -> str:
            begin()
            return "3 files"

        thread = thread_of(worker, run)
        with pytest.raises(Error):
            thread.run_if_due()
    beat(worker, thread)
    assert PeriodicJob.objects.get().last_result == ""

    assert not thread.run_if_due()
    job = PeriodicJob.objects.get()
    assert (job.last_result, job.lease_owner) == ("3 files", None)
    in_time(worker)
    assert thread_of(worker, lambda _: "4 files").run_if_due()
    assert PeriodicJob.objects.get().last_result == "4 files"


@pytest.mark.django_db(transaction=True)
def test_job_without_a_written_end_is_taken_by_another(worker: Worker, clock: FakeClock) -> None:
    due()
    with outage() as begin:
        thread = thread_of(worker, lambda _: begin())
        with pytest.raises(Error):
            thread.run_if_due()
    clock.advance(30)
    beat(worker, thread)
    clock.advance(30)
    if connection.vendor == "postgresql":  # it measures by its own clock
        PeriodicJob.objects.update(lease_expires_at=F("lease_expires_at") - timedelta(seconds=60))
    other = Worker(tools=worker.tools, home=worker.home, owner_id=uuid.uuid4(), site_id=None)
    assert thread_of(other, lambda _: "done").run_if_due()
    thread.run_if_due()
    job = PeriodicJob.objects.get()
    assert (job.last_result, job.lease_number) == ("done", 2)


def test_leased_job_without_a_run_is_taken_again(worker: Worker) -> None:
    PeriodicJob.objects.create(
        name="count", next_run_at=NOW, lease_owner=worker.owner_id, lease_expires_at=NOW + timedelta(days=4000)
    )
    assert thread_of(worker, lambda _: "done").run_if_due()
    assert PeriodicJob.objects.get().last_result == "done"


def test_job_that_runs_keeps_its_lease(worker: Worker) -> None:
    due()
    seen: list[datetime | None] = []

    def run(_: Worker) -> None:
        seen.append(PeriodicJob.objects.get().lease_expires_at)
        leases.renew_jobs(leases=[found], now=NOW, lease_seconds=4000) if (found := thread.lease()) else None
        seen.append(PeriodicJob.objects.get().lease_expires_at)

    thread = thread_of(worker, run)
    thread.run_if_due()
    first, second = seen
    assert first is not None
    assert second is not None
    assert second > first + timedelta(seconds=3000)
    assert thread.lease() is None


def test_renewal_of_an_ended_run_prolongs_no_later_one(worker: Worker) -> None:
    """The lease's number is the fence, also between two runs in one process."""
    until = leases.lease_clock(NOW) + timedelta(seconds=30)
    PeriodicJob.objects.create(
        name="count", next_run_at=NOW, lease_number=2, lease_owner=worker.owner_id, lease_expires_at=until
    )
    leases.renew_jobs(leases=[leases.JobLease("count", worker.owner_id, 1)], now=NOW, lease_seconds=4000)
    assert PeriodicJob.objects.get().lease_expires_at == until


def test_thread_of_a_job_survives_any_error(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """A look that fails for lack of memory must not be the last one."""

    class Exhausted(FakeClock):
        looks = 0

        def now(self) -> datetime:
            self.looks += 1
            if self.looks == 3:
                worker.tools.stopping.set()
            raise MemoryError

    clock = Exhausted()
    tools = replace(worker.tools, clock=clock)
    here = Worker(tools=tools, home=worker.home, owner_id=worker.owner_id, site_id=None)
    thread_of(here, lambda _: None).run()
    assert clock.looks == 3
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3


@pytest.mark.django_db(transaction=True)
def test_job_runs_once_across_all_workers(worker: Worker) -> None:
    due()
    runs: list[int] = []
    tools = worker.tools

    def work(number: int) -> None:
        mine = Worker(tools=tools, home=worker.home, owner_id=uuid.UUID(int=number), site_id=None)
        thread_of(mine, lambda _: runs.append(number)).run_if_due()
        connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1


def test_jobs_of_the_product_run(worker: Worker) -> None:
    for job in PERIODIC:
        PeriodicJob.objects.create(name=job.name, next_run_at=NOW)
        assert PeriodicThread(job, worker).run_if_due()
    results = dict(PeriodicJob.objects.values_list("name", "last_result"))
    assert results["sweep"] == "nothing to do"
    assert not results["cleanup"].startswith("failed")
    assert results["look"] == "0 of 0 files are no recording"
