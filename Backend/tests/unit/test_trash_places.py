"""Several file systems below the media root: a trash on each, found again after a restart (P1, P3, P7)."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from offload.errors import Disposition, FileProblem, Reason
from offload.places import LIST_NAME, Places
from offload.source import TRASH_NAME, MediaRoot
from offload.trash import Trash
from offload.walk import walk
from tests.mounts import mounted

CONTENT = b"footage"
PATH = "disk2/cam/clip.mp4"
NO_MOUNTS = Path("/nonexistent")


@pytest.fixture(params=["tmpfs", "ext4", "bind", "subvolume"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MediaRoot]:
    """A media root with one file on its own file system and one on another, `disk2`."""
    kind = request.param
    media = tmp_path / "media"
    if kind == "subvolume":
        with mounted("btrfs", media, tmp_path):
            subprocess.run(["btrfs", "subvolume", "create", str(media / "disk2")], check=True, capture_output=True)
            yield _filled(media)
    else:
        with mounted(kind, media / "disk2", tmp_path):
            yield _filled(media)


def _filled(media: Path) -> MediaRoot:
    for path in ("own.mp4", PATH):
        (media / path).parent.mkdir(parents=True, exist_ok=True)
        (media / path).write_bytes(CONTENT)
    return MediaRoot(media)


def taken(root: MediaRoot, path: str = PATH) -> str:
    key = str(uuid.uuid4())
    Trash(root).take(path, key, expected=root.stat(path))
    return key


def test_file_goes_through_its_own_file_systems_trash(root: MediaRoot) -> None:
    key = taken(root)
    assert not (root.path / PATH).exists()
    assert (root.path / "disk2" / TRASH_NAME / key).read_bytes() == CONTENT
    again = Trash(root)  # as after a restart
    assert again.keys() == [key]
    assert again.path_of(key) == f"disk2/{TRASH_NAME}/{key}"
    with again.open(key) as source:
        assert source.read_at(0, 100) == CONTENT
    found = again.find(key)
    assert found is not None
    again.unlink(key, expected=found)
    assert again.keys() == []
    assert (root.path / "own.mp4").exists()


def test_file_goes_back_within_its_own_file_system(root: MediaRoot) -> None:
    key = taken(root)
    Trash(root).put_back(key, PATH)
    assert (root.path / PATH).read_bytes() == CONTENT
    assert Trash(root).keys() == []


def test_every_trash_is_looked_into(root: MediaRoot) -> None:
    keys = {taken(root), taken(root, "own.mp4")}
    assert set(Trash(root).keys()) == keys
    assert {path.name for path in (root.path / TRASH_NAME).iterdir()} & keys != set()


def test_key_in_use_on_one_disk_is_refused_elsewhere(root: MediaRoot) -> None:
    key = taken(root)
    with pytest.raises(FileProblem) as refusal:
        Trash(root).take("own.mp4", key, expected=root.stat("own.mp4"))
    assert refusal.value.code is Reason.BUSY


def test_trash_of_another_file_system_is_no_footage(root: MediaRoot) -> None:
    key = taken(root)
    assert [found.relative_path for found in walk(root)] == ["own.mp4"]
    for path in (f"disk2/{TRASH_NAME}/{key}", f"disk2/{TRASH_NAME}"):
        with pytest.raises(FileProblem) as refusal:
            root.open(path)
        assert refusal.value.code is Reason.FILE_OUTSIDE_MEDIA_ROOT


def test_places_are_found_without_the_list_of_mounts(root: MediaRoot) -> None:
    """A subvolume is in no list of mounts, and other systems have none."""
    key = taken(root)
    assert Trash(root, mounts=NO_MOUNTS).keys() == [key]


def test_list_of_places_survives_a_cut_last_line(root: MediaRoot) -> None:
    places = Places(root, mounts=NO_MOUNTS)
    places.remember(("elsewhere",))
    listed = root.path / TRASH_NAME / "places"
    listed.write_bytes(listed.read_bytes() + b'"dis')
    key = taken(root)
    assert Places(root, mounts=NO_MOUNTS).all() == [(), ("elsewhere",), ("disk2",)]
    assert Trash(root, mounts=NO_MOUNTS).keys() == [key]


def test_list_of_places_leads_nowhere_else(root: MediaRoot, tmp_path: Path) -> None:
    taken(root, "own.mp4")
    (tmp_path / "outside" / TRASH_NAME).mkdir(parents=True)
    (tmp_path / "outside" / TRASH_NAME / str(uuid.uuid4())).write_bytes(b"precious")
    (root.path / "link").symlink_to(tmp_path / "outside")
    (root.path / TRASH_NAME / "places").write_text('"../outside"\n"link"\n"/etc"\n7\n""\n')
    assert len(Trash(root).keys()) == 1


@pytest.fixture
def disk(tmp_path: Path) -> Callable[[], AbstractContextManager[Path]]:
    """An ext4 that can be mounted, unmounted and mounted again at `media/disk2`."""
    at = tmp_path / "media" / "disk2"
    with mounted("ext4", at, tmp_path):
        pass
    (image,) = tmp_path.glob("*.img")

    @contextmanager
    def mount() -> Iterator[Path]:
        subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
        try:
            yield at
        finally:
            subprocess.run(["umount", str(at)], check=True)

    return mount


def test_unmounted_disk_is_told_from_missing_files(
    disk: Callable[[], AbstractContextManager[Path]], tmp_path: Path
) -> None:
    with disk():
        root = _filled(tmp_path / "media")
        key = taken(root)
        Places(root).demand_there(PATH)
        assert Places(root).absent() == []
    assert Trash(root).keys() == []
    assert Places(root).absent() == [("disk2",)]
    Places(root).demand_there("own.mp4")
    for path in (PATH, f"disk2/{TRASH_NAME}/{key}"):
        with pytest.raises(FileProblem) as refusal:
            Places(root).demand_there(path)
        assert refusal.value.disposition is Disposition.RETRY
    with disk():
        assert Trash(root).keys() == [key]
        Trash(root).put_back(key, PATH)
        assert (root.path / PATH).read_bytes() == CONTENT


def test_unreadable_list_of_disks_claims_none_is_there(tmp_path: Path) -> None:
    """Taken for an empty list, a disk that is away would pass for one whose files are gone."""
    root = _filled(tmp_path / "media")
    taken(root, "own.mp4")
    listed = root.path / TRASH_NAME / LIST_NAME
    listed.symlink_to(tmp_path / "elsewhere")
    for ask in (lambda: Places(root).demand_there(PATH), Places(root).absent, Trash(root).keys):
        with pytest.raises(FileProblem) as refusal:
            ask()
        assert (refusal.value.code, refusal.value.disposition) == (Reason.FILE_UNREADABLE, Disposition.RETRY)
    listed.unlink()
    listed.mkdir()
    with pytest.raises(FileProblem):
        Places(root).demand_there(PATH)


def test_file_systems_within_one_another_have_a_trash_each(tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path / "media" / "a", tmp_path) as outer, mounted("tmpfs", outer / "b", tmp_path):
        root = _filled(tmp_path / "media")
        for folder in ("a", "a/b"):
            (root.path / folder / "clip.mp4").write_bytes(CONTENT)
        outer_key, inner_key = taken(root, "a/clip.mp4"), taken(root, "a/b/clip.mp4")
        trash = Trash(root)
        assert trash.path_of(outer_key) == f"a/{TRASH_NAME}/{outer_key}"
        assert trash.path_of(inner_key) == f"a/b/{TRASH_NAME}/{inner_key}"


def test_place_that_cannot_be_listed_is_not_used(root: MediaRoot) -> None:
    (root.path / TRASH_NAME).write_text("in the way\n")  # nothing can be written down
    trash = Trash(root, mounts=NO_MOUNTS)
    with pytest.raises(FileProblem):
        trash.take(PATH, str(uuid.uuid4()), expected=root.stat(PATH))
    assert (root.path / PATH).read_bytes() == CONTENT
