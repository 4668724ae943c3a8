from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from apps.cctv.doctor import Finding, Level, diagnose
from apps.cctv.doctor.disk import space_finding
from apps.cctv.models import (
    Alarm,
    Camera,
    GCPVideoTransfer,
    OrphanedObject,
    PeriodicJob,
    Recording,
    Site,
    TransferBatch,
    WorkerProcess,
)
from apps.cctv.services.disk_reserve import Reserve
from apps.cctv.wiring import doctor_settings
from offload.errors import LineDown, Reason, StopAndTell
from offload.places import Places
from offload.source import MediaRoot
from offload.store import BucketReport
from offload.testing import FakeClock, MemoryStore
from tests.conftest import INSTALLATION_ID
from tests.mounts import mounted

pytestmark = pytest.mark.django_db

Diagnose = Callable[..., "Findings"]
HEALTHY = BucketReport(
    exists=True,
    missing_permissions=(),
    lifecycle_deletes=False,
    default_event_based_hold=False,
    soft_delete_seconds=7 * 86_400,
    autoclass=False,
    location="EUROPE-WEST3",
    storage_class="STANDARD",
)


class Findings(list[Finding]):
    def of(self, check: str) -> Finding:
        """The only finding of a check."""
        (found,) = [finding for finding in self if finding.check == check]
        return found

    def worse(self) -> dict[str, Level]:
        return {finding.check: finding.level for finding in self if finding.level is not Level.OK}


@pytest.fixture
def clock(now: datetime) -> FakeClock:
    return FakeClock(now)


@pytest.fixture
def store(bucket: str, clock: FakeClock) -> MemoryStore:
    store = MemoryStore(buckets=[bucket], clock=clock)
    store.report = HEALTHY
    return store


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    settings.COLDREEL_HOME = folder
    settings.COLDREEL_RESERVE_BYTES = 4096
    assert Reserve(folder, 4096).refill()
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    return folder


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    return tmp_path / "mountinfo"


@pytest.fixture
def look(store: MemoryStore, media_root: Path, home: Path, clock: FakeClock, mounts: Path) -> Diagnose:
    def run(**fields: Any) -> Findings:
        given = {
            "store": store,
            "root": MediaRoot(media_root),
            "home": home,
            "clock": clock,
            "settings": doctor_settings(),
            "mounts": mounts,
        }
        return Findings(diagnose(**{**given, **fields}))

    return run


