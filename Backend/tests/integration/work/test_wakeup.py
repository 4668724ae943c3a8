"""Wake-ups: a worker that idles begins at once, and to wake one is never an error."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction

from apps.cctv import wiring
from apps.cctv.leasing.owners import Owner
from apps.cctv.leasing.recovery import free_leases_of_dead_owners
from apps.cctv.leasing.wakeup import OWNERS_FOLDER, make_wake_pipe, wake_now, wake_workers
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.transfers import transfer_request, transfer_retry
from apps.cctv.wiring import service_settings
from apps.cctv.worker import run_worker
from apps.users.models import User
from offload.clock import SystemClock
from offload.source import MediaRoot
from offload.states import State
from offload.testing import MemoryStore
from offload.uploader import UploadSettings
from tests.conftest import MakeRecording
from tests.integration.db import rows
from tests.integration.work.conftest import MakeTransfer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bucket")]

PATIENCE_SECONDS = 30
HALF_A_MINUTE_MORE = 60
"""How often the worker looks by itself: longer than the test's patience."""


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    settings.COLDREEL_HOME = tmp_path
    return tmp_path


def woken(owner: Owner) -> bool:
    assert owner.wake_pipe is not None
    try:
        return bool(os.read(owner.wake_pipe, 100))
    except BlockingIOError:
        return False


def until(happened: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_row_made_while_idle_is_uploaded_at_once(
    home: Path, store: MemoryStore, media_root: Path, make_transfer: MakeTransfer
) -> None:
    make_transfer("first.ts")
    waited: list[bool] = []

    def ask_while_it_idles() -> None:
        try:
            until(lambda: len(store.objects()) == 1)
            time.sleep(0.5)  # it has looked again and found nothing
            make_transfer("second.ts")
            wake_workers(None)
            until(lambda: len(store.objects()) == 2)
            waited.append(True)
        finally:
            connections.close_all()
            os.kill(os.getpid(), signal.SIGTERM)

    person = threading.Thread(target=ask_while_it_idles)
    person.start()
    run_worker(
        store=store,
        root=MediaRoot(media_root),
        home=home,
        settings=replace(service_settings(), timings=replace(wiring.timings(), poll_seconds=HALF_A_MINUTE_MORE)),
        upload_settings=UploadSettings(settle_seconds=0),
        uploads=2,
        periodic=False,
        clock=SystemClock(),
    )
    person.join()
    assert waited == [True]


def test_request_and_retry_wake_after_their_commit(
    home: Path, media_root: Path, make_recording: MakeRecording, admin_user: User
) -> None:
    make_recording()
    with Owner.start(home, None, datetime.now(tz=UTC)) as owner:
        with transaction.atomic():
            transfer_request(
                recording_ids=None,
                batch_size=5,
                user=admin_user,
                now=datetime.now(tz=UTC),
                root=MediaRoot(media_root),
                settings=service_settings(),
            )
            assert not woken(owner)
        assert woken(owner)
        GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code="cancelled")
        transfer_retry(
            transfer_id=GCPVideoTransfer.objects.get().pk,
            user=admin_user,
            now=datetime.now(tz=UTC),
            settings=service_settings(),
        )
        assert woken(owner)


def test_request_that_is_rolled_back_wakes_no_worker(home: Path) -> None:
    with Owner.start(home, None, rows.NOW) as owner:
        with transaction.atomic():
            wake_workers(None)
            transaction.set_rollback(True)
        assert not woken(owner)


def test_ending_worker_wakes_those_that_take_its_leases(home: Path) -> None:
    with Owner.start(home, None, rows.NOW) as stays:
        Owner.start(home, None, rows.NOW).stop(rows.NOW)
        assert woken(stays)


def test_wake_pipe_is_private_and_goes_with_the_lock(home: Path) -> None:
    folder = home / OWNERS_FOLDER
    with Owner.start(home, None, rows.NOW) as owner:
        mode = (folder / f"{owner.id}.wake").stat().st_mode
        assert stat.S_ISFIFO(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert list(folder.iterdir()) == []


def test_wake_pipe_of_a_dead_worker_is_removed(home: Path) -> None:
    folder = home / OWNERS_FOLDER
    folder.mkdir()
    owner_id = uuid.uuid4()
    (folder / f"{owner_id}.lock").touch()
    os.mkfifo(folder / f"{owner_id}.wake")
    wake_now(home)
    free_leases_of_dead_owners(home=home, now=rows.NOW)
    assert list(folder.iterdir()) == []


def test_wake_pipe_that_is_never_read_blocks_no_caller(home: Path) -> None:
    with Owner.start(home, None, rows.NOW) as owner:
        for _ in range(70_000):
            wake_now(home)
        assert woken(owner)


def test_what_is_no_pipe_is_not_written_to(home: Path, tmp_path: Path) -> None:
    folder = home / OWNERS_FOLDER
    folder.mkdir()
    (folder / "1.wake").write_text("")
    precious = tmp_path / "precious"
    precious.write_text("")
    (folder / "2.wake").symlink_to(precious)
    wake_now(home)
    assert [(folder / "1.wake").read_text(), precious.read_text()] == ["", ""]


def test_worker_without_pipes_looks_by_itself(home: Path) -> None:
    assert make_wake_pipe(home / "missing" / "x.wake") is None
    wake_now(home / "nowhere")
