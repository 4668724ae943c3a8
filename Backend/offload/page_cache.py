"""Read a long file without pushing the data of other programs out of the page cache.

A recorder's own data (its index, what it is about to write, what a person watches) is in the same memory.
So a part of a file that was not in the cache before is dropped from it once it was read, and one that was there
stays. Whether it was there is found out by reading one byte of it with RWF_NOWAIT, which returns EAGAIN instead of
reading from the disk (https://man7.org/linux/man-pages/man2/readv.2.html).
"""

from __future__ import annotations

import contextlib
import os

WINDOW_BYTES = 8 * 1024 * 1024
"""How much is read ahead at once: twenty uploads that took turns at 256 KiB would keep a spinning disk
seeking, and the uplink waiting for it."""

_CAN = hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT") and hasattr(os, "posix_fadvise")


class Footprint:
    """The part of the page cache that reading one descriptor fills. Advice only: errors are ignored."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._begin_bytes = self._end_bytes = 0
        self._ours = False

    def reading(self, offset_bytes: int) -> None:
        """Called before what begins at `offset_bytes` is read."""
        if self._begin_bytes <= offset_bytes < self._end_bytes or not _CAN:
            return
        self.leave()
        self._begin_bytes = offset_bytes
        self._end_bytes = min(offset_bytes + WINDOW_BYTES, self._size_bytes)
        # Asked about the middle of the window: the kernel's read-ahead has filled the beginning of it already.
        self._ours = not self._is_cached((self._begin_bytes + self._end_bytes) // 2)
        if self._ours:
            self._advise(os.POSIX_FADV_WILLNEED)

    def leave(self) -> None:
        """The window was read: whatever reading brought into the cache goes."""
        if self._ours:
            self._advise(os.POSIX_FADV_DONTNEED)
        self._begin_bytes = self._end_bytes = 0
        self._ours = False

    def _is_cached(self, offset_bytes: int) -> bool:
        """Also True where the file system cannot tell."""
        try:
            os.preadv(self._descriptor, [bytearray(1)], offset_bytes, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _advise(self, advice: int) -> None:
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, self._begin_bytes, self._end_bytes - self._begin_bytes, advice)
