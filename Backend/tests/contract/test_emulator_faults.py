"""Each fault does what its fields say, to the requests that they name, as often as they say."""

from __future__ import annotations

import http.client
import time

import pytest

from gcs_emulator.process import EmulatorProcess
from tests.contract.benches import BUCKET, QUANTUM, noise
from tests.contract.raw_http import RawHttp, goog_hash

BROKEN = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@pytest.fixture
def raw(emulator: EmulatorProcess) -> RawHttp:
    return RawHttp(emulator)


def test_fault_meets_as_many_requests_as_it_says(raw: RawHttp, emulator: EmulatorProcess) -> None:
    raw.put("a", b"x")
    emulator.fault("status", kind="get", times=2, skip=1, status=429)
    assert [raw.object("a").status for _ in range(5)] == [200, 429, 429, 200, 200]


def test_fault_meets_only_what_it_matches(raw: RawHttp, emulator: EmulatorProcess) -> None:
    raw.put("a", b"x")
    raw.put("b", b"x")
    emulator.fault("status", kind="get", name="b", method="GET", times=9)
    assert (raw.object("a").status, raw.object("b").status) == (200, 503)
    assert raw.object("b", method="DELETE").status == 204


def test_faults_are_shown_and_forgotten(raw: RawHttp, emulator: EmulatorProcess) -> None:
    raw.put("a", b"x")
    emulator.fault("status", kind="get", times=3)
    raw.object("a")
    assert [(one["times"], one["hits"]) for one in emulator.faults()] == [(2, 1)]
    emulator.clear_faults()
    assert raw.object("a").status == 200


@pytest.mark.parametrize(
    "wanted",
    [
        {"action": "explode"},
        {"action": "status", "kind": "lunch"},
        {"action": "status", "colour": "red"},
        {"action": "status", "times": "two"},
        {},
    ],
)
def test_invalid_fault_is_refused(emulator: EmulatorProcess, wanted: dict[str, str]) -> None:
    with pytest.raises(RuntimeError, match="400"):
        emulator.call("POST", "/_emulator/faults", wanted)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "authError"), (403, "rateLimitExceeded"), (403, "quotaExceeded"), (404, "notFound"), (410, "gone")],
)
def test_status_carries_its_reason(raw: RawHttp, emulator: EmulatorProcess, status: int, reason: str) -> None:
    emulator.fault("status", kind="list", status=status, reason=reason, retry_after_seconds=5)
    reply = raw("GET", f"/storage/v1/b/{BUCKET}/o")
    assert (reply.status, reply.reason, reply.headers["retry-after"]) == (status, reason, "5")
    assert ("www-authenticate" in reply.headers) == (status == 401)


