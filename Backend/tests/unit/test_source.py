"""MediaRoot, Source and the settled-file rule (P7, P8)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from offload.errors import Disposition, FileProblem, Reason
from offload.file_time import FileTime
from offload.source import MARKER_NAME, TRASH_NAME, MediaRoot, SourceIdentity, check_settled

CONTENT = b"footage" * 100
SECRET = b"not footage"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(SECRET)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> MediaRoot:
    folder = tmp_path / "media"
    (folder / "cam" / "day").mkdir(parents=True)
    (folder / "cam" / "day" / "clip.mp4").write_bytes(CONTENT)
    return MediaRoot(folder)


def code_of_opening(root: MediaRoot, path: str) -> Reason:
    """What opening says; `stat` must say the same."""
    with pytest.raises(FileProblem) as opening:
        root.open(path)
    with pytest.raises(FileProblem) as looking:
        root.stat(path)
    assert looking.value.code == opening.value.code
    return opening.value.code


def test_source_reads_at_any_offset_and_ends_with_nothing(root):
    with root.open("cam/day/clip.mp4") as source:
        assert source.read_at(0, 7) == b"footage"
        assert source.read_at(698, 100) == b"ge"
        assert source.read_at(len(CONTENT), 10) == b""


def test_absolute_path_inside_the_root_is_the_same_file(root):
    assert root.relative(str(root.path / "cam" / "day" / "clip.mp4")) == "cam/day/clip.mp4"
    assert root.relative("cam//day/./clip.mp4") == "cam/day/clip.mp4"
    with root.open(str(root.path / "cam/day/clip.mp4")) as source:
        assert source.read_at(0, 7) == b"footage"


@pytest.mark.parametrize(
    "path",
    [
        "../outside/clip.mp4",
        "cam/../../outside/clip.mp4",
        "cam/day/../day/clip.mp4",
        "..",
        "",
        ".",
        "/",
        "/etc/passwd",
        "cam/\0/clip.mp4",
        MARKER_NAME,
        f"{TRASH_NAME}/clip.mp4",
    ],
)
def test_path_that_is_not_below_the_root_is_refused(root, outside, path):
    assert code_of_opening(root, path) is Reason.FILE_OUTSIDE_MEDIA_ROOT
    with pytest.raises(FileProblem) as refusal:
        root.relative(path)
    assert refusal.value.code is Reason.FILE_OUTSIDE_MEDIA_ROOT


def test_neighbour_whose_name_begins_like_the_root_is_outside(root, tmp_path):
    (tmp_path / "media-old").mkdir()
    (tmp_path / "media-old" / "clip.mp4").write_bytes(SECRET)

    assert code_of_opening(root, str(tmp_path / "media-old" / "clip.mp4")) is Reason.FILE_OUTSIDE_MEDIA_ROOT


def test_file_that_is_a_link_is_refused(root, outside):
    (root.path / "cam" / "link.mp4").symlink_to(outside / "clip.mp4")
    (root.path / "cam" / "inner.mp4").symlink_to("day/clip.mp4")
    (root.path / "cam" / "dangling.mp4").symlink_to("nowhere")

    for name in ("cam/link.mp4", "cam/inner.mp4", "cam/dangling.mp4"):
        assert code_of_opening(root, name) is Reason.FILE_IS_LINK


@pytest.mark.parametrize("level", [1, 2, 3])
def test_linked_folder_is_refused_at_every_level(root, outside, level):
    folder = root.path.joinpath(*["deep"] * (level - 1))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "deep").symlink_to(outside)

    assert code_of_opening(root, "deep/" * level + "clip.mp4") is Reason.FILE_IS_LINK


def test_root_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "mount").symlink_to(root.path)

    with MediaRoot(tmp_path / "mount").open("cam/day/clip.mp4") as source:
        assert source.read_at(0, 7) == b"footage"


def swap_until(stop: threading.Event, path: Path, other: Path) -> None:
    """Exchange what lies under `path` between the real thing and a link to `other`, again and again."""
    real, link = path.with_name("real"), path.with_name("link")
    while not stop.is_set():
        path.rename(real)
        link.symlink_to(other)
        link.rename(path)
        path.unlink()
        real.rename(path)
        time.sleep(0.0002)  # or a busy machine never sees the real thing


@pytest.mark.parametrize("swapped", ["cam", "cam/day", "cam/day/clip.mp4"])
def test_path_swapped_between_check_and_use_never_leads_outside(root, outside, swapped):
    (outside / "day").mkdir()
    (outside / "day" / "clip.mp4").write_bytes(SECRET)
    target = {"cam": outside, "cam/day": outside, "cam/day/clip.mp4": outside / "clip.mp4"}[swapped]
    stop = threading.Event()
    swapper = threading.Thread(target=swap_until, args=(stop, root.path / swapped, target))
    swapper.start()
    opened, refused = 0, set()
    give_up_at = time.monotonic() + 60
    try:
        while (opened < 500 or not refused) and time.monotonic() < give_up_at:
            try:
                with root.open("cam/day/clip.mp4") as source:
                    assert source.read_at(0, 7) == b"footage"
                opened += 1
            except FileProblem as problem:
                refused.add(problem.code)
    finally:
        stop.set()
        swapper.join()

    assert opened
    assert refused
    assert refused <= {Reason.FILE_IS_LINK, Reason.FILE_MISSING}


def test_fifo_is_refused_and_nothing_hangs(root):
    os.mkfifo(root.path / "fifo.mp4")

    assert code_of_opening(root, "fifo.mp4") is Reason.FILE_NOT_REGULAR


@pytest.mark.parametrize(
    ("swap_in", "code"),
    [(os.mkfifo, Reason.FILE_NOT_REGULAR), (lambda path: path.symlink_to("/etc/hostname"), Reason.FILE_IS_LINK)],
    ids=["fifo", "link"],
)
def test_file_replaced_right_after_the_look_is_refused(root, monkeypatch, swap_in, code):
    path = root.path / "clip.mp4"
    path.write_bytes(CONTENT)
    real_open = os.open

    def swapping_open(name, *args, **kwargs):
        if name == "clip.mp4":
            path.unlink()
            swap_in(path)
        return real_open(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", swapping_open)
    with pytest.raises(FileProblem) as refusal:
        root.open("clip.mp4")

    assert refusal.value.code is code


def test_folder_socket_and_device_are_refused(root):
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(root.path / "s.mp4"))
        assert code_of_opening(root, "s.mp4") is Reason.FILE_NOT_REGULAR
    finally:
        listener.close()
    assert code_of_opening(root, "cam/day") is Reason.FILE_NOT_REGULAR
    assert code_of_opening(MediaRoot(Path("/dev")), "null") is Reason.FILE_NOT_REGULAR


def test_missing_file_and_missing_folder_are_missing(root):
    assert code_of_opening(root, "cam/day/other.mp4") is Reason.FILE_MISSING
    assert code_of_opening(root, "cam/night/clip.mp4") is Reason.FILE_MISSING
    assert code_of_opening(root, "cam/day/clip.mp4/inside") is Reason.FILE_MISSING
    assert code_of_opening(root, "x" * 300) is Reason.FILE_MISSING


def test_missing_root_waits_and_fails_no_transfer(tmp_path):
    with pytest.raises(FileProblem) as refusal:
        MediaRoot(tmp_path / "unplugged").open("clip.mp4")

    assert refusal.value.code is Reason.MEDIA_ROOT_NOT_MOUNTED
    assert refusal.value.disposition is Disposition.WAIT
    assert str(tmp_path) not in refusal.value.detail


@pytest.mark.parametrize(
    "name",
    ["new\nline.mp4", "'quotes\" and $(dollars).mp4", "Tür 車 🎥.mp4", "ü" * 127 + "x", "-rf", "a b;c|d"],
)
def test_odd_names_are_opened_as_they_are(root, name):
    assert len(name.encode()) <= 255
    (root.path / name).write_bytes(b"odd")

    assert root.relative(name) == name
    with root.open(name) as source:
        assert source.read_at(0, 3) == b"odd"


def test_name_that_is_not_utf8_has_its_own_reason(root):
    raw = os.fsencode(root.path) + b"/caf\xe9.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"x")

    assert code_of_opening(root, os.fsdecode(b"caf\xe9.mp4")) is Reason.NAME_NOT_UTF8


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOSPC])
def test_failing_disk_is_tried_again_without_an_oserror(root, monkeypatch, number):
    def failing(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    with root.open("cam/day/clip.mp4") as source:
        for call in ("pread", "fstat"):
            monkeypatch.setattr(os, call, failing)
        for use in (lambda: source.read_at(0, 1), source.identity_open, lambda: root.open("cam/day/clip.mp4")):
            with pytest.raises(FileProblem) as refusal:
                use()
            assert refusal.value.code is Reason.FILE_UNREADABLE
            assert refusal.value.disposition is Disposition.RETRY
            assert str(root.path) not in refusal.value.detail
        monkeypatch.undo()


def test_no_descriptor_is_left_open_whatever_happens(root, outside):
    os.mkfifo(root.path / "fifo.mp4")
    (root.path / "link").symlink_to(outside)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("cam/day/clip.mp4", "cam/day", "link/clip.mp4", "fifo.mp4", "cam/none/clip.mp4", "../x"):
        with contextlib.suppress(FileProblem):
            root.open(path).close()

    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- change ---


def test_identity_survives_its_column(root):
    identity = root.stat("cam/day/clip.mp4")

    assert SourceIdentity.decode(identity.encode()) == identity
    for text in ("1:2:3", "", "1:2:3:4:5:6", "1:2:3:?"):
        with pytest.raises(ValueError):
            SourceIdentity.decode(text)


def test_untrusted_identity_survives_its_column_and_is_equal():
    identity = SourceIdentity(1, 2, 3, 4, 5, trusted=False)

    assert SourceIdentity.decode(identity.encode()).trusted is False
    assert identity == SourceIdentity.decode("1:2:3:4:5")
    assert SourceIdentity.decode("1:2:3:4:5").trusted is True


@pytest.mark.parametrize(
    ("age_seconds", "ctime_age_seconds", "trusted"),
    [(3600, 3600, True), (3600, 9, False), (9, 3600, False), (10.02, 10.02, True), (-3600, 3600, False)],
    ids=["old", "changed lately", "written lately", "just old enough", "in the future"],
)
def test_identity_near_its_own_times_is_not_trusted(age_seconds, ctime_age_seconds, trusted):
    identity = identity_of(age_seconds=age_seconds, ctime_age_seconds=ctime_age_seconds)

    assert identity.as_taken_at(TIME, slack_seconds=10).trusted is trusted
    assert identity.as_taken_at(FileTime(TIME.now_ns, 0, known=False), slack_seconds=10).trusted is False


def test_coarser_times_have_to_lie_further_back():
    identity = identity_of(age_seconds=11, ctime_age_seconds=11)
    coarse = FileTime(TIME.now_ns, 2_000_000_000, known=True)

    assert identity.as_taken_at(TIME, slack_seconds=10).trusted is True
    assert identity.as_taken_at(coarse, slack_seconds=10).trusted is False
    with pytest.raises(FileProblem):
        check_settled(identity, time=coarse, settle_seconds=10)


def test_whole_seconds_are_taken_for_coarse_times():
    """As ext4 with small inodes keeps them: the file system's kind does not tell."""
    now_ns = TIME.now_ns // 1_000_000_000 * 1_000_000_000
    old_ns = now_ns - 11_000_000_000

    with pytest.raises(FileProblem):
        check_settled(SourceIdentity(1, 2, 3, old_ns, old_ns), time=FileTime(now_ns, 0, known=True), settle_seconds=10)
    check_settled(SourceIdentity(1, 2, 3, old_ns, old_ns + 1), time=FileTime(now_ns, 0, known=True), settle_seconds=10)