@pytest.fixture
def worker(home: Path, now: datetime) -> Iterator[WorkerProcess]:
    """One that lives: its lock file is locked and its heart just beat."""
    row = WorkerProcess.objects.create(
        host=socket.gethostname(), pid=4711, installation_id=INSTALLATION_ID, heartbeat_at=now, started_at=now
    )
    (home / "owners").mkdir()
    lock = os.open(home / "owners" / f"{row.pk}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield row
    os.close(lock)


@pytest.fixture
def make_transfer(camera: Camera, now: datetime, bucket: str) -> Callable[..., GCPVideoTransfer]:
    batch = TransferBatch.objects.create(created_at=now)

    def make(status: str = "pending", **fields: Any) -> GCPVideoTransfer:
        number = Recording.objects.count()
        recording = Recording.objects.create(
            camera=camera, name=f"{number}.mp4", started_at=now, local_path=f"{number}.mp4", file_path=f"{number}.mp4"
        )
        proof = {"object_crc32c": "AAAAAA==", "object_generation": 1, "upload_completed_at": now}
        by_status: dict[str, dict[str, Any]] = {
            "pending": {"next_attempt_at": now},
            "failed": {"error_code": "object_conflict"},
            "completed": proof,
            "cleanup_pending": {**proof, "cleanup_scheduled_at": now},
        }
        return GCPVideoTransfer.objects.create(
            **{
                "recording": recording,
                "batch": batch,
                "site": camera.site,
                "installation_id": INSTALLATION_ID,
                "gcp_bucket": bucket,
                "transfer_status": status,
                "created_at": now,
                **by_status[status],
                **fields,
            }
        )

    return make


def test_healthy_installation_names_every_part_without_a_problem(
    look: Diagnose, worker: WorkerProcess, media_root: Path
) -> None:
    found = look()

    assert {check: level for check, level in found.worse().items() if check != "free space"} == {}
    assert {finding.check for finding in found} >= {
        "settings",
        "cleanup",
        "home",
        "database",
        "installation",
        "media root",
        "free space",
        "bucket",
        "permissions",
        "clock",
        "bucket settings",
        "worker",
        "transfers",
    }
    assert all(finding.advice for finding in found if finding.level is not Level.OK)


def test_every_bad_finding_says_what_to_do(look: Diagnose, store: MemoryStore) -> None:
    store.report = BucketReport(
        exists=True,
        missing_permissions=("storage.objects.create", "storage.objects.delete"),
        lifecycle_deletes=True,
        retention_period_seconds=86_400,
        default_event_based_hold=True,
        soft_delete_seconds=30 * 86_400,
        autoclass=True,
    )

    for finding in look():
        assert "\n" not in finding.detail + finding.advice
        assert bool(finding.advice) == (finding.level is not Level.OK)


# --- settings -------------------------------------------------------------------------------------
def test_missing_bucket_is_told_and_the_rest_examined(look: Diagnose, settings: Any) -> None:
    settings.GCP_STORAGE_USE_GCS = False

    found = look(store=None)

    assert found.of("settings").level is Level.WARNING
    assert "not configured" in found.of("settings").detail
    assert "GCP_STORAGE_BUCKET_NAME" in found.of("settings").advice
    assert not {"bucket", "clock"} & {finding.check for finding in found}
    assert found.of("database").level is Level.OK


@pytest.mark.parametrize(
    ("setting", "check"),
    [
        ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}, "emulator"),
        ({"GCP_CLEANUP_DELAY_HOURS": 0.5}, "cleanup"),
        ({"DEBUG": True}, "web"),
        ({"ALLOWED_HOSTS": ["nvr.example.org"]}, "web"),
    ],
)
def test_settings_that_would_surprise_are_warned_of(
    look: Diagnose, worker: WorkerProcess, settings: Any, setting: dict[str, Any], check: str
) -> None:
    assert check not in look().worse()
    for name, value in setting.items():
        setattr(settings, name, value)
    assert look().of(check).level is Level.WARNING


def test_key_that_others_can_read_is_warned_of(look: Diagnose, settings: Any, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("secret text")
    key.chmod(0o644)
    settings.GCP_STORAGE_CREDENTIALS_PATH = str(key)

    found = look()
    assert found.of("credentials").level is Level.WARNING
    assert not any("secret text" in finding.detail for finding in found)
    key.chmod(0o600)
    assert "credentials" not in look().worse()
    key.unlink()
    assert found.of("credentials").level is Level.WARNING


# --- database and installation --------------------------------------------------------------------
def test_missing_migrations_are_named_and_stop_what_needs_tables(look: Diagnose) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE app = 'cctv' AND name = "
            "(SELECT max(name) FROM django_migrations WHERE app = 'cctv')"
        )

    found = look()

    assert found.of("database").level is Level.PROBLEM
    assert "Migrations missing: 1, cctv.0" in found.of("database").detail
    assert "migrate" in found.of("database").advice
    assert not {"worker", "transfers"} & {finding.check for finding in found}


def test_lost_installation_id_is_a_problem_after_the_first_transfer(
    look: Diagnose, settings: Any, make_transfer: Callable[..., GCPVideoTransfer]
) -> None:
    settings.COLDREEL_INSTALLATION_ID = ""
    make_transfer()

    found = look().of("installation")

    assert found.level is Level.PROBLEM
    assert "installation-id is missing" in found.detail


def test_transfers_of_another_installation_are_warned_of(
    look: Diagnose, make_transfer: Callable[..., GCPVideoTransfer]
) -> None:
    make_transfer(installation_id="another")

    found = look().of("installation")

    assert found.level is Level.WARNING
    assert "Transfers of another installation: 1." in found.detail


