"""`decommission_site`: what is not proven keeps a site open, and closing it deletes no file and no history (F25)."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.cctv.models import (
    Camera,
    CameraGrant,
    GCPVideoTransfer,
    PeriodicJob,
    PlaceEvent,
    Recording,
    Site,
    WorkerProcess,
)
from apps.cctv.selectors.unproven import Why, unproven_at
from apps.cctv.services import Conflict
from apps.cctv.services.media_root import local_site
from apps.cctv.services.transfers import transfer_request, transfer_retry
from apps.cctv.tables.work import JobKind
from apps.cctv.wiring import service_settings
from apps.users.models import Role, User
from offload.errors import Reason
from offload.source import MediaRoot
from offload.states import State
from tests.integration.db import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def depot() -> Site:
    return rows.camera().site


@pytest.fixture
def looked_at(depot: Site) -> PeriodicJob:
    """The disk was looked at, and nothing unknown lay on it."""
    values = {"kind": JobKind.LOOK.value, "site": depot, "next_run_at": rows.NOW, "last_ok": True, "unknown_files": 0}
    return PeriodicJob.objects.create(name=f"look@{depot.pk}", **values)


def decommission(*arguments: str) -> tuple[int, dict]:
    out = StringIO()
    try:
        call_command("decommission_site", "Depot", "--json", *arguments, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def against(depot: Site) -> dict[str, int]:
    return {one.why.value: one.count for one in unproven_at(depot.pk)}


def everything_unproven() -> None:
    """One of each kind but the look at the disk, and beside them what is proven."""
    rows.recording("no transfer.mp4")
    rows.transfer(State.PENDING)
    rows.transfer(State.UPLOADING, lease_expires_at=rows.NOW - timedelta(hours=1))
    rows.transfer(State.FAILED)
    rows.transfer(State.CLEANUP_COMPLETED, error_code=Reason.OBJECT_LOST)
    rows.transfer(State.CLEANUP_PENDING, needs_attention=True)
    rows.transfer(State.COMPLETED, of=rows.recording("held.mp4", hold_wanted=True))
    opened = rows.transfer(State.CLEANUP_PENDING)
    rows.receipt(opened, outcome="deleting", closed_at=None)
    rows.orphan(opened)
    rows.transfer(State.COMPLETED)
    rows.transfer(State.CLEANUP_COMPLETED, of=rows.recording("held in the cloud.mp4", hold_wanted=True))


COUNTS = {
    "no_transfer": 1, "waiting": 2, "failed": 1, "object_lost": 1, "needs_attention": 1, "held": 1, "open_receipt": 1, "orphan": 1,
}  # fmt: skip


def test_every_kind_of_unproven_is_listed_once(depot: Site, looked_at: PeriodicJob) -> None:
    everything_unproven()

    assert against(depot) == COUNTS
    assert set(COUNTS) | {"unknown_file", "disk_not_seen"} == {why.value for why in Why}


def test_other_sites_are_not_counted(depot: Site, looked_at: PeriodicJob) -> None:
    other = rows.camera("Yard", site=Site.objects.create(name="Harbour"))
    rows.transfer(State.PENDING, of=rows.recording("at the harbour.mp4", camera=other))

    assert against(depot) == {}


@pytest.mark.parametrize(
    "columns", [{"last_ok": None}, {"last_ok": False, "unknown_files": 0}, {"unknown_files": None}]
)
def test_disk_that_nothing_looked_at_is_not_proven(depot: Site, looked_at: PeriodicJob, columns: dict) -> None:
    rows.transfer(State.COMPLETED)
    PeriodicJob.objects.update(**columns)

    assert against(depot) == {"disk_not_seen": 1}


def test_files_that_were_never_imported_are_counted(depot: Site, looked_at: PeriodicJob) -> None:
    PeriodicJob.objects.update(unknown_files=7)

    assert against(depot) == {"unknown_file": 7}


def test_unproven_footage_keeps_the_site_open(depot: Site, looked_at: PeriodicJob) -> None:
    everything_unproven()

    for options in (
        [],
        ["--dry-run"],
        ["--although-unproven", "8"],
        ["--although-unproven", "10"],
        ["--dry-run", "--although-unproven", "9"],
    ):
        status, report = decommission(*options)
        assert (status, report["is_closed"], report["unproven_count"]) == (3, False, 9), options
    depot.refresh_from_db()
    assert depot.closed_at is None
    assert not PlaceEvent.objects.exists()
    assert Camera.objects.get().archived_at is None


def test_exact_count_closes_and_cancels_what_waits(depot: Site, looked_at: PeriodicJob) -> None:
    everything_unproven()
    recordings, transfers = Recording.objects.count(), GCPVideoTransfer.objects.count()

    status, report = decommission("--although-unproven", "9")

    assert (status, report["is_closed"], report["transfers_cancelled"]) == (0, True, 2)
    assert (Recording.objects.count(), GCPVideoTransfer.objects.count()) == (recordings, transfers)
    cancelled = GCPVideoTransfer.objects.filter(error_code=Reason.SITE_CLOSED)
    assert {row.transfer_status for row in cancelled} == {State.FAILED}
    assert not GCPVideoTransfer.objects.filter(transfer_status__in=[State.PENDING, State.UPLOADING]).exists()
    assert PlaceEvent.objects.get(what="site_closed").detail == "although not proven: 9"


def test_proven_site_is_closed_with_its_history(depot: Site, looked_at: PeriodicJob, now: datetime) -> None:
    rows.transfer(State.CLEANUP_COMPLETED)
    grant = CameraGrant.objects.create(camera=Camera.objects.get(), user=rows.user(Role.DEV))
    dead = WorkerProcess.objects.create(
        site=depot, host="nvr", pid=7, installation_id="test", heartbeat_at=rows.NOW - timedelta(days=1)
    )

    assert decommission("--dry-run")[0] == 0
    assert not PlaceEvent.objects.exists()
    status, report = decommission()

    assert (status, report["is_closed"], report["cameras_archived"], report["grants_ended"]) == (0, True, 1, 1)
    events = list(PlaceEvent.objects.order_by("pk").values_list("what", flat=True))
    assert events == ["site_closed", "camera_archived", "grant_ended"]
    assert not CameraGrant.objects.filter(pk=grant.pk).exists()
    assert Camera.objects.get().archived_at is not None
    dead.refresh_from_db()
    assert dead.stopped_at is not None
    assert decommission() == (0, report | {"cameras_archived": 0, "grants_ended": 0})


def test_killed_after_closing_it_cancels_the_rest(depot: Site, looked_at: PeriodicJob) -> None:
    rows.transfer(State.PENDING)
    Site.objects.update(closed_at=rows.NOW)

    assert decommission()[1]["transfers_cancelled"] == 1


def test_living_worker_of_the_site_prevents_it(depot: Site, looked_at: PeriodicJob) -> None:
    WorkerProcess.objects.create(site=depot, host="nvr", pid=7, installation_id="test")

    with pytest.raises(CommandError, match="nvr:7"):
        decommission()


def test_live_lease_at_the_site_prevents_it(depot: Site, looked_at: PeriodicJob) -> None:
    row = rows.transfer(State.PENDING)
    rows.lease(row, seconds=3600)

    with pytest.raises(CommandError, match="leases"):
        decommission("--although-unproven", "1")


def test_disk_of_a_closed_site_is_refused(depot: Site, media_root: Path, bucket: str) -> None:
    root = MediaRoot(media_root)
    assert local_site(root).site_id == depot.pk

    Site.objects.update(closed_at=rows.NOW)

    assert local_site(root).site_id is None
    assert "closed" in local_site(root).problem
    assert local_site(root).reason is Reason.WRONG_MEDIA_ROOT


def test_recordings_of_a_closed_site_are_not_requested(depot: Site, media_root: Path, bucket: str) -> None:
    recording, failed = rows.recording(), rows.transfer(State.FAILED)
    Site.objects.update(closed_at=rows.NOW)
    ada: User = rows.user()

    report = transfer_request(
        recording_ids=[recording.pk],
        batch_size=5,
        user=ada,
        now=rows.NOW,
        root=MediaRoot(media_root),
        settings=service_settings(),
    )

    assert [failure.reason for failure in report.failures] == [Reason.SITE_CLOSED]
    with pytest.raises(Conflict):
        transfer_retry(transfer_id=failed.pk, user=ada, now=rows.NOW, settings=service_settings())


def test_unknown_name_and_bad_count_are_told() -> None:
    with pytest.raises(CommandError, match="There is no site"):
        call_command("decommission_site", str(uuid.uuid4()))
    with pytest.raises(CommandError) as refused:
        call_command("decommission_site", "Depot", "--although-unproven", "0")
    assert refused.value.returncode == 2
