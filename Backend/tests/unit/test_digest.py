from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.digest import PIECE_BYTES, Crc32c, crc32c_of, from_base64, to_base64
from offload.errors import FileChanged, Stopped
from offload.source import MediaRoot


def source_of(tmp_path: Path, data: bytes):
    (tmp_path / "clip.mp4").write_bytes(data)
    return MediaRoot(tmp_path).open("clip.mp4")


def test_checksum_is_castagnolis():
    """The check value of RFC 3720, appendix B.4, and of every CRC catalogue."""
    running = Crc32c()
    running.update(b"123456789")

    assert running.value == 0xE3069283
    assert to_base64(running.value) == "4waSgw=="


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_pieces_sum_to_the_whole(pieces):
    whole, running = Crc32c(), Crc32c()
    whole.update(b"".join(pieces))
    for piece in pieces:
        running.update(piece)

    assert running.value == whole.value


@given(st.integers(0, 2**32 - 1))
def test_base64_is_read_back(value):
    assert from_base64(to_base64(value)) == value
    assert len(to_base64(value)) == 8


@pytest.mark.parametrize("text", ["", "AAAA", "AAAAAAAA", "not base64", "4waSgw"])
def test_what_is_no_checksum_is_refused(text):
    with pytest.raises(ValueError):
        from_base64(text)


def test_file_is_summed_in_pieces_and_from_any_offset(tmp_path):
    data = bytes(range(256)) * 4096 * 3
    with source_of(tmp_path, data) as source:
        whole = crc32c_of(source, len(data))
        half = crc32c_of(source, PIECE_BYTES + 7)
        rest = crc32c_of(source, len(data) - PIECE_BYTES - 7, offset_bytes=PIECE_BYTES + 7, initial=half)

    expected = Crc32c()
    expected.update(data)
    assert whole == rest == expected.value


def test_file_shorter_than_promised_has_changed(tmp_path):
    with source_of(tmp_path, b"short") as source, pytest.raises(FileChanged):
        crc32c_of(source, 6)


def test_abort_is_asked_before_every_piece(tmp_path):
    asked = []

    def abort():
        asked.append(1)
        if len(asked) == 3:
            raise Stopped("stop")

    with source_of(tmp_path, bytes(5 * PIECE_BYTES)) as source, pytest.raises(Stopped):
        crc32c_of(source, 5 * PIECE_BYTES, abort=abort)
    assert len(asked) == 3
