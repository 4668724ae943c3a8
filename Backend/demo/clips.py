"""Makes real H.264 recordings for the demo: four painted scenes with movement, the camera's name and a clock.

PyAV's bundled FFmpeg has no `drawtext` and numpy is no dependency, so pictures are painted into the planes of
the frame, row by row: the scene once a clip, the moving objects once a frame. The encoder runs at a constant bit
rate, as cameras do, so that the size of a clip is known beforehand.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.filter import Graph

from demo.pictures import HEIGHT_PIXELS, SCENES, WIDTH_PIXELS, Canvas, Scene, paint_caption

FRAMES_PER_SECOND = 5
CLIP_SECONDS = 60
FIRST_HOUR = 8
RECORDED_ON = date(2026, 3, 14)
DEFAULT_TOTAL_BYTES = 320 * 1024 * 1024
NOISE = "noise=c0_strength=9:c0_flags=t+u:c0_seed=20260314"
"""Sensor noise: without it a still scene would be a few kB a second."""

LEAST_SHARE = 0.9
"""A clip below this share of its intended size comes from a smaller demo and is made again."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One file to make. `number` counts the clips of a camera, `size_bytes` is about what it will have."""

    path: Path
    camera: int
    number: int
    started_at: datetime
    seconds: int
    size_bytes: int

    @property
    def is_there(self) -> bool:
        return self.path.is_file() and self.path.stat().st_size >= LEAST_SHARE * self.size_bytes


class _Encoder(NamedTuple):
    container: av.container.OutputContainer
    stream: av.VideoStream
    graph: Graph


def make_clips(
    folder: Path,
    *,
    cameras: int = 4,
    clips_per_camera: int = 6,
    total_bytes: int = DEFAULT_TOTAL_BYTES,
    seconds: int = CLIP_SECONDS,
    on_clip: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Make the missing files of ``<camera>/<date>/<time>.mp4`` below `folder`; return the paths of all, in order.

    The clips of a camera follow each other without a gap. `on_clip` is called in this process for
    each finished one. The same arguments make the same bytes.
    """
    size_bytes = total_bytes // (cameras * clips_per_camera)
    clips = [
        _clip(folder, camera, number, seconds, size_bytes)
        for number in range(clips_per_camera)
        for camera in range(cameras)
    ]
    for path in _made(clips):
        if on_clip is not None:
            on_clip(path)
    return [clip.path for clip in clips]


def camera_name(camera: int) -> str:
    """Shop door, Car park, …; from the fifth camera on with a number."""
    name = SCENES[camera % len(SCENES)].name
    return name if camera < len(SCENES) else f"{name} {camera // len(SCENES) + 1}"


def _clip(folder: Path, camera: int, number: int, seconds: int, size_bytes: int) -> Clip:
    start = datetime(RECORDED_ON.year, RECORDED_ON.month, RECORDED_ON.day, FIRST_HOUR, tzinfo=UTC)
    start += timedelta(seconds=number * seconds)
    path = folder / camera_name(camera) / f"{start:%Y-%m-%d}" / f"{start:%H-%M-%S}.mp4"
    return Clip(path, camera, number, start, seconds, size_bytes)


def _made(clips: list[Clip]) -> Iterator[Path]:
    """Yield the paths: first of clips that exist, then of others as they are finished, one process a core."""
    yield from (clip.path for clip in clips if clip.is_there)
    missing = [clip for clip in clips if not clip.is_there]
    if not missing:
        return
    # `spawn`: the caller has threads (its progress bar), and a fork of those may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(missing)), mp_context=context) as pool:
        for done in as_completed([pool.submit(make_clip, clip) for clip in missing]):
            yield done.result()


def make_clip(clip: Clip) -> Path:
    """Encode one clip under a hidden name and rename it, so that no unfinished clip is imported."""
    clip.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = clip.path.with_name(f".{clip.path.name}.part")
    _encode(clip, unfinished)
    ended = (clip.started_at + timedelta(seconds=clip.seconds)).timestamp()
    # As a recorder leaves it: the file's time is the end of the recording.
    os.utime(unfinished, (ended, ended))
    unfinished.replace(clip.path)
    return clip.path


def _encode(clip: Clip, target: Path) -> None:
    scene = SCENES[clip.camera % len(SCENES)]
    backdrop = Canvas()
    scene.paint(backdrop)
    with av.open(str(target), "w", format="mp4") as container:
        container.metadata["creation_time"] = f"{clip.started_at:%Y-%m-%dT%H:%M:%S}.000000Z"
        encoder = _Encoder(container, _stream(container, clip), _noise())
        for number in range(clip.seconds * FRAMES_PER_SECOND):
            _add_frame(encoder, _frame(clip, scene, backdrop, number), number)
        container.mux(encoder.stream.encode(None))


def _stream(container: av.container.OutputContainer, clip: Clip) -> av.VideoStream:
    rate = clip.size_bytes * 8 // clip.seconds
    stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
    stream.width, stream.height, stream.pix_fmt = WIDTH_PIXELS, HEIGHT_PIXELS, "yuv420p"
    stream.bit_rate = rate
    stream.thread_count = 1  # there is a process for each core already
    stream.options = {
        "preset": "ultrafast",
        "g": str(2 * FRAMES_PER_SECOND),
        "maxrate": str(rate),
        "bufsize": str(rate),
        "x264-params": "nal-hrd=cbr:force-cfr=1",
    }
    return stream


def _noise() -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=WIDTH_PIXELS,
        height=HEIGHT_PIXELS,
        format=av.VideoFormat("yuv420p", WIDTH_PIXELS, HEIGHT_PIXELS),
        time_base=Fraction(1, FRAMES_PER_SECOND),
    )
    name, options = NOISE.split("=", 1)
    noise, sink = graph.add(name, options), graph.add("buffersink")
    source.link_to(noise)
    noise.link_to(sink)
    graph.configure()
    return graph


def _frame(clip: Clip, scene: Scene, backdrop: Canvas, number: int) -> av.VideoFrame:
    second = number // FRAMES_PER_SECOND
    canvas = backdrop.copy()
    scene.move(canvas, clip.number * clip.seconds + number / FRAMES_PER_SECOND)
    moment = clip.started_at + timedelta(seconds=second)
    paint_caption(canvas, camera_name(clip.camera), f"{moment:%Y-%m-%d %H:%M:%S}")
    return canvas.frame()


def _add_frame(encoder: _Encoder, frame: av.VideoFrame, number: int) -> None:
    frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
    encoder.graph.push(frame)
    grainy = encoder.graph.pull()
    assert isinstance(grainy, av.VideoFrame)
    encoder.container.mux(encoder.stream.encode(grainy))