def test_history_of_migrations_that_cannot_be_is_a_problem(look: Diagnose) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'cctv' AND name LIKE '0008%%'")

    assert "cctv.0008" in look().of("database").detail


# --- disks ----------------------------------------------------------------------------------------
def test_home_that_cannot_be_written_to_is_a_problem(look: Diagnose, tmp_path: Path) -> None:
    assert look(home=tmp_path / "nowhere").of("home").level is Level.PROBLEM


def test_media_root_that_is_not_there_is_a_problem(look: Diagnose, tmp_path: Path) -> None:
    found = look(root=MediaRoot(tmp_path / "nowhere")).of("media root")

    assert found.level is Level.PROBLEM
    assert str(tmp_path / "nowhere") in found.detail


def test_missing_marker_is_a_problem_after_the_first_recording(
    look: Diagnose, media_root: Path, make_recording: Callable[..., Recording]
) -> None:
    (media_root / ".coldreel-media-root").unlink()
    assert look().of("media root").level is Level.WARNING

    make_recording()

    found = look().of("media root")
    assert found.level is Level.PROBLEM
    assert "mark_media_root" in found.advice


@pytest.mark.parametrize(
    ("free", "level"), [(50, Level.OK), (9, Level.WARNING), (1, Level.PROBLEM), (0, Level.PROBLEM)]
)
def test_a_full_disk_is_told_in_time(free: int, level: Level) -> None:
    assert space_finding(free_bytes=free * 10**9, total_bytes=100 * 10**9).level is level


@pytest.mark.parametrize(("usable", "level"), [(True, Level.OK), (False, Level.PROBLEM)])
def test_disk_below_the_media_root_is_told_and_tested(
    look: Diagnose, media_root: Path, mounts: Path, usable: bool, level: Level
) -> None:
    if usable:
        (media_root / "Gate 1").mkdir()
    line = "36 35 98:0 / {} rw,noatime master:1 - ext4 /dev/sdb1 rw\n"
    blank = "\\040"
    mounts.write_text(
        line.format("/")
        + line.format(media_root)
        + line.format(f"{media_root}-other")
        + line.format(f"{media_root}/Gate{blank}1")
    )

    found = look().of("file system")

    assert found.level is level
    assert f"{media_root}/Gate 1 is another file system" in found.detail


def test_absent_disk_with_recordings_is_a_problem(look: Diagnose, media_root: Path, mounts: Path) -> None:
    Places(MediaRoot(media_root), mounts=mounts).remember(("Gate 1",))

    found = look().of("file system")

    assert found.level is Level.PROBLEM
    assert f"{media_root}/Gate 1 is not mounted" in found.detail


def test_share_whose_clock_cannot_be_asked_is_told(
    look: Diagnose, media_root: Path, mounts: Path, tmp_path: Path
) -> None:
    with mounted("exfat", tmp_path / "share", tmp_path) as share:
        at = media_root / "Gate 1"
        at.mkdir()
        subprocess.run(["mount", "--bind", str(share), str(at)], check=True)
        try:
            mounts.write_text(Path("/proc/self/mountinfo").read_text())
            assert "file clock" not in look().worse()
            subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], check=True)
            assert look().of("file clock").level is Level.WARNING
        finally:
            subprocess.run(["umount", str(at)], check=True)


# --- bucket ---------------------------------------------------------------------------------------
def test_bucket_that_does_not_exist_is_a_problem(look: Diagnose, store: MemoryStore) -> None:
    store.report = BucketReport(exists=False, missing_permissions=())

    found = look().of("bucket")

    assert found.level is Level.PROBLEM
    assert "coldreel-test" in found.detail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LineDown("no answer"), Reason.LINE_DOWN),
        (StopAndTell("the key is refused", code=Reason.CREDENTIALS_REFUSED), Reason.CREDENTIALS_REFUSED),
    ],
)
def test_unreachable_bucket_is_a_problem_with_its_reason(
    look: Diagnose, store: MemoryStore, error: Any, code: Reason
) -> None:
    store.fault("bucket_report", error)

    found = look()

    assert found.of("bucket").level is Level.PROBLEM
    assert found.of("bucket").detail.startswith(code)
    assert found.of("bucket").advice
    assert found.of("database").level is Level.OK


