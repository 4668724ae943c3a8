"""A file still being written, or cut off, is refused with a reason (F15)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.errors import FileProblem, Reason
from offload.playable import check_playable
from offload.source import MediaRoot
from tests.unit.upload_bench import box, mp4


def check(folder: Path, data: bytes, name: str = "clip.mp4") -> None:
    (folder / name).write_bytes(data)
    with MediaRoot(folder).open(name) as source:
        check_playable(source, name)


def assert_refused(folder: Path, data: bytes, name: str = "clip.mp4") -> None:
    with pytest.raises(FileProblem) as refusal:
        check(folder, data, name)
    assert refusal.value.code is Reason.FILE_NOT_PLAYABLE


def long_box(kind: bytes, payload: bytes) -> bytes:
    return (1).to_bytes(4, "big") + kind + (len(payload) + 16).to_bytes(8, "big") + payload


FTYP, MOOV, MDAT = box(b"ftyp", b"isom" + bytes(8)), box(b"moov", bytes(100)), box(b"mdat", bytes(5000))


@pytest.mark.parametrize(
    "data",
    [
        FTYP + MDAT + MOOV,
        FTYP + MOOV + MDAT,
        FTYP + long_box(b"mdat", bytes(5000)) + MOOV,
        FTYP + box(b"free", b"") + MDAT + MOOV,
        FTYP + MOOV + bytes(4) + b"mdat" + bytes(100),
        FTYP + MOOV + box(b"moof", bytes(50)) + MDAT,
        MDAT + MOOV,
        mp4(100_000),
    ],
)
def test_file_with_its_index_passes(tmp_path, data):
    check(tmp_path, data)


@pytest.mark.parametrize(
    "data",
    [
        FTYP + MDAT,
        FTYP + MDAT[:-1],
        FTYP + MDAT + MOOV[:-1],
        FTYP + bytes(4) + b"mdat" + bytes(100),
        FTYP + box(b"moof", bytes(50)) + MDAT,
        FTYP + (7).to_bytes(4, "big") + b"moov" + bytes(100),
        FTYP + (1).to_bytes(4, "big") + b"mdat" + (3).to_bytes(8, "big") + MOOV,
        b"\0" * 10_000,
        b"GARBAGE" * 1000,
        b"x",
    ],
)
def test_file_without_its_whole_index_is_refused(tmp_path, data):
    assert_refused(tmp_path, data)


@pytest.mark.parametrize("name", ["clip.MP4", "clip.mov", "clip.m4v", "clip.3gp", "clip", "clip.bin"])
def test_family_is_told_by_name_or_by_content(tmp_path, name):
    assert_refused(tmp_path, FTYP + MDAT, name)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.ts", "clip.h264"])
def test_other_containers_pass(tmp_path, name):
    check(tmp_path, b"any bytes at all", name)


def test_file_of_nothing_but_tiny_boxes_ends_the_search(tmp_path):
    assert_refused(tmp_path, FTYP + box(b"free", b"") * 20_000 + MOOV)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_check(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    with suppress(FileProblem):
        check(folder, data)