def test_status_after_some_bytes_keeps_what_arrived(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start()
    emulator.fault("status", kind="chunk", status=503, after_bytes=2 * QUANTUM + 17)
    assert raw.chunk(session, f"0-{4 * QUANTUM - 1}/*", noise(4 * QUANTUM)).status == 503
    assert raw.chunk(session, "*/*").headers["range"] == f"bytes=0-{2 * QUANTUM - 1}"


def test_reset_after_some_bytes_keeps_what_arrived(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start()
    emulator.fault("reset", kind="chunk", after_bytes=3 * QUANTUM)
    with pytest.raises(BROKEN):
        raw.chunk(session, f"0-{9 * QUANTUM - 1}/*", noise(9 * QUANTUM))
    emulator.wait_for_request(kind="chunk", status=None)
    assert raw.chunk(session, "*/*").headers["range"] == f"bytes=0-{3 * QUANTUM - 1}"


def test_reset_after_the_last_byte_finishes_nothing(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start()
    emulator.fault("reset", kind="final_chunk", after_bytes=QUANTUM)
    with pytest.raises(BROKEN):
        raw.chunk(session, f"0-{QUANTUM - 1}/{QUANTUM}", noise(QUANTUM))
    assert raw.object("clip.mp4").status == 404
    assert raw.chunk(session, f"*/{QUANTUM}").status == 200


def test_stall_takes_what_came_before_and_then_nothing(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start()
    emulator.fault("stall", kind="chunk", after_bytes=QUANTUM, seconds=60)
    line = raw.open_chunk(session, f"0-{4 * QUANTUM - 1}/*", 4 * QUANTUM)
    line.sendall(noise(2 * QUANTUM))
    give_up_at = time.monotonic() + 30
    while "range" not in (status := raw.chunk(session, "*/*")).headers:
        assert time.monotonic() < give_up_at
    assert status.headers["range"] == f"bytes=0-{QUANTUM - 1}"
    line.close()


def test_flipped_byte_is_refused_by_the_checksum(raw: RawHttp, emulator: EmulatorProcess) -> None:
    data = noise(QUANTUM)
    emulator.fault("flip_byte", kind="final_chunk", after_bytes=1000)
    reply = raw.chunk(raw.start(), f"0-{QUANTUM - 1}/{QUANTUM}", data, **{"X-Goog-Hash": goog_hash(data)})
    assert (reply.status, reply.reason) == (400, "invalid")
    assert raw.object("clip.mp4").status == 404


def test_flipped_byte_is_stored_where_no_checksum_was_sent(raw: RawHttp, emulator: EmulatorProcess) -> None:
    emulator.fault("flip_byte", kind="final_chunk", after_bytes=1)
    raw.chunk(raw.start(), "0-2/3", b"abc")
    assert raw.object("clip.mp4", "?alt=media").body == bytes([ord("a"), ord("b") ^ 0xFF, ord("c")])


def test_corrupt_metadata_stays_with_the_object(raw: RawHttp, emulator: EmulatorProcess) -> None:
    emulator.fault("corrupt_metadata", kind="final_chunk", fields={"crc32c": "AAAAAA==", "size": "7"})
    assert raw.chunk(raw.start(), "0-2/3", b"abc").json["crc32c"] == "AAAAAA=="
    assert raw.object("clip.mp4").json["size"] == "7"


def test_lost_answer_has_done_its_work(raw: RawHttp, emulator: EmulatorProcess) -> None:
    emulator.fault("lost_answer", kind="final_chunk")
    session = raw.start()
    with pytest.raises(BROKEN):
        raw.chunk(session, "0-2/3", b"abc")
    assert raw.object("clip.mp4").status == 200
    emulator.fault("lost_answer", kind="delete")
    with pytest.raises(BROKEN):
        raw.object("clip.mp4", method="DELETE")
    assert raw.object("clip.mp4").status == 404


def test_partial_commit_tells_what_it_kept(raw: RawHttp, emulator: EmulatorProcess) -> None:
    emulator.fault("partial_commit", kind="chunk", commit_bytes=2 * QUANTUM + 5)
    session = raw.start()
    reply = raw.chunk(session, f"0-{4 * QUANTUM - 1}/*", noise(4 * QUANTUM))
    assert (reply.status, reply.headers["range"]) == (308, f"bytes=0-{2 * QUANTUM - 1}")
    data = noise(4 * QUANTUM)
    rest = data[2 * QUANTUM :]
    last = raw.chunk(
        session, f"{2 * QUANTUM}-{4 * QUANTUM - 1}/{4 * QUANTUM}", rest, **{"X-Goog-Hash": goog_hash(data)}
    )
    assert last.status == 200


@pytest.mark.parametrize("odd", [1, QUANTUM - 1, 2 * QUANTUM + 5])
def test_odd_commit_is_exact_also_after_a_restart(raw: RawHttp, emulator: EmulatorProcess, odd: int) -> None:
    emulator.fault("odd_commit", kind="chunk", commit_bytes=odd)
    session, data = raw.start(), noise(5 * QUANTUM)
    reply = raw.chunk(session, f"0-{3 * QUANTUM - 1}/*", data[: 3 * QUANTUM])
    assert (reply.status, reply.headers["range"]) == (308, f"bytes=0-{odd - 1}")
    emulator.restart()
    assert raw.chunk(session, "*/*").headers["range"] == f"bytes=0-{odd - 1}"
    more = raw.chunk(session, f"{odd}-{4 * QUANTUM - 1}/*", data[odd : 4 * QUANTUM])
    assert more.headers["range"] == f"bytes=0-{4 * QUANTUM - 1}"
    rest = {"X-Goog-Hash": goog_hash(data)}
    assert (
        raw.chunk(session, f"{4 * QUANTUM}-{5 * QUANTUM - 1}/{5 * QUANTUM}", data[4 * QUANTUM :], **rest).status == 200
    )
    assert raw.object("clip.mp4", "?alt=media").body == data


def test_delay_does_the_work_afterwards(raw: RawHttp, emulator: EmulatorProcess) -> None:
    raw.put("a", b"x")
    emulator.fault("delay", kind="get", seconds=0.05)
    assert raw.object("a").status == 200
    assert emulator.requests(kind="get", fault="delay")


def test_log_tells_what_was_asked_and_answered(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start("one.mp4")
    raw.chunk(session, f"0-{QUANTUM - 1}/*", noise(QUANTUM))
    raw.chunk(session, f"{QUANTUM}-{QUANTUM + 2}/{QUANTUM + 3}", b"abc")
    told = [
        (one["kind"], one["name"], one["offset_bytes"], one["received_bytes"], one["status"])
        for one in emulator.requests()
    ]
    assert told[1:] == [("chunk", "one.mp4", 0, QUANTUM, 308), ("final_chunk", "one.mp4", QUANTUM, 3, 200)]
    emulator.restart()
    assert len(emulator.requests()) == 3
    emulator.clear_requests()
    assert emulator.requests() == []


def test_log_counts_committed_bytes_sent_again(raw: RawHttp, emulator: EmulatorProcess) -> None:
    """Only what a 308 had told: half a chunk that a broken connection left over has to come once more."""
    data = noise(3 * QUANTUM)
    session = raw.start("one.mp4")
    raw.chunk(session, f"0-{2 * QUANTUM - 1}/*", data[: 2 * QUANTUM])
    raw.chunk(session, f"{QUANTUM}-{2 * QUANTUM - 1}/*", data[QUANTUM : 2 * QUANTUM])
    raw.chunk(session, f"{2 * QUANTUM}-{3 * QUANTUM - 1}/{3 * QUANTUM}", data[2 * QUANTUM :])
    assert [one["sent_again_bytes"] for one in emulator.requests()[1:]] == [0, QUANTUM, 0]

    other = raw.start("two.mp4")
    emulator.fault("reset", kind="chunk", after_bytes=QUANTUM + 5)
    with pytest.raises(BROKEN):
        raw.chunk(other, f"0-{2 * QUANTUM - 1}/*", data[: 2 * QUANTUM])
    assert raw.chunk(other, "*/*").headers["range"] == f"bytes=0-{QUANTUM - 1}"
    raw.chunk(other, f"{QUANTUM}-{2 * QUANTUM - 1}/*", data[QUANTUM : 2 * QUANTUM])
    assert [one["sent_again_bytes"] for one in emulator.requests() if one["name"] == "two.mp4"] == [0, 0, 0, 0]


# --- behind the client's back ---


def test_object_is_replaced_behind_the_clients_back(raw: RawHttp, emulator: EmulatorProcess) -> None:
    made = raw.put("a b/c.mp4", b"before")
    replaced = emulator.put_object(BUCKET, "a b/c.mp4", b"after")
    assert int(replaced["generation"]) > int(made["generation"])
    assert raw.object("a b/c.mp4", "?alt=media").body == b"after"


def test_metadata_is_changed_behind_the_clients_back(raw: RawHttp, emulator: EmulatorProcess) -> None:
    raw.put("a", b"before")
    emulator.patch_object(BUCKET, "a", crc32c="AAAAAA==", size="1", generation="5", temporaryHold=True)
    told = raw.object("a").json
    assert (told["crc32c"], told["size"], told["generation"], told["temporaryHold"]) == ("AAAAAA==", "1", "5", True)
    emulator.restart()
    assert raw.object("a").json == told


def test_stored_bytes_rot_behind_the_clients_back(raw: RawHttp, emulator: EmulatorProcess) -> None:
    made = raw.put("a", b"abc")
    emulator.patch_object(BUCKET, "a", flip_byte_at=1)
    assert raw.object("a", "?alt=media").body != b"abc"
    assert raw.object("a").json["crc32c"] == made["crc32c"]


def test_held_object_is_removed_behind_the_clients_back(raw: RawHttp, emulator: EmulatorProcess) -> None:
    raw.put("a", b"abc")
    emulator.patch_object(BUCKET, "a", temporaryHold=True)
    emulator.delete_object(BUCKET, "a")
    assert raw.object("a").status == 404
    assert emulator.objects() == []
