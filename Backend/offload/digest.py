"""Streaming CRC32C, the checksum that Cloud Storage keeps of every object.

https://cloud.google.com/storage/docs/data-validation: Castagnoli polynomial, base64 of the big-endian value.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import google_crc32c

from offload.errors import FileChanged
from offload.source import Source
from offload.store import Abort, never_abort

PIECE_BYTES = 256 * 1024
"""How much is read at once only to be summed: larger pieces are no faster, and each of twenty uploads has one."""


class Crc32c:
    """A running sum; `value` is the unsigned 32-bit checksum of what went in so far."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def update(self, data: bytes) -> None:
        self.value = google_crc32c.extend(self.value, data)


def crc32c_of(
    source: Source, length_bytes: int, *, offset_bytes: int = 0, initial: int = 0, abort: Abort = never_abort
) -> int:
    """The checksum of `length_bytes` from `offset_bytes` on, continuing the sum `initial`.

    Raises FileChanged where the file is shorter, FileProblem where it cannot be read.
    """
    running = Crc32c(initial)
    for piece in pieces_of(source, length_bytes, offset_bytes=offset_bytes, most_bytes=PIECE_BYTES, abort=abort):
        running.update(piece)
    return running.value


def pieces_of(
    source: Source, length_bytes: int, *, offset_bytes: int, most_bytes: int, abort: Abort
) -> Iterator[bytes]:
    """`length_bytes` from `offset_bytes` on, from front to back, `most_bytes` at once. Raises as `crc32c_of`."""
    # Piece by piece with a question in between: the sum of an hour's file takes seconds, in which a lease may be lost.
    end_bytes = offset_bytes + length_bytes
    while offset_bytes < end_bytes:
        abort()
        piece = source.stream_at(offset_bytes, min(most_bytes, end_bytes - offset_bytes))
        if not piece:
            raise FileChanged(f"the file ends at byte {offset_bytes} of {end_bytes}")
        yield piece
        offset_bytes += len(piece)


def to_base64(value: int) -> str:
    """As the bucket writes it: 8 characters, of 4 bytes, big end first."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def from_base64(text: str) -> int:
    """Inverse of `to_base64`. Raises ValueError where `text` is not such a checksum."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text!r} is not base64") from error
    if len(raw) != 4:  # noqa: PLR2004 - 32 bits
        raise ValueError(f"{text!r} has {len(raw)} bytes, not 4")
    return int.from_bytes(raw, "big")
