from __future__ import annotations

from pathlib import Path

import av

from demo.clips import camera_name, make_clips
from demo.pictures import FONT, HEIGHT_PIXELS, SCENES, WIDTH_PIXELS


def make_small(folder: Path, heard: list[Path] | None = None) -> list[Path]:
    return make_clips(
        folder,
        cameras=2,
        clips_per_camera=1,
        seconds=1,
        total_bytes=400_000,
        on_clip=heard.append if heard is not None else None,
    )


def test_clips_are_h264_of_promised_length_and_size(tmp_path: Path) -> None:
    heard: list[Path] = []

    paths = make_small(tmp_path, heard)

    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "Shop door/2026-03-14/08-00-00.mp4",
        "Car park/2026-03-14/08-00-00.mp4",
    ]
    assert sorted(heard) == sorted(paths)
    for path in paths:
        assert path.stat().st_size > 150_000
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height) == ("h264", WIDTH_PIXELS, HEIGHT_PIXELS)
            assert len(list(container.decode(video=0))) == 5


def test_present_clips_are_kept_and_missing_ones_remade(tmp_path: Path) -> None:
    first, second = make_small(tmp_path)
    before = first.stat()
    content = second.read_bytes()
    second.unlink()
    heard: list[Path] = []

    make_small(tmp_path, heard)

    assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert first.stat().st_ino == before.st_ino
    assert second.read_bytes() == content
    assert heard == [first, second]


def test_font_can_write_every_camera_name_and_clock() -> None:
    needed = set("0123456789-: ") | {letter for number in range(8) for letter in camera_name(number).upper()}

    assert needed <= set(FONT)
    assert len({scene.name for scene in SCENES}) == 4
