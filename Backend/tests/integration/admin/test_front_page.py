"""The front page tells what the database and the disk say at that moment (P9), worst first."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.cctv.models import Alarm, Camera, GCPVideoTransfer, PeriodicJob, Site, WorkerProcess
from apps.cctv.tables.work import job_name
from apps.cctv.units import human_size
from apps.users.models import User
from offload.states import State
from tests.form_client import FormClient as Client
from tests.integration.admin import pages, scene
from tests.integration.db import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root", "bucket")]


@pytest.fixture
def client(admin_user: User) -> Client:
    return pages.signed_in(admin_user)


def page(client: Client) -> str:
    return str(client.get(pages.FRONT).content.decode())


def looked(unknown: int = 0, *, hours_ago: float = 1, site: Site | None = None, whole: bool = True) -> None:
    """As a look at the disk is noted; its words are for people, and nothing reads them back."""
    at = timezone.now() - timedelta(hours=hours_ago)
    PeriodicJob.objects.create(
        name=job_name("look", site.pk if site else None),
        kind="look",
        site=site,
        next_run_at=at,
        last_finished_at=at,
        last_result="looked",
        last_ok=whole,
        unknown_files=unknown,
    )


def counts_on(text: str) -> dict[str, int]:
    return {name: int(n) for name, n in re.findall(r'data-status="([a-z ]+)" href="[^"]+"><b>(\d+)</b>', text)}


def alive(**columns: Any) -> WorkerProcess:
    return WorkerProcess.objects.create(**{"host": "nvr-1", "pid": 4711, "installation_id": "i", **columns})


def test_counts_by_status_equal_the_rows(client: Client) -> None:
    wanted = {state: number for number, state in enumerate(State)}
    for state, number in wanted.items():
        for _ in range(number):
            rows.transfer(state)
    text = page(client)
    assert counts_on(text) == {state.value.replace("_", " "): number for state, number in wanted.items()}
    GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).delete()
    assert counts_on(page(client)) == {state.value.replace("_", " "): number for state, number in wanted.items()}


@pytest.mark.parametrize("state", State)
def test_each_count_leads_to_the_rows_that_it_counts(state: State, client: Client) -> None:
    for each in State:
        rows.transfer(each)
    entry = next(e for e in client.get(pages.FRONT).context["dashboard"].counts if e.name == state.replace("_", " "))
    assert [row.transfer_status for row in pages.rows_shown(client.get(entry.url))] == [state]


def test_bytes_waiting_equal_the_rows(client: Client) -> None:
    for state, number in ((State.CLEANUP_PENDING, 3), (State.PENDING, 2), (State.UPLOADING, 1), (State.FAILED, 5)):
        for _ in range(number):
            rows.transfer(state, file_size_bytes=1024**2)
    text = page(client)
    assert '<strong id="to-free">3.0 MiB</strong>' in text
    assert '<strong id="to-upload">3.0 MiB</strong>' in text


def test_the_disk_of_the_media_root_is_told(client: Client, media_root: Path) -> None:
    assert f"free of {human_size(shutil.disk_usage(media_root).total)}" in page(client)


def test_media_root_that_is_gone_is_the_worry(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "gone"
    assert "The media root is not there" in page(client)


def test_healthy_installation_is_said_to_be_well(client: Client) -> None:
    alive()
    looked()
    rows.transfer(State.PENDING)
    assert "All is well." in page(client)


def test_worker_without_sign_of_life_is_not_counted(client: Client, settings: Any) -> None:
    late = timezone.now() - timedelta(seconds=settings.COLDREEL_LEASE_SECONDS + 5)
    alive(heartbeat_at=late)
    alive(pid=4712, stopped_at=timezone.now())
    rows.transfer(State.PENDING)
    text = page(client)
    assert "0 alive" in text
    assert "No worker is alive, and 1 transfer waits for one." in text
    alive(pid=4713)
    text = page(client)
    assert "nvr-1:4713" in text
    assert "No worker is alive" not in text


def test_failed_transfers_are_named_with_the_reason(client: Client) -> None:
    alive()
    rows.transfer(State.FAILED, of=rows.recording("broken.mp4"), error_code="checksum_refused")
    text = page(client)
    assert "1 failed transfer waits for a person." in text
    assert "broken.mp4" in text
    assert "memory and disk" in text


def test_open_alarms_are_named_and_cleared_ones_are_not(client: Client) -> None:
    alive()
    looked()
    alarm = scene.alarm()
    text = page(client)
    assert "1 open alarm" in text
    assert "permission_denied" in text
    Alarm.objects.filter(pk=alarm.pk).update(cleared_at=timezone.now())
    assert "All is well." in page(client)


def test_last_cleanup_and_the_oldest_pending_are_told(client: Client) -> None:
    now = timezone.now()
    PeriodicJob.objects.create(
        name="cleanup",
        kind="cleanup",
        next_run_at=now,
        last_finished_at=now - timedelta(minutes=90),
        last_result="8 files cleaned",
    )
    rows.transfer(State.PENDING, of=rows.recording("young.mp4"), created_at=now)
    rows.transfer(State.PENDING, of=rows.recording("old.mp4"), created_at=now - timedelta(hours=5))
    text = page(client)
    assert "8 files cleaned" in text
    assert "1 h ago" in text
    assert "waits for 5 h" in text
    assert "old.mp4" in text
    assert "young.mp4" not in text


def test_uploads_that_are_switched_off_are_the_worry(client: Client, settings: Any) -> None:
    settings.GCP_STORAGE_USE_GCS = False
    assert "GCP storage is not configured" in page(client)


def test_recordings_never_asked_for_are_counted_and_told(client: Client) -> None:
    alive()
    for name in ("one.mp4", "two.mp4"):
        rows.recording(name, file_size_bytes=1024**2)
    rows.transfer(State.PENDING, of=rows.recording("asked.mp4", file_size_bytes=1024**2))
    text = page(client)
    assert "2 recordings wait for a request: no transfer of them was asked for." in text
    assert '<strong id="to-request">2, 2.0 MiB</strong>' in text
    assert "All is well." not in text


def test_nothing_waits_is_not_said_of_unrequested_recordings(client: Client) -> None:
    alive()
    assert "No transfer is pending." in page(client)
    rows.recording("one.mp4")
    text = page(client)
    assert "Nothing waits" not in text
    assert "1 recording waits for a request" in text


def test_recordings_hidden_from_a_user_are_not_counted(dev_user: User) -> None:
    rows.recording("secret.mp4", camera=rows.camera("Office", is_private=True))
    assert "for a request:" not in page(pages.signed_in(dev_user))


def test_last_cleanup_is_the_newest_one_of_all_sites(client: Client) -> None:
    now = timezone.now()
    depot = Site.objects.create(name="Depot")
    for site, hours, result in ((None, 5, "old run"), (depot, 1, "new run")):
        job, _ = PeriodicJob.objects.ensure("cleanup", site and site.pk, next_run_at=now)
        job.last_finished_at, job.last_result = now - timedelta(hours=hours), result
        job.save()
    PeriodicJob.objects.ensure("cleanup", Site.objects.create(name="never").pk, next_run_at=now)
    found = client.get(pages.FRONT).context["dashboard"]
    assert (found.last_cleanup.last_result, found.last_cleanup_ago) == ("new run", "1 h ago")


def test_files_that_are_no_recording_are_the_worry(client: Client) -> None:
    alive()
    looked(1316)
    looked(4, site=Site.objects.create(name="Depot"))
    text = page(client)
    assert "1320 files wait on the disk for an import: no recording is known of them." in text
    assert "All is well." not in text


@pytest.mark.parametrize(
    "look",
    [
        None,
        {"hours_ago": 25},
        {"whole": False},
    ],
)
def test_all_is_well_needs_a_look_at_the_disk(client: Client, look: dict[str, Any] | None) -> None:
    alive()
    if look is not None:
        looked(**look)
    text = page(client)
    assert "All is well." not in text
    assert "not all of the disk was looked at" in text


def test_all_is_well_needs_a_look_at_every_site(client: Client) -> None:
    depot, yard = (Camera.objects.create(site=Site.objects.create(name=name), name=name).site for name in "AB")
    Site.objects.create(name="an office without cameras")
    alive()
    looked(site=depot)
    assert "not all of the disk was looked at" in page(client)
    looked(site=yard)
    assert "All is well." in page(client)
