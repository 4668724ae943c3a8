"""The emulator as a process: killed, restarted, and given gigabytes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gcs_emulator.process import EmulatorProcess
from tests.contract.benches import BUCKET, QUANTUM, BytesBody, crc_of, google_store, noise
from tests.contract.raw_http import RawHttp, goog_hash
from tests.contract.test_emulator_http import wait_for_range

MIB = 1024 * 1024
LARGE_BYTES = 2_000_000_000
MOST_RESIDENT_BYTES = 100 * MIB


@pytest.fixture
def raw(emulator: EmulatorProcess) -> RawHttp:
    return RawHttp(emulator)


def test_open_sessions_and_objects_survive_a_kill(raw: RawHttp, emulator: EmulatorProcess) -> None:
    data = noise(9 * QUANTUM + 123)
    kept = raw.put("kept.mp4", b"kept")
    session = raw.start(temporaryHold=True, metadata={"a": "ü"})
    raw.chunk(session, f"0-{2 * QUANTUM - 1}/*", data[: 2 * QUANTUM])
    line = raw.open_chunk(session, f"{2 * QUANTUM}-{9 * QUANTUM - 1}/*", 7 * QUANTUM)
    line.sendall(data[2 * QUANTUM : 6 * QUANTUM + 99])
    wait_for_range(raw, session, 6 * QUANTUM)
    emulator.restart()
    line.close()
    assert raw.object("kept.mp4").json == kept
    assert raw.object("kept.mp4", "?alt=media").body == b"kept"
    assert raw.chunk(session, "*/*").headers["range"] == f"bytes=0-{6 * QUANTUM - 1}"
    tail = data[6 * QUANTUM :]
    last = raw.chunk(session, f"{6 * QUANTUM}-{len(data) - 1}/{len(data)}", tail, **{"X-Goog-Hash": goog_hash(data)})
    assert last.status == 200
    assert (last.json["temporaryHold"], last.json["metadata"]) == (True, {"a": "ü"})
    assert raw.object("clip.mp4", "?alt=media").body == data


def test_finished_session_remembers_its_object_after_a_kill(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start()
    made = raw.chunk(session, "0-2/3", b"abc").json
    emulator.restart()
    assert raw.chunk(session, "*/*").json == made


def test_kill_between_object_and_session_is_mended(raw: RawHttp, emulator: EmulatorProcess) -> None:
    session = raw.start()
    made = raw.chunk(session, "0-2/3", b"abc").json
    emulator.kill()
    for path in (emulator.data / "sessions").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "open", "finished": None}))
    emulator.start()
    assert raw.chunk(session, "*/*").json == made


def test_strays_of_a_kill_are_swept_away(raw: RawHttp, emulator: EmulatorProcess) -> None:
    raw.put("kept.mp4", b"kept")
    emulator.kill()
    objects = emulator.data / "buckets" / BUCKET / "objects"
    (objects / "17.data").write_bytes(b"never committed")
    (emulator.data / "sessions" / "0123.body").write_bytes(b"never committed")
    emulator.start()
    assert len(list(objects.iterdir())) == 2
    assert not list((emulator.data / "sessions").iterdir())
    assert raw.object("kept.mp4", "?alt=media").body == b"kept"


def test_bucket_settings_survive_a_kill(emulator: EmulatorProcess) -> None:
    emulator.set_bucket(BUCKET, deniedPermissions=["storage.objects.list"], autoclass={"enabled": True})
    emulator.restart()
    told = emulator.call("GET", f"/_emulator/buckets/{BUCKET}")
    assert (told["deniedPermissions"], told["autoclass"]) == (["storage.objects.list"], {"enabled": True})


def test_restart_keeps_the_address(emulator: EmulatorProcess) -> None:
    before = emulator.url
    emulator.restart()
    assert emulator.url == before


def test_gigabytes_pass_in_bounded_memory(raw: RawHttp, emulator: EmulatorProcess, tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.bin"
    with sparse.open("wb") as file:
        file.truncate(LARGE_BYTES)
    session = raw.start(declared=LARGE_BYTES)
    with raw.open_chunk(session, f"0-{LARGE_BYTES - 1}/{LARGE_BYTES}", LARGE_BYTES) as line, sparse.open("rb") as file:
        line.settimeout(120)
        assert line.sendfile(file) == LARGE_BYTES
        assert b" 200 " in line.recv(100)
    assert emulator.objects()[0]["size"] == str(LARGE_BYTES)
    assert emulator.stats()["peak_resident_bytes"] < MOST_RESIDENT_BYTES


def test_twenty_uploads_at_once_pass_in_bounded_memory(raw: RawHttp, emulator: EmulatorProcess) -> None:
    data = noise(4 * MIB)
    lines = []
    for index in range(20):
        session = raw.start(f"{index}.mp4")
        lines.append(raw.open_chunk(session, f"0-{len(data) - 1}/{len(data)}", len(data)))
    for start in range(0, len(data), MIB):
        for line in lines:
            line.sendall(data[start : start + MIB])
    for line in lines:
        assert b" 200 " in line.recv(100)
        line.close()
    assert {one["crc32c"] for one in emulator.objects()} == {goog_hash(data).partition("=")[2]}
    assert emulator.stats()["peak_resident_bytes"] < MOST_RESIDENT_BYTES


def test_more_objects_than_a_page_holds_are_listed(emulator: EmulatorProcess) -> None:
    store = google_store(emulator.url, None)
    raw = RawHttp(emulator)
    names = [f"recordings/{index:05}.mp4" for index in range(1_003)]
    for name in names:
        raw.put(name, b"x")
    assert [one.name for one in store.list_prefix(BUCKET, "recordings/")] == names
    assert len(emulator.requests(kind="list")) == 2


def test_port_file_tells_where_it_listens(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    with EmulatorProcess(tmp_path / "data", buckets=["one-bucket", "two-bucket"], port_file=port_file) as process:
        assert process.url.endswith(f":{port_file.read_text().strip()}")
        assert process.call("GET", "/storage/v1/b/two-bucket")["name"] == "two-bucket"


def test_stopped_emulator_leaves_no_process(tmp_path: Path) -> None:
    process = EmulatorProcess(tmp_path / "data", buckets=[BUCKET])
    with process:
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_paused_emulator_answers_when_it_is_woken(raw: RawHttp, emulator: EmulatorProcess) -> None:
    emulator.pause()
    emulator.resume()
    assert raw.object("nothing").status == 404


def test_store_goes_on_over_a_restart(emulator: EmulatorProcess) -> None:
    from offload.store import ObjectSpec

    store = google_store(emulator.url, None)
    data = noise(2 * QUANTUM + 1)
    spec = ObjectSpec(BUCKET, "clip.mp4", len(data), "video/mp4", {})
    uri = store.start_session(spec)
    store.send(uri, spec, BytesBody(data[:QUANTUM]), offset_bytes=0)
    emulator.restart()
    assert store.session_status(uri, spec).committed_bytes == QUANTUM
    body = BytesBody(data[QUANTUM:])
    assert store.send(uri, spec, body, offset_bytes=QUANTUM, crc32c=crc_of(data)).finished is not None
