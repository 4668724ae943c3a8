"""An upload whose line and file behave: plan, send, finish; and files that are refused before it."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
import structlog

from offload.errors import Disposition, FileChanged, FileProblem, Reason, StopAndTell, TryAgain
from offload.places import Places
from offload.request_body import BUFFER_ALLOWANCE, BUFFER_LIMIT_BYTES, SourceBody
from offload.source import MediaRoot
from offload.store import META_INSTALLATION, META_RECORDING, META_SIZE, META_TRANSFER, SessionStatus
from offload.testing import MemoryStore
from tests.unit.upload_bench import BUCKET, METADATA, PATH, QUANTUM, box, crc_of, mp4, noise

BOUNDARIES = [1, 7, QUANTUM - 1, QUANTUM, QUANTUM + 1, 2 * QUANTUM, 3 * QUANTUM - 1, 5 * QUANTUM + 7]


@pytest.mark.parametrize("size_bytes", BOUNDARIES)
def test_file_of_any_size_arrives_whole_and_proven(bench, size_bytes):
    bench.write(size_bytes)

    result = bench.upload()

    bench.assert_proven(result)
    assert (result.adopted, result.found_in_bucket, result.resumed_from_bytes) == (False, False, 0)
    assert result.bytes_sent == size_bytes


@pytest.mark.parametrize("size_bytes", BOUNDARIES)
def test_chunks_are_whole_quanta_and_the_last_never_empty(make_bench, size_bytes):
    bench = make_bench(chunk_max_bytes=2 * QUANTUM)
    bench.write(size_bytes)
    bench.upload()

    *chunks, last = bench.store.calls_of("send")
    assert all(call.received_bytes % QUANTUM == 0 and not call.last for call in chunks)
    assert last.last
    assert 0 < last.received_bytes <= QUANTUM
    assert sum(call.received_bytes for call in [*chunks, last]) == size_bytes


def test_session_is_stored_before_the_first_byte(bench):
    bench.write(3 * QUANTUM)
    stored_at_first_byte = []
    bench.store.fault("send", action=lambda: stored_at_first_byte.append(bench.journal.session))
    bench.upload()

    [session] = stored_at_first_byte
    assert session.identity == bench.root.stat(PATH)
    assert session.started_at == bench.clock.now()
    assert bench.journal.events[0] == "session_started"
    assert bench.journal.session == session  # until the record, which clears it
    assert bench.store.open_sessions() == 0


def test_small_file_goes_in_one_request_without_session(make_bench):
    bench = make_bench(small_limit_bytes=1000)
    bench.write(1000)

    bench.assert_proven(bench.upload())
    assert bench.kinds() == ["put_small"]
    assert bench.journal.events == []


def test_file_above_the_small_limit_gets_a_session(make_bench):
    bench = make_bench(small_limit_bytes=1000)
    bench.write(1001)

    bench.assert_proven(bench.upload())
    assert bench.kinds() == ["start_session", "send"]


@pytest.mark.parametrize("small_limit_bytes", [0, 10 * QUANTUM])
def test_object_carries_its_owner_and_its_size(make_bench, small_limit_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(2 * QUANTUM)
    stale = METADATA | {META_SIZE: "1"}
    info = bench.upload(temporary_hold=True, storage_class="COLDLINE", metadata=stale).info

    assert info.metadata == METADATA | {META_SIZE: str(2 * QUANTUM)}
    assert info.temporary_hold
    assert info.storage_class == "COLDLINE"
    assert info.content_type == "video/x-matroska"


def test_later_name_version_is_written_under_its_own_name(bench):
    bench.write(QUANTUM)
    bench.journal.name_version = 2

    bench.assert_proven(bench.upload(), name_version=2)


# --- chunks ---


class TimedStore(MemoryStore):
    """A line of so many bytes a second."""

    bytes_per_second = 1.0

    def send(self, uri, spec, body, **rest) -> SessionStatus:
        self.clock.advance(body.length_bytes / self.bytes_per_second)
        return super().send(uri, spec, body, **rest)


@pytest.mark.parametrize(("quanta_per_second", "settled_quanta"), [(0.75, 7), (0.01, 2), (100, 24)])
def test_chunks_last_as_long_as_they_should(make_bench, quanta_per_second, settled_quanta):
    bench = make_bench(chunk_min_bytes=2 * QUANTUM, chunk_max_bytes=24 * QUANTUM, chunk_seconds=10)
    bench.store = TimedStore(clock=bench.clock)
    bench.store.bytes_per_second = quanta_per_second * QUANTUM
    bench.write(100 * QUANTUM)
    bench.upload()

    lengths = [length // QUANTUM for _, length in bench.sent()]
    assert lengths[0] == 2
    assert all(after <= 4 * before for before, after in pairwise(lengths))
    assert lengths[4:-2]
    assert set(lengths[4:-2]) == {settled_quanta}


def test_chunk_settings_off_the_quantum_are_rounded_down(make_bench):
    bench = make_bench(chunk_min_bytes=2 * QUANTUM - 1, chunk_max_bytes=3 * QUANTUM - 1)
    bench.write(6 * QUANTUM)
    bench.upload()

    assert [length // QUANTUM for _, length in bench.sent()] == [1, 2, 2, 1]


class DevNullStore:
    """Takes any number of bytes and keeps their sum only."""

    def __init__(self, bench) -> None:
        self.finished = MemoryStore(clock=bench.clock)
        self.largest_piece = 0

    def start_session(self, spec):
        self.received = 0
        return "null://"

    def send(self, uri, spec, body, *, offset_bytes, crc32c=None, abort):
        while piece := body.read(2**40):
            abort()
            self.largest_piece = max(self.largest_piece, len(piece))
            self.received += len(piece)
        if crc32c is None:
            return SessionStatus(self.received)
        info = self.finished.put(spec, b"")
        info = self.finished.change(spec.bucket, spec.name, size_bytes=self.received, crc32c=crc32c)
        return SessionStatus(self.received, info)


def test_large_file_passes_in_bounded_memory(make_bench):
    bench = make_bench(chunk_min_bytes=8 * QUANTUM, chunk_max_bytes=1024 * QUANTUM)
    bench.path.write_bytes(b"")
    with bench.path.open("r+b") as file:
        file.truncate(256 * 1024 * 1024 + 5)
    bench.touch()
    bench.store = DevNullStore(bench)
    tracemalloc.start()
    try:
        result = bench.upload()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert result.info.size_bytes == 256 * 1024 * 1024 + 5
    assert bench.store.largest_piece <= 1024 * 1024
    assert peak_bytes < 4 * 1024 * 1024


# --- the body of a request ---


def test_body_that_is_rewound_sums_only_what_counts(tmp_path):
    data = noise(3 * QUANTUM)
    (tmp_path / "clip").write_bytes(data)
    with MediaRoot(tmp_path).open("clip") as source:
        body = SourceBody(source, offset_bytes=100, length_bytes=1000, crc32c=crc_of(data[:100]))
        assert body.read(300) == data[100:400]
        body.rewind()
        assert body.read(10**9) == data[100:1100]
        assert body.read(1) == b""

    assert body.crc32c == crc_of(data[:1100])
    assert (body.position_bytes, body.bytes_read) == (1100, 1300)


class RewindingStore(MemoryStore):
    """The kept-alive connection was closed before the request: the transport starts its body again."""

    def send(self, uri, spec, body, **rest):
        body.read(1000)
        body.rewind()
        return super().send(uri, spec, body, **rest)

    def put_small(self, spec, body, **rest):
        body.read(1000)
        body.rewind()
        return super().put_small(spec, body, **rest)


@pytest.mark.parametrize("small_limit_bytes", [0, 10 * QUANTUM])
def test_transport_that_starts_again_spoils_no_checksum(make_bench, small_limit_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.store = RewindingStore(clock=bench.clock)
    bench.write(3 * QUANTUM + 1)

    bench.assert_proven(bench.upload())


def test_small_file_beyond_the_memory_is_read_twice(make_bench):
    bench = make_bench(small_limit_bytes=10 * QUANTUM)
    bench.write(2 * QUANTUM)
    with BUFFER_ALLOWANCE.asked(BUFFER_LIMIT_BYTES - QUANTUM):
        bench.assert_proven(bench.upload())
    assert bench.kinds() == ["put_small"]


@pytest.mark.parametrize("fails", [False, True])
def test_memory_of_a_small_upload_is_given_back(make_bench, fails):
    bench = make_bench(small_limit_bytes=10 * QUANTUM)
    bench.write(2 * QUANTUM)
    if fails:
        bench.store.fault("put_small", StopAndTell("403"))
        bench.fails(StopAndTell)
    else:
        bench.upload()
    with BUFFER_ALLOWANCE.asked(BUFFER_LIMIT_BYTES) as granted:
        assert granted


def test_small_file_is_sent_again_after_a_break(make_bench):
    bench = make_bench(small_limit_bytes=10 * QUANTUM)
    bench.store = RewindingStore(clock=bench.clock)
    bench.store.fault("put_small", TryAgain("503"))
    bench.write(2 * QUANTUM)
    bench.assert_proven(bench.upload())


# --- files that are refused ---


def assert_untouched(bench) -> None:
    assert bench.store.calls == []
    assert bench.journal.events == []


@pytest.mark.parametrize(
    ("age_seconds", "size_bytes", "code", "disposition"),
    [
        (9, QUANTUM, Reason.FILE_NOT_SETTLED, Disposition.RETRY),
        (9, 0, Reason.FILE_NOT_SETTLED, Disposition.RETRY),
        (60, 0, Reason.FILE_EMPTY, Disposition.FAIL),
    ],
)
def test_file_being_written_waits_and_empty_one_fails(bench, age_seconds, size_bytes, code, disposition):
    bench.write(size_bytes, age_seconds=age_seconds)
    error = bench.fails(FileProblem)

    assert (error.code, error.disposition) == (code, disposition)
    assert_untouched(bench)


def test_unfinished_mp4_is_refused_until_it_is_finished(bench):
    """F15"""
    job = {"relative_path": "cam/clip.mp4"}
    path = bench.path.with_name("clip.mp4")
    bench.write(QUANTUM)
    bench.path.rename(path)
    for data, finished in ((box(b"ftyp", bytes(8)) + box(b"mdat", noise(9000)), False), (mp4(9000), True)):
        path.write_bytes(data)
        path.touch()
        path.rename(bench.path)
        bench.touch()
        bench.path.rename(path)
        if finished:
            assert bench.upload(**job).info.size_bytes == 9000
        else:
            assert bench.fails(FileProblem, **job).code is Reason.FILE_NOT_PLAYABLE
            assert_untouched(bench)


@pytest.mark.parametrize("expected", [{"expected_size_bytes": 5}, {"expected_mtime_ns": 5}])
def test_file_that_was_not_registered_is_not_uploaded(bench, expected):
    bench.write(QUANTUM)
    error = bench.fails(FileChanged, **expected)

    assert (error.code, error.disposition) == (Reason.FILE_CHANGED, Disposition.FAIL)
    assert_untouched(bench)


def test_file_as_it_was_registered_is_uploaded(bench):
    bench.write(QUANTUM)
    identity = bench.root.stat(PATH)

    bench.assert_proven(bench.upload(expected_size_bytes=QUANTUM, expected_mtime_ns=identity.mtime_ns))


def test_link_is_refused_though_its_target_is_footage(bench, tmp_path):
    """P7"""
    (tmp_path / "elsewhere.mkv").write_bytes(noise(QUANTUM))
    bench.path.symlink_to(tmp_path / "elsewhere.mkv")

    assert bench.fails(FileProblem).code is Reason.FILE_IS_LINK
    assert_untouched(bench)


@pytest.mark.parametrize("path", ["../secret.mkv", "/etc/hostname", "cam/../../secret.mkv"])
def test_path_outside_the_media_root_is_refused(bench, tmp_path, path):
    """P7"""
    (tmp_path / "secret.mkv").write_bytes(noise(QUANTUM))

    assert bench.fails(FileProblem, relative_path=path).code is Reason.FILE_OUTSIDE_MEDIA_ROOT
    assert_untouched(bench)


# --- the file is gone ---


def test_gone_file_is_found_in_its_whole_object(bench):
    """A database restored from yesterday."""
    info = bench.existing(noise(1000))
    result = bench.upload(expected_size_bytes=1000, expected_mtime_ns=5)

    assert result.found_in_bucket
    assert result.info == info
    assert result.identity is None
    assert result.crc32c == info.crc32c
    assert bench.journal.events == []


@pytest.mark.parametrize(
    "foreign",
    [
        {META_INSTALLATION: "installation-2"},
        {META_TRANSFER: "transfer-2"},
        {META_RECORDING: "recording-2"},
        {META_SIZE: "1001"},
    ],
)
def test_gone_file_with_a_foreign_or_partial_object_is_missing(bench, foreign):
    bench.existing(noise(1000), **foreign)

    assert bench.fails(FileProblem).code is Reason.FILE_MISSING


def test_gone_file_with_an_object_of_another_size_is_missing(bench):
    bench.existing(noise(1000))

    assert bench.fails(FileProblem, expected_size_bytes=1001).code is Reason.FILE_MISSING


def test_file_on_an_absent_disk_is_tried_again(bench):
    """F16 for one of several disks: files were taken from a disk at `cam` before, and it is not mounted now."""
    Places(bench.root).remember(("cam",))
    error = bench.fails(FileProblem)
    assert (error.code, error.disposition) == (Reason.FILE_UNREADABLE, Disposition.RETRY)
    assert "not mounted" in error.detail


def test_gone_file_is_missing_where_there_is_no_object(bench):
    error = bench.fails(FileProblem)

    assert (error.code, error.disposition) == (Reason.FILE_MISSING, Disposition.FAIL)
    assert bench.kinds() == ["list_prefix"]


def test_gone_file_is_found_behind_a_deleted_orphan(bench):
    """A database restored from yesterday names the first object; a person deleted that one today."""
    last = bench.existing(noise(1000, 2), name_version=2)
    result = bench.upload()

    assert (result.info, result.name_version) == (last, 2)


def test_gone_file_is_found_in_a_proven_orphan(bench):
    """The file changed after its last byte and vanished before it could be sent again."""
    orphan = bench.existing(noise(1000))
    bench.journal.name_version = 1
    result = bench.upload(whole_orphans=[(orphan.name, orphan.generation)])

    assert (result.info, result.name_version, result.found_in_bucket) == (orphan, 1, True)


@pytest.mark.parametrize("known", [[], [("recordings/0-clip.mkv", 5)]], ids=["not found right", "another generation"])
def test_gone_file_with_only_another_orphan_is_missing(bench, known):
    bench.existing(noise(1000))
    bench.journal.name_version = 1

    assert bench.fails(FileProblem, whole_orphans=known).code is Reason.FILE_MISSING


def test_last_of_several_objects_is_found(bench):
    """The earlier ones are orphans."""
    bench.existing(noise(1000, 1), name_version=0)
    last = bench.existing(noise(1000, 2), name_version=1)
    result = bench.upload()

    assert (result.info, result.name_version) == (last, 1)


def test_missing_bucket_is_no_proof_of_anything(bench):
    bench.store.remove_bucket(BUCKET)

    assert bench.fails(StopAndTell).code is Reason.BUCKET_NOT_FOUND


@pytest.mark.parametrize("unmounted", ["empty mount point", "no mount point"])
def test_unmounted_disk_has_no_missing_or_found_file(bench, tmp_path, unmounted):
    """F16"""
    bench.existing(noise(1000))
    bench.root.path.rename(tmp_path / "unplugged")
    if unmounted == "empty mount point":
        bench.root.path.mkdir()
    error = bench.fails(StopAndTell)

    assert (error.code, error.disposition) == (Reason.MEDIA_ROOT_NOT_MOUNTED, Disposition.WAIT)
    assert_untouched(bench)


# --- the log ---


def test_upload_tells_its_story_in_events(bench):
    bench.write(3 * QUANTUM)
    with structlog.testing.capture_logs() as logs:
        bench.upload()

    assert [entry["event"] for entry in logs] == [
        "upload.started",
        "upload.progress",
        "upload.progress",
        "upload.progress",
        "upload.finished",
    ]
    assert all(
        (entry["transfer"], entry["recording"], entry["camera"]) == ("transfer-1", "recording-1", "camera-1")
        for entry in logs
    )
    assert logs[-1]["generation"] == bench.store.objects()[0].generation


def test_refusal_is_logged_with_its_reason(bench):
    bench.write(0)
    with structlog.testing.capture_logs() as logs:
        bench.fails(FileProblem)

    assert [(entry["event"], entry["reason"], entry["next"]) for entry in logs] == [
        ("upload.failed", "file_empty", "fail")
    ]
