"""Two sites in one database, each with a disk of its own: a run touches the site that its marker names (P11)."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.cctv.models import DeletionReceipt, PeriodicJob, Site
from apps.cctv.services import Conflict
from apps.cctv.services.cleanup import trash_recover
from apps.cctv.services.media_root import Marker
from offload.errors import Reason
from offload.states import State
from tests.conftest import MARKER
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite, disk_of


@pytest.fixture
def depot(db: None, tmp_path: Path, bucket: str) -> UploadedSite:
    folder = tmp_path / "depot"
    folder.mkdir()
    return UploadedSite(folder, bucket)


@pytest.fixture
def harbour(depot: UploadedSite, tmp_path: Path, bucket: str) -> UploadedSite:
    folder = tmp_path / "harbour"
    folder.mkdir()
    return UploadedSite(folder, bucket, name="Harbour", beside=depot)


def swap_disks(one: UploadedSite, other: UploadedSite) -> None:
    """What is mounted at one media root is mounted at the other's, and the other way round."""
    away = one.folder.with_name("away")
    one.folder.rename(away)
    other.folder.rename(one.folder)
    away.rename(other.folder)


def into_trash(site: UploadedSite, footage: Footage, key: str) -> None:
    path = footage.row.original_local_path
    site.trash.take(path, key, expected=site.root.stat(path))


def assert_untouched(footage: Footage) -> None:
    row = footage.row
    assert (row.transfer_status, row.cleanup_failures, row.lease_number) == (State.CLEANUP_PENDING, 0, 0)
    assert not footage.receipts
    assert not footage.events


def test_run_touches_no_row_of_another_site(depot: UploadedSite, harbour: UploadedSite) -> None:
    """Its files lie on its own disk, so that from here they look as if they were missing."""
    here, there = depot.add("here.mp4"), harbour.add("there.mp4")
    run = depot.clean()
    assert [file.transfer_id for file in run.files] == [here.transfer_id]
    assert here.status == State.CLEANUP_COMPLETED
    assert_untouched(there)
    assert there.is_whole


def test_force_and_pressure_stay_at_their_site(depot: UploadedSite, harbour: UploadedSite) -> None:
    there = harbour.add("there.mp4", hours_ago=1)
    Site.objects.update(disk_high_water_percent=50)
    depot.clean(force=True)
    depot.clean(disk=disk_of(used_bytes=10**9, free_bytes=0))
    assert_untouched(there)


def test_transfer_of_another_site_is_refused(depot: UploadedSite, harbour: UploadedSite) -> None:
    there = harbour.add("there.mp4")
    with pytest.raises(Conflict, match="another site"):
        depot.clean(transfer_id=there.transfer_id, force=True)
    assert_untouched(there)


def test_run_for_a_site_refuses_anothers_disk(depot: UploadedSite, harbour: UploadedSite) -> None:
    here, there = depot.add("here.mp4"), harbour.add("there.mp4")
    run = depot.clean(site_id=harbour.site_id)
    assert run.report.stopped is Reason.WRONG_MEDIA_ROOT
    assert depot.alarms() == {("wrong_media_root", "cleanup at Harbour")}
    assert_untouched(here)
    assert_untouched(there)


def test_run_over_an_unnamed_disk_is_refused(depot: UploadedSite, harbour: UploadedSite) -> None:
    here = depot.add("here.mp4")
    (depot.folder / MARKER).write_text("of an earlier release\n")
    assert depot.clean().report.stopped is Reason.WRONG_MEDIA_ROOT
    assert depot.clean(site_id=depot.site_id).report.stopped is Reason.WRONG_MEDIA_ROOT
    assert_untouched(here)


def test_disk_swapped_during_a_run_stops_it(depot: UploadedSite, harbour: UploadedSite) -> None:
    """The guards saw the right disk, and the file was there. Then it is gone, because another disk is mounted."""
    here = depot.add("here.mp4")
    depot.store.fault("get", times=1, action=lambda: swap_disks(depot, harbour))
    run = depot.clean(site_id=depot.site_id)
    assert run.report.stopped is Reason.WRONG_MEDIA_ROOT
    assert depot.alarms() == {("wrong_media_root", "cleanup at Depot")}
    assert here.status == State.CLEANUP_PENDING
    assert not here.receipts