def test_store_that_cannot_be_made_is_a_problem(look: Diagnose) -> None:
    found = look(store=None, store_problem="credentials_refused: no JSON key").of("bucket")

    assert found.level is Level.PROBLEM
    assert "no JSON key" in found.detail


@pytest.mark.parametrize(
    "permission",
    ["storage.objects.create", "storage.objects.get", "storage.objects.list", "storage.objects.update"],
)
def test_each_missing_permission_is_named_and_is_a_problem(look: Diagnose, store: MemoryStore, permission: str) -> None:
    store.report = BucketReport(exists=True, missing_permissions=(permission,), lifecycle_deletes=False)

    found = look().of("permissions")

    assert found.level is Level.PROBLEM
    assert permission in found.detail
    assert permission in found.advice


def test_the_right_to_delete_is_optional(look: Diagnose, store: MemoryStore) -> None:
    store.report = BucketReport(exists=True, missing_permissions=("storage.objects.delete",), lifecycle_deletes=False)

    found = look().of("permissions")

    assert found.level is Level.WARNING
    assert "orphan" in found.detail


@pytest.mark.parametrize(
    ("seconds", "level"),
    [
        (0, Level.OK),
        (3, Level.OK),
        (-3, Level.OK),
        (30, Level.WARNING),
        (-30, Level.WARNING),
        (301, Level.PROBLEM),
        (-86_400, Level.PROBLEM),
    ],
)
def test_a_clock_that_is_off_is_told(look: Diagnose, store: MemoryStore, seconds: float, level: Level) -> None:
    store.bucket_offset_seconds = seconds

    assert look().of("clock").level is level


def test_clock_that_cannot_be_asked_is_a_problem(look: Diagnose, store: MemoryStore) -> None:
    store.fault("bucket_time", LineDown("no answer"))

    assert look().of("clock").level is Level.PROBLEM


@pytest.mark.parametrize(
    ("fields", "check", "level"),
    [
        ({"lifecycle_deletes": True}, "lifecycle", Level.WARNING),
        ({"retention_period_seconds": 86_400}, "retention", Level.WARNING),
        ({"soft_delete_seconds": 8 * 86_400}, "soft delete", Level.WARNING),
        ({"default_event_based_hold": True}, "default hold", Level.PROBLEM),
        ({"autoclass": True}, "autoclass", Level.WARNING),
    ],
)
def test_settings_of_the_bucket_that_would_surprise_are_told(
    look: Diagnose, store: MemoryStore, fields: dict[str, Any], check: str, level: Level
) -> None:
    store.report = BucketReport(**{"exists": True, "missing_permissions": (), "lifecycle_deletes": False, **fields})

    found = look()

    assert found.of(check).level is level
    assert "bucket settings" not in {finding.check for finding in found}


def test_unreadable_bucket_settings_are_said_to_be_unknown(look: Diagnose, store: MemoryStore) -> None:
    store.report = BucketReport(exists=True, missing_permissions=())

    found = look().of("bucket settings")

    assert found.level is Level.WARNING
    assert "storage.buckets.get" in found.advice


# --- workers --------------------------------------------------------------------------------------
def test_missing_worker_is_a_problem_while_work_waits(
    look: Diagnose, make_transfer: Callable[..., GCPVideoTransfer]
) -> None:
    assert look().of("worker").level is Level.WARNING
    make_transfer()
    assert look().of("worker").level is Level.PROBLEM


def test_worker_lives_while_it_holds_its_lock(look: Diagnose, worker: WorkerProcess, home: Path, now: datetime) -> None:
    assert look().of("worker").level is Level.OK

    WorkerProcess.objects.all().delete()
    dead = WorkerProcess.objects.create(
        host=socket.gethostname(), pid=1, installation_id=INSTALLATION_ID, heartbeat_at=now
    )
    (home / "owners" / f"{dead.pk}.lock").touch()
    assert "No worker runs" in look().of("worker").detail


