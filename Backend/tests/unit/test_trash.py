"""The trash folder: the one place that unlinks recordings (P1, P7)."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
import uuid
from pathlib import Path

import pytest

from offload.errors import Disposition, FileChanged, FileProblem, Reason
from offload.source import TRASH_NAME, MediaRoot, SourceIdentity
from offload.trash import Trash

CONTENT = b"footage"
PATH = "cam/clip.mp4"


@pytest.fixture
def root(tmp_path: Path) -> MediaRoot:
    folder = tmp_path / "media"
    (folder / "cam").mkdir(parents=True)
    (folder / PATH).write_bytes(CONTENT)
    return MediaRoot(folder)


@pytest.fixture
def trash(root: MediaRoot) -> Trash:
    return Trash(root)


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


def trashed(root: MediaRoot, key: str) -> Path:
    return root.path / TRASH_NAME / key


def test_taken_file_lies_in_the_trash_and_nowhere_else(root, trash, key):
    before = root.stat(PATH)
    taken = trash.take(PATH, key, expected=before)

    assert not (root.path / PATH).exists()
    assert taken.same_content_as(before)
    assert trash.find(key) == taken
    assert trash.keys() == [key]
    with trash.open(key) as source:
        assert source.read_at(0, 100) == CONTENT
        assert source.identity_now() == taken


def test_trash_folder_is_its_owners_alone(root, trash, key):
    trash.take(PATH, key, expected=root.stat(PATH))

    assert stat.S_IMODE((root.path / TRASH_NAME).stat().st_mode) == 0o700


def test_nothing_is_found_where_nothing_was_ever_taken(trash, key):
    assert trash.find(key) is None
    assert trash.keys() == []
    with pytest.raises(FileProblem) as refusal:
        trash.unlink(key, expected=SourceIdentity(1, 2, 3, 4, 5))
    assert refusal.value.code is Reason.FILE_MISSING


def test_unlinked_file_is_gone_for_good(root, trash, key):
    taken = trash.take(PATH, key, expected=root.stat(PATH))
    trash.unlink(key, expected=taken)

    assert trash.find(key) is None
    with pytest.raises(FileProblem) as refusal:
        trash.unlink(key, expected=taken)
    assert refusal.value.code is Reason.FILE_MISSING


def test_file_that_is_not_the_verified_one_stays(root, trash, key, monkeypatch):
    verified = root.stat(PATH)
    (root.path / PATH).write_bytes(b"another recording")
    renamed = []
    monkeypatch.setattr(os, "rename", lambda *args, **_kwargs: renamed.append(args))

    with pytest.raises(FileChanged):
        trash.take(PATH, key, expected=verified)
    assert renamed == []
    assert (root.path / PATH).read_bytes() == b"another recording"
    assert trash.keys() == []


def swap_at_rename(monkeypatch, swap):
    """Another program exchanges the file after the check, just before the rename."""
    real_rename = os.rename

    def rename(*args, **kwargs):
        monkeypatch.setattr(os, "rename", real_rename)
        swap()
        real_rename(*args, **kwargs)

    monkeypatch.setattr(os, "rename", rename)


def test_file_swapped_just_before_the_rename_is_put_back(root, trash, key, monkeypatch):
    path = root.path / PATH

    def swap():
        path.rename(path.with_name("verified.mp4"))
        path.write_bytes(b"another recording")

    verified = root.stat(PATH)
    swap_at_rename(monkeypatch, swap)
    with pytest.raises(FileChanged):
        trash.take(PATH, key, expected=verified)

    assert path.read_bytes() == b"another recording"
    assert path.with_name("verified.mp4").read_bytes() == CONTENT
    assert trash.keys() == []


def test_file_swapped_for_a_link_is_put_back(root, trash, key, monkeypatch, tmp_path):
    path, target = root.path / PATH, tmp_path / "elsewhere.mp4"
    target.write_bytes(b"precious")

    def swap():
        path.rename(path.with_name("verified.mp4"))
        path.symlink_to(target)

    verified = root.stat(PATH)
    swap_at_rename(monkeypatch, swap)
    with pytest.raises(FileProblem) as refusal:
        trash.take(PATH, key, expected=verified)

    assert refusal.value.code is Reason.FILE_IS_LINK
    assert path.is_symlink()
    assert target.read_bytes() == b"precious"
    assert trash.keys() == []


def test_key_in_use_is_never_renamed_over(root, trash, key):
    trash.take(PATH, key, expected=root.stat(PATH))
    (root.path / PATH).write_bytes(b"second")

    with pytest.raises(FileProblem) as refusal:
        trash.take(PATH, key, expected=root.stat(PATH))

    assert refusal.value.code is Reason.BUSY
    assert trashed(root, key).read_bytes() == CONTENT
    assert (root.path / PATH).read_bytes() == b"second"


def test_two_takers_of_one_key_lose_no_file(root, key):
    """Without the lock, one rename now and then replaces the other's file."""
    for turn in range(100):
        paths = [f"cam/{turn}-{number}.mp4" for number in range(2)]
        for path in paths:
            (root.path / path).write_bytes(path.encode())
        key = str(uuid.uuid4())
        barrier = threading.Barrier(2)

        codes = []

        def take(path, key=key, barrier=barrier, codes=codes):
            expected = root.stat(path)
            barrier.wait()
            try:
                Trash(root).take(path, key, expected=expected)
            except FileProblem as problem:
                codes.append(problem.code)

        threads = [threading.Thread(target=take, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        left = [path for path in paths if (root.path / path).exists()]
        assert len(left) == 1
        assert codes == [Reason.BUSY]
        assert trashed(root, key).read_bytes().decode() in set(paths) - set(left)


def test_file_put_back_is_where_and_what_it_was(root, trash, key):
    before = root.stat(PATH)
    trash.take(PATH, key, expected=before)
    trash.put_back(key, PATH)

    assert root.stat(PATH).same_content_as(before)
    assert (root.path / PATH).stat().st_nlink == 1
    assert trash.keys() == []


def test_file_put_back_overwrites_nothing(root, trash, key):
    trash.take(PATH, key, expected=root.stat(PATH))
    (root.path / PATH).write_bytes(b"recorded meanwhile")

    with pytest.raises(FileProblem) as refusal:
        trash.put_back(key, PATH)

    assert refusal.value.code is Reason.DUPLICATE
    assert (root.path / PATH).read_bytes() == b"recorded meanwhile"
    assert trashed(root, key).read_bytes() == CONTENT


def test_file_put_back_makes_its_folders_again(root, trash, key):
    trash.take(PATH, key, expected=root.stat(PATH))
    (root.path / "cam").rmdir()
    trash.put_back(key, PATH)

    assert (root.path / PATH).read_bytes() == CONTENT


def test_file_put_back_follows_no_link(root, trash, key, tmp_path):
    trash.take(PATH, key, expected=root.stat(PATH))
    (root.path / "cam").rmdir()
    (tmp_path / "outside").mkdir()
    (root.path / "cam").symlink_to(tmp_path / "outside")

    with pytest.raises(FileProblem) as refusal:
        trash.put_back(key, PATH)

    assert refusal.value.code is Reason.FILE_IS_LINK
    assert list((tmp_path / "outside").iterdir()) == []
    assert trashed(root, key).read_bytes() == CONTENT


def test_killed_put_back_is_finished_by_the_next_call(root, trash, key):
    trash.take(PATH, key, expected=root.stat(PATH))
    os.link(trashed(root, key), root.path / PATH)  # killed before the unlink

    trash.put_back(key, PATH)

    assert (root.path / PATH).read_bytes() == CONTENT
    assert trash.keys() == []


@pytest.mark.parametrize("there", [False, True])
def test_disk_without_hard_links_puts_back_without_overwriting_too(root, trash, key, monkeypatch, there):
    trash.take(PATH, key, expected=root.stat(PATH))
    if there:
        (root.path / PATH).write_bytes(b"recorded meanwhile")

    def no_link(*_args, **_kwargs):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_link)
    if there:
        with pytest.raises(FileProblem) as refusal:
            trash.put_back(key, PATH)
        assert refusal.value.code is Reason.DUPLICATE
        assert trashed(root, key).read_bytes() == CONTENT
    else:
        trash.put_back(key, PATH)
        assert trash.keys() == []
    assert (root.path / PATH).read_bytes() == (b"recorded meanwhile" if there else CONTENT)


@pytest.mark.parametrize("key", ["", "..", "../clip.mp4", "x", "{0}", "F28FAFEB-8F69-495F-AE2A-AA90F9D71722", "a/b"])
def test_key_that_is_no_transfers_id_is_refused_everywhere(root, trash, key):
    expected = root.stat(PATH)
    for use in (
        lambda: trash.take(PATH, key, expected=expected),
        lambda: trash.find(key),
        lambda: trash.open(key),
        lambda: trash.put_back(key, PATH),
        lambda: trash.unlink(key, expected=expected),
    ):
        with pytest.raises(FileProblem) as refusal:
            use()
        assert refusal.value.code is Reason.FILE_OUTSIDE_MEDIA_ROOT
    assert (root.path / PATH).read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["../outside.mp4", f"{TRASH_NAME}/x", "/etc/hostname"])
