"""Whether a file is finished, as far as its container tells. A light check: nothing is decoded.

An MP4 or MOV that was cut off (power loss, still being written) has no index, the box ``moov``, and
nothing plays it. ISO/IEC 14496-12 § 4.2: a box is a 32-bit size, a 4-byte type and, where the size is
1, a 64-bit size; size 0 reaches to the end of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from offload.errors import FileProblem, Reason
from offload.source import Source

_FAMILY = frozenset({".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2"})
_HEADER_BYTES = 8
_LONG_HEADER_BYTES = 16
_MOST_BOXES = 10_000
"""A file with more boxes is a fragmented one, where header and index come first."""


def check_playable(source: Source, file_name: str) -> None:
    """Refuse a file of the MP4 family without its whole index; other containers pass.

    Raises FileProblem FILE_NOT_PLAYABLE, or as `Source.read_at`.
    """
    # By content as well: recorders give MP4 files endings of their own.
    family = PurePosixPath(file_name).suffix.lower() in _FAMILY or source.read_at(4, 4) == b"ftyp"
    if family and not any(kind == b"moov" for kind in _whole_boxes(source)):
        raise FileProblem(
            f"{file_name!r} has no index: it was cut off or is not finished", code=Reason.FILE_NOT_PLAYABLE
        )


def _whole_boxes(source: Source) -> Iterator[bytes]:
    """The types of the top-level boxes that end within the file, up to the first that does not."""
    offset, end = 0, source.identity.size_bytes
    for _ in range(_MOST_BOXES):
        header = source.read_at(offset, _LONG_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return
        size, least = int.from_bytes(header[:4], "big"), _HEADER_BYTES
        if size == 0:
            size = end - offset
        elif size == 1:
            size, least = int.from_bytes(header[8:16], "big"), _LONG_HEADER_BYTES
        if size < least or offset + size > end:
            return
        yield header[4:8]
        offset += size
