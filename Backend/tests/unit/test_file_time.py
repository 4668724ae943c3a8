"""The clock that stamps a file, on file systems whose clock and steps are not this kernel's (P1, P8)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from offload.errors import FileProblem, Reason
from offload.file_time import CLOCK_FILE, READ_AGAIN_SECONDS, SECOND_NS, UNKNOWN_SECONDS, FileTime
from offload.source import TRASH_NAME, MediaRoot, check_settled
from offload.testing import FakeClock
from tests.mounts import mounted
from tests.unit.upload_bench import PATH as BENCH_PATH
from tests.unit.upload_bench import UploadBench

PATH = "cam/clip.mp4"
STEPS = {"exfat": SECOND_NS, "fat": 2 * SECOND_NS, "ntfs": 0}


@pytest.fixture(params=list(STEPS))
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MediaRoot]:
    """A file system that is asked for its clock; written to as root can."""
    with mounted(request.param, tmp_path / "media", tmp_path) as at:
        (at / "cam").mkdir()
        (at / PATH).write_bytes(b"footage")
        yield MediaRoot(at)


def clock_that_is_ahead(seconds: float) -> FakeClock:
    """As this machine's is where a file server's clock is behind."""
    return FakeClock(datetime.now(tz=UTC) + timedelta(seconds=seconds))


def time_of(root: MediaRoot, clock: FakeClock, **options: bool) -> FileTime:
    with root.open(PATH) as source:
        return source.time(clock, **options)


def is_settled(root: MediaRoot, clock: FakeClock) -> bool:
    with root.open(PATH) as source:
        try:
            check_settled(source.identity, time=source.time(clock), settle_seconds=10)
        except FileProblem as problem:
            return problem.code is not Reason.FILE_NOT_SETTLED
    return True


@pytest.mark.parametrize("ahead_seconds", [15, 3600, -3600])
def test_file_written_just_now_is_unsettled_by_any_clock(root: MediaRoot, ahead_seconds: float) -> None:
    clock = clock_that_is_ahead(ahead_seconds)
    assert is_settled(root, clock) is False
    earlier = time.time() - 14
    os.utime(root.path / PATH, (earlier, earlier))
    assert is_settled(root, clock) is True


def test_steps_of_the_file_system_are_found_out(root: MediaRoot, request: pytest.FixtureRequest) -> None:
    found = time_of(root, clock_that_is_ahead(0))
    assert found.known is True
    assert found.step_ns == STEPS[request.node.callspec.params["root"]]
    assert found.now_ns <= time.time_ns()
    assert time.time_ns() - found.now_ns < 60 * SECOND_NS


def test_clock_is_asked_seldom_and_carried_on_between(root: MediaRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real_open = os.open

    def counting(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == CLOCK_FILE:
            asked.append(path)
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", counting)
    clock = clock_that_is_ahead(0)
    first = time_of(root, clock)
    for _ in range(20):
        time_of(root, clock)
    clock.advance(READ_AGAIN_SECONDS - 1)
    assert time_of(root, clock).now_ns == first.now_ns + (READ_AGAIN_SECONDS - 1) * SECOND_NS
    assert len(asked) == 1
    clock.advance(1)
    time_of(root, clock)
    assert len(asked) == 2
    assert sorted(path.name for path in (root.path / "cam").iterdir()) == ["clip.mp4"]


def test_nothing_is_written_where_nothing_may_be(root: MediaRoot) -> None:
    assert time_of(root, clock_that_is_ahead(0), may_write=False).known is False
    assert sorted(path.name for path in root.path.iterdir() if path.name != "lost+found") == ["cam"]


@pytest.fixture
def read_only(root: MediaRoot, tmp_path: Path) -> Iterator[MediaRoot]:
    """The same disk, mounted again so that nothing can be written to it."""
    at = tmp_path / "read-only"
    at.mkdir()
    subprocess.run(["mount", "--bind", str(root.path), str(at)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], check=True)
        yield MediaRoot(at)
    finally:
        subprocess.run(["umount", str(at)], check=True)


def test_file_on_a_read_only_share_settles_unchanged(read_only: MediaRoot) -> None:
    clock = clock_that_is_ahead(15)
    assert is_settled(read_only, clock) is False
    clock.advance(11)
    assert is_settled(read_only, clock) is False
    clock.advance(2)
    assert is_settled(read_only, clock) is True


def test_old_file_on_a_read_only_share_is_settled(
    read_only: MediaRoot,
) -> None:
    assert is_settled(read_only, clock_that_is_ahead(UNKNOWN_SECONDS - 1)) is False
    assert is_settled(read_only, clock_that_is_ahead(UNKNOWN_SECONDS + 13)) is True


def test_read_only_share_gives_no_trusted_identity(read_only: MediaRoot) -> None:
    clock = clock_that_is_ahead(7 * 86400)
    with read_only.open(PATH) as source:
        assert source.identity.as_taken_at(source.time(clock), slack_seconds=10).trusted is False


def test_kernels_own_file_systems_are_not_asked(tmp_path: Path) -> None:
    (tmp_path / "cam").mkdir()
    (tmp_path / PATH).write_bytes(b"footage")
    root, clock = MediaRoot(tmp_path), FakeClock()
    assert time_of(root, clock) == FileTime(int(clock.now().timestamp() * SECOND_NS), 0, known=True)
    assert not (root.path / TRASH_NAME).exists()


# --- what an upload keeps ---


def test_identity_unchanged_within_its_second_is_not_trusted(
    tmp_path: Path,
) -> None:
    """Seen on exFAT: the same size, the same second, other bytes."""
    with mounted("exfat", tmp_path / "disk", tmp_path) as at:
        bench = UploadBench(at, settle_seconds=0)
        bench.clock = FakeClock(datetime.now(tz=UTC))
        bench.path.write_bytes(b"A" * 1000)
        with bench.root.open(BENCH_PATH) as source:
            early = source.identity.as_taken_at(source.time(bench.clock), slack_seconds=0)
        bench.path.write_bytes(b"B" * 1000)
        os.utime(bench.path, ns=(early.mtime_ns, early.mtime_ns))
        assert bench.root.stat(BENCH_PATH) == early  # nothing but the bytes tells
        assert early.trusted is False
        bench.clock.advance(3)
        result = bench.upload()
        assert result.identity is not None
        assert result.identity.trusted is True


@pytest.mark.parametrize(("later_seconds", "trusted"), [(0, False), (60, True)])
def test_upload_of_a_lately_changed_file_is_not_trusted(tmp_path: Path, later_seconds: float, trusted: bool) -> None:
    """Its mtime was set back by a copying tool; its ctime cannot be."""
    bench = UploadBench(tmp_path, settle_seconds=10)
    bench.clock = FakeClock(datetime.now(tz=UTC) + timedelta(seconds=later_seconds))
    bench.write(1000)
    result = bench.upload()
    assert result.identity is not None
    assert result.identity.trusted is trusted
