"""The whole worker in this process: claims, threads, heartbeat, jobs, and how it ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from apps.cctv import wiring
from apps.cctv.leasing.leases import JobLease
from apps.cctv.leasing.owners import Owner
from apps.cctv.models import Alarm, GCPVideoTransfer, PeriodicJob, Site, TransferBatch, WorkerProcess
from apps.cctv.services import NotConfigured
from apps.cctv.wiring import service_settings
from apps.cctv.worker import run_worker
from apps.cctv.worker.heartbeat import Heartbeat
from apps.cctv.worker.periodic import PERIODIC
from apps.cctv.worker.pool import FEWEST
from offload.clock import SystemClock
from offload.errors import LineDown, Reason, StopAndTell
from offload.retry import Backoff
from offload.source import MediaRoot
from offload.states import Move, State
from offload.testing import MemoryStore
from offload.uploader import UploadSettings
from tests.database_calls import DatabaseCalls
from tests.integration.db import rows
from tests.integration.work.conftest import MakeTransfer

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 2**20
FAST = replace(
    wiring.timings(),
    poll_seconds=0.02,
    heartbeat_seconds=0.5,
    lease_seconds=10,
    margin_seconds=2,
    sweep_seconds=0.2,
    cleanup_seconds=0.2,
    backoff=Backoff(0.05, 0.4),
)
SETTINGS = UploadSettings(
    settle_seconds=0, progress_seconds=0, small_limit_bytes=0, chunk_min_bytes=MIB, chunk_max_bytes=MIB, reconnects=0
)

RunWorker = Callable[..., None]


@pytest.fixture
def work(store: MemoryStore, media_root: Path, tmp_path: Path, settings: Any) -> RunWorker:
    """Runs a worker in this thread until it is idle, or until it is stopped."""
    settings.COLDREEL_RETRY_BASE_SECONDS, settings.COLDREEL_RETRY_CAP_SECONDS = 0.05, 0.4
    settings.GCP_CLEANUP_DELAY_HOURS = 24

    def run(**arguments: Any) -> None:
        wanted: dict[str, Any] = {
            "store": store,
            "root": MediaRoot(media_root),
            "home": tmp_path,
            "settings": replace(service_settings(), timings=arguments.pop("timings", FAST)),
            "upload_settings": SETTINGS,
            "uploads": 4,
            "until_idle": True,
            "periodic": False,
        }
        run_worker(**{**wanted, **arguments})

    return run


def statuses() -> dict[str, int]:
    return {status: count for status, count in GCPVideoTransfer.objects.all().status_counts().items() if count}


def by_itself(action: Callable[[], None]) -> Callable[[], None]:
    """In a thread of the store's: its database connection must be closed with it."""

    def run() -> None:
        action()
        connections.close_all()

    return run


def test_everything_due_is_uploaded(work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer) -> None:
    for number in range(7):
        make_transfer(f"{number}.ts", size_bytes=1000 + number)
    work()
    assert statuses() == {"cleanup_pending": 7}
    assert len(store.objects()) == 7
    assert WorkerProcess.objects.get().stopped_at is not None


def test_worker_without_work_ends_when_idle(work: RunWorker) -> None:
    work()
    assert WorkerProcess.objects.get().stopped_at is not None


def test_bad_file_never_blocks_the_rest(work: RunWorker, media_root: Path, make_transfer: MakeTransfer) -> None:
    """F15: and the ones that will be tried again are waited for."""
    make_transfer("gone.ts")
    make_transfer("good.ts")
    (media_root / "gone.ts").unlink()
    work()
    assert statuses() == {"failed": 1, "cleanup_pending": 1}
    assert GCPVideoTransfer.objects.get(transfer_status=State.FAILED).error_code == "file_missing"


