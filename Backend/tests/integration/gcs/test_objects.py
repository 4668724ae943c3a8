"""Metadata, listings, holds, deletes, reads and the bucket itself, against the development emulator."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gcs_emulator.process import EmulatorProcess
from offload.errors import LineDown, ObjectProblem, PreconditionFailed, Reason, StopAndTell, TryAgain
from offload.gcs.credentials import Identity
from offload.gcs.objects import PERMISSIONS, Objects
from offload.gcs.responses import object_info
from offload.store import ObjectSpec
from tests.integration.gcs.conftest import made_store, put
from tests.integration.gcs.keys import write_key
from tests.integration.gcs.scripted_server import ScriptedServer
from tests.threads import all_at_once

MIB = 1024 * 1024


def made_objects(url: str, identity: Identity, **settings: int) -> Objects:
    return Objects(
        endpoint=url, project=None, identity=identity, ca_file="", connections=1, connect_seconds=5, **settings
    )


@pytest.fixture
def data() -> bytes:
    return os.urandom(2 * MIB + 77)


@pytest.fixture
def spec(bucket: str, data: bytes) -> ObjectSpec:
    return ObjectSpec(bucket, "recordings/c/r/clip 1.mp4", len(data), "video/mp4", {"coldreel-camera": "c"})


def test_an_object_that_is_not_there_is_none(store, bucket) -> None:
    assert store.get(bucket, "nothing") is None
    assert store.get(bucket, "nothing", generation=5) is None


def test_another_generation_is_not_there(store, spec, data) -> None:
    info = put(store, spec, data)
    assert store.get(spec.bucket, spec.name, generation=info.generation) == info
    assert store.get(spec.bucket, spec.name, generation=info.generation + 1) is None


def test_missing_bucket_does_not_prove_a_missing_object(store) -> None:
    with pytest.raises(StopAndTell) as caught:
        store.get("no-such-bucket", "clip.mp4")
    assert caught.value.code is Reason.BUCKET_NOT_FOUND


def test_missing_bucket_behind_a_missing_object_is_found_out(bucket) -> None:
    """https://github.com/googleapis/nodejs-storage/issues/1183"""
    body = b'{"error": {"code": 404, "message": "No such object: b/n", "errors": [{"reason": "notFound"}]}}'
    kind = "Content-Type: application/json"
    with ScriptedServer().answering("404 Not Found", kind, body=body) as stub, pytest.raises(StopAndTell) as caught:
        made_store(stub.url).get("some-bucket", "clip.mp4")
    assert caught.value.code is Reason.BUCKET_NOT_FOUND
    assert "maxResults=1" in stub.heads[1]


def test_object_in_an_unlistable_bucket_is_not_gone(store, emulator, bucket) -> None:
    emulator.set_bucket(bucket, deniedPermissions=["storage.objects.list"])
    with pytest.raises(StopAndTell) as caught:
        store.get(bucket, "nothing")
    assert caught.value.code is Reason.PERMISSION_DENIED


def test_generation_deleted_from_a_versioned_bucket_is_gone() -> None:
    """Such a bucket still shows it, with the time of its deletion; it is no copy to rely on (P1)."""
    body = (
        b'{"bucket": "some-bucket", "name": "n", "generation": "7", "metageneration": "1", "size": "5", '
        b'"crc32c": "2HvlZg==", "timeCreated": "2026-09-30T21:58:39.652Z", "timeDeleted": "2026-10-01T00:00:00Z"}'
    )
    with ScriptedServer().answering("200 OK", "Content-Type: application/json", body=body) as stub:
        assert made_store(stub.url).get("some-bucket", "n", generation=7) is None


def test_an_object_without_a_checksum_is_not_believed() -> None:
    body = b'{"bucket": "some-bucket", "name": "n", "generation": "7", "metageneration": "1", "size": "5"}'
    kind = "Content-Type: application/json"
    with ScriptedServer().answering("200 OK", kind, body=body) as stub, pytest.raises(ObjectProblem) as caught:
        made_store(stub.url).get("some-bucket", "n")
    assert caught.value.code is Reason.OBJECT_DIFFERS


