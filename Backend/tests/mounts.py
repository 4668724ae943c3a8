"""Real file systems for a test: made, mounted and unmounted by root; elsewhere the test is skipped with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

MIB = 2**20


@contextmanager
def mounted(kind: str, at: Path, work: Path) -> Iterator[Path]:
    """`at` with a file system of that kind on it: tmpfs, ext4, ext4-seconds, btrfs, exfat, fat, ntfs; or bind.

    `ext4-seconds` has inodes of 128 bytes, whose times are whole seconds. exFAT, FAT and NTFS are FUSE programs:
    the first two know neither hard links nor a rename that replaces nothing, NTFS lacks the latter only.
    `bind` is a folder below `work`. Image files are made in `work`.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    at.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        _mount(kind, at, work, undo)
        undo.callback(_run, "umount", str(at))
        yield at


def _mount(kind: str, at: Path, work: Path, undo: ExitStack) -> None:
    if kind == "tmpfs":
        _run("mount", "-t", "tmpfs", "-o", "size=16m", "coldreel-test", str(at))
    elif kind == "bind":
        folder = work / f"bound-{at.name}"
        folder.mkdir()
        _run("mount", "--bind", str(folder), str(at))
    elif kind == "exfat":
        device = _loop(_image(work, 32 * MIB, "mkfs.exfat"), undo)
        _run("mount.exfat-fuse", device, str(at), "-o", "rw")
    elif kind == "fat":
        _run("fusefat", "-o", "rw+", str(_image(work, 32 * MIB, "mkfs.vfat")), str(at))
    elif kind == "ntfs":
        _run("ntfs-3g", str(_image(work, 32 * MIB, "mkfs.ntfs", "-qF")), str(at))
    else:
        made = {
            "ext4": lambda: _image(work, 16 * MIB, "mkfs.ext4", "-q"),
            "ext4-seconds": lambda: _image(work, 16 * MIB, "mkfs.ext4", "-q", "-I", "128"),
            "btrfs": lambda: _image(work, 128 * MIB, "mkfs.btrfs", "-q"),
        }
        _run("mount", "-o", "loop", str(made[kind]()), str(at))


def _image(work: Path, size_bytes: int, *make: str) -> Path:
    image = work / f"{make[0]}-{len(list(work.iterdir()))}.img"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    _run(*make, str(image))
    return image


def _loop(image: Path, undo: ExitStack) -> str:
    done = _run("losetup", "--find", "--show", str(image))
    device = done.stdout.strip()
    undo.callback(_run, "losetup", "--detach", device)
    return device


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Skips the test where a program is missing or the machine does not let it mount."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done
