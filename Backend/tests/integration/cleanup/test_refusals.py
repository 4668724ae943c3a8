"""Cleanup refuses, keeps the file and says why. With --force too."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from apps.cctv.leasing.leases import claim_cleanup
from apps.cctv.models import DeletionReceipt, Recording
from apps.cctv.services import NotFound
from apps.cctv.services.cleanup import CleanupReport, Outcome
from apps.cctv.services.holds import hold_lift, hold_set
from apps.cctv.wiring import service_settings
from offload.errors import Reason
from offload.states import State
from offload.store import META_INSTALLATION
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite

Break = Callable[[UploadedSite, Footage, Any], None]
GONE = {DeletionReceipt.Outcome.DELETED, DeletionReceipt.Outcome.ALREADY_MISSING}


@dataclass(frozen=True)
class Refusal:
    reason: Reason
    status: State = State.CLEANUP_PENDING
    outcome: Outcome = Outcome.SKIPPED


def object_gone(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.store.remove(site.bucket, footage.row.gcp_storage_path)


def another_generation(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.put(footage.row, footage.content)


def another_size(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.tamper(footage, size_bytes=len(footage.content) - 1)


def another_checksum(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.tamper(footage, crc32c=12345)


def file_replaced(site: UploadedSite, footage: Footage, settings: Any) -> None:
    before = footage.path.stat()
    new = footage.path.with_suffix(".new")
    new.write_bytes(footage.content[::-1])
    os.utime(new, ns=(before.st_mtime_ns, before.st_mtime_ns))
    new.rename(footage.path)


def file_rewritten_in_place_with_its_old_time(site: UploadedSite, footage: Footage, settings: Any) -> None:
    before = footage.path.stat()
    with footage.path.open("r+b") as file:
        file.write(b"another beginning")
    os.utime(footage.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def file_grew(site: UploadedSite, footage: Footage, settings: Any) -> None:
    with footage.path.open("ab") as file:
        file.write(b"more")


def file_shrank(site: UploadedSite, footage: Footage, settings: Any) -> None:
    os.truncate(footage.path, 1)


def file_became_a_link(site: UploadedSite, footage: Footage, settings: Any) -> None:
    elsewhere = site.folder.parent / "elsewhere.mp4"
    footage.path.rename(elsewhere)
    footage.path.symlink_to(elsewhere)


def folder_became_a_link(site: UploadedSite, footage: Footage, settings: Any) -> None:
    elsewhere = site.folder.parent / "elsewhere"
    footage.path.parent.rename(elsewhere)
    footage.path.parent.symlink_to(elsewhere)


def file_became_a_folder(site: UploadedSite, footage: Footage, settings: Any) -> None:
    footage.path.unlink()
    footage.path.mkdir()


def path_leads_out_of_the_media_root(site: UploadedSite, footage: Footage, settings: Any) -> None:
    outside = site.folder.parent / "outside.mp4"
    footage.path.rename(outside)
    footage.set(original_local_path="../outside.mp4")


def held(site: UploadedSite, footage: Footage, settings: Any) -> None:
    hold_set(recording_id=footage.recording.pk, user=site.user(), reason="case 7", now=site.clock.now())


def held_in_the_row_alone(site: UploadedSite, footage: Footage, settings: Any) -> None:
    footage.set_recording(hold_wanted=True)


def held_by_the_bucket_alone(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.tamper(footage, temporary_hold=True)


def held_by_an_event_in_the_bucket(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.tamper(footage, event_based_hold=True)


def lifted_here_and_not_yet_in_the_bucket(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.tamper(footage, temporary_hold=True)
    footage.set_recording(hold_confirmed=True)


def bucket_setting_changed(site: UploadedSite, footage: Footage, settings: Any) -> None:
    settings.GCP_STORAGE_BUCKET_NAME = "another-bucket"


def cleanup_switched_off(site: UploadedSite, footage: Footage, settings: Any) -> None:
    settings.GCP_STORAGE_CLEANUP_LOCAL = False


def database_copied_to_another_installation(site: UploadedSite, footage: Footage, settings: Any) -> None:
    settings.COLDREEL_INSTALLATION_ID = "the-staging-machine"


def object_of_another_installation(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.tamper(footage, metadata={META_INSTALLATION: "the-real-one"})


def object_without_any_metadata(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.tamper(footage, metadata={})


def database_from_before_the_upload(site: UploadedSite, footage: Footage, settings: Any) -> None:
    footage.set(
        transfer_status=State.PENDING,
        object_generation=None,
        object_crc32c="",
        source_identity="",
        upload_completed_at=None,
        cleanup_scheduled_at=None,
        next_attempt_at=site.clock.now(),
    )
    footage.set_recording(storage_type=Recording.StorageType.LOCAL, file_path=footage.row.original_local_path)


def database_from_before_a_second_upload(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.store.remove(site.bucket, footage.row.gcp_storage_path)
    site.put(footage.row, footage.content)


BREAKS: list[tuple[Break, Refusal]] = [
    (object_gone, Refusal(Reason.OBJECT_MISSING, State.FAILED, Outcome.FAILED)),
    (another_generation, Refusal(Reason.OBJECT_DIFFERS, State.FAILED, Outcome.FAILED)),
    (another_size, Refusal(Reason.OBJECT_DIFFERS, State.FAILED, Outcome.FAILED)),
    (another_checksum, Refusal(Reason.OBJECT_DIFFERS, State.FAILED, Outcome.FAILED)),
    (database_from_before_a_second_upload, Refusal(Reason.OBJECT_DIFFERS, State.FAILED, Outcome.FAILED)),
    (file_replaced, Refusal(Reason.LOCAL_CHANGED, State.COMPLETED)),
    (file_rewritten_in_place_with_its_old_time, Refusal(Reason.LOCAL_CHANGED, State.COMPLETED)),
    (file_grew, Refusal(Reason.LOCAL_CHANGED, State.COMPLETED)),
    (file_shrank, Refusal(Reason.LOCAL_CHANGED, State.COMPLETED)),
    (file_became_a_link, Refusal(Reason.LOCAL_CHANGED, State.COMPLETED)),
    (folder_became_a_link, Refusal(Reason.LOCAL_CHANGED, State.COMPLETED)),
    (file_became_a_folder, Refusal(Reason.LOCAL_CHANGED, State.COMPLETED)),
    (path_leads_out_of_the_media_root, Refusal(Reason.LOCAL_CHANGED, State.COMPLETED)),
    (held, Refusal(Reason.HELD, State.COMPLETED)),
    (held_in_the_row_alone, Refusal(Reason.HELD, State.COMPLETED)),
    (held_by_the_bucket_alone, Refusal(Reason.HOLD_UNKNOWN)),
    (held_by_an_event_in_the_bucket, Refusal(Reason.HOLD_UNKNOWN)),
    (lifted_here_and_not_yet_in_the_bucket, Refusal(Reason.HOLD_NOT_RELEASED)),
    (bucket_setting_changed, Refusal(Reason.BUCKET_SETTING_CHANGED)),
    (cleanup_switched_off, Refusal(Reason.CLEANUP_OFF, State.COMPLETED)),
    (database_copied_to_another_installation, Refusal(Reason.OTHER_INSTALLATION)),
    (object_of_another_installation, Refusal(Reason.OTHER_INSTALLATION)),
    (object_without_any_metadata, Refusal(Reason.OTHER_INSTALLATION)),
    (database_from_before_the_upload, Refusal(Reason.WRONG_STATE, State.PENDING)),
]
force_or_not = pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
every_break = pytest.mark.parametrize(("breaks", "refusal"), BREAKS, ids=[each.__name__ for each, _ in BREAKS])


def everything_in(site: UploadedSite) -> dict[str, bytes]:
    """Every file around the media root with its bytes, whatever leads to it."""
    files = [path for path in site.folder.parent.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): path.read_bytes() for path in files}


@force_or_not
@every_break
def test_refused_file_stays_and_the_report_says_why(
    site: UploadedSite, settings: Any, breaks: Break, refusal: Refusal, force: bool
) -> None:
    footage = site.add(hours_ago=1 if force else 25)
    breaks(site, footage, settings)
    before = everything_in(site)
    run = site.clean(force=force, transfer_id=footage.transfer_id)
    assert everything_in(site) == before
    assert run.only.reason is refusal.reason
    assert run.only.outcome is refusal.outcome
    assert run.only.detail
    assert footage.status == refusal.status
    assert footage.row.lease_owner is None
    assert not GONE & {receipt.outcome for receipt in footage.receipts}
    assert site.trash_files() == []


@force_or_not
@every_break
def test_full_run_refuses_it_as_well(
    site: UploadedSite, settings: Any, breaks: Break, refusal: Refusal, force: bool
) -> None:
    footage, other = site.add(), site.add("other.mp4", camera=site.new_camera("Dock"))
    breaks(site, footage, settings)
    before = everything_in(site)
    run = site.clean(force=force)
    after = everything_in(site)
    assert {path for path in before if after.get(path) != before[path]} <= {str(other.path)}
    refused = [file.reason for file in run.files if file.transfer_id == footage.transfer_id]
    # A row that is not in line is not looked at, unless it is asked for.
    assert refused in ([refusal.reason], [])
    assert footage.status == refusal.status


@force_or_not
def test_nothing_here_is_broken_but_by_a_test(site: UploadedSite, force: bool) -> None:
    footage = site.add(hours_ago=1 if force else 25)
    assert site.clean(force=force, transfer_id=footage.transfer_id).report.cleaned == 1


def test_gone_object_makes_the_recording_local_with_an_alarm(site: UploadedSite) -> None:
    footage = site.add()
    object_gone(site, footage, None)
    site.clean()
    row = footage.row
    assert (row.recording.storage_type, row.recording.file_path) == ("local", row.original_local_path)
    assert (row.error_code, row.needs_attention) == (Reason.OBJECT_MISSING, True)
    assert footage.events == [("fail", "object_missing")]
    assert site.alarms() == {("object_missing", f"transfer {row.pk} of Gate")}


def test_object_and_file_both_gone_is_footage_lost(site: UploadedSite) -> None:
    footage = site.add()
    object_gone(site, footage, None)
    footage.path.unlink()
    run = site.clean()
    assert run.only.reason is Reason.OBJECT_LOST
    assert footage.row.error_code == Reason.OBJECT_LOST
    assert footage.recording.storage_type == Recording.StorageType.GCP
    assert site.alarms() == {("object_lost", f"transfer {footage.transfer_id} of Gate")}


@force_or_not
def test_copy_of_the_database_asks_nothing_of_the_bucket(site: UploadedSite, settings: Any, force: bool) -> None:
    footage = site.add()
    object_gone(site, footage, settings)
    database_copied_to_another_installation(site, footage, settings)
    run = site.clean(force=force)
    assert run.reasons == ["other_installation"]
    assert footage.status == State.CLEANUP_PENDING
    assert site.store.calls == []


def test_missing_file_closes_no_row_without_a_proof(site: UploadedSite) -> None:
    footage = site.add()
    footage.path.unlink()
    another_checksum(site, footage, None)
    assert site.clean().report.already_missing == 0
    assert footage.status == State.FAILED


def test_changed_file_is_not_scheduled_again_by_itself(site: UploadedSite) -> None:
    footage = site.add()
    file_grew(site, footage, None)
    site.clean()
    assert (footage.row.error_code, footage.row.needs_attention) == (Reason.LOCAL_CHANGED, True)
    assert footage.row.cleanup_scheduled_at is None


@pytest.mark.parametrize("need", ["held", "local"])
def test_file_of_another_recording_stays_despite_equal_bytes(site: UploadedSite, need: str) -> None:
    """Touched and imported again: the same bytes under the same name are another recording, and that one is held."""
    footage = site.add()
    os.utime(footage.path)
    path = footage.row.original_local_path
    again = Recording.objects.create(
        camera=site.camera,
        name="again",
        started_at=site.clock.now(),
        local_path=path,
        file_path=path,
        file_mtime_ns=footage.path.stat().st_mtime_ns,
        file_size_bytes=len(footage.content),
    )
    if need == "held":
        Recording.objects.filter(pk=again.pk).update(hold_wanted=True, storage_type="gcp", file_mtime_ns=1)
    for force in (False, True):
        site.clean(force=force)
    assert footage.is_whole
    assert footage.row.error_code == Reason.LOCAL_CHANGED


def test_alarm_of_one_site_survives_another_sites_run(site: UploadedSite) -> None:
    footage, dock = site.add(), site.new_camera("Dock", site="Harbour")
    held_by_the_bucket_alone(site, footage, None)
    site.clean(site_id=footage.row.site_id)
    site.clean(site_id=dock.site_id)
    assert site.alarms() == {("hold_unknown", f"cleanup of {site.bucket} at Depot")}
    site.unmount()
    site.clean(site_id=dock.site_id)
    assert ("media_root_not_mounted", "cleanup at Harbour") in site.alarms()


def test_unknown_hold_raises_one_alarm_until_mended(site: UploadedSite) -> None:
    one, two = site.many(2)
    for footage in (one, two):
        held_by_the_bucket_alone(site, footage, None)
    site.clean()
    assert site.alarms() == {("hold_unknown", f"cleanup of {site.bucket} at Depot")}
    for footage in (one, two):
        site.tamper(footage, temporary_hold=False)
    site.clean()
    assert site.alarms() == set()


def test_lifted_hold_starts_a_new_waiting_period(site: UploadedSite) -> None:
    footage = site.add()
    held(site, footage, None)
    site.clock.advance(90 * 24 * 3600)
    hold_lift(recording_id=footage.recording.pk, user=site.user(), now=site.clock.now(), settings=service_settings())
    site.clock.advance(23 * 3600)
    assert site.clean(transfer_id=footage.transfer_id).reasons == ["not_due"]
    site.clock.advance(3600)
    assert site.clean().report.cleaned == 1


def test_row_that_another_owner_leases_is_left_alone(site: UploadedSite) -> None:
    footage = site.add()
    claim_cleanup(owner_id=uuid4(), transfer_id=footage.transfer_id, now=site.clock.now(), lease_seconds=40)
    assert site.clean().reasons == ["busy"]
    assert footage.is_whole


def test_not_due_by_the_buckets_clock_is_not_due(site: UploadedSite) -> None:
    """The row says it was stored yesterday, the bucket says an hour ago."""
    footage = site.add()
    site.tamper(footage, stored_at=site.clock.now() - timedelta(hours=1))
    assert site.clean().reasons == ["not_due_in_bucket"]
    assert footage.is_whole
    assert site.clean(force=True).report.cleaned == 1


def test_slow_answer_does_not_put_the_buckets_clock_ahead(site: UploadedSite) -> None:
    """The bucket takes half a minute to tell the time, and the waiting period ends 20 seconds after it has told it."""
    footage = site.add()
    site.tamper(footage, stored_at=site.clock.now() - timedelta(hours=24) + timedelta(seconds=50))
    site.store.fault("bucket_time", action=lambda: site.clock.advance(30))
    assert site.clean().reasons == ["not_due_in_bucket"]
    assert footage.is_whole


def test_longer_waiting_period_counts_from_the_upload_at_once(site: UploadedSite, settings: Any) -> None:
    footage = site.add()
    settings.GCP_CLEANUP_DELAY_HOURS = 48
    assert site.clean().reasons == ["not_due_in_bucket"]
    assert footage.is_whole


def test_clock_that_jumps_during_the_run_makes_nothing_due(site: UploadedSite) -> None:
    footage = site.add(hours_ago=1)
    footage.set(cleanup_scheduled_at=site.clock.now())
    site.store.fault("get", action=lambda: site.clock.jump(24 * 3600))
    assert site.clean().reasons == ["not_due_in_bucket"]
    assert footage.is_whole


def test_unknown_transfer_is_told_as_such(site: UploadedSite) -> None:
    with pytest.raises(NotFound):
        site.clean(transfer_id=uuid4())


@pytest.mark.parametrize("reason", sorted(Reason))
def test_skipped_files_are_a_persons_where_no_run_helps(site: UploadedSite, reason: Reason) -> None:
    report = CleanupReport(dry_run=False, forced=False, started_at=site.clock.now())
    report.skipped[reason] = 2
    for_a_person = {"local_changed", "bucket_setting_changed", "other_installation", "hold_unknown"}
    assert report.left_for_a_person.total() == (2 if reason.value in for_a_person else 0)