def test_the_library_asks_for_nothing_behind_our_back(store, emulator, spec, data) -> None:
    """It would read the bucket's settings in a thread of its own, for traces that are not switched on."""
    info = put(store, spec, data)
    store.get(spec.bucket, spec.name)
    store.set_hold(info, held=True)
    list(store.list_prefix(spec.bucket, ""))
    kinds = [request["kind"] for request in emulator.requests(bucket=spec.bucket)]
    assert kinds == ["multipart", "get", "patch", "list"]


def test_listing_goes_over_all_pages_in_name_order(store, spec) -> None:
    names = [f"recordings/c/{number}/ä{number}.mp4" for number in range(8)]
    written = [put(store, replace(spec, name=name, size_bytes=2), b"ab") for name in names]
    put(store, replace(spec, name="other", size_bytes=2), b"ab")
    assert list(store.list_prefix(spec.bucket, "recordings/c/")) == written
    assert list(store.list_prefix(spec.bucket, "none/")) == []


def test_listing_that_fails_on_its_second_page_says_so(store, emulator, spec) -> None:
    for number in range(5):
        put(store, replace(spec, name=f"p/{number}", size_bytes=2), b"ab")
    emulator.fault("status", kind="list", status=503, skip=1)
    with pytest.raises(TryAgain):
        list(store.list_prefix(spec.bucket, "p/"))


def test_listing_of_a_missing_bucket_is_not_empty(store) -> None:
    with pytest.raises(StopAndTell):
        list(store.list_prefix("no-such-bucket", ""))


def test_hold_is_set_and_released_and_moves_the_metageneration(store, spec, data) -> None:
    info = put(store, spec, data)
    held = store.set_hold(info, held=True)
    assert (held.temporary_hold, held.generation, held.metageneration) == (True, info.generation, 2)
    assert store.get(spec.bucket, spec.name) == held
    free = store.set_hold(held, held=False)
    assert (free.temporary_hold, free.metageneration) == (False, 3)


def test_hold_is_not_changed_over_another_change(store, spec, data) -> None:
    info = put(store, spec, data)
    held = store.set_hold(info, held=True)
    with pytest.raises(PreconditionFailed):
        store.set_hold(info, held=False)
    assert store.get(spec.bucket, spec.name) == held


def test_a_hold_is_not_set_on_another_generation(store, emulator, spec, data) -> None:
    info = put(store, spec, data)
    emulator.put_object(spec.bucket, spec.name, b"another")
    with pytest.raises(ObjectProblem):
        store.set_hold(info, held=True)
    there = store.get(spec.bucket, spec.name)
    assert there is not None
    assert not there.temporary_hold


def test_only_the_named_generation_is_deleted(store, emulator, spec, data) -> None:
    info = put(store, spec, data)
    emulator.put_object(spec.bucket, spec.name, b"another")
    with pytest.raises(ObjectProblem) as caught:
        store.delete(spec.bucket, spec.name, generation=info.generation)
    assert caught.value.code is Reason.OBJECT_MISSING
    there = store.get(spec.bucket, spec.name)
    assert there is not None
    store.delete(spec.bucket, spec.name, generation=there.generation)
    assert store.get(spec.bucket, spec.name) is None
    with pytest.raises(ObjectProblem) as caught:
        store.delete(spec.bucket, spec.name, generation=there.generation)
    assert caught.value.code is Reason.OBJECT_MISSING


def test_every_delete_names_its_generation_twice(spec) -> None:
    with ScriptedServer().answering("204 No Content") as stub:
        made_store(stub.url).delete("some-bucket", "n", generation=7)
    assert "generation=7" in stub.heads[0]
    assert "ifGenerationMatch=7" in stub.heads[0]


@pytest.mark.parametrize("hold", ["temporaryHold", "eventBasedHold"])
def test_a_held_object_is_not_deleted(store, emulator, spec, data, hold) -> None:
    info = put(store, spec, data)
    emulator.patch_object(spec.bucket, spec.name, **{hold: True})
    with pytest.raises(ObjectProblem) as caught:
        store.delete(spec.bucket, spec.name, generation=info.generation)
    assert caught.value.code is Reason.OBJECT_HELD
    found = store.get(spec.bucket, spec.name)
    assert found is not None
    assert found.held


