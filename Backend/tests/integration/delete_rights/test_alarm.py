"""Who may not delete is told by `doctor` and, at the first upload, by an alarm."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.cctv.doctor import Level
from apps.cctv.doctor.delete_rights import delete_rights_findings
from apps.cctv.models import Alarm, Camera, Recording
from apps.cctv.services.delete_rights import DeleteRightsWatch, delete_rights_alarm, delete_rights_recheck, sample_paths
from apps.cctv.wiring import service_settings
from offload.delete_rights import rehearse_deletion
from offload.errors import FileProblem
from offload.source import MediaRoot
from tests.integration.db import rows
from tests.integration.delete_rights.other_user import ANOTHER_USER, as_another_user

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user"),
]


@pytest.fixture
def media(camera: Camera) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        root = Path(folder)
        (root / ".coldreel-media-root").touch()
        (root / "gate").mkdir()
        (root / "gate").chmod(0o755)
        for name in ("one.mp4", "two.mp4"):
            (root / "gate" / name).write_bytes(b"footage")
            Recording.objects.create(
                camera=camera, name=name, started_at=rows.NOW, local_path=f"gate/{name}", file_path=f"gate/{name}"
            )
        yield root


def watched(media: Path, *paths: str, site: object) -> str:
    """What a worker of another user would tell after those uploads."""

    def look() -> str:
        watch = DeleteRightsWatch(MediaRoot(media))
        for path in paths:
            watch.look(site, path)  # type: ignore[arg-type]
        return " ".join(watch.take().values())

    return as_another_user(look)


def test_folder_that_cannot_be_cleaned_raises_one_alarm(media, camera):
    detail = watched(media, "gate/one.mp4", "gate/two.mp4", site=camera.site_id)
    assert detail.startswith("'gate': the user 12345 may not write to it")

    delete_rights_alarm({camera.site_id: detail}, rows.NOW, cleanup_local=True)
    delete_rights_alarm({camera.site_id: detail}, rows.NOW, cleanup_local=True)

    (alarm,) = Alarm.objects.filter(cleared_at__isnull=True)
    assert alarm.seen_count == 2
    assert rows.told() == {("no_right_to_delete", f"right to delete at {camera.site}")}


def test_where_cleanup_is_switched_off_nothing_is_told(media, camera, settings):
    settings.GCP_STORAGE_CLEANUP_LOCAL = False

    delete_rights_alarm({camera.site_id: "'gate'"}, rows.NOW, cleanup_local=service_settings().cleanup_local)

    assert not Alarm.objects.exists()


def test_writable_folder_raises_no_alarm(media, camera):
    (media / "gate").chmod(0o777)

    assert watched(media, "gate/one.mp4", site=camera.site_id) == ""


def test_folder_is_asked_about_once_in_ten_minutes(media, camera):
    os.chown(media / "gate", ANOTHER_USER, ANOTHER_USER)

    def look() -> str:
        clock, told = [0.0], []
        watch = DeleteRightsWatch(MediaRoot(media), monotonic=lambda: clock[0])
        watch.look(camera.site_id, "gate/one.mp4")
        (media / "gate").chmod(0o555)
        for clock[0] in (599, 600):
            watch.look(camera.site_id, "gate/two.mp4")
            told.append(len(watch.take()))
        return str(told)

    assert as_another_user(look) == "[0, 1]"


def test_alarm_ends_when_the_right_is_there(media, camera):
    delete_rights_alarm({camera.site_id: "'gate'"}, rows.NOW, cleanup_local=True)

    delete_rights_recheck(MediaRoot(media), rows.NOW, site_id=None)

    assert not Alarm.objects.filter(cleared_at__isnull=True).exists()


def findings(media: Path) -> list[tuple[Level, str]]:
    return [(one.level, one.detail) for one in delete_rights_findings(root=MediaRoot(media), home=media)]


def test_doctor_tries_folders_of_footage_and_leaves_nothing(media):
    before = sorted(media.rglob("*"))

    assert findings(media) == [(Level.OK, "Files may be deleted in every folder that was tried: 1.")]
    assert sorted(media.rglob("*")) == before


def test_doctor_names_a_folder_without_the_right(media):
    paths = sample_paths()

    def do() -> str:
        try:
            rehearse_deletion(MediaRoot(media), paths[0])
        except FileProblem as problem:
            return f"{problem.code}: {problem.detail}"
        return "allowed"

    assert as_another_user(do) == "no_right_to_delete: 'gate': Permission denied"


def test_doctor_as_root_says_it_proves_little(media, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)

    found = list(delete_rights_findings(root=MediaRoot(media), home=home))

    assert [one.level for one in found] == [Level.OK, Level.WARNING]
    assert "as root" in found[1].detail
