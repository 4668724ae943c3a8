"""The emulator answers as the service does, also to requests that a correct store never makes."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from gcs_emulator.limits import RateLimit
from gcs_emulator.process import EmulatorProcess
from tests.contract.benches import BUCKET, QUANTUM, noise
from tests.contract.raw_http import RawHttp, goog_hash


@pytest.fixture
def raw(emulator: EmulatorProcess) -> RawHttp:
    return RawHttp(emulator)


# --- sessions ---


def test_total_finishes_a_session_that_has_exactly_so_much(raw: RawHttp) -> None:
    data = noise(2 * QUANTUM)
    session = raw.start()
    raw.chunk(session, f"0-{2 * QUANTUM - 1}/*", data)
    for total in (QUANTUM, 3 * QUANTUM):
        reply = raw.chunk(session, f"*/{total}")
        assert (reply.status, reply.headers["range"]) == (308, f"bytes=0-{2 * QUANTUM - 1}")
    assert raw.object("clip.mp4").status == 404
    reply = raw.chunk(session, f"*/{2 * QUANTUM}")
    assert (reply.status, reply.json["size"]) == (200, str(2 * QUANTUM))
    assert raw.object("clip.mp4", "?alt=media").body == data


def test_total_with_a_wrong_checksum_finishes_nothing(raw: RawHttp) -> None:
    session = raw.start()
    raw.chunk(session, f"0-{QUANTUM - 1}/*", noise(QUANTUM))
    reply = raw.chunk(session, f"*/{QUANTUM}", **{"X-Goog-Hash": goog_hash(b"other")})
    assert (reply.status, reply.reason) == (400, "invalid")
    assert raw.object("clip.mp4").status == 404


def test_total_finishes_nothing_while_bytes_are_missing(raw: RawHttp) -> None:
    session = raw.start(declared=4 * QUANTUM)
    assert "range" not in raw.chunk(session, f"*/{4 * QUANTUM}").headers
    raw.chunk(session, f"0-{QUANTUM - 1}/{4 * QUANTUM}", noise(QUANTUM))
    assert raw.chunk(session, f"*/{4 * QUANTUM}").status == 308
    assert raw.object("clip.mp4").status == 404


def test_empty_object_is_finished_by_its_total(raw: RawHttp) -> None:
    reply = raw.chunk(raw.start(), "*/0")
    assert (reply.status, reply.json["size"], reply.json["crc32c"]) == (200, "0", "AAAAAA==")


def test_finished_session_repeats_its_object_whatever_is_asked(raw: RawHttp) -> None:
    session = raw.start()
    made = raw.chunk(session, "0-4/5", b"01234").json
    for content_range, data in (("*/*", b""), ("*/5", b""), ("*/9", b""), ("0-4/5", b"01234"), ("0-4/*", b"99999")):
        reply = raw.chunk(session, content_range, data)
        assert (reply.status, reply.json) == (200, made)


def test_chunk_below_a_quantum_is_refused_unless_last(raw: RawHttp) -> None:
    session = raw.start()
    reply = raw.chunk(session, "0-99/*", noise(100))
    assert reply.status == 400
    assert b"required to be equal or greater than 262144" in reply.body
    assert raw.chunk(session, "0-99/100", noise(100)).status == 200


def test_odd_chunk_is_committed_in_whole_quanta(raw: RawHttp) -> None:
    session = raw.start()
    reply = raw.chunk(session, f"0-{2 * QUANTUM + 999}/*", noise(2 * QUANTUM + 1000))
    assert (reply.status, reply.headers["range"]) == (308, f"bytes=0-{2 * QUANTUM - 1}")


def test_gap_is_refused_in_the_words_of_the_service(raw: RawHttp) -> None:
    reply = raw.chunk(raw.start(), "4-5/6", b"ok")
    assert (reply.status, reply.headers["content-type"]) == (503, "text/plain; charset=utf-8")
    assert reply.body.decode() == (
        "Invalid request.  According to the Content-Range header, the upload offset is 4 byte(s), "
        "which exceeds already uploaded size of 0 byte(s)."
    )


def test_bytes_that_are_there_already_are_skipped(raw: RawHttp) -> None:
    data = noise(3 * QUANTUM + 10)
    session = raw.start()
    raw.chunk(session, f"0-{2 * QUANTUM - 1}/*", data[: 2 * QUANTUM])
    tail = b"x" * QUANTUM + data[2 * QUANTUM :]
    reply = raw.chunk(session, f"{QUANTUM}-{len(data) - 1}/{len(data)}", tail, **{"X-Goog-Hash": goog_hash(data)})
    assert reply.status == 200
    assert raw.object("clip.mp4", "?alt=media").body == data


def test_session_that_never_was_is_404(raw: RawHttp) -> None:
    session = raw.start()
    assert raw.chunk(session[:-4] + "nope", "*/*").status == 404


def test_cancelled_session_is_499_from_then_on(raw: RawHttp) -> None:
    session = raw.start()
    assert raw("DELETE", session).status == 499
    assert raw.chunk(session, "*/*").status == 499


def test_session_of_eight_days_ago_is_410(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start()
    emulator.set_clock(8 * 86_400)
    assert raw.chunk(session, "*/*").status == 410


@pytest.mark.parametrize("status", [404, 410])
def test_sessions_end_when_the_bucket_says_so(raw: RawHttp, emulator: EmulatorProcess, status: int) -> None:
    session = raw.start()
    assert emulator.expire_sessions(status) == 1
    assert raw.chunk(session, "*/*").status == status


def test_total_other_than_announced_is_refused(raw: RawHttp) -> None:
    session = raw.start(declared=10)
    assert raw.chunk(session, "0-4/5", b"01234").status == 400
    assert raw.chunk(session, "0-9/10", b"0123456789").status == 200


def test_range_that_contradicts_the_body_is_refused(raw: RawHttp) -> None:
    session = raw.start()
    assert raw.chunk(session, "0-9/10", b"01234").status == 400
    assert raw.chunk(session, "nonsense", b"01234").status == 400


def test_precondition_is_checked_at_start_and_end(raw: RawHttp) -> None:
    session = raw.start(query="&ifGenerationMatch=0")
    raw.put("clip.mp4", b"faster")
    reply = raw.chunk(session, "0-4/5", b"01234")
    assert (reply.status, reply.reason) == (412, "conditionNotMet")
    body = json.dumps({"name": "clip.mp4"}).encode()
    query = "uploadType=resumable&ifGenerationMatch=0"
    assert raw("POST", f"/upload/storage/v1/b/{BUCKET}/o?{query}", body).status == 412


def test_later_chunk_takes_over_from_one_that_hangs(raw: RawHttp) -> None:
    data = noise(4 * QUANTUM)
    session = raw.start()
    with raw.open_chunk(session, f"0-{4 * QUANTUM - 1}/*", 4 * QUANTUM) as hanging:
        hanging.sendall(data[: 2 * QUANTUM + 7])
        wait_for_range(raw, session, 2 * QUANTUM)
        tail = data[2 * QUANTUM :]
        assert raw.chunk(session, f"{2 * QUANTUM}-{len(data) - 1}/{len(data)}", tail).status == 200
        with suppress(ConnectionError):
            hanging.sendall(data[2 * QUANTUM + 7 :])
            assert hanging.recv(100) == b""
    assert raw.object("clip.mp4", "?alt=media").body == data


def wait_for_range(raw: RawHttp, session: str, committed_bytes: int) -> None:
    give_up_at = time.monotonic() + 30
    while raw.chunk(session, "*/*").headers.get("range") != f"bytes=0-{committed_bytes - 1}":
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_connection_cut_in_mid_chunk_commits_whole_quanta(raw: RawHttp) -> None:
    session = raw.start()
    line = raw.open_chunk(session, f"0-{9 * QUANTUM - 1}/*", 9 * QUANTUM)
    line.sendall(noise(3 * QUANTUM + 5000))
    line.close()
    wait_for_range(raw, session, 3 * QUANTUM)


def test_post_to_a_session_is_a_chunk_too(raw: RawHttp) -> None:
    session = raw.start()
    reply = raw("POST", session, b"01234", {"Content-Range": "bytes 0-4/5"})
    assert (reply.status, reply.json["size"]) == (200, "5")


# --- checksums ---


@pytest.mark.parametrize("where", ["header", "metadata"])
def test_md5_is_checked_where_it_is_given(raw: RawHttp, where: str) -> None:
    wrong = "1B2M2Y8AsgTpgAmY7PhCfg=="
    session = raw.start(**({"md5Hash": wrong} if where == "metadata" else {}))
    headers = {"X-Goog-Hash": f"md5={wrong}"} if where == "header" else {}
    reply = raw.chunk(session, "0-4/5", b"01234", **headers)
    assert reply.status == 400
    assert reply.json["error"]["message"].startswith("Provided MD5 hash")


def test_crc32c_given_at_the_start_is_checked(raw: RawHttp) -> None:
    session = raw.start(crc32c="AAAAAA==")
    reply = raw.chunk(session, "0-4/5", b"01234")
    assert (reply.status, reply.reason) == (400, "invalid")
    assert reply.json["error"]["message"].startswith('Provided CRC32C "AAAAAA==" doesn\'t match calculated CRC32C')


# --- objects ---


def test_generations_grow_even_when_the_clock_goes_back(raw: RawHttp, emulator: EmulatorProcess) -> None:
    first = int(raw.put("a", b"1")["generation"])
    emulator.set_clock(-86_400)
    second = int(raw.put("a", b"2")["generation"])
    emulator.restart()
    third = int(raw.put("b", b"3")["generation"])
    assert first < second < third


def test_ranges_are_answered_as_asked(raw: RawHttp) -> None:
    raw.put("clip.mp4", b"0123456789")
    where = f"/download/storage/v1/b/{BUCKET}/o/clip.mp4?alt=media"
    for asked, told, body in [
        ("bytes=2-4", "bytes 2-4/10", b"234"),
        ("bytes=7-", "bytes 7-9/10", b"789"),
        ("bytes=-3", "bytes 7-9/10", b"789"),
        ("bytes=8-99", "bytes 8-9/10", b"89"),
    ]:
        reply = raw("GET", where, headers={"Range": asked})
        assert (reply.status, reply.headers["content-range"], reply.body) == (206, told, body)
    assert raw("GET", where, headers={"Range": "bytes=10-"}).status == 416


def test_patch_merges_metadata_and_update_replaces_it(raw: RawHttp) -> None:
    session = raw.start(metadata={"a": "1", "b": "2"})
    raw.chunk(session, "0-0/1", b"x")
    patched = raw.object("clip.mp4", method="PATCH", body=b'{"metadata": {"b": null, "c": "3"}}').json
    assert (patched["metadata"], patched["metageneration"]) == ({"a": "1", "c": "3"}, "2")
    updated = raw.object("clip.mp4", method="PUT", body=b'{"metadata": {"d": "4"}}').json
    assert updated["metadata"] == {"d": "4"}


def test_condition_is_checked_before_a_hold(raw: RawHttp) -> None:
    made = raw.put("clip.mp4", b"x")
    raw.object("clip.mp4", method="PATCH", body=b'{"temporaryHold": true}')
    assert raw.object("clip.mp4", "?ifGenerationMatch=1", "DELETE").status == 412
    reply = raw.object("clip.mp4", f"?generation={made['generation']}", "DELETE")
    assert (reply.status, reply.reason) == (403, "forbidden")
    assert "is under active Temporary hold" in reply.json["error"]["message"]


def test_held_object_is_not_overwritten_either(raw: RawHttp) -> None:
    raw.put("clip.mp4", b"x")
    raw.object("clip.mp4", method="PATCH", body=b'{"temporaryHold": true}')
    where = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=clip.mp4"
    assert raw("POST", where, b"y").status == 403
    assert raw.object("clip.mp4", "?alt=media").body == b"x"


def test_retention_policy_binds_objects_that_were_there_before(raw: RawHttp, emulator: EmulatorProcess) -> None:
    raw.put("clip.mp4", b"x")
    emulator.set_bucket(BUCKET, retentionPolicy={"retentionPeriod": "600"})
    reply = raw.object("clip.mp4", method="DELETE")
    assert (reply.status, reply.reason) == (403, "retentionPolicyNotMet")
    assert "retentionExpirationTime" in raw.object("clip.mp4").json


def test_event_based_hold_keeps_the_retention_period_from_starting(raw: RawHttp, emulator: EmulatorProcess) -> None:
    emulator.set_bucket(BUCKET, retentionPolicy={"retentionPeriod": "600"}, defaultEventBasedHold=True)
    assert "retentionExpirationTime" not in raw.put("clip.mp4", b"x")
    emulator.set_clock(3600)
    released = raw.object("clip.mp4", method="PATCH", body=b'{"eventBasedHold": false}').json
    assert released["retentionExpirationTime"] > released["updated"]


def test_pages_go_on_where_they_ended(raw: RawHttp) -> None:
    for index in range(5):
        raw.put(f"{index}.mp4", b"x")
    where = f"/storage/v1/b/{BUCKET}/o?maxResults=2"
    first = raw("GET", where).json
    second = raw("GET", f"{where}&pageToken={first['nextPageToken']}").json
    third = raw("GET", f"{where}&pageToken={second['nextPageToken']}").json
    names = [one["name"] for page in (first, second, third) for one in page["items"]]
    assert names == [f"{index}.mp4" for index in range(5)]
    assert "nextPageToken" not in third


# --- refusals ---


def test_missing_object_and_missing_bucket_are_told_apart(raw: RawHttp) -> None:
    nothing = raw.object("nothing")
    assert (nothing.status, nothing.reason) == (404, "notFound")
    assert nothing.json["error"]["message"] == f"No such object: {BUCKET}/nothing"
    no_bucket = raw("GET", "/storage/v1/b/no-such-bucket/o/nothing")
    assert no_bucket.json["error"]["message"] == "The specified bucket does not exist."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/storage/v1/b"),
        ("POST", f"/storage/v1/b/{BUCKET}/o/a/rewriteTo/b/{BUCKET}/o/b"),
        ("POST", "/batch/storage/v1"),
        ("HEAD", "/"),
        ("PUT", "/nonsense"),
        ("GET", f"/storage/v1/b/{BUCKET}/o?delimiter=/"),
        ("GET", f"/storage/v1/b/{BUCKET}/o?softDeleted=true"),
        ("GET", f"/storage/v1/b/{BUCKET}/o?versions=true"),
        ("GET", f"/storage/v1/b/{BUCKET}?generation=1"),
    ],
)
def test_what_is_not_emulated_is_refused_and_never_ignored(raw: RawHttp, method: str, path: str) -> None:
    reply = raw(method, path)
    assert reply.status == 501
    if method != "HEAD":
        assert reply.json["error"]["message"].startswith("gcs_emulator does not emulate")


@pytest.mark.parametrize(
    "resource",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"name": 5}',
        b'{"name": "a\\nb"}',
        b'{"name": "a", "metadata": {"n": 5}}',
        b'{"name": ".."}',
    ],
)
def test_invalid_resource_is_refused(raw: RawHttp, resource: bytes) -> None:
    for way in ("resumable", "nonsense"):
        assert raw("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType={way}", resource).status == 400


def test_malformed_multipart_body_is_refused(raw: RawHttp) -> None:
    where = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart"
    related = {"Content-Type": "multipart/related; boundary=b"}
    whole = b'--b\r\n\r\n{"name": "a"}\r\n--b\r\n\r\nfootage\r\n--b--'
    for body in (b"x", whole[:-2], whole.replace(b"{", b""), b"--c" + whole[3:], whole + b"more"):
        assert raw("POST", where, body, related).status == 400
    assert raw("POST", where, whole, {"Content-Type": "text/plain"}).status == 400
    assert raw.object("a").status == 404
    assert raw("POST", where, whole, related).status == 200
    assert raw.object("a", "?alt=media").body == b"footage"


def test_body_without_a_length_is_refused(raw: RawHttp) -> None:
    reply = raw(
        "POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=a", None, {"Transfer-Encoding": "chunked"}
    )
    assert reply.status == 411


def test_bucket_is_made_once(raw: RawHttp) -> None:
    body = json.dumps({"name": "second-bucket", "location": "EU"}).encode()
    assert raw("POST", "/storage/v1/b?project=p", body).json["location"] == "EU"
    assert raw("POST", "/storage/v1/b?project=p", body).status == 409
    assert raw("POST", "/storage/v1/b?project=p", b'{"name": "../x"}').status == 400


def test_every_answer_carries_the_date_of_the_bucket(raw: RawHttp, emulator: EmulatorProcess) -> None:
    emulator.set_clock(10 * 86_400)
    for reply in (raw.object("nothing"), raw("GET", f"/storage/v1/b/{BUCKET}"), raw.chunk(raw.start(), "*/*")):
        ahead = parsedate_to_datetime(reply.headers["date"]) - datetime.now(tz=UTC)
        assert 9 < ahead.total_seconds() / 86_400 < 11


def test_key_of_a_session_is_shown_nowhere(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start()
    raw.chunk(session, "0-4/5", b"01234")
    raw.chunk(session, "*/*")
    key = session.rpartition("=")[2]
    shown = [emulator.requests(), emulator.stats(), emulator.objects(), emulator.faults(), raw.object("clip.mp4").json]
    assert key not in str(shown)


def test_rate_is_shared_by_all_who_upload() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    limit = RateLimit(2, monotonic=lambda: now[0], sleep=sleep)
    for _ in range(10):
        limit.spend(1_000_000)
    assert sum(slept) == pytest.approx(4.5)
    assert limit.piece_bytes(1024 * 1024) == 200_000
