"""A small file system to fill to the last byte. Where mounting is not allowed the test is skipped and says so."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

_PIECE_BYTES = 2**20


class SmallDisk:
    """`with SmallDisk(folder, size_bytes=…) as disk`: mounted at `disk.path`, gone afterwards.

    `kind` is tmpfs, or ext4 in a file beside it, where a new folder needs a block of the disk.
    """

    def __init__(self, path: Path, *, size_bytes: int, kind: str = "tmpfs") -> None:
        self.path = path
        self._size_bytes = size_bytes
        self._kind = kind

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True)
        if self._kind == "ext4":
            self._mount_ext4()
        else:
            self._call("mount", "-t", "tmpfs", "-o", f"size={self._size_bytes},mode=0700", "tmpfs", str(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Lazily: a process that was killed a moment ago may still have a file open.
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def _mount_ext4(self) -> None:
        maker = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if maker is None:
            pytest.skip("mkfs.ext4 is not installed")
        image = self.path.with_suffix(".image")
        with image.open("wb") as file:
            file.truncate(self._size_bytes)
        self._call(maker, "-q", "-F", "-m", "0", "-O", "^has_journal", str(image))
        self._call("mount", "-o", "loop", str(image), str(self.path))

    def _call(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")

    def fill(self, name: str = "filler") -> Path:
        """To the last byte, by a file of that name; it may be filled on."""
        path = self.path / name
        fill_disk(path)
        return path

    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


def fill_disk(path: Path) -> None:
    """Append to the file at `path` until its disk has not a byte left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        piece_bytes = _PIECE_BYTES
        while piece_bytes:
            try:
                os.write(descriptor, b"\x55" * piece_bytes)
            except OSError as problem:
                if problem.errno != errno.ENOSPC:
                    raise
                piece_bytes //= 2
    finally:
        os.close(descriptor)