def test_a_retained_object_is_not_deleted(store, emulator, spec, data) -> None:
    emulator.set_bucket(spec.bucket, retentionPolicy={"retentionPeriod": "3600"})
    info = put(store, spec, data)
    assert info.retention_expires_at is not None
    assert info.retention_expires_at > info.stored_at
    with pytest.raises(ObjectProblem) as caught:
        store.delete(spec.bucket, spec.name, generation=info.generation)
    assert caught.value.code is Reason.OBJECT_RETAINED


def test_right_to_delete_is_optional_and_stops_nothing_else(store, emulator, spec, data) -> None:
    info = put(store, spec, data)
    emulator.set_bucket(spec.bucket, deniedPermissions=["storage.objects.delete"])
    with pytest.raises(ObjectProblem) as caught:
        store.delete(spec.bucket, spec.name, generation=info.generation)
    assert caught.value.code is Reason.PERMISSION_DENIED


def test_missing_right_to_update_is_for_a_person(store, emulator, spec, data) -> None:
    info = put(store, spec, data)
    emulator.set_bucket(spec.bucket, deniedPermissions=["storage.objects.update"])
    with pytest.raises(StopAndTell) as caught:
        store.set_hold(info, held=True)
    assert caught.value.code is Reason.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, None),
        (5, None),
        (0, 7),
        (MIB - 1, 2),
        (10, 10**9),
        (0, 0),
        (2 * MIB + 76, 1),
        (2 * MIB + 77, None),
        (10**9, 5),
    ],
)
def test_any_range_is_read_exactly(store, spec, data, offset, length) -> None:
    info = put(store, spec, data)
    pieces = list(store.read_range(info, offset_bytes=offset, length_bytes=length))
    assert b"".join(pieces) == data[offset : None if length is None else offset + length]
    assert all(0 < len(piece) <= MIB for piece in pieces)


def test_read_of_an_object_that_was_replaced_fails(store, emulator, spec, data) -> None:
    info = put(store, spec, data)
    emulator.put_object(spec.bucket, spec.name, data)
    with pytest.raises(ObjectProblem) as caught:
        b"".join(store.read_range(info))
    assert caught.value.code is Reason.OBJECT_MISSING


def test_read_that_breaks_off_is_no_short_file(store, emulator, spec, data) -> None:
    info = put(store, spec, data)
    emulator.fault("reset", kind="download", after_bytes=MIB)
    with pytest.raises(TryAgain):
        b"".join(store.read_range(info))


@pytest.mark.parametrize("sent", [b"fil", b"films"])
def test_an_answer_of_another_length_is_no_file(sent) -> None:
    info = object_info(
        {
            "bucket": "some-bucket", "name": "n", "generation": "7", "metageneration": "1", "size": "4",
            "crc32c": "2HvlZg==", "timeCreated": "2026-09-30T21:58:39.652Z",
        }
    )  # fmt: skip
    with ScriptedServer().answering("206 Partial Content", body=sent) as stub, pytest.raises(TryAgain):
        list(made_store(stub.url).read_range(info))


def test_a_read_may_be_left_in_the_middle(store, spec, data) -> None:
    info = put(store, spec, data)
    for _ in range(30):
        reading = store.read_range(info)
        assert next(reading)
        reading.close()


def test_the_buckets_clock_is_told_in_utc(store, emulator, bucket) -> None:
    emulator.set_clock(3600)
    try:
        ahead = store.bucket_time(bucket) - datetime.now(tz=UTC)
    finally:
        emulator.set_clock(0)
    assert timedelta(minutes=59) < ahead < timedelta(minutes=61)
    assert store.bucket_time(bucket).tzinfo is UTC
    with pytest.raises(StopAndTell):
        store.bucket_time("no-such-bucket")


