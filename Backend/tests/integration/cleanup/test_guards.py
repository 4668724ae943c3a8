"""What stops a run before it touches anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.cctv.models import DeletionReceipt
from apps.cctv.services.cleanup.run_state import BucketClock
from offload.errors import LineDown, Reason, StopAndTell, TryAgain
from offload.states import State
from offload.testing import FakeClock
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite

ways_to_ask = pytest.mark.parametrize(
    "options", [{}, {"force": True}, {"dry_run": True}, {"batch_size": 1}], ids=["plain", "force", "dry_run", "one"]
)


def remove_files(footage: list[Footage]) -> None:
    for each in footage:
        each.path.unlink()


def remove_objects(site: UploadedSite, footage: list[Footage]) -> None:
    for each in footage:
        site.store.remove(site.bucket, each.row.gcp_storage_path)


@ways_to_ask
def test_unmounted_media_root_stops_everything(site: UploadedSite, options: dict[str, Any]) -> None:
    footage = site.many(3)
    site.unmount()
    run = site.clean(**options)
    assert run.report.stopped is Reason.MEDIA_ROOT_NOT_MOUNTED
    assert run.files == []
    assert {each.status for each in footage} == {State.CLEANUP_PENDING}
    assert site.store.calls == []


def test_unmounted_media_root_stops_an_idle_run(site: UploadedSite) -> None:
    site.clean()
    site.unmount()
    assert site.clean().report.stopped is Reason.MEDIA_ROOT_NOT_MOUNTED


def test_disk_unmounted_during_the_run_counts_none_as_gone(site: UploadedSite) -> None:
    """The mount point below is empty then, like after `umount`."""
    footage = site.many(3)

    def umount() -> None:
        site.unmount()
        remove_files(footage)

    run = site.clean(on_start=lambda count: umount())
    assert run.report.stopped is Reason.MEDIA_ROOT_NOT_MOUNTED
    assert {each.status for each in footage} == {State.CLEANUP_PENDING}
    assert not DeletionReceipt.objects.exists()


@ways_to_ask
def test_more_than_half_missing_locally_stops_the_run(site: UploadedSite, options: dict[str, Any]) -> None:
    footage = site.many(20)
    remove_files(footage[:11])
    run = site.clean(**options)
    assert run.report.stopped is Reason.TOO_MANY_MISSING_LOCALLY
    assert run.files == []
    assert all(each.is_whole for each in footage[11:])
    assert {each.status for each in footage} == {State.CLEANUP_PENDING}


def test_half_of_the_files_missing_is_told_singly(site: UploadedSite) -> None:
    footage = site.many(20)
    remove_files(footage[:10])
    run = site.clean()
    assert (run.report.cleaned, run.report.already_missing, run.report.stopped) == (10, 10, None)


def test_nine_missing_files_stop_nothing(site: UploadedSite) -> None:
    remove_files(site.many(9))
    assert site.clean().report.already_missing == 9


def test_single_transfer_is_guarded_by_all_due_ones(site: UploadedSite) -> None:
    footage = site.many(20)
    remove_files(footage[:11])
    run = site.clean(transfer_id=footage[15].transfer_id, force=True)
    assert run.report.stopped is Reason.TOO_MANY_MISSING_LOCALLY
    assert footage[15].is_whole


@ways_to_ask
def test_more_than_a_tenth_missing_remotely_stops_the_run(site: UploadedSite, options: dict[str, Any]) -> None:
    footage = site.many(40)
    remove_objects(site, footage[30:])
    run = site.clean(**options)
    assert run.report.stopped is Reason.TOO_MANY_MISSING_REMOTELY
    assert run.files == []
    assert all(each.is_whole for each in footage)
    assert {each.status for each in footage} == {State.CLEANUP_PENDING}


def test_nine_missing_objects_are_told_file_by_file(site: UploadedSite) -> None:
    footage = site.many(12)
    remove_objects(site, footage[:9])
    run = site.clean()
    assert (run.report.cleaned, run.report.failed, run.report.stopped) == (3, 9, None)
    assert all(each.is_whole for each in footage[:9])


def test_objects_missing_later_also_stop_a_long_run(site: UploadedSite) -> None:
    footage = [site.add(f"{n:03}.mp4", hours_ago=200 - n) for n in range(90)]
    remove_objects(site, footage[60:])
    run = site.clean(batch_size=10)
    assert run.report.stopped is Reason.TOO_MANY_MISSING_REMOTELY
    assert run.report.failed <= 10
    assert all(each.is_whole for each in footage[60:])


def test_person_who_knows_why_goes_on(site: UploadedSite) -> None:
    footage = site.many(20)
    remove_files(footage[:12])
    run = site.clean(accept_missing=True)
    assert (run.report.cleaned, run.report.already_missing) == (8, 12)


def test_bucket_that_is_gone_is_no_missing_object(site: UploadedSite) -> None:
    footage = site.many(3)
    site.store.remove_bucket(site.bucket)
    run = site.clean()
    assert run.report.stopped is Reason.BUCKET_NOT_FOUND
    assert run.files == []
    assert {each.status for each in footage} == {State.CLEANUP_PENDING}
    assert all(each.is_whole for each in footage)


@pytest.mark.parametrize("seconds", [-301, 301, 24 * 3600, -24 * 3600])
@pytest.mark.parametrize("force", [False, True])
def test_clocks_five_minutes_apart_stop_the_run(site: UploadedSite, seconds: int, force: bool) -> None:
    footage = site.add()
    site.store.bucket_offset_seconds = seconds
    run = site.clean(force=force)
    assert run.report.stopped is Reason.CLOCK_SKEW
    assert footage.is_whole


def test_clock_that_jumped_a_day_makes_nothing_due(site: UploadedSite) -> None:
    footage = site.add(hours_ago=1)
    site.clock.jump(24 * 3600)
    site.store.bucket_offset_seconds = -24 * 3600
    assert site.clean().report.stopped is Reason.CLOCK_SKEW
    assert footage.is_whole


def test_clocks_that_differ_by_less_do_not(site: UploadedSite) -> None:
    site.add()
    site.store.bucket_offset_seconds = 299
    assert site.clean().report.cleaned == 1


@pytest.mark.parametrize(
    "error",
    [LineDown("no route"), TryAgain("503"), StopAndTell("403"), StopAndTell("401", code=Reason.CREDENTIALS_REFUSED)],
    ids=lambda error: error.code.value,
)
def test_silent_bucket_stops_the_run_and_blames_no_file(site: UploadedSite, error: Any) -> None:
    footage = site.add()
    site.store.fault("bucket_time", error)
    run = site.clean()
    assert run.report.stopped is error.code
    assert footage.row.cleanup_failures == 0
    assert site.alarms() == {(error.code.value, "cleanup")}
    assert site.clean().report.cleaned == 1
    assert site.alarms() == set()


def test_unknown_installation_stops_the_run(site: UploadedSite, settings: Any, tmp_path: Any) -> None:
    footage = site.add()
    settings.COLDREEL_INSTALLATION_ID = ""
    settings.COLDREEL_HOME = tmp_path / "home-without-the-id-file"
    assert site.clean().report.stopped is Reason.OTHER_INSTALLATION
    assert footage.is_whole


def test_files_in_the_trash_do_not_count_as_missing(site: UploadedSite, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    site.many(12)
    assert set(site.clean().reasons) == {"quarantined"}
    site.add("new.mp4")
    run = site.clean()
    assert run.report.stopped is None
    assert run.report.skipped == {Reason.QUARANTINED: 13}


def test_proof_older_than_a_minute_is_read_again(site: UploadedSite) -> None:
    site.add()
    site.clean(on_start=lambda count: site.clock.advance(61))
    receipt = DeletionReceipt.objects.get()
    assert receipt.outcome == "deleted"
    assert site.clock.now() - receipt.proof_read_at < timedelta(seconds=60)
    assert len(site.store.calls_of("get")) == 2


def test_proof_from_a_slow_answer_counts_from_the_question(site: UploadedSite, settings: Any) -> None:
    """An answer that took a minute proves nothing any more when it comes."""
    settings.COLDREEL_LEASE_SECONDS = 3600
    footage = site.add()
    site.store.fault("get", times=100, action=lambda: site.clock.advance(61))
    run = site.clean()
    assert run.only.outcome.value == "failed"
    assert footage.is_whole


def test_batch_is_read_back_before_it_is_touched(site: UploadedSite) -> None:
    """Thirty objects of the last batch are gone: not one of its rows is failed before the run stops."""
    footage = [site.add(f"{n:03}.mp4", hours_ago=200 - n) for n in range(90)]
    remove_objects(site, footage[60:])
    run = site.clean(batch_size=30)
    assert run.report.stopped is Reason.TOO_MANY_MISSING_REMOTELY
    assert (run.report.cleaned, run.report.failed) == (60, 0)
    assert {each.status for each in footage[60:]} == {State.CLEANUP_PENDING}


def test_objects_vanishing_after_the_read_back_stop_the_run(site: UploadedSite) -> None:
    footage = site.many(20)

    def emptied(count: int) -> None:
        remove_objects(site, footage)

    # The sample was read before; the batch is read back a minute later, file by file.
    run = site.clean(on_start=emptied, on_file=lambda file: site.clock.advance(61))
    assert run.report.stopped is Reason.TOO_MANY_MISSING_REMOTELY
    assert any(each.is_whole for each in footage)
    assert sum(each.status == State.FAILED for each in footage) < 10


def test_bucket_clock_goes_on_with_the_time_that_passes() -> None:
    clock = FakeClock()
    read = BucketClock(clock.now(), clock.monotonic())
    clock.advance(90)
    assert read.now(clock) == clock.now()


def test_bucket_clock_ignores_a_set_wall_clock() -> None:
    clock = FakeClock()
    before = clock.now()
    read = BucketClock(before, clock.monotonic())
    clock.jump(24 * 3600)
    assert read.now(clock) == before