def test_transfer_that_failed_for_now_is_tried_again(
    work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer(size_bytes=2 * MIB)
    store.fault("send", LineDown("no answer"), times=3)
    work()
    assert statuses() == {"cleanup_pending": 1}
    reasons = list(GCPVideoTransfer.objects.get().events.values_list("reason", flat=True))
    assert reasons == ["claimed", "line_down"] * 3 + ["claimed", "uploaded"]


def test_batch_size_is_honoured_whatever_the_worker_could_do(
    work: RunWorker, store: MemoryStore, batch: TransferBatch, make_transfer: MakeTransfer
) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(GCPVideoTransfer.objects.filter(transfer_status=State.UPLOADING).count())

    for number in range(8):
        make_transfer(f"{number}.ts")
    store.fault("start_session", times=8, action=look)
    work(uploads=8)
    assert statuses() == {"cleanup_pending": 8}
    assert max(seen) == batch.batch_size == 2


def test_outage_costs_one_try_at_a_time(work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer) -> None:
    """Nothing gets through for six tries; thirty waiting transfers are not claimed and put back meanwhile."""
    TransferBatch.objects.update(batch_size=20)
    for number in range(30):
        make_transfer(f"{number}.ts")
    store.fault("start_session", StopAndTell("no right", code=Reason.PERMISSION_DENIED), times=6)
    work(uploads=1)
    assert statuses() == {"cleanup_pending": 30}
    assert (
        sum(transfer.events.filter(reason="permission_denied").count() for transfer in GCPVideoTransfer.objects.all())
        == 6
    )
    alarm = Alarm.objects.get()
    assert (alarm.seen_count, alarm.cleared_at is None) == (6, False)


def test_worker_started_during_an_outage_tries_one(
    work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    TransferBatch.objects.update(batch_size=20)
    for number in range(6):
        make_transfer(f"{number}.ts")
    Alarm.objects.create(
        code="quota_exceeded",
        subject_kind="bucket",
        subject_id="footage",
        detail="x",
        raised_at=timezone.now(),
        last_seen_at=timezone.now(),
    )
    seen: list[int] = []
    store.fault(
        "start_session",
        times=1,
        action=lambda: seen.append(GCPVideoTransfer.objects.filter(transfer_status=State.UPLOADING).count()),
    )
    work()
    assert seen == [1]
    assert statuses() == {"cleanup_pending": 6}
    assert Alarm.objects.get().cleared_at is not None


def test_worker_of_a_site_leaves_the_others_alone(work: RunWorker, make_transfer: MakeTransfer) -> None:
    make_transfer()
    work(site=Site.objects.create(name="Harbour"))
    assert statuses() == {"pending": 1}


# --- heartbeat ---


def test_heartbeat_renews_leases_and_tells_lost_ones(tmp_path: Path, make_transfer: MakeTransfer) -> None:
    """A stand-in for the attempt: the heartbeat calls these two and reads the claim."""

    class Told:
        def __init__(self, claim: Any) -> None:
            self.claim, self.id, self.until, self.lost = claim, claim.transfer.pk, 0.0, False
            self.has_begun, self.is_stuck = True, False

        def is_moving(self) -> bool:
            return True

        def renewed(self, until: float) -> None:
            self.until = until

        def lose(self) -> None:
            self.lost = True

    for number in range(2):
        make_transfer(f"{number}.ts")
    with Owner.start(tmp_path, None, timezone.now()) as owner:
        claims = rows.claim_many(2, owner_id=owner.id, now=timezone.now(), lease_seconds=10)
        told = [Told(claim) for claim in claims]
        GCPVideoTransfer.objects.filter(pk=told[1].id).update(lease_number=7)
        for name in ("sweep", "cleanup"):
            PeriodicJob.objects.create(
                name=name, next_run_at=timezone.now(), lease_owner=owner.id, lease_expires_at=timezone.now()
            )
        running = [JobLease("sweep", owner.id, 0)]
        clock = SystemClock()
        before = clock.monotonic()
        Heartbeat(
            owner, lambda: told, jobs=lambda: running, clock=clock, timings=replace(wiring.timings(), lease_seconds=100)
        ).beat()
        ends = dict(PeriodicJob.objects.values_list("name", "lease_expires_at"))
    assert before + 100 <= told[0].until <= clock.monotonic() + 100
    assert [one.lost for one in told] == [False, True]
    assert ends["sweep"] > timezone.now() + timedelta(seconds=60)
    assert ends["cleanup"] <= timezone.now()
    connection.close()


def test_heartbeat_goes_on_after_an_error_of_any_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No memory for one beat must not cost every lease that this process will ever hold."""
    beats: list[int] = []

    def attempts() -> tuple[()]:
        beats.append(1)
        if len(beats) == 1:
            raise MemoryError
        if len(beats) == 3:
            ended.set()
        return ()

    ended = threading.Event()
    with Owner.start(tmp_path, None, timezone.now()) as owner:
        heartbeat = Heartbeat(
            owner, attempts, clock=SystemClock(), timings=replace(wiring.timings(), heartbeat_seconds=0.01)
        )
        heartbeat.start()
        assert ended.wait(30)
        heartbeat.finish()
    assert "worker.heartbeat_missed" in caplog.text


def test_upload_longer_than_its_lease_keeps_it(
    work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer(size_bytes=MIB)
    store.fault("send", action=lambda: time.sleep(3.5))
    work(
        timings=replace(wiring.timings(), poll_seconds=0.02, heartbeat_seconds=0.2, lease_seconds=3, margin_seconds=0.3)
    )
    assert statuses() == {"cleanup_pending": 1}
    assert GCPVideoTransfer.objects.get().lease_number == 1


def test_person_who_cancels_ends_the_upload(work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer) -> None:
    transfer = make_transfer(size_bytes=3 * MIB)

    def cancel() -> None:
        GCPVideoTransfer.objects.move(
            transfer.pk,
            Move.CANCEL,
            actor="admin",
            now=timezone.now(),
            reason=Reason.CANCELLED,
            changes={"error_code": "cancelled", "next_attempt_at": None},
        )
        time.sleep(0.5)  # a heartbeat passes

    store.fault("send", action=cancel)
    work(
        timings=replace(wiring.timings(), poll_seconds=0.02, heartbeat_seconds=0.1, lease_seconds=10, margin_seconds=1)
    )
    assert statuses() == {"failed": 1}
    assert store.objects() == []
    assert len(store.calls_of("send")) == 1


# --- beside the stream ---


def commits_of_transfers(calls: DatabaseCalls) -> int:
    """Transactions of this thread that changed a transfer."""
    count, touched = 0, False
    for call in calls.calls:
        if call.thread == threading.current_thread().name:
            touched |= call.sql.startswith("UPDATE") and "cctv_gcpvideotransfer" in call.sql
            if call.kind == "commit":
                count, touched = count + touched, False
    return count


def test_small_file_costs_two_commits_and_large_three(work: RunWorker, make_transfer: MakeTransfer) -> None:
    """Its claim, its record; and its session, before the first byte. With others beside it, these are shared."""

    def commits() -> int:
        with DatabaseCalls().watching() as calls:
            work(
                timings=replace(FAST, poll_seconds=5),  # none of them is slow
                upload_settings=replace(SETTINGS, progress_seconds=60, small_limit_bytes=MIB),
            )
        return commits_of_transfers(calls)

    of_the_workers_end = commits()
    make_transfer("small.ts")
    assert commits() == of_the_workers_end + 2
    make_transfer("large.ts", size_bytes=3 * MIB)
    assert commits() == of_the_workers_end + 3
    assert statuses() == {"cleanup_pending": 2}


def test_thread_of_an_upload_asks_the_database_nothing(work: RunWorker, make_transfer: MakeTransfer) -> None:
    for number in range(6):
        make_transfer(f"{number}.ts", size_bytes=1000 if number % 2 else 2 * MIB)
    with DatabaseCalls().watching() as calls:
        work(upload_settings=replace(SETTINGS, small_limit_bytes=MIB))
    assert statuses() == {"cleanup_pending": 6}
    assert [call for call in calls.calls if call.thread.startswith("upload")] == []


def test_start_of_a_slow_small_file_is_visible(
    work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer()
    seen: list[Any] = []

    def look() -> None:
        give_up_at = time.monotonic() + 20
        while not seen and time.monotonic() < give_up_at:
            row = GCPVideoTransfer.objects.get()
            if row.upload_started_at is not None:
                seen.append((row.transfer_status, row.upload_started_at))
            time.sleep(0.02)

    store.fault("put_small", action=look)
    work(upload_settings=replace(SETTINGS, small_limit_bytes=MIB))
    row = GCPVideoTransfer.objects.get()
    ((status, started_at),) = seen
    assert status == State.UPLOADING
    assert row.upload_completed_at is not None
    assert abs(row.upload_started_at - started_at) < timedelta(seconds=0.5)
    assert row.upload_started_at < row.upload_completed_at


# --- stopping ---


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's one writer")
def test_signal_while_ends_wait_for_the_database_loses_none(
    work: RunWorker, store: MemoryStore, batch: TransferBatch, make_transfer: MakeTransfer
) -> None:
    TransferBatch.objects.update(batch_size=6)
    for number in range(12):
        make_transfer(f"{number}.ts")
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, check_same_thread=False)

    def lock() -> None:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(1.0, let_go).start()
        os.kill(os.getpid(), signal.SIGTERM)

    def let_go() -> None:
        other.execute("ROLLBACK")
        other.close()

    store.fault("put_small", skip=2, action=lock)
    work(until_idle=False, uploads=6, upload_settings=replace(SETTINGS, small_limit_bytes=MIB))
    found = statuses()
    assert set(found) <= {"cleanup_pending", "pending"}
    assert found["cleanup_pending"] == len(store.objects())
    assert not GCPVideoTransfer.objects.filter(lease_owner__isnull=False).exists()


def test_first_signal_finishes_the_chunk_and_returns_the_lease(
    work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer(size_bytes=4 * MIB)
    store.fault("send", skip=1, action=lambda: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)

    work(until_idle=False)

    transfer = GCPVideoTransfer.objects.get()
    assert (transfer.transfer_status, transfer.bytes_uploaded) == (State.PENDING, 2 * MIB)
    assert transfer.events.last().reason == "lease_returned"
    assert WorkerProcess.objects.get().stopped_at is not None
    assert signal.getsignal(signal.SIGTERM) is before


def test_worker_without_threads_ends_at_the_first_signal(
    work: RunWorker, make_transfer: MakeTransfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses every thread for an upload, as at a limit of processes."""
    start, refused = threading.Thread.start, []

    def refuse_uploads(thread: threading.Thread) -> None:
        if not thread.name.startswith("upload_"):
            start(thread)
            return
        refused.append(thread)
        if len(refused) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse_uploads)
    make_transfer("one.ts")
    make_transfer("two.ts")
    work(until_idle=False)
    assert statuses() == {"pending": 2}
    assert not GCPVideoTransfer.objects.filter(lease_owner__isnull=False).exists()
    assert [row.events.last().reason for row in GCPVideoTransfer.objects.all()] == ["lease_returned"] * 2
    assert WorkerProcess.objects.get().stopped_at is not None


def test_upload_waiting_for_a_thread_is_returned_at_signal(
    work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    """Not when the uploads before it have ended, which may take a chunk's time each."""
    TransferBatch.objects.update(batch_size=6)
    for number in range(6):
        make_transfer(f"{number}.ts", size_bytes=2 * MIB)
    begun: list[int] = []
    given_back: list[int] = []

    def keep_the_processor_busy() -> None:
        """So that the rest waits; then until it is given back."""
        begun.append(threading.get_ident())
        if len(begun) == FEWEST:
            os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 20
        while not given_back and time.monotonic() < deadline:
            if statuses().get("pending") == 6 - FEWEST:
                given_back.append(6 - FEWEST)

    store.fault("send", times=FEWEST, action=by_itself(keep_the_processor_busy))
    work(until_idle=False, uploads=6)
    assert len(begun) == FEWEST
    assert given_back
    assert statuses() == {"pending": 6}


JOBS = [job.name for job in PERIODIC]


def test_jobs_run_beside_uploads_and_end_with_the_worker(
    work: RunWorker, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer()
    done = threading.Event()

    def stop_when_both_ran() -> None:
        while PeriodicJob.objects.filter(name__in=JOBS, last_finished_at__isnull=False).count() != len(JOBS):
            done.wait(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=by_itself(stop_when_both_ran))
    watcher.start()
    work(until_idle=False, periodic=True)
    watcher.join()
    assert statuses() == {"cleanup_pending": 1}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("periodic", "heart", "upload"))]


# --- the command and its wiring ---


def test_command_says_in_a_line_that_nothing_is_configured(settings: Any) -> None:
    settings.GCP_STORAGE_USE_GCS = False
    with pytest.raises(CommandError, match="GCP storage is not configured"):
        call_command("run_worker", "--until-idle")
    with pytest.raises(NotConfigured):
        wiring.object_store()


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("arguments", [["--site", "Nowhere"], ["--uploads", "0"], ["--uploads", "65"]])
def test_command_refuses_nonsense(arguments: list[str]) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("run_worker", "--until-idle", *arguments)
    assert caught.value.returncode == 2


@pytest.mark.usefixtures("bucket")
def test_store_is_made_once_for_all_threads(settings: Any) -> None:
    settings.STORAGE_EMULATOR_HOST = "http://127.0.0.1:9"
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(wiring.object_store())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(store) for store in found}) == 1
    settings.STORAGE_EMULATOR_HOST = "http://127.0.0.1:10"
    assert wiring.object_store() is not found[0]


def test_timings_and_upload_settings_are_the_settings(settings: Any) -> None:
    settings.COLDREEL_LEASE_SECONDS, settings.COLDREEL_CHUNK_MIN_BYTES = 77, MIB
    assert wiring.timings().lease_seconds == 77
    assert wiring.upload_settings().chunk_min_bytes == MIB
