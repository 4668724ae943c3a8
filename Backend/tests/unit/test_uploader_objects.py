"""What lies in the bucket: refused checksums, objects that were there before, wrong answers (P2)."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from offload.errors import Disposition, FileChanged, FileProblem, ObjectProblem, Reason, StopAndTell, TryAgain
from offload.journal import Orphan, WhyOrphaned
from offload.store import META_INSTALLATION, META_TRANSFER
from tests.unit.upload_bench import BUCKET, QUANTUM, noise

pytestmark = pytest.mark.usefixtures("memory")
WAYS = pytest.mark.parametrize("small_limit_bytes", [0, 100 * QUANTUM], ids=["session", "small"])


# --- the bucket computed another checksum ---


@WAYS
def test_byte_changed_in_transit_is_sent_again(make_bench, small_limit_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(3 * QUANTUM)
    bench.store.fault("send", flip_byte_at=5)
    bench.store.fault("put_small", flip_byte_at=5)

    bench.assert_proven(bench.upload())
    assert len(bench.store.objects()) == 1


def test_refused_session_is_deleted_and_never_continued(bench):
    bench.write(3 * QUANTUM)
    bench.store.fault("send", skip=1, flip_byte_at=5)
    bench.upload()

    first, second = bench.store.calls_of("start_session")
    [cancelled] = bench.store.calls_of("cancel_session")
    assert cancelled.session == first.session
    assert [call.session for call in bench.store.calls_of("send")] == [first.session] * 3 + [second.session] * 3
    assert bench.journal.events.count("session_dropped") == 1


@WAYS
def test_file_refused_three_times_is_bad(make_bench, small_limit_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(3 * QUANTUM)
    bench.store.fault("send", flip_byte_at=5, times=99)
    bench.store.fault("put_small", flip_byte_at=5, times=99)
    error = bench.fails(FileProblem)

    assert (error.code, error.disposition) == (Reason.CHECKSUM_REFUSED, Disposition.FAIL)
    assert len(bench.store.calls_of("put_small", "start_session")) == 3
    assert bench.store.objects() == []
    assert bench.store.open_sessions() == 0
    assert bench.journal.session is None


def test_refusal_of_a_written_file_is_a_change(bench):
    """Bytes already sent are rewritten while the last part is under way."""
    bench.write(3 * QUANTUM)
    rewrite = noise(3 * QUANTUM, 1)
    bench.store.fault("send", flip_byte_at=5, skip=2, action=lambda: bench.write(rewrite, age_seconds=60))

    assert bench.fails(FileChanged).disposition is Disposition.RETRY
    assert bench.store.objects() == []


@WAYS
def test_wrong_object_that_the_bucket_stored_is_not_kept(make_bench, small_limit_bytes):
    """The finalising answer is compared with our own sums, whatever the bucket says of itself."""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.store.enforce_checksums = False
    bench.write(3 * QUANTUM)
    bench.store.fault("send", flip_byte_at=5)
    bench.store.fault("put_small", flip_byte_at=5)
    result = bench.upload()

    bench.assert_proven(result)
    [deleted] = bench.store.calls_of("delete")
    assert deleted.generation != result.info.generation
    assert len(bench.store.objects()) == 1


def hold(bench) -> None:
    [info] = bench.store.objects()
    bench.store.change(BUCKET, info.name, temporary_hold=True)


def retain(bench) -> None:
    [info] = bench.store.objects()
    bench.store.change(BUCKET, info.name, retention_expires_at=bench.clock.now() + timedelta(days=1))


def forbid(bench) -> None:
    bench.store.fault("delete", StopAndTell("403"), times=99)


def forbid_by_object(bench) -> None:
    bench.store.fault("delete", ObjectProblem("403", code=Reason.PERMISSION_DENIED), times=99)


def be_down(bench) -> None:
    bench.store.fault("delete", TryAgain("503"), times=99)


@WAYS
@pytest.mark.parametrize("obstacle", [hold, retain, forbid, forbid_by_object, be_down])
def test_wrong_object_that_may_not_be_deleted_is_an_orphan(make_bench, small_limit_bytes, obstacle):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.store.enforce_checksums = False
    bench.write(3 * QUANTUM)
    bench.store.fault("send", flip_byte_at=5)
    bench.store.fault("send", skip=1, then=lambda: obstacle(bench))
    bench.store.fault("put_small", flip_byte_at=5, then=lambda: obstacle(bench))

    bench.assert_proven(bench.upload(), name_version=1)
    assert bench.journal.names == [bench.job.object_name(1)]
    assert bench.stored(0) != bench.data
    [orphan] = bench.journal.orphans
    assert (orphan.info.name, orphan.why) == (bench.job.object_name(0), WhyOrphaned.WRONG_BYTES)


def test_wrong_object_of_a_changed_file_is_not_deleted(bench):
    """Only while the file lies there as it was sent is a wrong object of it worth nothing."""
    bench.store.enforce_checksums = False
    bench.write(3 * QUANTUM)
    bench.store.fault("send", flip_byte_at=5)
    bench.store.fault("send", skip=1, then=lambda: os.truncate(bench.path, 5))
    bench.fails(FileChanged)

    assert bench.store.calls_of("delete") == []
    assert [orphan.why for orphan in bench.journal.orphans] == [WhyOrphaned.WRONG_BYTES]


# --- an object was there before ---


@WAYS
@pytest.mark.parametrize(
    "metadata",
    [{}, {META_TRANSFER: "transfer-2"}],
    ids=["ours", "another transfer's of this installation"],
)
def test_object_with_the_same_bytes_is_adopted(make_bench, small_limit_bytes, metadata):
    """F14"""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(3 * QUANTUM)
    info = bench.existing(bench.data, **metadata)
    result = bench.upload()

    assert (result.info, result.adopted, result.name_version) == (info, True, 0)
    assert result.identity == bench.root.stat("cam/clip.mkv")
    assert bench.store.objects() == [info]
    assert bench.store.calls_of("delete", "set_hold") == []


@WAYS
@pytest.mark.parametrize("metadata", [{}, {META_TRANSFER: "transfer-2"}], ids=["ours", "another's"])
def test_retry_after_a_conflict_adopts_equal_bytes(make_bench, small_limit_bytes, metadata):
    """P2: an object rewritten with the same bytes is the recording's own, whatever its generation."""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(3 * QUANTUM)
    info = bench.existing(bench.data, **metadata)
    result = bench.upload(passes_conflict=True)

    assert (result.info, result.adopted, result.name_version) == (info, True, 0)
    assert bench.store.objects() == [info]