def test_growing_and_rewritten_and_replaced_files_are_seen(root):
    path = root.path / "cam/day/clip.mp4"
    with root.open("cam/day/clip.mp4") as source:
        assert source.identity_now() == source.identity == source.identity_open()
        with path.open("ab") as file:
            file.write(b"more")
        assert source.identity_now().size_bytes == source.identity.size_bytes + 4
        assert not source.identity_open().same_content_as(source.identity)
    with root.open("cam/day/clip.mp4") as source:
        path.with_name("new").write_bytes(CONTENT)
        path.with_name("new").rename(path)
        assert source.identity_now() != source.identity
        assert source.identity_open().same_content_as(source.identity)
        path.unlink()
        with pytest.raises(FileProblem) as refusal:
            source.identity_now()
        assert refusal.value.code is Reason.FILE_MISSING


def test_rename_alone_changes_no_content(root):
    before = root.stat("cam/day/clip.mp4")
    (root.path / "cam/day/clip.mp4").rename(root.path / "moved.mp4")
    after = root.stat("moved.mp4")

    assert after.same_content_as(before)
    assert not after.same_content_as(SourceIdentity(0, 0, 0, 0, 0))


# --- settled ---

NOW = datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
TIME = FileTime(int(NOW.timestamp() * 1e9), 0, known=True)


