"""What people are told of a run: no alarm without a cause, and the run itself, whoever made it."""

from __future__ import annotations

from datetime import timedelta

from apps.cctv.models import PeriodicJob, SeenMediaRoot
from apps.cctv.services.media_root import media_root_mark
from offload.errors import LineDown, Reason
from tests.integration.cleanup.yard import Yard


def test_new_installation_raises_no_alarm_and_its_run_is_not_stopped(yard: Yard) -> None:
    yard.unmount()
    run = yard.clean()
    assert (run.report.stopped, run.report.due) == (None, 0)
    assert yard.alarms() == set()


def test_marker_that_was_there_once_is_missed_though_there_is_no_recording(yard: Yard) -> None:
    media_root_mark(root=yard.root, although_empty=False)
    yard.unmount()
    assert yard.clean().report.stopped is Reason.MEDIA_ROOT_NOT_MOUNTED
    assert yard.alarms() == {("media_root_not_mounted", "cleanup")}


def test_marker_that_a_run_saw_is_missed_by_the_next(yard: Yard) -> None:
    yard.clean()
    assert SeenMediaRoot.objects.get().path == str(yard.folder)
    yard.unmount()
    assert yard.clean().report.stopped is Reason.MEDIA_ROOT_NOT_MOUNTED


def test_first_recording_makes_a_missing_marker_an_alarm(yard: Yard) -> None:
    yard.unmount()
    yard.add()
    yard.clean()
    assert yard.alarms() == {("media_root_not_mounted", "cleanup")}


def test_dry_run_remembers_nothing(yard: Yard) -> None:
    yard.clean(dry_run=True)
    assert not SeenMediaRoot.objects.exists()
    assert not PeriodicJob.objects.exists()


def test_run_of_a_command_is_noted_where_the_overview_reads(yard: Yard) -> None:
    yard.add()
    yard.clean()
    job = PeriodicJob.objects.get()
    assert (job.name, job.last_result) == ("cleanup", "1 cleaned, 3000 bytes freed")
    assert job.last_started_at is not None
    assert job.last_finished_at == yard.clock.now()


def test_run_of_one_site_is_noted_as_that_sites(yard: Yard) -> None:
    yard.clean(site_id=yard.camera.site_id)
    assert PeriodicJob.objects.get().name == f"cleanup@{yard.camera.site_id}"


def test_run_that_was_stopped_is_noted_too_and_puts_no_later_run_off(yard: Yard) -> None:
    yard.add()
    due = yard.clock.now() - timedelta(minutes=1)
    PeriodicJob.objects.create(name="cleanup", next_run_at=due)
    yard.store.fault("bucket_time", LineDown("no answer"))
    yard.clean()
    job = PeriodicJob.objects.get()
    assert (job.last_result, job.next_run_at) == ("0 cleaned, 0 bytes freed, stopped: line_down", due)


def test_noted_run_leaves_the_lease_of_a_worker_alone(yard: Yard) -> None:
    owner = yard.new_camera("Other").pk
    until = yard.clock.now() + timedelta(seconds=40)
    PeriodicJob.objects.create(
        name="cleanup", next_run_at=until, lease_owner=owner, lease_number=4, lease_expires_at=until
    )
    yard.clean()
    job = PeriodicJob.objects.get()
    assert (job.lease_owner, job.lease_number, job.lease_expires_at) == (owner, 4, until)


def test_cleanup_of_one_transfer_is_no_run(yard: Yard) -> None:
    yard.clean(transfer_id=yard.add().transfer_id)
    assert not PeriodicJob.objects.exists()


def test_run_over_all_sites_ends_the_alarm_of_a_stopped_run_of_one(yard: Yard) -> None:
    yard.add()
    yard.store.fault("bucket_time", LineDown("no answer"))
    yard.clean(site_id=yard.camera.site_id)
    assert yard.alarms() == {("line_down", "cleanup at Depot")}
    yard.clean()
    assert yard.alarms() == set()


def test_run_of_the_only_site_ends_the_alarm_of_a_stopped_run_over_all(yard: Yard) -> None:
    yard.add()
    yard.store.fault("bucket_time", LineDown("no answer"))
    yard.clean()
    yard.clean(site_id=yard.camera.site_id)
    assert yard.alarms() == set()


def test_run_of_one_site_of_several_leaves_the_alarm_of_a_run_over_all(yard: Yard) -> None:
    yard.add()
    dock = yard.new_camera("Dock", site="Harbour")
    yard.store.fault("bucket_time", LineDown("no answer"))
    yard.clean()
    yard.clean(site_id=dock.site_id)
    assert yard.alarms() == {("line_down", "cleanup")}