@WAYS
def test_retry_after_a_conflict_takes_the_next_name(make_bench, small_limit_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(3 * QUANTUM)
    theirs = bench.existing(noise(3 * QUANTUM, seed=9), **{META_TRANSFER: "transfer-2"})

    bench.assert_proven(bench.upload(passes_conflict=True), name_version=1)
    assert theirs in bench.store.objects()
    assert bench.journal.orphans == []  # it is not ours


def test_retry_after_a_conflict_passes_one_name_only(bench):
    """A second object of another program is a conflict that a person has not seen."""
    bench.write(3 * QUANTUM)
    for name_version in (0, 1):
        bench.existing(noise(5, seed=name_version), name_version, **{META_TRANSFER: "transfer-2"})

    assert bench.fails(ObjectProblem, passes_conflict=True).code is Reason.OBJECT_CONFLICT
    assert bench.journal.name_version == 1


def test_retry_after_a_conflict_never_passes_another_installation(bench):
    bench.write(3 * QUANTUM)
    bench.existing(noise(5), **{META_INSTALLATION: "installation-2"})

    assert bench.fails(ObjectProblem, passes_conflict=True).code is Reason.OTHER_INSTALLATION


def test_equal_object_without_metadata_is_adopted(bench):
    bench.write(3 * QUANTUM)
    info = bench.existing(bench.data)
    info = bench.store.change(BUCKET, info.name, metadata={})

    assert bench.upload().info == info


@WAYS
@pytest.mark.parametrize("same_size", [True, False])
def test_object_with_other_bytes_is_a_conflict_and_stays(make_bench, small_limit_bytes, same_size):
    """F13"""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(3 * QUANTUM)
    theirs = noise(3 * QUANTUM if same_size else 100, seed=9)
    info = bench.existing(theirs, **{META_TRANSFER: "transfer-2"})
    error = bench.fails(ObjectProblem)

    assert (error.code, error.disposition) == (Reason.OBJECT_CONFLICT, Disposition.FAIL)
    assert bench.store.objects() == [info]
    assert bench.stored() == theirs
    assert bench.journal.session is None


@pytest.mark.parametrize("same_bytes", [True, False])
def test_another_installations_object_is_left_despite_equal_bytes(bench, same_bytes):
    bench.write(3 * QUANTUM)
    info = bench.existing(
        bench.data if same_bytes else noise(7), **{META_INSTALLATION: "installation-2", META_TRANSFER: "transfer-1"}
    )
    error = bench.fails(ObjectProblem)

    assert (error.code, error.disposition) == (Reason.OTHER_INSTALLATION, Disposition.FAIL)
    assert bench.store.objects() == [info]


@WAYS
def test_own_object_of_earlier_content_is_an_orphan(make_bench, small_limit_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    earlier = bench.existing(noise(3 * QUANTUM, seed=9))
    bench.write(3 * QUANTUM)

    bench.assert_proven(bench.upload(), name_version=1)
    assert earlier in bench.store.objects()
    assert bench.store.calls_of("delete") == []
    assert (bench.journal.name_version, bench.journal.names) == (1, [bench.job.object_name(1)])
    assert bench.journal.orphans == [Orphan(earlier, WhyOrphaned.EARLIER_CONTENT)]


def test_name_is_in_the_journal_before_its_first_byte(bench):
    bench.existing(noise(5))
    bench.write(3 * QUANTUM)
    names_when_begun = []
    bench.store.fault("start_session", skip=1, action=lambda: names_when_begun.extend(bench.journal.names))
    bench.upload()

    assert names_when_begun == [bench.job.object_name(1)]


def test_object_appearing_during_the_last_part_conflicts(bench):
    bench.write(3 * QUANTUM)
    bench.store.fault("send", skip=2, action=lambda: bench.existing(b"theirs", **{META_TRANSFER: "transfer-2"}))

    assert bench.fails(ObjectProblem).code is Reason.OBJECT_CONFLICT
    assert bench.stored() == b"theirs"


def test_equal_object_appearing_during_the_last_part_is_adopted(bench):
    bench.write(3 * QUANTUM)
    bench.store.fault("send", skip=2, action=lambda: bench.existing(bench.data))
    result = bench.upload()

    bench.assert_proven(result)
    assert result.adopted
    assert len(bench.store.objects()) == 1


def test_object_vanishing_after_the_refusal_is_written_again(bench):
    bench.write(3 * QUANTUM)
    info = bench.existing(b"theirs", **{META_TRANSFER: "transfer-2"})
    bench.store.fault("get", action=lambda: bench.store.remove(BUCKET, info.name))
    result = bench.upload()

    bench.assert_proven(result)
    assert not result.adopted


def test_bucket_full_of_orphans_ends_in_bounded_time(bench):
    bench.write(3 * QUANTUM)
    for name_version in range(50):
        bench.existing(noise(9, seed=name_version), name_version=name_version)

    assert bench.fails(TryAgain).disposition is Disposition.RETRY
    assert 0 < bench.journal.name_version < 50
    assert len(bench.store.objects()) == 50


def test_session_ended_with_other_bytes_is_no_upload(bench, monkeypatch):
    """The worker was killed after the last byte, and the disk reads otherwise now, under the same dates."""
    bench.write(3 * QUANTUM)
    bench.store.fault("send", StopAndTell("403"), skip=2, lost_answer=True)
    bench.fails(StopAndTell)
    [earlier] = bench.store.objects()
    real_pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: real_pread(*args).replace(bench.data[:9], b"corrupted"))
    result = bench.upload()

    assert (result.name_version, result.adopted) == (1, False)
    assert bench.stored(1) == b"corrupted" + bench.data[9:]
    assert earlier in bench.store.objects()
    assert bench.store.calls_of("delete") == []
