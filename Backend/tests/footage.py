"""Small real H.264 recordings for tests, encoded once a session and copied from memory after that."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import av

FRAMES_PER_SECOND = 5


def make_clip(
    path: Path,
    seconds: int = 2,
    *,
    width: int = 320,
    height: int = 240,
    started_at: datetime | None = None,
    faststart: bool = False,
    shade: int = 0,
    age_seconds: float = 3600,
) -> Path:
    """Write a playable MP4 of a few KB at `path` (folders are made) and return `path`.

    `started_at` (aware) becomes the container's creation time. `faststart` puts the index before the
    frames. `shade` (0 to 255) makes clips differ. The file's mtime lies `age_seconds` in the past, so
    that it counts as settled.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        clip_bytes(seconds=seconds, width=width, height=height, started_at=started_at, faststart=faststart, shade=shade)
    )
    modified = time.time() - age_seconds
    os.utime(path, (modified, modified))
    return path


def make_unfinished_clip(path: Path, *, age_seconds: float = 3600) -> Path:
    """An MP4 whose recorder was killed: frames, but no index (moov)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = clip_bytes(seconds=2, width=320, height=240, started_at=None, faststart=False, shade=0)
    path.write_bytes(whole[: whole.rindex(b"moov") - 4])
    modified = time.time() - age_seconds
    os.utime(path, (modified, modified))
    return path


@lru_cache(maxsize=64)
def clip_bytes(
    *, seconds: int, width: int, height: int, started_at: datetime | None, faststart: bool, shade: int
) -> bytes:
    """The file itself: a bar that wanders over a grey picture, five frames a second."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as target:  # faststart reads back by name
        _encode(target.name, seconds, (width, height), started_at, faststart=faststart, shade=shade)
        return Path(target.name).read_bytes()


def _encode(
    target: str,
    seconds: int,
    size: tuple[int, int],
    started_at: datetime | None,
    *,
    faststart: bool,
    shade: int,
) -> None:
    width, height = size
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(target, "w", format="mp4", options=options) as container:
        if started_at is not None:
            moment = started_at.astimezone(UTC).replace(tzinfo=None)
            container.metadata["creation_time"] = moment.isoformat(timespec="microseconds") + "Z"
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        for number in range(seconds * FRAMES_PER_SECOND):
            container.mux(stream.encode(_frame(number, width, height, shade)))
        container.mux(stream.encode(None))


def _frame(number: int, width: int, height: int, shade: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, "yuv420p")
    bright = 8 * number % height
    for index, plane in enumerate(frame.planes):
        grey = bytes([128 if index else shade])
        picture = bytearray(grey * plane.buffer_size)
        if index == 0:
            picture[bright * plane.line_size : (bright + 8) * plane.line_size] = b"\xeb" * (8 * plane.line_size)
        plane.update(bytes(picture[: plane.buffer_size]))
    return frame
