"""The right to delete, asked by a real user who is not the owner of the footage."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offload.delete_rights import PROBE_PREFIX, demand_right, demand_trash, rehearse_deletion
from offload.errors import FileProblem
from offload.source import TRASH_NAME, MediaRoot
from offload.trash import Trash
from offload.walk import walk
from tests.integration.delete_rights.other_user import ANOTHER_USER, as_another_user

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
KEY = "7f0d5a16-6d6a-4f5e-9a0c-3f1f2d9b7a10"
CLIP = "gate/clip.mp4"


@pytest.fixture
def media() -> Iterator[Path]:
    """Where every user may come: pytest's own folders are root's alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = Path(folder) / "footage"
        root.mkdir()
        root.chmod(0o777)
        (root / "gate").mkdir()
        (root / "gate").chmod(0o755)
        (root / CLIP).write_bytes(b"footage")
        yield root


def said_by(ask: Callable[[MediaRoot, str], object], media: Path) -> str:
    """The reason code that another user is given, or `allowed`."""

    def do() -> str:
        try:
            ask(MediaRoot(media), CLIP)
        except FileProblem as problem:
            return problem.code.value
        return "allowed"

    return as_another_user(do)


def take(root: MediaRoot, path: str) -> None:
    Trash(root).take(path, KEY, expected=root.stat(path))


def only_the_recording_is_left(media: Path) -> bool:
    return sorted(str(path.relative_to(media)) for path in media.rglob("*")) == ["gate", CLIP]


@pytest.mark.parametrize("ask", [demand_right, rehearse_deletion, take])
def test_a_folder_of_another_user_lets_nothing_go(media, ask):
    assert said_by(ask, media) == "no_right_to_delete"
    assert (media / CLIP).read_bytes() == b"footage"


@pytest.mark.parametrize("ask", [demand_right, rehearse_deletion, take])
def test_another_users_file_in_a_sticky_folder_stays(media, ask):
    (media / "gate").chmod(0o1777)

    assert said_by(ask, media) == "no_right_to_delete"
    assert (media / CLIP).read_bytes() == b"footage"


@pytest.mark.parametrize("ask", [demand_right, rehearse_deletion, take])
def test_ones_own_file_in_a_sticky_folder_goes(media, ask):
    (media / "gate").chmod(0o1777)
    os.chown(media / CLIP, ANOTHER_USER, ANOTHER_USER)

    assert said_by(ask, media) == "allowed"


@pytest.mark.parametrize("ask", [demand_right, rehearse_deletion, take])
def test_writable_folder_lets_another_users_file_go(media, ask):
    (media / "gate").chmod(0o777)

    assert said_by(ask, media) == "allowed"


@pytest.mark.parametrize("ask", [demand_trash, rehearse_deletion, take])
def test_trash_that_is_anothers_alone_lets_nothing_go(media, ask):
    (media / "gate").chmod(0o777)
    (media / TRASH_NAME).mkdir(mode=0o700)

    assert said_by(ask, media) == "no_right_to_delete"


@pytest.mark.parametrize("ask", [demand_trash, rehearse_deletion, take])
def test_media_root_without_a_trash_lets_nothing_go(media, ask):
    (media / "gate").chmod(0o777)
    media.chmod(0o755)

    assert said_by(ask, media) == "no_right_to_delete"


@pytest.mark.parametrize("folder_mode", [0o755, 0o777, 0o1777])
@pytest.mark.parametrize("root_mode", [0o755, 0o777])
def test_a_probe_leaves_nothing_and_touches_no_recording(media, folder_mode, root_mode):
    (media / "gate").chmod(folder_mode)
    media.chmod(root_mode)
    before = (media / CLIP).stat()

    said_by(rehearse_deletion, media)

    assert only_the_recording_is_left(media)
    after = (media / CLIP).stat()
    assert (before.st_ino, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_ino,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def test_probe_of_root_leaves_no_unusable_trash(media):
    rehearse_deletion(MediaRoot(media), CLIP)

    assert only_the_recording_is_left(media)


def test_probe_that_a_crash_left_is_no_recording(media):
    (media / "gate" / f"{PROBE_PREFIX}{KEY}").touch()

    assert [found.relative_path for found in walk(MediaRoot(media))] == [CLIP]
