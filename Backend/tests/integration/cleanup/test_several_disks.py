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
from tests.integration.cleanup.uploaded_site import TRASH, Footage, UploadedSite
from tests.mounts import mounted


@pytest.fixture
def disk(site: UploadedSite, tmp_path: Path) -> Iterator[Path]:
    """Mounted where the recordings of the camera UploadedSite 2 lie."""
    with mounted("tmpfs", site.folder / "UploadedSite 2", tmp_path) as at:
        yield at


def added(site: UploadedSite, disk: Path, **columns: Any) -> Footage:
    return site.add(camera=site.new_camera(disk.name), **columns)


def test_both_disks_are_freed(site: UploadedSite, disk: Path) -> None:
    there, here = added(site, disk), site.add()
    assert site.clean().report.cleaned == 2
    assert not there.path.exists()
    assert not here.path.exists()
    assert there.receipts[0].trash_path == f"UploadedSite 2/{TRASH}/{there.transfer_id}"
    assert here.receipts[0].trash_path == f"{TRASH}/{here.transfer_id}"
    assert list((disk / TRASH).iterdir()) == []


def test_quarantine_lies_on_the_disk_of_the_file(site: UploadedSite, disk: Path, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    footage = added(site, disk)
    assert site.clean().reasons == ["quarantined"]
    assert (disk / TRASH / str(footage.transfer_id)).read_bytes() == footage.content
    site.clock.advance(24 * 3600)
    assert site.clean().reasons == ["receipt_finished"]
    assert footage.status == State.CLEANUP_COMPLETED
    assert list((disk / TRASH).iterdir()) == []


def test_sweep_puts_back_files_on_the_other_disk(site: UploadedSite, disk: Path) -> None:
    footage = added(site, disk, hours_ago=1)
    path = footage.row.original_local_path
    site.trash.take(path, str(footage.transfer_id), expected=site.root.stat(path))
    assert trash_recover(site.root, site.clock.now()) == 1
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


def test_receipt_of_a_file_on_an_unmounted_disk_stays_open(site: UploadedSite, disk: Path, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    footage = added(site, disk)
    site.clean()
    site.clock.advance(24 * 3600)
    with taken_away(disk):
        run = site.clean(force=True)
        assert (run.report.cleaned, run.reasons) == (0, ["file_unreadable"])
        assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]
    site.clock.advance(61)
    assert site.clean().reasons == ["receipt_finished"]
    assert list((disk / TRASH).iterdir()) == []


def test_file_on_an_unmounted_disk_is_not_missing(site: UploadedSite, disk: Path) -> None:
    added(site, disk, hours_ago=30)
    site.clean()
    footage = site.add("later.mp4", camera=Camera.objects.get(name=disk.name))
    with taken_away(disk):
        assert site.clean().reasons == ["file_unreadable"]
    assert (footage.status, footage.receipts) == (State.CLEANUP_PENDING, [])
    site.clock.advance(61)
    assert site.clean().report.cleaned == 1