def identity_of(*, age_seconds: float, size_bytes: int = 10, ctime_age_seconds: float = 0) -> SourceIdentity:
    now_ns = TIME.now_ns
    return SourceIdentity(1, 2, size_bytes, now_ns - int(age_seconds * 1e9), now_ns - int(ctime_age_seconds * 1e9))


def test_file_untouched_for_the_settle_time_is_settled():
    check_settled(identity_of(age_seconds=10), time=TIME, settle_seconds=10)


@pytest.mark.parametrize("age_seconds", [9.9, 0])
def test_file_touched_a_moment_ago_is_tried_again(age_seconds):
    with pytest.raises(FileProblem) as refusal:
        check_settled(identity_of(age_seconds=age_seconds), time=TIME, settle_seconds=10)

    assert refusal.value.code is Reason.FILE_NOT_SETTLED
    assert refusal.value.disposition is Disposition.RETRY


def test_file_dated_ahead_is_judged_by_its_change_here():
    check_settled(identity_of(age_seconds=-3600, ctime_age_seconds=11), time=TIME, settle_seconds=10)
    with pytest.raises(FileProblem) as refusal:
        check_settled(identity_of(age_seconds=-3600, ctime_age_seconds=9), time=TIME, settle_seconds=10)
    assert refusal.value.code is Reason.FILE_NOT_SETTLED


