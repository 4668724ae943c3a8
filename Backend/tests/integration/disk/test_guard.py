"""The guard of the home's disk: cleanup first, an alarm, the reserve made again."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from apps.cctv import wiring
from apps.cctv.installation import machine_id
from apps.cctv.models import Alarm, PeriodicJob
from apps.cctv.services.alarms import alarm_raise
from apps.cctv.services.disk_reserve import Reserve
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.wiring import service_settings
from apps.cctv.worker.disk import DiskGuard
from apps.cctv.worker.periodic import Periodic, PeriodicThread, Worker
from offload.errors import Reason
from offload.testing import FakeClock, MemoryStore
from tests.integration.db import rows
from tests.worker_tools import worker_tools

MIB = 2**20
SIZE = 4 * MIB
pytestmark = pytest.mark.django_db


@pytest.fixture
def clock():
    return FakeClock(rows.NOW)


@pytest.fixture
def tools(disk, clock, bucket):
    (disk.path / "media").mkdir()
    (disk.path / "media" / ".coldreel-media-root").touch()
    timings = replace(wiring.timings(), poll_seconds=0.01)
    settings = replace(service_settings(), timings=timings)
    return worker_tools(MemoryStore(buckets=[bucket], clock=clock), disk.path / "media", clock, settings=settings)


@pytest.fixture
def guard(tools, disk):
    return DiskGuard(tools, disk.path, None, Reserve(disk.path, SIZE))


def due_for_cleanup():
    return rows.transfer(rows.State.CLEANUP_PENDING, cleanup_scheduled_at=rows.NOW - timedelta(hours=1))


def open_alarms() -> list[tuple[str, str]]:
    return list(Alarm.objects.filter(cleared_at__isnull=True).values_list("code", "detail"))


def test_room_is_used_for_reserve_and_trash_silently(guard, tools, disk):
    due_for_cleanup()

    guard.look()

    assert (disk.path / "reserve").stat().st_size == SIZE
    assert (disk.path / "media" / ".coldreel-trash").is_dir()
    assert not tools.cleanup_first.is_set()
    assert open_alarms() == []


def test_full_disk_asks_for_a_cleanup_before_anything_else(guard, tools, disk):
    due_for_cleanup()
    guard.look()
    disk.fill()

    guard.look()

    assert tools.cleanup_first.is_set()


def test_where_nothing_is_due_no_work_is_held_up(guard, tools, disk):
    rows.transfer(rows.State.CLEANUP_PENDING, cleanup_scheduled_at=rows.NOW + timedelta(hours=1))
    guard.look()
    disk.fill()

    guard.look()

    assert not tools.cleanup_first.is_set()
    assert (disk.path / "reserve").stat().st_size == SIZE


def test_high_water_mark_lets_files_go_early(guard, tools, disk):
    transfer = rows.transfer(rows.State.CLEANUP_PENDING, cleanup_scheduled_at=rows.NOW + timedelta(hours=1))
    transfer.site.disk_high_water_percent = 80
    transfer.site.save()
    guard.look()
    disk.fill()

    guard.look()

    assert tools.cleanup_first.is_set()


def test_other_work_goes_on_after_half_a_minute(guard, tools, disk, clock):
    due_for_cleanup()
    disk.fill()
    guard.look()

    clock.advance(31)
    guard.look()
    assert not tools.cleanup_first.is_set()

    clock.advance(30)
    guard.look()
    assert tools.cleanup_first.is_set()


def test_alarm_comes_before_the_disk_is_full(guard, disk):
    guard.look()
    filler = disk.fill()
    os.truncate(filler, filler.stat().st_size - 6 * MIB)
    guard.look()
    ((code, detail),) = open_alarms()
    assert code == "home_disk_low"
    assert "nearly full: 6.0 MiB are free. Recordings lie on it too" in detail

    disk.fill()
    guard.look()
    ((_, detail),) = open_alarms()
    assert "is full: 0 B are free." in detail

    filler.unlink()
    guard.look()
    assert open_alarms() == []


def test_alarm_of_an_earlier_worker_ends_at_first_look(guard, disk):
    filler = disk.fill()
    guard.look()
    filler.unlink()

    DiskGuard(guard._tools, disk.path, None, Reserve(disk.path, SIZE)).look()

    assert open_alarms() == []


def test_urgent_cleanup_runs_early_and_the_sweep_does_not(tools, tmp_path: Path):
    import uuid

    worker = Worker(tools=tools, home=tmp_path, owner_id=uuid.uuid4(), site_id=None)
    for name in ("cleanup", "sweep"):
        PeriodicJob.objects.create(name=name, next_run_at=rows.NOW + timedelta(seconds=30))
    ran: list[str] = []
    cleanup = PeriodicThread(
        Periodic("cleanup", lambda _: 60, lambda _: ran.append("cleanup"), frees_disk=True), worker
    )
    sweep = PeriodicThread(Periodic("sweep", lambda _: 60, lambda _: ran.append("sweep")), worker)
    tools.cleanup_first.set()

    assert (sweep.run_if_due(), cleanup.run_if_due()) == (False, True)
    assert ran == ["cleanup"]
    assert not tools.cleanup_first.is_set()


def test_disk_that_cannot_be_asked_is_not_well(tools, disk):
    alarm_raise(
        code=Reason.HOME_DISK_LOW, subject=Subject(SubjectKind.MACHINE, machine_id()), detail="low", now=rows.NOW
    )

    DiskGuard(tools, disk.path, None, Reserve(disk.path / "gone", SIZE)).look()

    assert open_alarms() == [("home_disk_low", "low")]