def test_nothing_outside_the_media_root_is_taken(root, trash, key, path):
    with pytest.raises(FileProblem) as refusal:
        trash.take(path, key, expected=root.stat(PATH))
    assert refusal.value.code is Reason.FILE_OUTSIDE_MEDIA_ROOT


def test_trash_that_is_a_link_is_not_used(root, trash, key, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / key).write_bytes(b"precious")
    (root.path / TRASH_NAME).symlink_to(tmp_path / "outside")

    for use in (
        lambda: trash.take(PATH, key, expected=root.stat(PATH)),
        lambda: trash.unlink(key, expected=root.stat(PATH)),
        lambda: trash.open(key),
        lambda: trash.put_back(key, "cam/b.mp4"),
    ):
        with pytest.raises(FileProblem) as refusal:
            use()
        assert refusal.value.code is Reason.FILE_IS_LINK
    assert (tmp_path / "outside" / key).read_bytes() == b"precious"
    assert (root.path / PATH).read_bytes() == CONTENT


def test_folder_swapped_for_a_link_costs_no_file(root, tmp_path):
    """P7: the path's folder is exchanged for a link between any two steps."""
    outside = tmp_path / "outside"
    outside.mkdir()
    names = [f"{number}.mp4" for number in range(1000)]
    for name in names:
        (root.path / "cam" / name).write_bytes(CONTENT)
        (outside / name).write_bytes(b"precious")
    expected = {name: root.stat(f"cam/{name}") for name in names}
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            (root.path / "cam").rename(root.path / "real")
            (root.path / "cam").symlink_to(outside)
            (root.path / "cam").unlink()
            (root.path / "real").rename(root.path / "cam")
            time.sleep(0.0002)  # or a busy machine never sees the real thing

    swapper = threading.Thread(target=swap)
    swapper.start()
    taken, refused = 0, set()
    try:
        for name in names:
            try:
                Trash(root).take(f"cam/{name}", str(uuid.uuid4()), expected=expected[name])
                taken += 1
            except FileProblem as problem:
                refused.add(problem.code)
    finally:
        stop.set()
        swapper.join()

    assert taken > 0
    assert refused <= {Reason.FILE_IS_LINK, Reason.FILE_MISSING}
    assert {path.read_bytes() for path in outside.iterdir()} == {b"precious"}
    assert len(list(outside.iterdir())) == len(names)
    keys = Trash(root).keys()
    assert {trashed(root, key).read_bytes() for key in keys} == {CONTENT}


