"""Recordings on more than one file system below the media root: every disk is freed, every trash is recovered."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apps.cctv.models import Camera
from apps.cctv.services.cleanup import trash_recover
from offload.states import State
from tests.integration.cleanup.yard import TRASH, Footage, Yard
from tests.mounts import mounted


@pytest.fixture
def disk(yard: Yard, tmp_path: Path) -> Iterator[Path]:
    """Mounted where the recordings of the camera Yard 2 lie."""
    with mounted("tmpfs", yard.folder / "Yard 2", tmp_path) as at:
        yield at


def added(yard: Yard, disk: Path, **columns: Any) -> Footage:
    return yard.add(camera=yard.new_camera(disk.name), **columns)


def test_both_disks_are_freed(yard: Yard, disk: Path) -> None:
    there, here = added(yard, disk), yard.add()
    assert yard.clean().report.cleaned == 2
    assert not there.path.exists()
    assert not here.path.exists()
    assert there.receipts[0].trash_path == f"Yard 2/{TRASH}/{there.transfer_id}"
    assert here.receipts[0].trash_path == f"{TRASH}/{here.transfer_id}"
    assert list((disk / TRASH).iterdir()) == []


def test_quarantine_lies_on_the_disk_of_the_file(yard: Yard, disk: Path, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    footage = added(yard, disk)
    assert yard.clean().reasons == ["quarantined"]
    assert (disk / TRASH / str(footage.transfer_id)).read_bytes() == footage.content
    yard.clock.advance(24 * 3600)
    assert yard.clean().reasons == ["receipt_finished"]
    assert footage.status == State.CLEANUP_COMPLETED
    assert list((disk / TRASH).iterdir()) == []


def test_sweep_puts_back_what_a_crash_left_on_the_other_disk(yard: Yard, disk: Path) -> None:
    footage = added(yard, disk, hours_ago=1)
    path = footage.row.original_local_path
    yard.trash.take(path, str(footage.transfer_id), expected=yard.root.stat(path))
    assert trash_recover(yard.root, yard.clock.now()) == 1
    assert footage.is_whole


@contextmanager
def taken_away(disk: Path) -> Iterator[None]:
    """The disk is not mounted in the block, and comes back with all that is on it."""
    aside = disk.parent.parent / "aside"
    aside.mkdir()
    subprocess.run(["mount", "--bind", str(disk), str(aside)], check=True)
    subprocess.run(["umount", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "--bind", str(aside), str(disk)], check=True)
        subprocess.run(["umount", str(aside)], check=True)


def test_receipt_of_a_file_on_a_disk_that_is_not_mounted_stays_open(yard: Yard, disk: Path, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    footage = added(yard, disk)
    yard.clean()
    yard.clock.advance(24 * 3600)
    with taken_away(disk):
        run = yard.clean(force=True)
        assert (run.report.cleaned, run.reasons) == (0, ["file_unreadable"])
        assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]
    yard.clock.advance(61)
    assert yard.clean().reasons == ["receipt_finished"]
    assert list((disk / TRASH).iterdir()) == []


def test_file_on_a_disk_that_is_not_mounted_is_not_called_missing(yard: Yard, disk: Path) -> None:
    added(yard, disk, hours_ago=30)
    yard.clean()
    footage = yard.add("later.mp4", camera=Camera.objects.get(name=disk.name))
    with taken_away(disk):
        assert yard.clean().reasons == ["file_unreadable"]
    assert (footage.status, footage.receipts) == (State.CLEANUP_PENDING, [])
    yard.clock.advance(61)
    assert yard.clean().report.cleaned == 1
