"""A person renames everything while an alarm is open: it stays one alarm, shows the new name, and ends as ever."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apps.cctv.installation import machine_id
from apps.cctv.models import Alarm, Camera, GCPVideoTransfer, Recording, Site, WorkerProcess
from apps.cctv.services.alarms import alarm_raise
from apps.cctv.services.cleanup import trash_recover
from apps.cctv.services.delete_rights import delete_rights_alarm, delete_rights_recheck
from apps.cctv.services.sweep import sweep
from apps.cctv.services.uploads import upload_record_failure
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.wiring import service_settings
from offload.errors import LineDown, Reason, StopAndTell
from offload.states import State
from tests.conftest import MARKER
from tests.integration.cleanup.test_failures import FailingTrash
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite
from tests.integration.db import rows

MACHINE = "a1b2c3"
"""The id of a machine with a worker."""


@dataclass
class Scene:
    """A site with one uploaded recording that is due, and what a worker of that site does."""

    site: UploadedSite
    footage: Footage
    home: Path

    @property
    def site_id(self) -> Any:
        return self.site.camera.site_id

    def clean(self, **options: Any) -> None:
        self.site.clean(site_id=self.site_id, **options)

    def sweep(self) -> None:
        self.site.clock.advance(60)
        sweep(
            store=self.site.store,
            clock=self.site.clock,
            home=self.home,
            root=self.site.root,
            site_id=self.site_id,
            settings=service_settings(),
        )

    def fail_upload(self, code: Reason) -> None:
        """Of the transfer that waits: a second one, since the first is uploaded."""
        if not GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).exists():
            self.site.add("waits.mp4", uploaded=False)
        now = self.site.clock.now()
        GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).update(next_attempt_at=now)
        claim = rows.claim(now=now, lease_seconds=10**9)
        assert claim is not None
        error = StopAndTell("refused", code=code)
        upload_record_failure(claim=claim, error=error, now=now, random=lambda: 0.5, settings=service_settings())

    def want_hold(self) -> None:
        self.footage.set(transfer_status=State.COMPLETED, cleanup_scheduled_at=None)
        self.footage.set_recording(hold_wanted=True)


@dataclass
class Story:
    """How an alarm is met (again), and what ends it."""

    name: str
    meet: Callable[[Scene], object]
    mend: Callable[[Scene], object]
    words: str


def nothing_arrives(scene: Scene) -> None:
    if not GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).exists():
        footage = scene.site.add("waits.mp4", uploaded=False)
        footage.set(created_at=scene.site.clock.now())
        scene.site.clock.advance(26 * 3600)
    scene.sweep()


def no_transfer_waits(scene: Scene) -> None:
    GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).update(
        transfer_status=State.FAILED, next_attempt_at=None, error_code="cancelled"
    )
    scene.sweep()


def hold_is_refused(scene: Scene) -> None:
    scene.want_hold()
    scene.site.store.fault("get", StopAndTell("no right to update", code=Reason.PERMISSION_DENIED))
    scene.sweep()


def object_to_hold_is_gone(scene: Scene) -> None:
    scene.want_hold()
    if scene.site.info(scene.footage) is not None:
        scene.site.store.remove(scene.site.bucket, scene.footage.row.gcp_storage_path)
    scene.sweep()


def hold_agrees(scene: Scene) -> None:
    scene.footage.set_recording(hold_confirmed=True)
    scene.sweep()


def line_is_down(scene: Scene) -> None:
    scene.site.store.fault("bucket_time", LineDown("no answer"))
    scene.sweep()


def disk_is_away(scene: Scene) -> None:
    (scene.site.folder / MARKER).unlink(missing_ok=True)
    scene.clean()


def disk_is_back(scene: Scene) -> None:
    (scene.site.folder / MARKER).touch()
    scene.sweep()


def unknown_hold(scene: Scene) -> None:
    scene.site.tamper(scene.footage, temporary_hold=True)
    scene.clean()


def hold_is_off(scene: Scene) -> None:
    scene.site.tamper(scene.footage, temporary_hold=False)
    scene.clean()


def disk_fails(scene: Scene) -> None:
    scene.footage.set(cleanup_failures=99)
    scene.site.clock.advance(2 * 86400)
    scene.clean(trash=FailingTrash(scene.site, "take", errno.EIO, after=False))


def disk_works(scene: Scene) -> None:
    scene.site.clock.advance(2 * 86400)
    scene.clean()


def may_not_delete(scene: Scene) -> None:
    delete_rights_alarm({scene.site_id: "'Gate'"}, scene.site.clock.now(), cleanup_local=True)


def may_delete(scene: Scene) -> None:
    delete_rights_recheck(scene.site.root, scene.site.clock.now(), site_id=scene.site_id)


def place_is_taken(scene: Scene) -> None:
    path = scene.footage.path
    if not scene.site.trash_files():
        local = scene.footage.row.original_local_path
        scene.site.trash.take(local, str(scene.footage.transfer_id), expected=scene.site.root.stat(local))
        path.write_bytes(b"another recording")
    trash_recover(scene.site.root, scene.site.clock.now())


def place_is_free(scene: Scene) -> None:
    scene.footage.path.unlink()
    scene.sweep()
    scene.sweep()


def machine_is_met(kind: SubjectKind, code: Reason) -> Callable[[Scene], object]:
    return lambda scene: alarm_raise(code=code, subject=Subject(kind, MACHINE), detail="x", now=scene.site.clock.now())


def machine_is_sold(scene: Scene) -> None:
    scene.site.clock.advance(31 * 86400)
    WorkerProcess.objects.all().delete()
    scene.sweep()


STORIES = [
    Story("silence", nothing_arrives, no_transfer_waits, ""),
    Story("bucket", lambda scene: scene.fail_upload(Reason.QUOTA_EXCEEDED), no_transfer_waits, "{bucket}"),
    Story("line", line_is_down, Scene.sweep, "{bucket} from Renamed depot"),
    Story("holds", hold_is_refused, hold_agrees, "holds in {bucket}"),
    Story("held object", object_to_hold_is_gone, hold_agrees, "transfer {transfer} of Renamed gate"),
    Story(
        "media root",
        lambda scene: scene.fail_upload(Reason.MEDIA_ROOT_NOT_MOUNTED),
        disk_is_back,
        "media root at Renamed depot",
    ),
    Story("stopped run", disk_is_away, disk_is_back, "cleanup at Renamed depot"),
    Story("files of a run", unknown_hold, hold_is_off, "cleanup of {bucket} at Renamed depot"),
    Story("failing files", disk_fails, disk_works, "failing files at Renamed depot"),
    Story("right to delete", may_not_delete, may_delete, "right to delete at Renamed depot"),
    Story("trash", place_is_taken, place_is_free, "trash, transfer {transfer} of Renamed gate"),
    Story(
        "disk of a machine",
        machine_is_met(SubjectKind.MACHINE, Reason.HOME_DISK_LOW),
        machine_is_sold,
        "renamed-nvr",
    ),
    Story(
        "lock files",
        machine_is_met(SubjectKind.LOCK_FILES, Reason.OWNER_OF_ANOTHER_USER),
        machine_is_sold,
        "lock files on renamed-nvr",
    ),
]


@pytest.fixture
def scene(site: UploadedSite, tmp_path: Path) -> Scene:
    WorkerProcess.objects.create(host="nvr", machine_id=MACHINE, pid=1, installation_id="i")
    return Scene(site, site.add(), tmp_path)


def rename_everything() -> None:
    """As a person does it, or a setting, or an operator at the machine, whose worker starts again."""
    Site.objects.filter(name="Depot").update(name="Renamed depot")
    Camera.objects.filter(name="Gate").update(name="Renamed gate")
    Recording.objects.update(name="renamed.mp4")
    WorkerProcess.objects.update(host="renamed-nvr")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_alarm_is_not_stranded_by_a_renaming_nor_raised_twice(scene: Scene, story: Story) -> None:
    Site.objects.create(name="Harbour")  # with one site alone, an alarm of all sites is also that of the site
    story.meet(scene)
    before = Alarm.objects.get(cleared_at=None)
    rename_everything()
    story.meet(scene)
    words = story.words.format(bucket=scene.site.bucket, transfer=scene.footage.transfer_id)
    assert rows.told() == {(before.code, words)}
    met = Alarm.objects.get()
    assert (met.pk, met.cleared_at, met.seen_count > before.seen_count) == (before.pk, None, True)
    story.mend(scene)
    assert rows.told() == set()


def test_every_kind_of_alarm_is_renamed_here() -> None:
    assert len(STORIES) == len(set(SubjectKind) - {SubjectKind.OTHER, SubjectKind.UNKNOWN})


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_alarm_of_another_bucket_setting_is_not_stranded(scene: Scene, story: Story, settings: Any) -> None:
    story.meet(scene)
    former = settings.GCP_STORAGE_BUCKET_NAME
    settings.GCP_STORAGE_BUCKET_NAME, settings.GCP_STORAGE_FORMER_BUCKETS = "new-bucket", (former,)
    scene.site.store.add_bucket("new-bucket")
    story.mend(scene)
    assert rows.told() == set()


def test_machine_with_another_name_has_the_same_id(tmp_path: Path) -> None:
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    program = (
        "import socket; from pathlib import Path; import django; django.setup()\n"
        "from apps.cctv.installation import machine_id\n"
        f"print(machine_id(Path({str(tmp_path / 'machine-id')!r})))\n"
        "socket.sethostname('renamed-nvr')\n"
        f"print(machine_id(Path({str(tmp_path / 'machine-id')!r})))\n"
        "print(machine_id(Path('/nowhere')))\n"
    )
    ran = subprocess.run(
        ["unshare", "--uts", sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if "unshare failed" in ran.stderr or "Operation not permitted" in ran.stderr:
        pytest.skip("only root may give a machine another name")
    before, after, without_an_id = ran.stdout.split()
    assert before == after
    assert "0123456789abcdef" not in before
    assert without_an_id == "renamed-nvr"


def test_machine_without_an_id_is_known_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert machine_id(tmp_path / "empty") == machine_id(tmp_path / "none") == socket.gethostname()