def test_same_path_on_anothers_disk_is_not_called_changed(depot: UploadedSite, harbour: UploadedSite) -> None:
    here, there = depot.add("clip.mp4"), harbour.add("clip.mp4")
    depot.store.fault("get", times=1, action=lambda: swap_disks(depot, harbour))
    assert depot.clean(site_id=depot.site_id).report.stopped is Reason.WRONG_MEDIA_ROOT
    assert (here.row.error_code, here.status) == ("", State.CLEANUP_PENDING)
    assert_untouched(there)


def test_open_receipt_is_not_closed_on_anothers_disk(depot: UploadedSite, harbour: UploadedSite, settings) -> None:
    """Its file lies in the trash of the disk that was swapped: there is none of that name here."""
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 1
    here = depot.add("here.mp4")
    depot.clean()
    depot.clock.advance(7200)
    depot.store.fault("bucket_time", times=1, action=lambda: swap_disks(depot, harbour))
    assert depot.clean(site_id=depot.site_id).report.stopped is Reason.WRONG_MEDIA_ROOT
    assert [receipt.outcome for receipt in here.receipts] == [DeletionReceipt.Outcome.DELETING]


def test_receipt_of_another_site_stays_as_it_is(depot: UploadedSite, harbour: UploadedSite, settings) -> None:
    """The same path and file lie here as well: a copy of a card, for example."""
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 1
    there = harbour.add("clip.mp4")
    harbour.clean()
    there.set(transfer_status=State.COMPLETED)
    copy = depot.folder / there.path.relative_to(harbour.folder)
    copy.parent.mkdir(exist_ok=True)
    (harbour.folder / there.receipts[0].trash_path).rename(copy)
    depot.clean()
    assert there.receipts[0].closed_at is None


def test_trash_of_another_site_is_left_alone(depot: UploadedSite, harbour: UploadedSite) -> None:
    there = harbour.add("there.mp4")
    into_trash(depot, depot.add("here.mp4"), str(there.transfer_id))
    recovered = trash_recover(depot.root, timezone.now(), site_id=depot.site_id)
    assert recovered == 0
    assert depot.trash_files() == [str(there.transfer_id)]
    assert_untouched(there)
    (alarm,) = depot.alarms()
    assert alarm[0] == "wrong_media_root"


def test_alarm_of_anothers_trash_stays_open(depot: UploadedSite, harbour: UploadedSite) -> None:
    """The file is not in this trash, which says nothing about the other one."""
    there = harbour.add("there.mp4", installation_id="another")
    into_trash(harbour, there, str(there.transfer_id))
    trash_recover(harbour.root, timezone.now(), site_id=harbour.site_id)
    told = harbour.alarms()
    assert {code for code, _ in told} == {"other_installation"}
    trash_recover(depot.root, timezone.now(), site_id=depot.site_id)
    assert harbour.alarms() == told


def test_trash_is_not_swept_on_anothers_disk(depot: UploadedSite, harbour: UploadedSite) -> None:
    here = depot.add("here.mp4", transfer_status=State.COMPLETED)
    into_trash(depot, here, str(here.transfer_id))
    assert trash_recover(depot.root, timezone.now(), site_id=harbour.site_id) == 0
    assert depot.trash_files() == [str(here.transfer_id)]


def test_run_is_noted_for_the_site_of_the_marker(depot: UploadedSite, harbour: UploadedSite) -> None:
    depot.clean()
    assert [job.name for job in PeriodicJob.objects.all()] == [f"cleanup@{depot.site_id}"]


def test_command_for_another_site_is_status_1(depot: UploadedSite, harbour: UploadedSite, settings) -> None:
    there = harbour.add("there.mp4")
    settings.MEDIA_ROOT = depot.folder
    with pytest.raises(CommandError, match=r"Harbour") as refusal:
        call_command("cleanup_gcp_transfers", "--site", "Harbour")
    assert refusal.value.returncode == 1
    assert_untouched(there)


def test_marker_that_was_renamed_by_hand_decides(depot: UploadedSite, harbour: UploadedSite) -> None:
    """The ids decide; the name is for people."""
    here = depot.add("here.mp4")
    depot.root.write_marker(str(Marker.of(depot.camera.site)).replace("Depot", "Harbour"))
    depot.clean()
    assert here.status == State.CLEANUP_COMPLETED
