"""Reading leaves the page cache as it was found, on a real file system."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from offload.digest import crc32c_of
from offload.page_cache import WINDOW_BYTES
from offload.source import MediaRoot

PAGE = mmap.PAGESIZE
SIZE = 3 * WINDOW_BYTES + 12345


def cached_bytes(path: Path) -> int:
    """How much of the file is in the page cache, by mincore(2): mapped, and never touched."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size = path.stat().st_size
    pages = -(-size // PAGE)
    flags = ctypes.create_string_buffer(pages)
    with path.open("rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        assert libc.mincore(address, size, flags) == 0
        libc.munmap(address, size)
    return sum(flag & 1 for flag in flags.raw[:pages]) * PAGE


def drop(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A file that is not in the page cache."""
    path = tmp_path / "clip"
    path.write_bytes(os.urandom(SIZE))
    drop(path)
    if cached_bytes(path):
        pytest.skip("this file system keeps its files in memory: there is nothing to drop")
    return path


def read_through(path: Path) -> None:
    with MediaRoot(path.parent).open(path.name) as source:
        crc32c_of(source, SIZE)


def test_uncached_file_stays_uncached_after_reading(clip: Path) -> None:
    read_through(clip)
    assert cached_bytes(clip) < SIZE / 20


def test_file_that_was_cached_stays_cached(clip: Path) -> None:
    clip.read_bytes()
    read_through(clip)
    assert cached_bytes(clip) >= SIZE


def test_part_that_another_program_reads_stays_cached(clip: Path) -> None:
    with clip.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), WINDOW_BYTES, WINDOW_BYTES)
    watched_bytes = cached_bytes(clip)
    read_through(clip)
    assert watched_bytes <= cached_bytes(clip) < watched_bytes + SIZE / 20


def test_no_more_than_a_window_is_cached(clip: Path) -> None:
    most_bytes = 0
    with MediaRoot(clip.parent).open(clip.name) as source:
        for offset in range(0, SIZE, WINDOW_BYTES // 4):
            source.stream_at(offset, WINDOW_BYTES // 4)
            most_bytes = max(most_bytes, cached_bytes(clip))
    assert most_bytes <= 1.25 * WINDOW_BYTES


def test_looking_something_up_asks_the_disk_for_no_window(clip: Path) -> None:
    with MediaRoot(clip.parent).open(clip.name) as source:
        source.read_at(SIZE - 100, 100)
    assert cached_bytes(clip) < WINDOW_BYTES / 4
