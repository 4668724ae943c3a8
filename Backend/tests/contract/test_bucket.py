"""The bucket itself: its clock, its settings, its refusals."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from offload.errors import Disposition, LineDown, ObjectProblem, OffloadError, Reason, StopAndTell, TryAgain
from offload.store import ObjectInfo
from tests.contract.benches import (
    QUANTUM,
    Bench,
    BytesBody,
    ControlledBench,
    EmulatorBench,
    crc_of,
    google_store,
    noise,
)

MISSING = "no-such-bucket-of-coldreel"
DENIED = "storage.objects.{}"


def test_time_of_the_bucket_is_utc_in_whole_seconds(bench: Bench) -> None:
    told = bench.store.bucket_time(bench.bucket)
    assert told.utcoffset() == timedelta(0)
    assert told.microsecond == 0


def test_time_of_the_bucket_is_its_own(wired: EmulatorBench) -> None:
    wired.emulator.set_clock(-7200)
    told = wired.store.bucket_time(wired.bucket)
    assert abs(datetime.now(tz=UTC) - timedelta(hours=2) - told) < timedelta(seconds=60)


def test_probe_of_a_bucket_that_is_ours(bench: Bench) -> None:
    report = bench.store.bucket_report(bench.bucket)
    assert report.exists
    assert report.missing_permissions == ()


def test_probe_of_a_bucket_that_is_not_there(bench: Bench) -> None:
    assert not bench.store.bucket_report(MISSING).exists


def test_probe_names_each_missing_permission(wired: EmulatorBench) -> None:
    denied = [DENIED.format("delete"), DENIED.format("update")]
    wired.emulator.set_bucket(wired.bucket, deniedPermissions=denied)
    assert sorted(wired.store.bucket_report(wired.bucket).missing_permissions) == denied


def test_probe_without_the_right_to_see_settings_says_so(wired: EmulatorBench) -> None:
    wired.emulator.set_bucket(wired.bucket, deniedPermissions=["storage.buckets.get"])
    report = wired.store.bucket_report(wired.bucket)
    assert report.exists
    assert report.missing_permissions == ()
    assert report.lifecycle_deletes is None
    assert report.soft_delete_seconds is None


def test_probe_reports_settings_that_surprise(wired: EmulatorBench) -> None:
    wired.emulator.set_bucket(
        wired.bucket,
        lifecycle={"rule": [{"action": {"type": "Delete"}, "condition": {"age": 30}}]},
        retentionPolicy={"retentionPeriod": "86400", "effectiveTime": "2026-01-01T00:00:00.000Z"},
        defaultEventBasedHold=True,
        autoclass={"enabled": True},
    )
    report = wired.store.bucket_report(wired.bucket)
    assert report.lifecycle_deletes
    assert report.retention_period_seconds == 86_400
    assert report.default_event_based_hold
    assert report.autoclass
    assert report.soft_delete_seconds == 604_800
    assert (report.location, report.storage_class) == ("US", "STANDARD")


def test_probe_of_a_plain_bucket_finds_nothing_to_say(wired: EmulatorBench) -> None:
    report = wired.store.bucket_report(wired.bucket)
    assert (report.lifecycle_deletes, report.retention_period_seconds) == (False, None)
    assert (report.default_event_based_hold, report.autoclass) == (False, False)


def test_upload_into_a_missing_bucket_stops_and_tells(bench: Bench) -> None:
    spec = bench.spec("clip.mp4", 5, bucket=MISSING)
    with pytest.raises(StopAndTell) as caught:
        bench.store.start_session(spec)
    assert caught.value.code is Reason.BUCKET_NOT_FOUND
    with pytest.raises(StopAndTell) as caught:
        bench.store.put_small(spec, BytesBody(b"small"), crc32c=crc_of(b"small"))
    assert caught.value.code is Reason.BUCKET_NOT_FOUND


def test_missing_bucket_that_speaks_of_objects_is_found_out(wired: EmulatorBench) -> None:
    wired.emulator.fault("status", kind="get", status=404, message=f"No such object: {MISSING}/clip.mp4")
    with pytest.raises(StopAndTell) as caught:
        wired.store.get(MISSING, "clip.mp4")
    assert caught.value.code is Reason.BUCKET_NOT_FOUND


@pytest.mark.parametrize("permission", ["create", "get", "list", "update"])
def test_missing_right_stops_and_tells(wired: EmulatorBench, permission: str) -> None:
    info = wired.upload()
    spec = wired.spec("other.mp4", 5)
    calls = {
        "create": [
            lambda: wired.store.start_session(spec),
            lambda: wired.store.put_small(spec, BytesBody(b"small"), crc32c=crc_of(b"small")),
        ],
        "get": [lambda: wired.store.get(wired.bucket, info.name), lambda: list(wired.store.read_range(info))],
        "list": [lambda: list(wired.store.list_prefix(wired.bucket, wired.prefix))],
        "update": [lambda: wired.store.set_hold(info, held=True)],
    }
    wired.emulator.set_bucket(wired.bucket, deniedPermissions=[DENIED.format(permission)])
    for call in calls[permission]:
        with pytest.raises(StopAndTell) as caught:
            call()
        assert caught.value.code is Reason.PERMISSION_DENIED
        assert caught.value.disposition is Disposition.WAIT
        assert DENIED.format(permission) in caught.value.detail


def test_missing_right_to_delete_stops_nothing_else(wired: EmulatorBench) -> None:
    info = wired.upload()
    wired.emulator.set_bucket(wired.bucket, deniedPermissions=[DENIED.format("delete")])
    with pytest.raises(ObjectProblem) as caught:
        wired.store.delete(info.bucket, info.name, generation=info.generation)
    assert caught.value.code is Reason.PERMISSION_DENIED
    assert wired.store.get(info.bucket, info.name) == info


REFUSALS = [
    (401, "authError", StopAndTell, Reason.CREDENTIALS_REFUSED),
    (403, "rateLimitExceeded", TryAgain, Reason.BUCKET_BUSY),
    (403, "userRateLimitExceeded", TryAgain, Reason.BUCKET_BUSY),
    (403, "quotaExceeded", StopAndTell, Reason.QUOTA_EXCEEDED),
    (403, "accountDisabled", StopAndTell, None),
    (408, "requestTimeout", TryAgain, Reason.BUCKET_BUSY),
    (429, "rateLimitExceeded", TryAgain, Reason.BUCKET_BUSY),
    (500, "internalError", TryAgain, Reason.BUCKET_BUSY),
    (502, "badGateway", TryAgain, Reason.BUCKET_BUSY),
    (503, "backendError", TryAgain, Reason.BUCKET_BUSY),
    (504, "gatewayTimeout", TryAgain, Reason.BUCKET_BUSY),
]
CALLS = ["start_session", "put_small", "get", "list_prefix", "set_hold", "delete", "read_range", "bucket_time"]


def perform(bench: Bench, call: str, info: ObjectInfo) -> None:
    spec = bench.spec("other.mp4", 5)
    {
        "start_session": lambda: bench.store.start_session(spec),
        "put_small": lambda: bench.store.put_small(spec, BytesBody(b"small"), crc32c=crc_of(b"small")),
        "get": lambda: bench.store.get(bench.bucket, info.name),
        "list_prefix": lambda: list(bench.store.list_prefix(bench.bucket, bench.prefix)),
        "set_hold": lambda: bench.store.set_hold(info, held=True),
        "delete": lambda: bench.store.delete(info.bucket, info.name, generation=info.generation),
        "read_range": lambda: list(bench.store.read_range(info)),
        "bucket_time": lambda: bench.store.bucket_time(bench.bucket),
    }[call]()


@pytest.mark.parametrize("call", CALLS)
def test_refusals_are_sorted_by_their_reason(wired: EmulatorBench, call: str) -> None:
    info = wired.upload()
    for status, reason, error, code in REFUSALS:
        wired.answer_once(call, status=status, reason=reason)
        with pytest.raises(OffloadError) as caught:
            perform(wired, call, info)
        assert type(caught.value) is error, (status, reason, caught.value)
        assert code in {None, caught.value.code}, (status, reason)
    assert wired.store.get(wired.bucket, info.name) == info


@pytest.mark.parametrize("call", CALLS)
def test_busy_bucket_is_tried_again(controlled: ControlledBench, call: str) -> None:
    info = controlled.upload()
    controlled.answer_once(call)
    with pytest.raises(TryAgain) as caught:
        perform(controlled, call, info)
    assert caught.value.disposition is Disposition.RETRY


@pytest.mark.parametrize("call", CALLS)
def test_answer_without_a_word_of_why_is_tried_again(wired: EmulatorBench, call: str) -> None:
    info = wired.upload()
    wired.answer_once(call, plain=True, message="<html>upstream connect error</html>")
    with pytest.raises(TryAgain):
        perform(wired, call, info)


@pytest.mark.parametrize("call", CALLS)
def test_connection_that_breaks_is_the_line_being_down(wired: EmulatorBench, call: str) -> None:
    info = wired.upload()
    kind = {"start_session": "session_start", "put_small": "multipart", "get": "get", "set_hold": "patch"}.get(call)
    kind = kind or {"delete": "delete", "read_range": "download"}.get(call, "list")
    # Twice: an idempotent request on a kept connection may be repeated once by the library below.
    wired.emulator.fault("reset", kind=kind, times=2)
    with pytest.raises(LineDown) as caught:
        perform(wired, call, info)
    assert caught.value.disposition is Disposition.WAIT


def test_connection_that_stalls_is_the_line_being_down(wired: EmulatorBench) -> None:
    data = noise(64 * QUANTUM)
    spec = wired.spec("clip.mp4", len(data))
    uri = wired.store.start_session(spec)
    wired.emulator.fault("stall", kind="chunk", after_bytes=QUANTUM, seconds=60)
    with pytest.raises(LineDown):
        wired.store.send(uri, spec, BytesBody(data[: 63 * QUANTUM]), offset_bytes=0)
    assert wired.store.session_status(uri, spec).committed_bytes >= QUANTUM


def test_closed_port_is_the_line_being_down(tmp_path) -> None:
    store = google_store("http://127.0.0.1:9", None)
    with pytest.raises(LineDown):
        store.get("b", "n")
    with pytest.raises(LineDown):
        store.bucket_report("b")


def test_refusal_in_mid_body_is_told_as_such(wired: EmulatorBench) -> None:
    data = noise(32 * QUANTUM)
    spec = wired.spec("clip.mp4", len(data))
    uri = wired.store.start_session(spec)
    wired.emulator.fault("status", kind="chunk", status=503, after_bytes=3 * QUANTUM + 5, retry_after_seconds=4)
    with pytest.raises(TryAgain) as caught:
        wired.store.send(uri, spec, BytesBody(data[: 31 * QUANTUM]), offset_bytes=0)
    assert not isinstance(caught.value, LineDown)
    assert caught.value.retry_after_seconds == 4
    assert wired.store.session_status(uri, spec).committed_bytes == 3 * QUANTUM


def test_untrusted_certificate_stops_and_tells(wired: EmulatorBench) -> None:
    if wired.emulator.url.startswith("http:"):
        assert wired.store.bucket_report(wired.bucket).exists
        return
    store = google_store(wired.emulator.url, None)
    for call in (lambda: store.bucket_report(wired.bucket), lambda: store.start_session(wired.spec("clip.mp4", 5))):
        with pytest.raises(StopAndTell):
            call()


def test_one_store_serves_many_threads(bench: Bench) -> None:
    wanted = {f"{index}.mp4": noise(2 * QUANTUM + index, seed=index) for index in range(8)}
    made: dict[str, ObjectInfo | None] = {}

    def upload(name: str) -> None:
        data = wanted[name]
        spec = bench.spec(name, len(data))
        uri = bench.store.start_session(spec)
        bench.store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
        body = BytesBody(data[QUANTUM:])
        made[name] = bench.store.send(uri, spec, body, offset_bytes=QUANTUM, crc32c=crc_of(data)).finished

    threads = [threading.Thread(target=upload, args=(name,)) for name in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert {name: info and bench.content(info) for name, info in made.items()} == wanted
