"""Length, codec, picture size and start of a finished recording, read with PyAV.

The file may be anything that lies on the disk, so it is treated as hostile: FFmpeg sees its bytes only through the
open `Source`, never by a path, may use only the containers below (a playlist would make it open other files and
addresses), and gets a budget of bytes and seconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from offload.errors import FileProblem, OffloadError, Reason
from offload.playable import check_playable
from offload.source import Source

if TYPE_CHECKING:
    import av

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,h264,hevc,m4v"
"""FFmpeg's names of what recorders write. None of these opens anything but the file itself."""

READ_BUDGET_BYTES = 512 * 1024 * 1024
"""A fragmented MP4 has an index a second, spread over the file: about 100 MB are read of an hour's."""

ANALYSIS_BYTES = 5_000_000
OPEN_SECONDS = 60.0
READ_SECONDS = 60.0

EARLIEST_START = datetime(1990, 1, 1, tzinfo=UTC)
"""Containers without a time read as 1904 or 1970: https://developer.apple.com/documentation/quicktime-file-format"""


LONGEST_SECONDS = 31 * 86_400.0
"""A longer duration is a broken field, not a recording."""


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """`duration_seconds` and `started_at` (aware, UTC) are None where the container does not tell them."""

    duration_seconds: float | None
    codec: str
    width_pixels: int
    height_pixels: int
    started_at: datetime | None


def read_media_facts(source: Source, file_name: str) -> MediaFacts:
    """The facts of the first video stream of an open file.

    `started_at` is the container's creation time. Raises FileProblem: FILE_NOT_PLAYABLE where there is no
    index, no video, or frames are missing at the end; what `Source.read_at` raises where it cannot be read.
    """
    check_playable(source, file_name)
    import av  # loads FFmpeg's libraries, 20 MB that a worker without an import never needs

    reader = _Reader(source)
    try:
        with av.open(
            reader,
            mode="r",
            metadata_errors="replace",
            options={
                "format_whitelist": CONTAINERS,
                "protocol_whitelist": "none",
                "probesize": str(ANALYSIS_BYTES),
                "max_streams": "32",
            },
            timeout=(OPEN_SECONDS, READ_SECONDS),
        ) as container:
            facts = _facts(container, source.identity.size_bytes, file_name, whole=not reader.exhausted)
    # PyAV's own errors, and those of Python that its code raises at invalid fields.
    except (av.FFmpegError, ValueError, ArithmeticError, LookupError) as error:
        # FFmpeg's own words, without its error number and its name for the file.
        said = str(getattr(error, "strerror", None) or error.__class__.__name__).lower()
        raise reader.problem or _not_playable(file_name, f"no video file ({said})") from error
    if reader.problem:
        raise reader.problem
    return facts


class _Reader:
    """The source as the file object that PyAV reads. After a problem or the budget's end it reads as ended.

    PyAV prints what is raised in its callbacks and reads on, so problems are kept for the caller instead.
    It has no `name`: FFmpeg would guess by it.
    """

    def __init__(self, source: Source, budget_bytes: int = READ_BUDGET_BYTES) -> None:
        self.problem: OffloadError | None = None
        self._source = source
        self._size_bytes = source.identity.size_bytes
        self._left_bytes = budget_bytes
        self._position = 0

    @property
    def exhausted(self) -> bool:
        return self._left_bytes <= 0

    def read(self, length_bytes: int) -> bytes:
        if self.problem or self.exhausted:
            return b""
        try:
            content = self._source.read_at(self._position, length_bytes)
        except OffloadError as problem:
            self.problem = problem
            return b""
        self._position += len(content)
        self._left_bytes -= max(len(content), 1)
        return content

    def seek(self, offset_bytes: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, base + offset_bytes)
        return self._position

    def tell(self) -> int:
        return self._position


def _facts(container: av.container.InputContainer, size_bytes: int, file_name: str, *, whole: bool) -> MediaFacts:
    if not container.streams.video:
        raise _not_playable(file_name, "no picture in it, only sound or data")
    stream = container.streams.video[0]
    if stream.codec_context is None or stream.width <= 0 or stream.height <= 0:
        raise _not_playable(file_name, "its video stream cannot be read")
    entries = stream.index_entries
    if len(entries) > 0 and entries[-1].pos + entries[-1].size > size_bytes:
        raise _not_playable(file_name, "cut off: frames that its index names lie beyond its end")
    return MediaFacts(
        duration_seconds=_duration_seconds(container, stream) if whole else None,
        codec=stream.codec_context.codec.canonical_name[:32],
        width_pixels=stream.width,
        height_pixels=stream.height,
        started_at=_creation_time(container.metadata) or _creation_time(stream.metadata),
    )


def _duration_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1_000_000
    else:
        return None
    return seconds if 0 < seconds <= LONGEST_SECONDS else None


def _creation_time(metadata: dict[str, str]) -> datetime | None:
    try:
        moment = datetime.fromisoformat(metadata.get("creation_time", ""))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC) if moment.astimezone(UTC) >= EARLIEST_START else None


def _not_playable(file_name: str, why: str) -> FileProblem:
    return FileProblem(f"{file_name!r}: {why}", code=Reason.FILE_NOT_PLAYABLE)
