"""Owners: a lock file that the kernel frees tells the dead from the sleeping."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from apps.cctv.installation import InstallationUnknown
from apps.cctv.leasing.owners import Owner
from apps.cctv.leasing.recovery import free_leases_of_dead_owners
from apps.cctv.leasing.wakeup import OWNERS_FOLDER
from apps.cctv.models import GCPVideoTransfer, PeriodicJob, WorkerProcess
from offload.states import State
from tests.integration.db import rows
from tests.integration.db.rows import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]

FAR = NOW + timedelta(days=4000)

LOCKS_AND_WAITS = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def owned_by(owner_id: uuid.UUID) -> GCPVideoTransfer:
    return rows.transfer(State.UPLOADING, lease_owner=owner_id, lease_expires_at=FAR)


def status_of(transfer: GCPVideoTransfer) -> str:
    return GCPVideoTransfer.objects.values_list("transfer_status", flat=True).get(pk=transfer.pk)


@pytest.fixture
def elsewhere(tmp_path: Path):
    """Another process that holds an owner's lock: its id, and the process."""
    owner_id = uuid.uuid4()
    folder = tmp_path / OWNERS_FOLDER
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", LOCKS_AND_WAITS, str(folder / f"{owner_id}.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield owner_id, process
        process.kill()


def test_live_owner_has_a_row_and_a_lock(tmp_path: Path) -> None:
    with Owner.start(tmp_path, None, NOW) as owner:
        row = WorkerProcess.objects.get()
        assert (row.pk, row.pid, row.stopped_at) == (owner.id, os.getpid(), None)
        assert (tmp_path / OWNERS_FOLDER / f"{owner.id}.lock").exists()
    row.refresh_from_db()
    assert row.stopped_at is not None
    assert list((tmp_path / OWNERS_FOLDER).iterdir()) == []


def test_owner_that_stops_gives_back_what_it_still_holds(tmp_path: Path) -> None:
    owner = Owner.start(tmp_path, None, NOW)
    transfer = owned_by(owner.id)
    owner.stop(NOW)
    assert status_of(transfer) == State.PENDING
    assert transfer.events.get().reason == "lease_returned"


def test_owner_whose_lock_file_was_removed_ends_all_the_same(tmp_path: Path) -> None:
    owner = Owner.start(tmp_path, None, NOW)
    transfer = owned_by(owner.id)
    (tmp_path / OWNERS_FOLDER / f"{owner.id}.lock").unlink()
    owner.stop(NOW)
    assert status_of(transfer) == State.PENDING


def test_living_owner_keeps_its_leases(tmp_path: Path, elsewhere) -> None:
    owner_id, _ = elsewhere
    with Owner.start(tmp_path, None, NOW) as here:
        kept = [owned_by(owner_id), owned_by(here.id)]
        assert free_leases_of_dead_owners(home=tmp_path, now=NOW) == 0
        assert [status_of(one) for one in kept] == [State.UPLOADING, State.UPLOADING]


def test_sleeping_owner_keeps_its_leases(tmp_path: Path, elsewhere) -> None:
    owner_id, process = elsewhere
    transfer = owned_by(owner_id)
    process.send_signal(signal.SIGSTOP)
    try:
        assert free_leases_of_dead_owners(home=tmp_path, now=NOW) == 0
        assert status_of(transfer) == State.UPLOADING
    finally:
        process.send_signal(signal.SIGCONT)


def test_killed_owners_leases_are_freed_at_once(tmp_path: Path, elsewhere) -> None:
    owner_id, process = elsewhere
    upload = owned_by(owner_id)
    cleanup = rows.transfer(State.CLEANUP_PENDING, lease_owner=owner_id, lease_expires_at=FAR)
    job = PeriodicJob.objects.create(name="sweep", next_run_at=NOW, lease_owner=owner_id, lease_expires_at=FAR)
    process.kill()
    process.wait()

    assert free_leases_of_dead_owners(home=tmp_path, now=NOW) == 2

    assert status_of(upload) == State.PENDING
    assert upload.events.get().reason == "owner_died"
    cleanup.refresh_from_db()
    job.refresh_from_db()
    assert (cleanup.transfer_status, cleanup.lease_owner, job.lease_owner) == (State.CLEANUP_PENDING, None, None)
    assert free_leases_of_dead_owners(home=tmp_path, now=NOW) == 0


def test_unreadable_lock_keeps_no_other_from_being_freed(tmp_path: Path, elsewhere) -> None:
    """A folder in its place, as a stand-in for another user's file: root, who may run the tests, may open those."""
    owner_id, process = elsewhere
    upload = owned_by(owner_id)
    odd = tmp_path / OWNERS_FOLDER / f"{uuid.UUID(int=0)}.lock"
    odd.mkdir()
    process.kill()
    process.wait()
    assert free_leases_of_dead_owners(home=tmp_path, now=NOW) == 1
    assert status_of(upload) == State.PENDING
    assert odd.exists()


def test_owner_of_another_home_is_not_declared_dead(tmp_path: Path) -> None:
    transfer = owned_by(uuid.uuid4())
    assert free_leases_of_dead_owners(home=tmp_path, now=NOW) == 0
    assert status_of(transfer) == State.UPLOADING


def test_forked_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    """Else a worker whose child outlives it would count as alive for as long as the child runs."""
    code = f"""
import os, signal, sys, uuid
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
import django
django.setup()
from apps.cctv.leasing import owners
_, lock = owners._locked_file(Path(sys.argv[1]), uuid.UUID(int=5))
if os.fork() == 0:
    print("child runs", flush=True)
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    folder = tmp_path / OWNERS_FOLDER
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "COLDREEL_ENV_FILE": os.devnull, "COLDREEL_HOME": str(tmp_path)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"child runs\n"
        transfer = owned_by(uuid.UUID(int=5))
        assert process.wait() == -signal.SIGKILL
        freed = free_leases_of_dead_owners(home=tmp_path, now=NOW)
    assert freed == 1
    assert status_of(transfer) == State.PENDING


def test_worker_without_an_installation_id_does_not_start(tmp_path: Path, settings) -> None:
    """A database brought to another machine must not make that machine the owner of its objects."""
    settings.COLDREEL_INSTALLATION_ID = ""
    settings.COLDREEL_HOME = tmp_path
    rows.transfer()
    with pytest.raises(InstallationUnknown):
        Owner.start(tmp_path, None, NOW)
    assert not WorkerProcess.objects.exists()
