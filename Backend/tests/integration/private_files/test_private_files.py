"""What running creates is its owner's alone, in real processes that were started with the usual umask of 022."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from config.private_files import home_mode
from offload.source import MARKER_NAME, MediaRoot
from offload.trash import Trash

BACKEND = Path(__file__).resolve().parents[3]
KEY = "7f0d5a16-6d6a-4f5e-9a0c-3f1f2d9b7a10"
ANOTHER_USER = 12345

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to another user")

Manage = Callable[..., None]


@pytest.fixture(autouse=True)
def _the_usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    folder.mkdir()
    return folder


@pytest.fixture
def manage(home: Path, media: Path) -> Manage:
    """Run a command of `manage.py` as an operator would."""

    def run(*command: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COLDREEL_", "GCP_"))}
        places = {
            "COLDREEL_ENV_FILE": os.devnull,
            "COLDREEL_HOME": str(home),
            "MEDIA_ROOT": str(media),
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        subprocess.run([sys.executable, BACKEND / "manage.py", *command], env={**kept, **places}, check=True)

    return run


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if mode(path) & 0o077)


def test_nothing_in_a_fresh_home_is_readable_by_others(manage, home):
    manage("migrate", "--verbosity", "0")
    manage("collectstatic", "--no-input", "--verbosity", "0")
    manage("shell", "-c", "from apps.cctv.installation import installation_id as one; one()")

    assert mode(home) == 0o700
    assert {path.name for path in home.iterdir()} >= {"coldreel.sqlite3", "secret-key", "installation-id", "static"}
    assert open_to_others(home) == []


def test_write_ahead_log_is_readable_by_its_owner_alone(manage, home):
    manage("migrate", "--verbosity", "0")
    look = "import glob, os, stat; from django.conf import settings; from apps.cctv.models import Site; "
    write = "Site.objects.create(name='Depot'); files = glob.glob(str(settings.COLDREEL_HOME / '*.sqlite3*')); "
    check = "assert len(files) == 3 and not any(os.stat(one).st_mode & 0o077 for one in files), files"

    manage("shell", "-c", look + write + check)


def test_files_left_open_by_an_earlier_release_are_closed(manage, home, media):
    manage("migrate", "--verbosity", "0")
    (home / "worker.log").write_text("started\n")
    home.chmod(0o755)
    for path in home.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)
    (media / "clip.mp4").write_bytes(b"footage")
    media.chmod(0o775)

    manage("check")

    assert (mode(home), open_to_others(home)) == (0o700, [])
    assert (mode(media), mode(media / "clip.mp4")) == (0o775, 0o644)


def test_home_that_is_the_media_root_keeps_its_mode(tmp_path):
    assert home_mode(tmp_path, tmp_path) is None


@root_only
def test_another_users_recorder_reaches_a_media_root_at_home(home):
    (home / "media" / "gate").mkdir(parents=True)
    assert home_mode(home, home / "media") == 0o700

    os.chown(home / "media" / "gate", ANOTHER_USER, ANOTHER_USER)

    assert home_mode(home, home / "media") == 0o711


@root_only
def test_what_root_makes_belongs_to_the_service(manage, home):
    home.mkdir()
    os.chown(home, ANOTHER_USER, ANOTHER_USER)

    manage("migrate", "--verbosity", "0")
    manage("shell", "-c", "from apps.cctv.installation import installation_id as one; one()")

    owners = {name: (home / name).stat().st_uid for name in ("secret-key", "installation-id")}
    assert owners == {"secret-key": ANOTHER_USER, "installation-id": ANOTHER_USER}


def test_the_marker_can_be_read_by_every_user(media):
    os.umask(0o077)

    MediaRoot(media).write_marker("test\n")

    assert mode(media / MARKER_NAME) == 0o644


def test_closed_marker_is_opened_when_written_again(media):
    (media / MARKER_NAME).touch(mode=0o600)

    MediaRoot(media).write_marker("test\n")

    assert mode(media / MARKER_NAME) == 0o644


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_file_put_back_keeps_its_mode(media, umask):
    day = media / "gate" / "2026-11-20"
    day.mkdir(parents=True)
    day.parent.chmod(0o2775)
    clip = day / "clip.mp4"
    clip.write_bytes(b"footage")
    clip.chmod(0o664)
    os.umask(umask)
    root = MediaRoot(media)
    Trash(root).take("gate/2026-11-20/clip.mp4", KEY, expected=root.stat("gate/2026-11-20/clip.mp4"))
    day.rmdir()

    Trash(root).put_back(KEY, "gate/2026-11-20/clip.mp4")

    assert (mode(day), mode(clip)) == (0o2775, 0o664)
    assert mode(media / ".coldreel-trash") == 0o700


@root_only
def test_remade_folder_has_the_owner_of_its_parent(media):
    day = media / "gate" / "2026-11-20"
    day.mkdir(parents=True)
    os.chown(day.parent, ANOTHER_USER, ANOTHER_USER)
    (day / "clip.mp4").write_bytes(b"footage")
    root = MediaRoot(media)
    Trash(root).take("gate/2026-11-20/clip.mp4", KEY, expected=root.stat("gate/2026-11-20/clip.mp4"))
    (media / "gate" / "2026-11-20").rmdir()

    Trash(root).put_back(KEY, "gate/2026-11-20/clip.mp4")

    assert day.stat().st_uid == ANOTHER_USER
    assert (media / ".coldreel-trash").stat().st_uid == 0
