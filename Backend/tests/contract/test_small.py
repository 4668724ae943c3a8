"""Small files: one request, with precondition and checksum in it."""

from __future__ import annotations

import pytest

from offload.errors import ChecksumRefused, FileChanged, LineDown, PreconditionFailed, Stopped
from tests.contract.benches import Bench, BytesBody, ControlledBench, crc_of, noise
from tests.contract.test_sessions import stop_after

NAMES = [
    "plain.mp4",
    "with space.mp4",
    "плёнка-録画-🎥.mp4",
    "hash#question?percent%41.mp4",
    "plus+and&equals=.mp4",
    "quote'double\"back\\slash.mp4",
    "deep/er/and/deeper.mp4",
    "semi;colon:comma,at@.mp4",
    "[brackets]*star~tilde^.mp4",
    "n" * 255,
]


def test_small_object_is_what_the_bucket_says_it_is(bench: Bench) -> None:
    data = noise(70_000)
    info = bench.upload("clip.mp4", data)
    assert (info.size_bytes, info.crc32c, info.metageneration) == (len(data), crc_of(data), 1)
    assert info.content_type == "video/mp4"
    assert dict(info.metadata) == dict(bench.spec("clip.mp4", 1).metadata)
    assert bench.store.get(bench.bucket, info.name) == info
    assert bench.content(info) == data


@pytest.mark.parametrize("size_bytes", [1, 2, 8 * 1024 * 1024])
def test_small_object_of_any_size_up_to_the_limit(bench: Bench, size_bytes: int) -> None:
    data = noise(size_bytes)
    assert bench.content(bench.upload("clip.mp4", data)) == data


def test_bytes_that_look_like_multipart_pass_untouched(bench: Bench) -> None:
    data = b"\r\n--boundary\r\nContent-Type: text/plain\r\n\r\n--\r\n\r\n--boundary--\r\n\x00\xff\r\n"
    assert bench.content(bench.upload("clip.mp4", data)) == data


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_name_of_any_kind_is_kept_as_it_is(bench: Bench, name: str) -> None:
    info = bench.upload(name, name.encode())
    assert info.name == bench.prefix + name
    found = bench.store.get(bench.bucket, info.name)
    assert found == info
    assert [one.name for one in bench.store.list_prefix(bench.bucket, info.name)] == [info.name]
    assert bench.content(info) == name.encode()


def test_metadata_keeps_letters_of_any_script(bench: Bench) -> None:
    metadata = {"coldreel-local-path": 'Büro/カメラ 3/clip "1".mp4', "coldreel-camera": "n°7"}
    assert dict(bench.upload(metadata=metadata).metadata) == metadata


def test_small_object_can_be_held_from_its_first_moment(bench: Bench) -> None:
    assert bench.upload(temporary_hold=True).temporary_hold


def test_small_storage_class_is_the_one_asked_for(bench: Bench) -> None:
    assert bench.upload(storage_class="NEARLINE").storage_class == "NEARLINE"


def test_small_object_with_a_wrong_checksum_is_refused(bench: Bench) -> None:
    data = noise(5000)
    spec = bench.spec("clip.mp4", len(data))
    with pytest.raises(ChecksumRefused):
        bench.store.put_small(spec, BytesBody(data), crc32c=crc_of(data) ^ 1)
    assert bench.store.get(bench.bucket, spec.name) is None


def test_byte_of_a_small_object_turned_over_is_refused(controlled: ControlledBench) -> None:
    data = noise(50_000)
    spec = controlled.spec("clip.mp4", len(data))
    controlled.flip_byte(small=True)
    with pytest.raises(ChecksumRefused):
        controlled.store.put_small(spec, BytesBody(data), crc32c=crc_of(data))
    assert controlled.store.get(controlled.bucket, spec.name) is None


def test_small_object_never_overwrites(bench: Bench) -> None:
    before = bench.upload("clip.mp4", b"the first one")
    with pytest.raises(PreconditionFailed):
        bench.upload("clip.mp4", b"the second one")
    assert bench.store.get(bench.bucket, before.name) == before
    assert bench.content(before) == b"the first one"


def test_even_the_same_bytes_meet_the_precondition(bench: Bench) -> None:
    bench.upload("clip.mp4", b"the same")
    with pytest.raises(PreconditionFailed):
        bench.upload("clip.mp4", b"the same")


def test_small_object_whose_answer_was_lost_is_there(controlled: ControlledBench) -> None:
    controlled.lose_small_answer()
    data = noise(900)
    with pytest.raises(LineDown):
        controlled.upload("clip.mp4", data)
    found = controlled.store.get(controlled.bucket, controlled.prefix + "clip.mp4")
    assert found is not None
    assert (found.size_bytes, found.crc32c) == (len(data), crc_of(data))
    with pytest.raises(PreconditionFailed):
        controlled.upload("clip.mp4", data)


def test_small_file_that_shrank_becomes_no_object(bench: Bench) -> None:
    data = noise(400_000)
    spec = bench.spec("clip.mp4", len(data))
    body = BytesBody(data, fail_after_bytes=300_000, error=FileChanged("it shrank"))
    with pytest.raises(FileChanged):
        bench.store.put_small(spec, body, crc32c=crc_of(data))
    assert bench.store.get(bench.bucket, spec.name) is None


def test_small_upload_that_is_stopped_becomes_no_object(bench: Bench) -> None:
    data = noise(8 * 1024 * 1024)
    spec = bench.spec("clip.mp4", len(data))
    with pytest.raises(Stopped):
        bench.store.put_small(spec, BytesBody(data), crc32c=crc_of(data), abort=stop_after(2, Stopped("stop")))
    assert bench.store.get(bench.bucket, spec.name) is None