@pytest.mark.parametrize("step", ["rename", "fsync", "stat"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOSPC, errno.EXDEV])
def test_failing_disk_costs_no_file_at_any_step(root, key, monkeypatch, step, number):
    """F1: whichever call fails, the bytes are under one name or the other."""
    trash = Trash(root)
    expected = root.stat(PATH)
    trash.take(PATH, key, expected=expected)  # the folder is there
    trash.put_back(key, PATH)

    def failing(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, step, failing)
    with pytest.raises(FileProblem) as refusal:
        trash.take(PATH, key, expected=expected)
    monkeypatch.undo()

    assert refusal.value.disposition is Disposition.RETRY
    found = [path for path in (root.path / PATH, trashed(root, key)) if path.exists()]
    assert [path.read_bytes() for path in found] == [CONTENT]


def test_both_folders_are_on_disk_before_taking_returns(root, trash, key, monkeypatch):
    """A crash after the receipt must not find the file under its old name again."""
    synced = []
    real_fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real_fsync(fd))
    )

    trash.take(PATH, key, expected=root.stat(PATH))
    assert {str(root.path / "cam"), str(root.path / TRASH_NAME)} <= set(synced)
    synced.clear()
    trash.put_back(key, PATH)
    assert {str(root.path / "cam"), str(root.path / TRASH_NAME)} <= set(synced)
    taken = trash.take(PATH, key, expected=root.stat(PATH))
    synced.clear()
    trash.unlink(key, expected=taken)
    assert synced == [str(root.path / TRASH_NAME)]


def test_strangers_in_the_trash_folder_are_no_keys(root, trash, key):
    trash.take(PATH, key, expected=root.stat(PATH))
    trashed(root, "notes.txt").write_text("x")

    assert trash.keys() == [key]
