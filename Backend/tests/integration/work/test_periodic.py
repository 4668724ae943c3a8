"""Periodic jobs: each runs once across all workers, and a failure only costs that run."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections

from apps.cctv.models import PeriodicJob
from apps.cctv.worker.attempt import Tools
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.gate import Gate
from apps.cctv.worker.ledger import Ledger
from apps.cctv.worker.periodic import PERIODIC, Periodic, PeriodicThread, Worker
from apps.cctv.worker.timings import Timings
from offload.errors import StopAndTell
from offload.source import MediaRoot
from offload.testing import FakeClock, MemoryStore
from offload.uploader import UploadSettings
from tests.integration.db.rows import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]


@pytest.fixture
def worker(store: MemoryStore, clock: FakeClock, media_root: Path, tmp_path: Path) -> Worker:
    timings = Timings(poll_seconds=0.01, cleanup_seconds=3600)
    tools = Tools(
        store=store,
        root=MediaRoot(media_root),
        clock=clock,
        random=lambda: 0.5,
        upload_settings=UploadSettings(),
        timings=timings,
        gate=Gate(clock, timings, lambda: 0.5, closed=False),
        bandwidth=Bandwidth(clock),
        ledger=Ledger(clock=clock, wake=lambda: None),
        stopping=threading.Event(),
    )
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
    PeriodicJob.objects.create(name="count", next_run_at=NOW + timedelta(days=4000))
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


def test_worker_that_lost_the_job_does_not_say_how_it_ended(worker: Worker) -> None:
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


def test_interval_made_shorter_does_not_wait_for_the_old_one(worker: Worker) -> None:
    PeriodicJob.objects.create(name="count", next_run_at=NOW + timedelta(days=4000))
    thread = thread_of(worker, lambda _: "done")
    thread._make_known()
    assert PeriodicJob.objects.get().next_run_at < NOW + timedelta(days=3999)


def test_worker_of_a_site_runs_that_sites_jobs(worker: Worker) -> None:
    site_id = uuid.uuid4()
    here = Worker(tools=worker.tools, home=worker.home, owner_id=worker.owner_id, site_id=site_id)
    thread_of(here, lambda _: "done")._make_known()
    assert PeriodicJob.objects.get().name == f"count@{site_id}"


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
