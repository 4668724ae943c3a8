"""What is deleted, in which order, and what the receipt says of it."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.cctv.models import DeletionReceipt
from apps.cctv.services.cleanup import Outcome
from offload.errors import Reason
from offload.states import State
from tests.integration.cleanup.uploaded_site import TRASH, UploadedSite

Receipt = DeletionReceipt.Outcome
Compared = DeletionReceipt.Compared


def test_due_file_is_deleted_and_its_receipt_complete(site: UploadedSite) -> None:
    footage = site.add()
    run = site.clean()
    assert run.report.cleaned == 1
    assert run.report.freed_bytes == len(footage.content)
    assert not footage.path.exists()
    assert site.trash_files() == []
    row, (receipt,) = footage.row, footage.receipts
    assert row.transfer_status == State.CLEANUP_COMPLETED
    assert row.cleanup_completed_at is not None
    assert row.lease_owner is None
    assert receipt.outcome == Receipt.DELETED
    assert receipt.compared == Compared.IDENTITY
    assert receipt.actor == "tester"
    assert receipt.forced is False
    assert receipt.local_path == row.original_local_path
    assert receipt.trash_path == f"{TRASH}/{row.pk}"
    assert (receipt.object_generation, receipt.object_crc32c) == (row.object_generation, row.object_crc32c)
    assert receipt.size_bytes == len(footage.content)
    assert receipt.opened_at - receipt.proof_read_at < timedelta(seconds=60)
    assert footage.events == [("finish_cleanup", "cleaned")]


def test_file_stays_until_it_is_due(site: UploadedSite) -> None:
    footage = site.add(hours_ago=23)
    assert site.clean().files == []
    assert footage.is_whole
    site.clock.advance(3600)
    assert site.clean().report.cleaned == 1


def test_force_waives_the_waiting_period_and_is_noted(site: UploadedSite) -> None:
    footage = site.add(hours_ago=0)
    assert site.clean(force=True).report.cleaned == 1
    assert footage.receipts[0].forced is True


def test_transfer_id_takes_that_one_alone(site: UploadedSite) -> None:
    one, two = site.many(2)
    run = site.clean(transfer_id=two.transfer_id)
    assert run.only.transfer_id == two.transfer_id
    assert one.is_whole
    assert not two.path.exists()


def test_oldest_goes_first_whatever_the_batch(site: UploadedSite) -> None:
    hours = [30, 50, 40, 27]
    footage = {age: site.add(f"{age}.mp4", hours_ago=age) for age in hours}
    run = site.clean(batch_size=1)
    assert [file.transfer_id for file in run.files] == [footage[age].transfer_id for age in sorted(hours, reverse=True)]


def test_one_site_leaves_another_sites_files_alone(site: UploadedSite) -> None:
    here = site.add("a.mp4")
    there = site.add("b.mp4", camera=site.new_camera("Dock", site="Harbour"))
    site.clean(site_id=here.row.site_id)
    assert not here.path.exists()
    assert there.is_whole


def test_dry_run_changes_nothing_and_tells_what_would_happen(site: UploadedSite) -> None:
    due, changed, waiting = site.add("a.mp4"), site.add("b.mp4"), site.add("c.mp4", hours_ago=1)
    changed.path.write_bytes(changed.content[::-1])
    before = {
        f.transfer_id: (vars(f.row) | {"_state": None, "_prefetched_objects_cache": None})
        for f in (due, changed, waiting)
    }
    tree = sorted(str(path) for path in site.folder.rglob("*"))
    run = site.clean(dry_run=True)
    assert {f.transfer_id: (f.outcome, f.reason) for f in run.files} == {
        due.transfer_id: (Outcome.CLEANED, Reason.CLEANED),
        changed.transfer_id: (Outcome.SKIPPED, Reason.LOCAL_CHANGED),
    }
    assert run.report.freed_bytes == len(due.content)
    assert sorted(str(path) for path in site.folder.rglob("*")) == tree
    for footage in (due, changed, waiting):
        row = vars(footage.row) | {"_state": None, "_prefetched_objects_cache": None}
        assert {k: v for k, v in row.items() if not k.startswith("_")} == {
            k: v for k, v in before[footage.transfer_id].items() if not k.startswith("_")
        }
        assert footage.receipts == []
        assert footage.events == []
    assert site.alarms() == set()


def test_dry_run_asks_the_bucket_like_a_real_run(site: UploadedSite) -> None:
    site.many(3)
    site.clean(dry_run=True)
    asked = [call.kind for call in site.store.calls]
    site.store.calls.clear()
    site.clean()
    assert asked == [call.kind for call in site.store.calls]


def test_touched_file_goes_after_a_fresh_checksum(site: UploadedSite) -> None:
    footage = site.add()
    os.utime(footage.path)
    assert site.clean().report.cleaned == 1
    assert footage.receipts[0].compared == Compared.CRC32C


def test_file_copied_to_another_disk_needs_a_checksum(site: UploadedSite) -> None:
    footage = site.add()
    footage.path.unlink()
    footage.path.write_bytes(footage.content)
    assert site.clean().report.cleaned == 1
    assert footage.receipts[0].compared == Compared.CRC32C


def test_missing_file_is_closed_without_a_claimed_deletion(site: UploadedSite) -> None:
    footage = site.add()
    footage.path.unlink()
    run = site.clean()
    assert run.report.already_missing == 1
    assert run.report.freed_bytes == 0
    (receipt,) = footage.receipts
    assert (receipt.outcome, receipt.compared) == (Receipt.ALREADY_MISSING, Compared.NOTHING)
    assert footage.status == State.CLEANUP_COMPLETED


def test_odd_file_names_are_deleted_like_others(site: UploadedSite) -> None:
    names = ["a b.mp4", 'it\'s "x".mp4', "line\nbreak.mp4", "überwachung-監視.mp4", "n" * 251 + ".mp4"]
    for name in names:
        site.add(name)
    assert site.clean().report.cleaned == len(names)


def test_cleaned_camera_is_read_by_one_cheap_listing(site: UploadedSite) -> None:
    site.many(20)
    assert site.clean().report.cleaned == 20
    assert len(site.store.calls_of("list_prefix")) == 1
    assert site.store.calls_of("get") == []


def test_few_files_of_a_camera_are_read_singly(site: UploadedSite) -> None:
    site.many(10)
    assert site.clean().report.cleaned == 10
    assert site.store.calls_of("list_prefix") == []
    assert len(site.store.calls_of("get")) == 10


def test_each_file_costs_the_same_number_of_queries(site: UploadedSite) -> None:
    def queries_for(count: int) -> int:
        camera = site.new_camera(f"Camera of {count}")
        for number in range(count):
            site.add(f"{number}.mp4", camera=camera)
        with CaptureQueriesContext(connection) as found:
            assert site.clean().report.cleaned == count
        return len(found)

    site.clean()  # the first run of all also notes that it saw the marker
    one, three, five = queries_for(1), queries_for(3), queries_for(5)
    assert five - three == three - one
    assert (five - three) / 2 <= 36  # savepoints included


def test_interrupted_run_finishes_the_file_it_is_at(site: UploadedSite) -> None:
    site.many(3)
    told: list[object] = []
    run = site.clean(on_file=told.append, should_stop=lambda: len(told) == 1)
    assert run.report.interrupted is True
    assert run.report.cleaned == 1
    assert site.trash_files() == []


def test_former_bucket_is_cleaned_by_the_rows_own_bucket(site: UploadedSite, settings: Any) -> None:
    footage = site.add()
    settings.GCP_STORAGE_BUCKET_NAME = "new-bucket"
    settings.GCP_STORAGE_FORMER_BUCKETS = [site.bucket]
    assert site.clean().report.cleaned == 1
    assert {call.bucket for call in site.store.calls} == {site.bucket}
    assert footage.receipts[0].gcp_bucket == site.bucket


def test_untrusted_identity_needs_a_fresh_checksum(site: UploadedSite) -> None:
    """Taken too near to the file's own times, on a disk that keeps whole seconds: a later change may not show."""
    same, changed = site.add("same.mp4"), site.add("changed.mp4")
    changed.path.write_bytes(b"?" * len(changed.content))
    for footage in (same, changed):
        identity = site.root.stat(footage.row.original_local_path)
        footage.set(source_identity=replace(identity, trusted=False).encode())
    run = site.clean()
    assert {file.path: file.reason.value for file in run.files} == {
        "Gate/same.mp4": "cleaned",
        "Gate/changed.mp4": "local_changed",
    }
    assert [receipt.compared for receipt in same.receipts] == ["crc32c"]
    assert changed.path.read_bytes() == b"?" * len(changed.content)
    assert changed.receipts == []
