"""Quarantine, and files that a crash left in the trash."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from apps.cctv.services.cleanup import trash_recover
from apps.cctv.services.holds import hold_set
from offload.errors import TryAgain
from offload.states import State
from offload.trash import Trash
from tests.integration.cleanup.uploaded_site import TRASH, Footage, UploadedSite


@pytest.fixture
def quarantine(settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24


def in_trash(site: UploadedSite, footage: Footage) -> bool:
    return (site.folder / TRASH / str(footage.transfer_id)).read_bytes() == footage.content


def take(site: UploadedSite, footage: Footage) -> None:
    """As far as a run comes that dies before its receipt."""
    path = footage.row.original_local_path
    site.trash.take(path, str(footage.transfer_id), expected=site.root.stat(path))


def test_quarantined_file_waits_in_the_trash_and_goes_then(site: UploadedSite, quarantine: None) -> None:
    footage = site.add()
    assert site.clean().reasons == ["quarantined"]
    assert in_trash(site, footage)
    site.clock.advance(23 * 3600)
    assert site.clean(force=True).reasons == ["quarantined"]
    assert trash_recover(site.root, site.clock.now()) == 0
    assert in_trash(site, footage)
    site.clock.advance(3600)
    run = site.clean()
    assert run.reasons == ["receipt_finished"]
    assert run.report.freed_bytes == len(footage.content)
    assert site.trash_files() == []
    assert footage.status == State.CLEANUP_COMPLETED
    assert [receipt.outcome for receipt in footage.receipts] == ["deleted"]


def test_hold_during_the_quarantine_brings_the_file_back(site: UploadedSite, quarantine: None) -> None:
    footage = site.add()
    site.clean()
    report = hold_set(recording_id=footage.recording.pk, user=site.user(), reason="", now=site.clock.now())
    assert report.local_copy_remains is False
    assert site.clean().reasons == ["held"]
    assert footage.is_whole
    assert footage.status == State.COMPLETED
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_cleanup_switched_off_in_quarantine_restores_the_file(
    site: UploadedSite, quarantine: None, settings: Any
) -> None:
    footage = site.add()
    site.clean()
    settings.GCP_STORAGE_CLEANUP_LOCAL = False
    assert site.clean().reasons == ["cleanup_off"]
    assert footage.is_whole
    assert footage.status == State.COMPLETED


@pytest.mark.parametrize("damage", ["content", "object"])
def test_file_changed_in_quarantine_comes_back(site: UploadedSite, quarantine: None, damage: str) -> None:
    footage = site.add()
    site.clean()
    if damage == "content":
        (site.folder / TRASH / str(footage.transfer_id)).write_bytes(b"?" * len(footage.content))
    else:
        site.store.remove(site.bucket, footage.row.gcp_storage_path)
    site.clock.advance(24 * 3600)
    assert site.clean().reasons == (["local_changed"] if damage == "content" else ["object_missing"])
    assert footage.path.is_file()
    assert site.trash_files() == []
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_touched_file_leaves_quarantine_by_an_equal_checksum(site: UploadedSite, quarantine: None) -> None:
    footage = site.add()
    site.clean()
    (site.folder / TRASH / str(footage.transfer_id)).touch()
    site.clock.advance(24 * 3600)
    assert site.clean().report.cleaned == 1


def test_silent_bucket_leaves_the_file_in_quarantine(site: UploadedSite, quarantine: None) -> None:
    footage = site.add()
    site.clean()
    site.clock.advance(24 * 3600)
    site.store.fault("get", TryAgain("503"), times=5)
    assert site.clean().report.failed == 1
    assert in_trash(site, footage)
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]


def test_dry_run_tells_of_quarantined_files_and_leaves_them(site: UploadedSite, quarantine: None) -> None:
    footage = site.add()
    site.clean()
    assert site.clean(dry_run=True).reasons == ["quarantined"]
    site.clock.advance(24 * 3600)
    assert site.clean(dry_run=True).reasons == ["receipt_finished"]
    assert in_trash(site, footage)


def test_sweep_puts_back_a_file_without_a_receipt(site: UploadedSite) -> None:
    footage = site.add(hours_ago=1)
    take(site, footage)
    assert trash_recover(site.root, site.clock.now()) == 1
    assert footage.is_whole
    assert footage.row.lease_owner is None


def test_sweep_puts_back_a_file_no_longer_due(site: UploadedSite, quarantine: None) -> None:
    footage = site.add()
    site.clean()
    footage.set(transfer_status=State.COMPLETED, cleanup_scheduled_at=None)
    assert trash_recover(site.root, site.clock.now()) == 1
    assert footage.is_whole
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_sweep_tells_of_a_taken_place_and_keeps_both(site: UploadedSite) -> None:
    footage = site.add()
    take(site, footage)
    footage.path.write_bytes(b"a new recording")
    assert trash_recover(site.root, site.clock.now()) == 0
    assert footage.path.read_bytes() == b"a new recording"
    assert in_trash(site, footage)
    assert site.alarms() == {("duplicate", f"trash, transfer {footage.transfer_id} of Gate")}
    footage.path.unlink()
    assert trash_recover(site.root, site.clock.now()) == 1
    assert footage.is_whole
    trash_recover(site.root, site.clock.now())
    assert site.alarms() == set()


def test_sweep_leaves_a_file_alone_that_no_transfer_knows(site: UploadedSite) -> None:
    take(site, site.add())
    key = str(uuid4())
    folder = site.folder / TRASH
    (folder / site.trash_files()[0]).rename(folder / key)
    assert trash_recover(site.root, site.clock.now()) == 0
    assert site.trash_files() == [key]
    assert site.alarms() == {("other_installation", f"trash, transfer {key}")}


def test_sweep_touches_nothing_on_an_unmounted_disk(site: UploadedSite) -> None:
    footage = site.add()
    take(site, footage)
    site.unmount()
    assert trash_recover(site.root, site.clock.now()) == 0
    assert in_trash(site, footage)


def test_quarantined_files_cost_the_sweep_no_query_each(
    site: UploadedSite, quarantine: None, django_assert_max_num_queries: Any
) -> None:
    site.many(12)
    site.clean()
    with django_assert_max_num_queries(4):
        assert trash_recover(site.root, site.clock.now()) == 0


@pytest.mark.parametrize("status", [State.CLEANUP_PENDING, State.COMPLETED], ids=["in_line", "left_the_line"])
def test_copy_of_an_installation_undoes_no_quarantine(
    site: UploadedSite, quarantine: None, settings: Any, status: State
) -> None:
    """A staging machine with the same share, and a database from before the receipt."""
    footage = site.add()
    site.clean()
    footage.row.receipts.all().delete()
    footage.set(transfer_status=status)
    settings.COLDREEL_INSTALLATION_ID = str(uuid4())
    assert trash_recover(site.root, site.clock.now()) == 0
    assert site.clean(force=True).report.cleaned == 0
    assert in_trash(site, footage)
    assert ("other_installation", f"trash, transfer {footage.transfer_id} of Gate") in site.alarms()


def test_installation_without_its_id_puts_nothing_back(site: UploadedSite, settings: Any, tmp_path: Any) -> None:
    footage = site.add()
    take(site, footage)
    settings.COLDREEL_INSTALLATION_ID = ""
    settings.COLDREEL_HOME = tmp_path / "nowhere" / "home"
    assert trash_recover(site.root, site.clock.now()) == 0
    assert in_trash(site, footage)


def test_sweep_leaves_a_file_taken_by_a_run_meanwhile(site: UploadedSite, quarantine: None) -> None:
    """It found two files without a receipt; before it comes to the second, a cleanup puts that one under a receipt."""
    one, two = sorted(site.many(2), key=lambda each: str(each.transfer_id))
    for footage in (one, two):
        take(site, footage)

    class Slow(Trash):
        def put_back(self, key: str, relative_path: str) -> None:
            super().put_back(key, relative_path)
            if key == str(one.transfer_id):
                assert site.clean(transfer_id=two.transfer_id).reasons == ["quarantined"]

    assert trash_recover(site.root, site.clock.now(), trash=Slow(site.root)) == 1
    assert one.is_whole
    assert in_trash(site, two)
    assert [receipt.outcome for receipt in two.receipts] == ["deleting"]


def test_copy_of_the_database_leaves_quarantined_files_alone(
    site: UploadedSite, quarantine: None, settings: Any
) -> None:
    footage = site.add()
    site.clean()
    settings.COLDREEL_INSTALLATION_ID = "the-staging-machine"
    assert site.clean().reasons == ["other_installation"]
    assert in_trash(site, footage)
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]