def test_a_worker_elsewhere_is_judged_by_its_heartbeat(look: Diagnose, now: datetime, home: Path) -> None:
    row = WorkerProcess.objects.create(host="elsewhere", pid=1, installation_id=INSTALLATION_ID, heartbeat_at=now)
    assert look().of("worker").level is Level.OK

    row.heartbeat_at = now - timedelta(minutes=5)
    row.save()
    assert "No worker runs" in look().of("worker").detail


def test_live_worker_without_heartbeat_is_a_warning(look: Diagnose, worker: WorkerProcess, now: datetime) -> None:
    WorkerProcess.objects.update(heartbeat_at=now - timedelta(minutes=5))

    found = look().of("worker")

    assert found.level is Level.WARNING
    assert "5 min" in found.detail


def test_a_worker_that_was_stopped_does_not_count(look: Diagnose, now: datetime) -> None:
    WorkerProcess.objects.create(
        host="elsewhere", pid=1, installation_id=INSTALLATION_ID, heartbeat_at=now, stopped_at=now
    )

    assert "No worker runs" in look().of("worker").detail


def test_periodic_job_that_no_worker_runs_is_warned_of(look: Diagnose, worker: WorkerProcess, now: datetime) -> None:
    PeriodicJob.objects.create(name="cleanup", kind="cleanup", next_run_at=now - timedelta(minutes=30))
    assert "periodic jobs" not in look().worse()

    PeriodicJob.objects.update(next_run_at=now - timedelta(hours=5))
    assert "cleanup should have run 5 h ago" in look().of("periodic jobs").detail

    PeriodicJob.objects.update(lease_expires_at=now + timedelta(seconds=30))
    assert "should have ended a run 5 h ago; a worker is at it" in look().of("periodic jobs").detail


def test_periodic_job_is_judged_by_when_it_last_ended(look: Diagnose, worker: WorkerProcess, now: datetime) -> None:
    """Not by a lease that a heartbeat renews for ever, nor by a time for its next run that a wrong clock wrote."""
    PeriodicJob.objects.create(
        name="sweep",
        kind="sweep",
        next_run_at=now + timedelta(days=3650),
        last_finished_at=now - timedelta(hours=3),
        lease_expires_at=now + timedelta(seconds=30),
    )
    assert "sweep should have ended a run 3 h ago" in look().of("periodic jobs").detail

    PeriodicJob.objects.update(last_finished_at=now)
    assert "periodic jobs" not in look().worse()

    PeriodicJob.objects.update(last_finished_at=now + timedelta(hours=6), lease_expires_at=None)
    assert "the clock was set back" in look().of("periodic jobs").detail


# --- transfers ------------------------------------------------------------------------------------
def test_open_alarm_is_a_problem_until_it_is_cleared(look: Diagnose, now: datetime) -> None:
    alarm = Alarm.objects.create(
        code=Reason.OBJECT_LOST,
        subject_kind="other",
        subject_id="clip.mp4",
        detail="gone",
        raised_at=now,
        last_seen_at=now,
    )

    found = look().of("alarm")
    assert found.level is Level.PROBLEM
    assert "clip.mp4" in found.detail
    assert "Act now" in found.advice

    alarm.cleared_at = now
    alarm.save()
    assert "alarm" not in look().worse()


def test_many_alarms_are_told_in_a_few_lines(look: Diagnose, now: datetime) -> None:
    Alarm.objects.bulk_create(
        Alarm(
            code="line_down", subject_kind="line", subject_id=str(number), detail="x", raised_at=now, last_seen_at=now
        )
        for number in range(50)
    )

    alarms = [finding for finding in look() if finding.check == "alarm"]

    assert len(alarms) == 21
    assert "More open alarms: 30" in alarms[-1].detail


