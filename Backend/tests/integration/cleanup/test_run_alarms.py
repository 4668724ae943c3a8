"""What people are told of a run: no alarm without a cause, and the run itself, by a worker or by the command."""

from __future__ import annotations

from datetime import timedelta

from apps.cctv.models import PeriodicJob, SeenMediaRoot
from apps.cctv.services.media_root import media_root_mark
from offload.errors import LineDown, Reason
from tests.integration.cleanup.uploaded_site import UploadedSite


def test_new_installation_raises_no_alarm_and_runs(site: UploadedSite) -> None:
    site.unmount()
    run = site.clean()
    assert (run.report.stopped, run.report.due) == (None, 0)
    assert site.alarms() == set()


def test_marker_once_seen_is_missed_without_any_recording(site: UploadedSite) -> None:
    media_root_mark(root=site.root, although_empty=False)
    site.unmount()
    assert site.clean().report.stopped is Reason.MEDIA_ROOT_NOT_MOUNTED
    assert site.alarms() == {("media_root_not_mounted", "cleanup")}


def test_marker_seen_by_a_run_is_missed_next(site: UploadedSite) -> None:
    site.clean()
    assert SeenMediaRoot.objects.get().path == str(site.folder)
    site.unmount()
    assert site.clean().report.stopped is Reason.MEDIA_ROOT_NOT_MOUNTED


def test_first_recording_makes_a_missing_marker_an_alarm(site: UploadedSite) -> None:
    site.unmount()
    site.add()
    site.clean()
    assert site.alarms() == {("media_root_not_mounted", "cleanup")}


def test_dry_run_remembers_nothing(site: UploadedSite) -> None:
    site.clean(dry_run=True)
    assert not SeenMediaRoot.objects.exists()
    assert not PeriodicJob.objects.exists()


def test_run_of_a_command_is_noted_for_the_overview(site: UploadedSite) -> None:
    site.add()
    site.clean()
    job = PeriodicJob.objects.get()
    assert (job.name, job.last_result) == ("cleanup", "1 cleaned, 3000 bytes freed")
    assert job.last_started_at is not None
    assert job.last_finished_at == site.clock.now()


def test_run_of_one_site_is_noted_as_that_sites(site: UploadedSite) -> None:
    site.clean(site_id=site.camera.site_id)
    assert PeriodicJob.objects.get().name == f"cleanup@{site.camera.site_id}"


def test_stopped_run_is_noted_and_delays_no_later_one(site: UploadedSite) -> None:
    site.add()
    due = site.clock.now() - timedelta(minutes=1)
    PeriodicJob.objects.create(name="cleanup", next_run_at=due)
    site.store.fault("bucket_time", LineDown("no answer"))
    site.clean()
    job = PeriodicJob.objects.get()
    assert (job.last_result, job.next_run_at) == ("0 cleaned, 0 bytes freed, stopped: line_down", due)


def test_noted_run_leaves_the_lease_of_a_worker_alone(site: UploadedSite) -> None:
    owner = site.new_camera("Other").pk
    until = site.clock.now() + timedelta(seconds=40)
    PeriodicJob.objects.create(
        name="cleanup", next_run_at=until, lease_owner=owner, lease_number=4, lease_expires_at=until
    )
    site.clean()
    job = PeriodicJob.objects.get()
    assert (job.lease_owner, job.lease_number, job.lease_expires_at) == (owner, 4, until)


def test_cleanup_of_one_transfer_is_no_run(site: UploadedSite) -> None:
    site.clean(transfer_id=site.add().transfer_id)
    assert not PeriodicJob.objects.exists()


def test_run_over_all_sites_ends_a_sites_alarm(site: UploadedSite) -> None:
    site.add()
    site.store.fault("bucket_time", LineDown("no answer"))
    site.clean(site_id=site.camera.site_id)
    assert site.alarms() == {("line_down", "cleanup at Depot")}
    site.clean()
    assert site.alarms() == set()


def test_run_of_the_only_site_ends_the_general_alarm(site: UploadedSite) -> None:
    site.add()
    site.store.fault("bucket_time", LineDown("no answer"))
    site.clean()
    site.clean(site_id=site.camera.site_id)
    assert site.alarms() == set()


def test_run_of_one_site_leaves_the_general_alarm(site: UploadedSite) -> None:
    site.add()
    dock = site.new_camera("Dock", site="Harbour")
    site.store.fault("bucket_time", LineDown("no answer"))
    site.clean()
    site.clean(site_id=dock.site_id)
    assert site.alarms() == {("line_down", "cleanup")}
