"""Putting a file back: over nothing, and resumable at every instruction, on every kind of file system (P3, P7)."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from offload.errors import FileChanged, FileProblem, Reason
from offload.linux import rename_without_replacing
from offload.source import TRASH_NAME, MediaRoot
from offload.trash import Trash
from tests.mounts import mounted

CONTENT = b"footage"
PATH = "cam/clip.mp4"
LINKS, NO_LINKS = "no rename that replaces nothing", "no hard links either"


class Crash(BaseException):
    """The process dies here: nothing that comes later happens."""


class Disk:
    """A media root with one recording on it, and a trash as that disk allows it."""

    def __init__(self, folder: Path, trash: Callable[[MediaRoot], Trash] = Trash) -> None:
        (folder / "cam").mkdir(parents=True)
        (folder / PATH).write_bytes(CONTENT)
        self.root = MediaRoot(folder)
        self.trash = trash(self.root)
        self.key = str(uuid.uuid4())

    @property
    def path(self) -> Path:
        return self.root.path / PATH

    @property
    def in_trash(self) -> Path:
        return self.root.path / TRASH_NAME / self.key

    def take(self) -> None:
        self.trash.take(PATH, self.key, expected=self.root.stat(PATH))

    def refuses(self) -> Reason:
        with pytest.raises(FileProblem) as refusal:
            self.trash.put_back(self.key, PATH)
        return refusal.value.code

    def copies(self) -> list[bytes]:
        """The recording's bytes, under whichever of its names."""
        found = [path.read_bytes() for path in (self.path, self.in_trash) if path.exists()]
        return [content for content in found if content]

    def a_minute_passes(self) -> None:
        """For what a dead process left at the recording's path."""
        if self.path.exists() and self.path.stat().st_size == 0:
            earlier = self.path.stat().st_mtime - 61
            os.utime(self.path, (earlier, earlier))

    def is_as_before(self) -> bool:
        left = [path.name for path in self.in_trash.parent.iterdir()]
        return self.path.read_bytes() == CONTENT and left == []


def _without_renameat2(root: MediaRoot) -> Trash:
    return Trash(root, rename=lambda *_: False)


@pytest.fixture(params=["plain", LINKS, NO_LINKS, "exfat", "ntfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Each way of putting back: on a disk that allows no better one, pretended and real.

    Not fusefat: it stamps a file anew when it is renamed (see the last test), so each take would be refused.
    """
    kind = request.param
    if kind == NO_LINKS:

        def no_link(*_args: Any, **_kwargs: Any) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", no_link)
    if kind in {"exfat", "ntfs"}:
        with mounted(kind, tmp_path / "disk", tmp_path) as at:
            yield Disk(at / "media")
    else:
        yield Disk(tmp_path / "media", Trash if kind == "plain" else _without_renameat2)


def test_file_goes_back_to_its_place(disk: Disk) -> None:
    disk.take()
    disk.trash.put_back(disk.key, PATH)
    assert disk.is_as_before()


@pytest.mark.parametrize("content", [b"recorded meanwhile", b""], ids=["footage", "empty"])
def test_what_lies_at_the_place_is_not_replaced(disk: Disk, content: bytes) -> None:
    disk.take()
    disk.path.write_bytes(content)
    for _ in range(2):
        assert disk.refuses() is Reason.DUPLICATE
        disk.a_minute_passes()
    assert (disk.path.read_bytes(), disk.in_trash.read_bytes()) == (content, CONTENT)


class DiesAt:
    """Raises Crash instead of the `at`-th call of any function that changes or syncs a folder."""

    NAMES = ("open", "rename", "link", "unlink", "fsync", "write", "mkdir")

    def __init__(self, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self._at = 0, at
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._counting(getattr(os, name)))

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self._at:
            raise Crash

    def _counting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self()
            return real(*args, **kwargs)

        return call


def test_death_at_any_instruction_is_finished_later(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(1, 100):
        disk.take()
        with monkeypatch.context() as patched:
            dying = DiesAt(at, patched)
            rename = disk.trash.rename

            def counted(*args: Any, dying: DiesAt = dying, rename: Callable[..., bool] = rename) -> bool:
                dying()
                return rename(*args)

            with suppress(Crash):
                Trash(disk.root, rename=counted).put_back(disk.key, PATH)
        assert CONTENT in disk.copies()
        if dying.calls < at:
            break
        disk.a_minute_passes()
        if disk.in_trash.exists():
            disk.trash.put_back(disk.key, PATH)
        assert disk.path.read_bytes() == CONTENT
        assert disk.trash.keys() == []
    else:
        raise AssertionError("put_back has more instructions than that")
    assert at > 5
    assert disk.is_as_before()


def test_young_placeholder_may_be_a_recorders(disk: Disk) -> None:
    """It may have been opened by its name since, and be written to in a moment."""
    if rename_works(disk):
        pytest.skip("this disk needs no placeholder")
    disk.take()
    with pytest.MonkeyPatch.context() as patched:

        def die(*_args: Any, **_kwargs: Any) -> None:
            raise Crash

        patched.setattr(os, "rename", die)
        with pytest.raises(Crash):
            disk.trash.put_back(disk.key, PATH)
    assert disk.path.stat().st_size == 0
    assert disk.refuses() is Reason.BUSY
    disk.path.write_bytes(b"recorded meanwhile")
    assert disk.refuses() is Reason.DUPLICATE
    assert disk.path.read_bytes() == b"recorded meanwhile"
    assert disk.in_trash.read_bytes() == CONTENT


def rename_works(disk: Disk) -> bool:
    """Whether the disk has a better way than a placeholder."""
    probe = disk.root.path / "probe"
    probe.write_bytes(b"")
    folder = os.open(disk.root.path, os.O_RDONLY)
    try:
        if disk.trash.rename("probe", folder, "probed", folder):
            (disk.root.path / "probed").unlink()
            return True
        os.link(probe, disk.root.path / "probed")
        (disk.root.path / "probed").unlink()
        probe.unlink()
    except PermissionError:
        probe.unlink()
        return False
    finally:
        os.close(folder)
    return True


def test_disk_with_renameat2_has_no_moment_with_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path / "media")
    if not rename_works(disk):
        pytest.skip("the file system of the tests has no rename that replaces nothing")
    disk.take()

    def no_link(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(os, "link", no_link)
    disk.trash.put_back(disk.key, PATH)
    assert disk.is_as_before()


def test_kernel_refuses_renaming_over_a_taken_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            rename_without_replacing("a", folder, "b", folder)
        with pytest.raises(FileNotFoundError):
            rename_without_replacing("c", folder, "d", folder)
    finally:
        os.close(folder)
    assert (tmp_path / "b").read_bytes() == b"b"


def test_file_whose_mtime_a_rename_changes_is_refused(tmp_path: Path) -> None:
    """What the rename took cannot be told from a file that was swapped in that moment (fusefat 0.1a)."""
    with mounted("fat", tmp_path / "disk", tmp_path) as at:
        disk = Disk(at / "media")
        os.utime(disk.path, (1_700_000_000, 1_700_000_000))
        with pytest.raises(FileChanged):
            disk.take()
        assert disk.path.read_bytes() == CONTENT
        assert disk.trash.keys() == []