def test_a_bucket_reports_what_would_surprise(store, emulator, bucket) -> None:
    plain = store.bucket_report(bucket)
    assert (plain.exists, plain.missing_permissions, plain.lifecycle_deletes) == (True, (), False)
    emulator.set_bucket(
        bucket,
        lifecycle={"rule": [{"action": {"type": "Delete"}, "condition": {"age": 30}}]},
        retentionPolicy={"retentionPeriod": "60"},
        defaultEventBasedHold=True,
        autoclass={"enabled": True},
        softDeletePolicy={"retentionDurationSeconds": "0"},
    )
    report = store.bucket_report(bucket)
    assert report.lifecycle_deletes
    assert report.retention_period_seconds == 60
    assert report.default_event_based_hold
    assert report.autoclass
    assert report.soft_delete_seconds == 0
    assert report.location is not None
    assert report.storage_class is not None


def test_missing_bucket_is_reported_and_not_raised(store) -> None:
    report = store.bucket_report("no-such-bucket")
    assert (report.exists, report.missing_permissions) == (False, PERMISSIONS)


def test_missing_permissions_are_named(store, emulator, bucket) -> None:
    emulator.set_bucket(bucket, deniedPermissions=["storage.objects.update", "storage.objects.delete"])
    assert store.bucket_report(bucket).missing_permissions == ("storage.objects.update", "storage.objects.delete")


def test_bucket_whose_settings_are_not_shown_leaves_them_open(store, emulator, bucket) -> None:
    emulator.set_bucket(bucket, deniedPermissions=["storage.buckets.get"])
    report = store.bucket_report(bucket)
    assert (report.exists, report.missing_permissions) == (True, ())
    assert report.lifecycle_deletes is None
    assert report.retention_period_seconds is None
    assert report.location is None


def test_impossible_bucket_name_is_a_missing_bucket(store) -> None:
    with pytest.raises(StopAndTell) as caught:
        store.get("-", "x")
    assert caught.value.code is Reason.BUCKET_NOT_FOUND


def test_an_emulator_has_no_key_to_sign_with(store, spec, data) -> None:
    info = put(store, spec, data)
    with pytest.raises(StopAndTell) as caught:
        store.signed_url(info, expires_seconds=60)
    assert caught.value.code is Reason.NOT_CONFIGURED


def test_signed_url_reads_that_object_without_any_token(tmp_path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = write_key(tmp_path / "key.json", key, token_uri="https://127.0.0.1:1/token")
    with EmulatorProcess(tmp_path / "data", buckets=["signed"], signer_key=path) as emulator:
        info = put(made_store(emulator.url), ObjectSpec("signed", "ä b/c#?.mp4", 4, "video/mp4", {}), b"film")
        objects = made_objects(emulator.url, Identity(path=str(path), anonymous=False, ca_file=""))
        url = objects.signed_url(info, expires_seconds=10**9)
        assert f"generation={info.generation}" in url
        assert "X-Goog-Expires=604800" in url
        with urlopen(url, timeout=30) as answer:
            assert answer.read() == b"film"


def test_call_to_a_bucket_that_does_not_answer_ends(tmp_path) -> None:
    with EmulatorProcess(tmp_path / "data", buckets=["paused"]) as emulator:
        anonymous = Identity(path=None, anonymous=True, ca_file="")
        objects = made_objects(emulator.url, anonymous, answer_seconds=1)
        emulator.pause()
        try:
            started = time.monotonic()
            with pytest.raises(LineDown):
                objects.get("paused", "x", generation=None)
            assert time.monotonic() - started < 60
        finally:
            emulator.resume()


def test_many_threads_ask_at_once(store, spec, data) -> None:
    info = put(store, spec, data)
    answers = all_at_once(20, lambda: [store.get(spec.bucket, spec.name) for _ in range(5)])
    assert answers == [[info] * 5] * 20


@pytest.mark.parametrize("odd", [{"crc32c": None}, {"crc32c": "no base64"}, {"size": "many"}], ids=str)
def test_odd_object_is_left_out_and_hides_no_other(store, emulator, spec, odd) -> None:
    """For example one stored under a customer's key, which shows no CRC32C."""
    names = [f"{spec.name}-{number}" for number in range(7)]
    written = [put(store, replace(spec, name=name, size_bytes=2), b"ab") for name in names]
    emulator.patch_object(spec.bucket, names[1], **odd)
    assert list(store.list_prefix(spec.bucket, spec.name)) == written[:1] + written[2:]
    with pytest.raises(ObjectProblem):
        store.get(spec.bucket, names[1])
