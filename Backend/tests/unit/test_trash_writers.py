"""A file that is still written to does not go: the last look before the unlink (P1)."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offload.errors import Disposition, FileChanged, FileProblem, Reason
from offload.linux import is_open_for_writing, tells_of_writers
from offload.source import TRASH_NAME, MediaRoot
from offload.trash import Trash

CONTENT = b"footage" * 100
PATH = "cam/clip.mp4"
TMPFS = Path("/dev/shm")


@pytest.fixture(params=["tmpfs", "own"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MediaRoot]:
    """On tmpfs, and on whatever file system the tests run on."""
    if request.param == "own":
        yield _root(tmp_path)
        return
    if not os.access(TMPFS, os.W_OK):
        pytest.skip(f"{TMPFS} cannot be written to")
    with tempfile.TemporaryDirectory(dir=TMPFS) as folder:
        yield _root(Path(folder))


def _root(folder: Path) -> MediaRoot:
    (folder / "cam").mkdir()
    (folder / PATH).write_bytes(CONTENT)
    demand_tells_of_writers(folder)
    return MediaRoot(folder)


def demand_tells_of_writers(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    told = tells_of_writers(descriptor)
    os.close(descriptor)
    if not told:
        pytest.skip(f"the file system of {folder} does not tell of writers")


@contextmanager
def another_process(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Runs `code` with the file's path as `path`, until it says that it is ready and as long as the block."""
    script = f"import mmap, os, sys\npath = sys.argv[1]\n{code}\nprint('ready', flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize(
    "opened",
    [
        "file = open(path, 'ab')",
        "file = open(path, 'r+b')",
        "file = open(path, 'r+b'); view = mmap.mmap(file.fileno(), 0); file.close()",
    ],
    ids=["appending", "rewriting", "mapped"],
)
def test_file_open_for_writing_elsewhere_is_not_unlinked(root: MediaRoot, opened: str) -> None:
    trash, key = Trash(root), str(uuid.uuid4())
    with another_process(opened, root.path / PATH):
        taken = trash.take(PATH, key, expected=root.stat(PATH))
        with pytest.raises(FileProblem) as refusal:
            trash.unlink(key, expected=taken)
        assert refusal.value.code is Reason.FILE_IN_USE
        assert refusal.value.disposition is Disposition.RETRY
        assert (root.path / TRASH_NAME / key).read_bytes() == CONTENT
    trash.unlink(key, expected=taken)
    assert trash.keys() == []


def test_file_that_another_process_only_reads_goes(root: MediaRoot) -> None:
    trash, key = Trash(root), str(uuid.uuid4())
    with another_process("file = open(path, 'rb')", root.path / PATH):
        trash.unlink(key, expected=trash.take(PATH, key, expected=root.stat(PATH)))
    assert trash.keys() == []


@pytest.mark.parametrize("same_size", [True, False], ids=["rewritten", "longer"])
def test_file_written_after_the_comparison_is_not_unlinked(root: MediaRoot, same_size: bool) -> None:
    trash, key = Trash(root), str(uuid.uuid4())
    taken = trash.take(PATH, key, expected=root.stat(PATH))
    with (root.path / TRASH_NAME / key).open("r+b" if same_size else "ab") as file:
        file.write(b"evidence")
    with pytest.raises(FileChanged) as refusal:
        trash.unlink(key, expected=taken)
    assert refusal.value.code is Reason.LOCAL_CHANGED
    assert b"evidence" in (root.path / TRASH_NAME / key).read_bytes()


def test_looking_for_writers_leaves_no_lease_behind(root: MediaRoot) -> None:
    descriptor = os.open(root.path / PATH, os.O_RDONLY)
    try:
        assert is_open_for_writing(descriptor) is False
        assert fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_UNLCK
    finally:
        os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")
def test_another_users_file_is_left_to_the_comparison(root: MediaRoot) -> None:
    """The usual case: the recorder's files belong to the recorder."""
    (root.path / PATH).chmod(0o644)
    code = (
        "import os, sys\n"
        "from offload.linux import is_open_for_writing\n"
        "descriptor = os.open(sys.argv[1], os.O_RDONLY)\n"
        "os.setuid(65534)\n"
        "print(is_open_for_writing(descriptor))\n"
    )
    with another_process("file = open(path, 'ab')", root.path / PATH):
        done = subprocess.run([sys.executable, "-c", code, str(root.path / PATH)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_opening_the_file_during_the_look_kills_no_process(root: MediaRoot) -> None:
    """The kernel tells the holder of a lease by SIGIO, which ends a process that does nothing about it."""
    code = (
        "import os, sys, time\n"
        "from offload.linux import is_open_for_writing\n"
        "descriptor = os.open(sys.argv[1], os.O_RDONLY)\n"
        "end = time.monotonic() + 1.0\n"
        "seen = {True: 0, False: 0}\n"
        "while time.monotonic() < end:\n"
        "    seen[is_open_for_writing(descriptor)] += 1\n"
        "print(min(seen.values()) > 0)\n"
    )
    path = root.path / PATH
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as looker:
        while looker.poll() is None:
            os.close(os.open(path, os.O_WRONLY))
            time.sleep(0.0001)
        assert looker.stdout is not None
        assert looker.stdout.read() == "True\n"
    assert looker.returncode == 0, signal.Signals(-looker.returncode).name
