"""Objects that exist: read back, listed, held, deleted, by generation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from offload.errors import ObjectProblem, PreconditionFailed, Reason, StopAndTell
from tests.contract.benches import PAGE_OBJECTS, Bench, ControlledBench, noise

MIB = 1024 * 1024

# --- get ---


def test_object_that_is_not_there_is_none(bench: Bench) -> None:
    assert bench.store.get(bench.bucket, bench.prefix + "nothing.mp4") is None


def test_get_of_a_generation_gives_that_generation(bench: Bench) -> None:
    info = bench.upload()
    assert bench.store.get(bench.bucket, info.name, generation=info.generation) == info


def test_get_of_another_generation_is_none(bench: Bench) -> None:
    info = bench.upload()
    assert bench.store.get(bench.bucket, info.name, generation=info.generation + 1) is None


def test_get_of_a_replaced_generation_is_none(controlled: ControlledBench) -> None:
    info = controlled.upload()
    controlled.replace_object("clip.mp4", b"another")
    assert controlled.store.get(controlled.bucket, info.name, generation=info.generation) is None
    now = controlled.store.get(controlled.bucket, info.name)
    assert now is not None
    assert now.generation > info.generation


def test_missing_bucket_is_no_missing_object(bench: Bench) -> None:
    with pytest.raises(StopAndTell) as caught:
        bench.store.get("no-such-bucket-of-coldreel", "clip.mp4")
    assert caught.value.code is Reason.BUCKET_NOT_FOUND


def test_missing_bucket_is_no_missing_generation(bench: Bench) -> None:
    with pytest.raises(StopAndTell) as caught:
        bench.store.get("no-such-bucket-of-coldreel", "clip.mp4", generation=7)
    assert caught.value.code is Reason.BUCKET_NOT_FOUND


# --- list ---


def test_listing_begins_with_the_prefix_in_name_order(bench: Bench) -> None:
    names = ["b.mp4", "a/2.mp4", "a/10.mp4", "a.mp4", "ä.mp4"]
    made = {bench.upload(name, name.encode()).name for name in names}
    bench.upload("a0.mp4")
    listed = list(bench.store.list_prefix(bench.bucket, bench.prefix))
    assert {one.name for one in listed} >= made
    assert [one.name for one in listed] == sorted((one.name for one in listed), key=str.encode)
    inside = list(bench.store.list_prefix(bench.bucket, bench.prefix + "a/"))
    assert [one.name for one in inside] == [bench.prefix + "a/10.mp4", bench.prefix + "a/2.mp4"]


def test_listing_says_of_each_object_what_get_says(bench: Bench) -> None:
    info = bench.upload(temporary_hold=False)
    assert list(bench.store.list_prefix(bench.bucket, info.name)) == [info]


def test_listing_goes_on_over_many_pages(bench: Bench) -> None:
    count = 3 * PAGE_OBJECTS + 2
    names = [bench.upload(f"{index:04}.mp4", b"x").name for index in range(count)]
    assert [one.name for one in bench.store.list_prefix(bench.bucket, bench.prefix)] == names


def test_empty_listing_is_empty(bench: Bench) -> None:
    assert list(bench.store.list_prefix(bench.bucket, bench.prefix + "nothing/")) == []


def test_listing_of_a_missing_bucket_is_no_empty_listing(bench: Bench) -> None:
    with pytest.raises(StopAndTell) as caught:
        list(bench.store.list_prefix("no-such-bucket-of-coldreel", ""))
    assert caught.value.code is Reason.BUCKET_NOT_FOUND


# --- read ---


def test_whole_object_is_read_in_pieces_of_a_mebibyte(bench: Bench) -> None:
    data = noise(2 * MIB + 12_345)
    info = bench.upload("clip.mp4", data)
    pieces = list(bench.store.read_range(info))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= MIB


@pytest.mark.parametrize(
    ("offset_bytes", "length_bytes"), [(0, 1), (1000, 4000), (99_999, 1), (99_000, None), (0, 100_000), (100_000, None)]
)
def test_part_of_an_object_is_read(bench: Bench, offset_bytes: int, length_bytes: int | None) -> None:
    data = noise(100_000)
    info = bench.upload("clip.mp4", data)
    end = len(data) if length_bytes is None else offset_bytes + length_bytes
    read = b"".join(bench.store.read_range(info, offset_bytes=offset_bytes, length_bytes=length_bytes))
    assert read == data[offset_bytes:end]


def test_part_that_goes_beyond_the_end_ends_there(bench: Bench) -> None:
    info = bench.upload("clip.mp4", b"0123456789")
    assert b"".join(bench.store.read_range(info, offset_bytes=8, length_bytes=50)) == b"89"


def test_another_generation_is_never_read_in_its_place(controlled: ControlledBench) -> None:
    info = controlled.upload("clip.mp4", b"the right one")
    controlled.replace_object("clip.mp4", b"the wrong one")
    with pytest.raises(ObjectProblem) as caught:
        b"".join(controlled.store.read_range(info))
    assert caught.value.code is Reason.OBJECT_MISSING


def test_object_that_is_gone_cannot_be_read(bench: Bench) -> None:
    info = bench.upload()
    bench.store.delete(info.bucket, info.name, generation=info.generation)
    with pytest.raises(ObjectProblem) as caught:
        b"".join(bench.store.read_range(info))
    assert caught.value.code is Reason.OBJECT_MISSING


# --- holds ---


def test_hold_is_set_and_released(bench: Bench) -> None:
    info = bench.upload()
    held = bench.store.set_hold(info, held=True)
    assert held.temporary_hold
    assert held.generation == info.generation
    assert held.metageneration > info.metageneration
    assert bench.store.get(bench.bucket, info.name) == held
    free = bench.store.set_hold(held, held=False)
    assert not free.temporary_hold
    assert bench.store.get(bench.bucket, info.name) == free


def test_hold_changes_nothing_else(bench: Bench) -> None:
    info = bench.upload()
    held = bench.store.set_hold(info, held=True)
    assert replace(held, temporary_hold=False, metageneration=info.metageneration) == info


def test_hold_that_is_there_already_can_be_set_again(bench: Bench) -> None:
    held = bench.store.set_hold(bench.upload(), held=True)
    assert bench.store.set_hold(held, held=True).temporary_hold
    now = bench.store.get(bench.bucket, held.name)
    assert now is not None
    assert now.temporary_hold


def test_hold_by_an_outdated_reading_is_refused(bench: Bench) -> None:
    info = bench.upload()
    held = bench.store.set_hold(info, held=True)
    with pytest.raises(PreconditionFailed):
        bench.store.set_hold(info, held=False)
    assert bench.store.get(bench.bucket, info.name) == held


def test_hold_touches_no_other_generation(controlled: ControlledBench) -> None:
    info = controlled.upload()
    controlled.replace_object("clip.mp4", b"another")
    with pytest.raises(ObjectProblem):
        controlled.store.set_hold(info, held=True)
    now = controlled.store.get(controlled.bucket, info.name)
    assert now is not None
    assert not now.held


def test_hold_on_an_object_that_is_gone_is_refused(bench: Bench) -> None:
    info = bench.upload()
    bench.store.delete(info.bucket, info.name, generation=info.generation)
    with pytest.raises(ObjectProblem):
        bench.store.set_hold(info, held=True)


def test_hold_that_only_the_bucket_knows_is_reported(controlled: ControlledBench) -> None:
    info = controlled.upload()
    controlled.set_event_based_hold(info)
    now = controlled.store.get(controlled.bucket, info.name)
    assert now is not None
    assert (now.temporary_hold, now.event_based_hold, now.held) == (False, True, True)


# --- delete ---


def test_deleted_object_is_gone(bench: Bench) -> None:
    info = bench.upload()
    bench.store.delete(info.bucket, info.name, generation=info.generation)
    assert bench.store.get(bench.bucket, info.name) is None
    assert list(bench.store.list_prefix(bench.bucket, info.name)) == []


def test_name_of_a_deleted_object_is_free_again(bench: Bench) -> None:
    first = bench.upload("clip.mp4", b"one")
    bench.store.delete(first.bucket, first.name, generation=first.generation)
    second = bench.upload("clip.mp4", b"two")
    assert second.generation > first.generation


def test_delete_of_what_is_gone_says_so(bench: Bench) -> None:
    info = bench.upload()
    bench.store.delete(info.bucket, info.name, generation=info.generation)
    with pytest.raises(ObjectProblem) as caught:
        bench.store.delete(info.bucket, info.name, generation=info.generation)
    assert caught.value.code is Reason.OBJECT_MISSING


def test_delete_touches_no_other_generation(bench: Bench) -> None:
    info = bench.upload()
    with pytest.raises(ObjectProblem) as caught:
        bench.store.delete(info.bucket, info.name, generation=info.generation - 1)
    assert caught.value.code is Reason.OBJECT_MISSING
    assert bench.store.get(bench.bucket, info.name) == info


def test_delete_never_hits_the_object_that_took_its_place(controlled: ControlledBench) -> None:
    info = controlled.upload("clip.mp4", b"ours")
    controlled.replace_object("clip.mp4", b"theirs")
    with pytest.raises(ObjectProblem) as caught:
        controlled.store.delete(info.bucket, info.name, generation=info.generation)
    assert caught.value.code is Reason.OBJECT_MISSING
    now = controlled.store.get(info.bucket, info.name)
    assert now is not None
    assert controlled.content(now) == b"theirs"


def test_held_object_cannot_be_deleted(bench: Bench) -> None:
    held = bench.store.set_hold(bench.upload(), held=True)
    with pytest.raises(ObjectProblem) as caught:
        bench.store.delete(held.bucket, held.name, generation=held.generation)
    assert caught.value.code is Reason.OBJECT_HELD
    assert bench.store.get(held.bucket, held.name) == held


def test_object_under_an_event_based_hold_cannot_be_deleted(controlled: ControlledBench) -> None:
    info = controlled.upload()
    controlled.set_event_based_hold(info)
    with pytest.raises(ObjectProblem) as caught:
        controlled.store.delete(info.bucket, info.name, generation=info.generation)
    assert caught.value.code is Reason.OBJECT_HELD


def test_retained_object_cannot_be_deleted_until_its_time(controlled: ControlledBench) -> None:
    controlled.retain(3600)
    info = controlled.upload()
    assert info.retention_expires_at is not None
    assert abs(info.retention_expires_at - info.stored_at - timedelta(hours=1)) < timedelta(seconds=2)
    with pytest.raises(ObjectProblem) as caught:
        controlled.store.delete(info.bucket, info.name, generation=info.generation)
    assert caught.value.code is Reason.OBJECT_RETAINED
    controlled.pass_days(0.1)
    controlled.store.delete(info.bucket, info.name, generation=info.generation)
    assert controlled.store.get(info.bucket, info.name) is None


def test_delete_in_a_missing_bucket_is_no_missing_object(bench: Bench) -> None:
    with pytest.raises(StopAndTell) as caught:
        bench.store.delete("no-such-bucket-of-coldreel", "clip.mp4", generation=1)
    assert caught.value.code is Reason.BUCKET_NOT_FOUND