def test_silence_is_told_though_nothing_failed(
    look: Diagnose, worker: WorkerProcess, make_transfer: Callable[..., GCPVideoTransfer], now: datetime
) -> None:
    transfer = make_transfer(created_at=now - timedelta(hours=1))
    assert "silence" not in look().worse()

    for hours, level in ((3, Level.WARNING), (30, Level.PROBLEM)):
        GCPVideoTransfer.objects.filter(pk=transfer.pk).update(created_at=now - timedelta(hours=hours))
        found = look().of("silence")
        assert found.level is level
        assert f"the first for {hours} h" in found.detail


def test_recent_upload_breaks_the_silence_an_old_one_not(
    look: Diagnose, worker: WorkerProcess, make_transfer: Callable[..., GCPVideoTransfer], now: datetime
) -> None:
    make_transfer(created_at=now - timedelta(days=7))
    uploaded = make_transfer("completed", upload_completed_at=now - timedelta(minutes=5))
    assert "silence" not in look().worse()

    GCPVideoTransfer.objects.filter(pk=uploaded.pk).update(upload_completed_at=now - timedelta(days=6))
    assert look().of("silence").level is Level.PROBLEM


def test_transfers_that_need_a_person_are_counted_by_reason(
    look: Diagnose, worker: WorkerProcess, make_transfer: Callable[..., GCPVideoTransfer]
) -> None:
    for _ in range(3):
        make_transfer("failed")
    make_transfer("cleanup_pending", needs_attention=True, error_code="object_held")

    found = look()

    assert found.of("failed transfers").level is Level.WARNING
    assert "Failed with object_conflict: 3." in found.of("failed transfers").detail
    assert "Waiting for a person, object_held: 1." in found.of("attention").detail


def test_orphaned_objects_are_told_until_they_are_deleted(
    look: Diagnose, worker: WorkerProcess, make_transfer: Callable[..., GCPVideoTransfer], now: datetime
) -> None:
    row = make_transfer("completed")
    facts = {"transfer": row, "gcp_bucket": "footage", "object_crc32c": "AAAAAA==", "orphaned_at": now}
    for generation in (1, 2):
        OrphanedObject.objects.create(
            gcp_storage_path="former",
            object_generation=generation,
            size_bytes=3 * 1024**2,
            why=OrphanedObject.Why.FILE_CHANGED,
            **facts,
        )

    found = look().of("orphaned objects")
    assert found.level is Level.WARNING
    assert "the file changed after its last byte was sent: 2, 6.0 MiB" in found.detail

    OrphanedObject.objects.update(deleted_at=now, deletion_asked_at=now, deleted_by="ada")
    assert "orphaned objects" not in look().worse()


def test_recordings_in_a_forgotten_bucket_are_a_problem(
    look: Diagnose, settings: Any, worker: WorkerProcess, make_transfer: Callable[..., GCPVideoTransfer]
) -> None:
    make_transfer("cleanup_pending", gcp_bucket="older")

    found = look().of("other bucket")
    assert found.level is Level.PROBLEM
    assert "the bucket older" in found.detail
    assert "GCP_STORAGE_FORMER_BUCKETS" in found.advice

    settings.GCP_STORAGE_FORMER_BUCKETS = ["older"]
    assert "other bucket" not in look().worse()


def test_times_are_told_in_utc(look: Diagnose, site: Site, now: datetime) -> None:
    Alarm.objects.create(
        code="line_down", subject_kind="line", detail="x", raised_at=now.astimezone(UTC), last_seen_at=now
    )

    assert "2026-11-20 12:00 UTC" in look().of("alarm").detail


# --- the reserve ------------------------------------------------------------------------------------
def test_spent_reserve_is_told_until_it_is_whole(look: Diagnose, home: Path) -> None:
    assert look().of("reserve").level is Level.OK

    Reserve(home, 4096).give_up(for_cleanup=True)

    assert look().of("reserve").level is Level.WARNING


def test_installation_without_a_reserve_is_told_what_that_means(look: Diagnose, settings: Any) -> None:
    settings.COLDREEL_RESERVE_BYTES = 0

    assert "nothing is cleaned up" in look().of("reserve").detail