def test_empty_file_waits_while_young_and_fails_when_old():
    with pytest.raises(FileProblem) as young:
        check_settled(identity_of(age_seconds=1, size_bytes=0), time=TIME, settle_seconds=10)
    with pytest.raises(FileProblem) as old:
        check_settled(identity_of(age_seconds=60, size_bytes=0), time=TIME, settle_seconds=10)

    assert young.value.disposition is Disposition.RETRY
    assert old.value.code is Reason.FILE_EMPTY
    assert old.value.disposition is Disposition.FAIL


# --- marker ---


def test_marker_tells_the_mounted_root_from_the_empty_folder(root):
    assert not root.has_marker()
    root.write_marker("Coldreel's media root\n")
    root.write_marker("again\n")

    assert root.has_marker()
    assert (root.path / MARKER_NAME).read_text() == "again\n"
    assert not MediaRoot(root.path / "cam").has_marker()
    assert not MediaRoot(root.path / "nowhere").has_marker()


def test_linked_marker_is_no_marker_and_not_followed(root, outside):
    (root.path / MARKER_NAME).symlink_to(outside / "clip.mp4")

    assert not root.has_marker()
    with pytest.raises(FileProblem):
        root.write_marker("text")
    assert (outside / "clip.mp4").read_bytes() == SECRET
