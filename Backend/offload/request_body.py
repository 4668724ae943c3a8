"""The bytes of one request: read from the file and summed as they pass, or buffered in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from offload.digest import Crc32c, crc32c_of, pieces_of
from offload.errors import FileChanged
from offload.pace import UNLIMITED, Pace
from offload.source import Source
from offload.store import Abort, never_abort

MOST_PIECE_BYTES = 1024 * 1024
BUFFER_LIMIT_BYTES = 16 * 1024 * 1024
"""A box beside a video recorder has little memory to spare; twenty uploads of 8 MiB would hold ten times as much."""


class SourceBody:
    """A `Body` of `length_bytes` from `offset_bytes` on; `crc32c` is the sum of all that precedes.

    Reads at most MOST_PIECE_BYTES at once, and no faster than `pace` allows. `crc32c` continues with every byte
    read, and `rewind` takes it back; `bytes_read` counts what was handed out, twice where the transport asked
    twice.
    """

    def __init__(
        self,
        source: Source,
        *,
        offset_bytes: int,
        length_bytes: int,
        crc32c: int = 0,
        pace: Pace = UNLIMITED,
        abort: Abort = never_abort,
    ) -> None:
        self.length_bytes = length_bytes
        self.bytes_read = 0
        self._source = source
        self._start_bytes = offset_bytes
        self._crc32c_at_start = crc32c
        self._position_bytes = 0
        self._sum = Crc32c(crc32c)
        self._pace = pace
        self._abort = abort

    @property
    def position_bytes(self) -> int:
        """How far into the file the sum has come."""
        return self._start_bytes + self._position_bytes

    @property
    def crc32c(self) -> int:
        """Of the file's first `position_bytes`."""
        return self._sum.value

    def read(self, max_bytes: int) -> bytes:
        wanted_bytes = min(max_bytes, MOST_PIECE_BYTES, self.length_bytes - self._position_bytes)
        if wanted_bytes <= 0:
            return b""
        wanted_bytes = self._pace.take(wanted_bytes, self._abort)
        piece = self._source.stream_at(self.position_bytes, wanted_bytes)
        if not piece:
            raise FileChanged(f"the file ends at byte {self.position_bytes}, before the promised one")
        self._sum.update(piece)
        self._position_bytes += len(piece)
        self.bytes_read += len(piece)
        return piece

    def rewind(self) -> None:
        self._position_bytes = 0
        self._sum = Crc32c(self._crc32c_at_start)


class BufferedBody:
    """A part buffered in memory: what was summed for its header is what is sent, no faster than `pace`."""

    def __init__(self, pieces: Sequence[bytes], *, pace: Pace = UNLIMITED, abort: Abort = never_abort) -> None:
        self.length_bytes = sum(len(piece) for piece in pieces)
        self.bytes_read = 0
        self._pieces = pieces
        self._next = 0
        self._offset_bytes = 0
        self._pace = pace
        self._abort = abort

    def read(self, max_bytes: int) -> bytes:
        """Whole pieces are handed out as they are, without a copy."""
        if self._next == len(self._pieces):
            return b""
        left_bytes = len(self._pieces[self._next]) - self._offset_bytes
        end_bytes = self._offset_bytes + self._pace.take(min(max_bytes, left_bytes), self._abort)
        piece = self._pieces[self._next][self._offset_bytes : end_bytes]
        self._offset_bytes += len(piece)
        if self._offset_bytes == len(self._pieces[self._next]):
            self._next, self._offset_bytes = self._next + 1, 0
        self.bytes_read += len(piece)
        return piece

    def rewind(self) -> None:
        self._next = self._offset_bytes = 0


def buffered(
    source: Source,
    *,
    offset_bytes: int,
    length_bytes: int,
    crc32c: int = 0,
    pace: Pace = UNLIMITED,
    abort: Abort = never_abort,
) -> tuple[BufferedBody, int]:
    """`length_bytes` from `offset_bytes` on, and the sum `crc32c` continued with them. Raises as `crc32c_of`."""
    running = Crc32c(crc32c)
    found = pieces_of(source, length_bytes, offset_bytes=offset_bytes, most_bytes=MOST_PIECE_BYTES, abort=abort)
    pieces = list(found)
    for piece in pieces:
        running.update(piece)
    return BufferedBody(pieces, pace=pace, abort=abort), running.value


class Allowance:
    """How many bytes the small uploads of a process may hold in memory together."""

    def __init__(self, most_bytes: int) -> None:
        self._free_bytes = most_bytes
        self._lock = threading.Lock()

    @contextmanager
    def asked(self, wanted_bytes: int) -> Iterator[bool]:
        """Whether there is room for so many, until the block ends."""
        with self._lock:
            granted = wanted_bytes <= self._free_bytes
            taken_bytes = wanted_bytes if granted else 0
            self._free_bytes -= taken_bytes
        try:
            yield granted
        finally:
            with self._lock:
                self._free_bytes += taken_bytes


BUFFER_ALLOWANCE = Allowance(BUFFER_LIMIT_BYTES)


class PrefixSum:
    """The CRC32C of the file's first `length_bytes`: those that the bucket has committed."""

    def __init__(self, source: Source, abort: Abort) -> None:
        self.length_bytes = 0
        self.crc32c = 0
        self._source = source
        self._abort = abort

    def move_to(self, length_bytes: int, passed: SourceBody | None = None) -> None:
        """Follow the bucket to `length_bytes`, by the sum of what just `passed` where that ends there or before.

        The bucket may commit less than it was sent; then the file is read again up to there. Raises as
        `crc32c_of`.
        """
        if passed is not None and self.length_bytes < passed.position_bytes <= length_bytes:
            self.length_bytes, self.crc32c = passed.position_bytes, passed.crc32c
        # A CRC cannot be taken back by some bytes, so a shorter prefix is summed from the start.
        if length_bytes < self.length_bytes:
            self.length_bytes, self.crc32c = 0, 0
        self.crc32c = crc32c_of(
            self._source,
            length_bytes - self.length_bytes,
            offset_bytes=self.length_bytes,
            initial=self.crc32c,
            abort=self._abort,
        )
        self.length_bytes = length_bytes
