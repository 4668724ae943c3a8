"""Cleanups at the same time: nothing fails, nothing is counted twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from apps.cctv.leasing.leases import claim_cleanup
from apps.cctv.leasing.recovery import free_leases_of_dead_owners
from apps.cctv.models import DeletionReceipt
from apps.cctv.services.cleanup import trash_recover
from offload.source import SourceIdentity
from offload.states import State
from offload.trash import Trash
from tests.integration.cleanup.uploaded_site import Footage, Run, UploadedSite


def clean_in_thread(site: UploadedSite, start: threading.Barrier) -> Run:
    try:
        start.wait(timeout=30)
        return site.clean()
    finally:
        connection.close()


def test_runs_at_once_clean_each_file_once(live_site: UploadedSite) -> None:
    site, threads = live_site, 4
    footage = site.many(16)
    start = threading.Barrier(threads)
    with ThreadPoolExecutor(threads) as pool:
        runs = [job.result() for job in [pool.submit(clean_in_thread, site, start) for _ in range(threads)]]
    assert sum(run.report.cleaned for run in runs) == len(footage)
    assert sum(run.report.freed_bytes for run in runs) == sum(len(each.content) for each in footage)
    assert [run.report.failed for run in runs] == [0] * threads
    assert {run.report.stopped for run in runs} == {None}
    assert {reason for run in runs for reason in run.report.skipped} <= {"busy", "wrong_state"}
    assert DeletionReceipt.objects.filter(outcome="deleted").count() == len(footage)
    assert {each.status for each in footage} == {State.CLEANUP_COMPLETED}


def loses_its_lease(site: UploadedSite, footage: Footage) -> None:
    """The lease ran out, and another run has the row now."""
    site.leases_run_out()
    claim_cleanup(owner_id=uuid4(), transfer_id=footage.transfer_id, now=site.clock.now(), lease_seconds=40)


def test_lease_lost_before_the_receipt_leaves_the_file(site: UploadedSite) -> None:
    class Slow(Trash):
        def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
            taken = super().take(relative_path, key, expected=expected)
            loses_its_lease(site, footage)
            return taken

    footage = site.add()
    assert site.clean(trash=Slow(site.root)).reasons == ["busy"]
    assert site.trash_files() == [str(footage.transfer_id)]
    assert footage.receipts == []
    site.leases_run_out()
    assert trash_recover(site.root, site.clock.now()) == 1
    assert footage.is_whole


def test_lease_lost_after_the_receipt_leaves_the_file(site: UploadedSite) -> None:
    class Slow(Trash):
        def find(self, key: str) -> SourceIdentity | None:
            if footage.receipts and not lost:
                lost.append(True)
                loses_its_lease(site, footage)
            return super().find(key)

    lost: list[bool] = []
    footage = site.add()
    assert site.clean(trash=Slow(site.root)).reasons == ["busy"]
    assert site.trash_files() == [str(footage.transfer_id)]
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]
    site.leases_run_out()
    assert site.clean().reasons == ["receipt_finished"]


def test_long_checksum_keeps_its_lease(site: UploadedSite, settings: Any) -> None:
    """Every piece takes a tenth of the lease's time, and there are sixteen."""
    settings.COLDREEL_LEASE_SECONDS = 30

    class SlowPieces(type(site.clock)):  # type: ignore[misc]
        def monotonic(self) -> float:
            self.advance(3)
            return super().monotonic()

    footage = site.add(content=b"x" * (16 * 1024 * 1024))
    footage.path.write_bytes(footage.content)
    clock = SlowPieces(site.clock.now())
    site.store.clock = clock
    assert site.clean(clock=clock).report.cleaned == 1
    assert footage.receipts[0].compared == "crc32c"


def test_sweep_leaves_a_file_of_a_live_run(site: UploadedSite) -> None:
    swept: list[int] = []

    class Swept(Trash):
        def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
            taken = super().take(relative_path, key, expected=expected)
            swept.append(trash_recover(site.root, site.clock.now()))
            return taken

    site.add()
    assert site.clean(trash=Swept(site.root)).report.cleaned == 1
    assert swept == [0]


@pytest.fixture
def home(settings: Any, tmp_path: Path) -> Path:
    settings.COLDREEL_HOME = tmp_path / "home"
    settings.COLDREEL_HOME.mkdir()
    return tmp_path / "home"


def test_leases_of_a_live_command_are_not_freed(site: UploadedSite, home: Path) -> None:
    freed: list[int] = []

    class Swept(Trash):
        def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
            freed.append(free_leases_of_dead_owners(home=home, now=site.clock.now()))
            return super().take(relative_path, key, expected=expected)

    site.add()
    assert site.clean(trash=Swept(site.root)).report.cleaned == 1
    assert freed == [0]
    assert list((home / "owners").iterdir()) == []


def test_home_that_takes_no_lock_file_stops_no_cleanup(site: UploadedSite, home: Path) -> None:
    """For example the home of another user: the leases run out by themselves then."""
    (home / "owners").write_text("not a folder")
    site.add()
    assert site.clean().report.cleaned == 1


def test_leases_of_a_failed_run_are_free(site: UploadedSite, home: Path) -> None:
    class Breaks(Trash):
        def find(self, key: str) -> SourceIdentity | None:
            raise MemoryError

    site.add()
    with pytest.raises(MemoryError):
        site.clean(trash=Breaks(site.root))
    assert site.clean().report.cleaned == 1
