"""Files that change, vanish or cannot be read while they are sent (P8, F1, F11)."""

from __future__ import annotations

import errno
import os

import pytest

from offload.errors import Disposition, FileChanged, FileProblem, Reason, StopAndTell
from offload.journal import Orphan, WhyOrphaned
from offload.store import META_TRANSFER
from tests.unit.upload_bench import BUCKET, PATH, QUANTUM, noise

pytestmark = pytest.mark.usefixtures("memory")
WAYS = pytest.mark.parametrize("small_limit_bytes", [0, 100 * QUANTUM], ids=["session", "small"])
SIZE = 3 * QUANTUM


def grow(bench) -> None:
    with bench.path.open("ab") as file:
        file.write(b"one more frame")


def shrink(bench) -> None:
    os.truncate(bench.path, SIZE - 10)


def shrink_to_nothing(bench) -> None:
    os.truncate(bench.path, 0)


def rewrite(bench) -> None:
    with bench.path.open("r+b") as file:
        file.write(b"rewritten")
    bench.touch(60)


CHANGES = pytest.mark.parametrize("change", [grow, shrink, shrink_to_nothing, rewrite])


def at_last_part(bench, action) -> None:
    """While the bucket makes the object: what has been read is whole, the answer is not back yet."""
    bench.store.fault("send", skip=2, action=action)
    bench.store.fault("put_small", action=action)


def after_last_byte(bench, change) -> None:
    """The object is there; the file changes before it is looked at again."""
    bench.store.fault("send", skip=2, then=lambda: change(bench))
    bench.store.fault("put_small", then=lambda: change(bench))


def assert_nothing_whole_was_deleted(bench, whole: bytes) -> None:
    """What is in the bucket is the recording as it was, and the journal knows it as an orphan."""
    assert bench.store.calls_of("delete") == []
    assert [bench.store.data(BUCKET, info.name) for info in bench.store.objects()] in ([], [whole])
    assert [orphan.info for orphan in bench.journal.orphans] == bench.store.objects()


@CHANGES
@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_file_changing_while_sent_is_not_counted(bench, change, chunk):
    """F11"""
    bench.write(SIZE)
    bench.store.fault("send", skip=chunk, action=lambda: change(bench))
    whole = bench.data
    error = bench.fails(FileChanged)

    assert error.disposition is Disposition.RETRY
    assert_nothing_whole_was_deleted(bench, whole)
    assert chunk == 2 or bench.store.objects() == []  # seen before there was an object
    assert bench.journal.session is None
    assert bench.store.open_sessions() == 0


@CHANGES
def test_small_file_changing_while_sent_is_not_counted(make_bench, change):
    bench = make_bench(small_limit_bytes=SIZE)
    bench.write(SIZE)
    bench.store.fault("put_small", action=lambda: change(bench))

    whole = bench.data
    bench.fails(FileChanged)
    assert_nothing_whole_was_deleted(bench, whole)


def restore_date(bench) -> None:
    """Rewritten in place, as large as before and under its old date."""
    mtime_ns = bench.path.stat().st_mtime_ns
    with bench.path.open("r+b") as file:
        file.write(b"rewritten")
    os.utime(bench.path, ns=(mtime_ns, mtime_ns))


def replace_whole(bench) -> None:
    bench.path.with_name("new").write_bytes(noise(SIZE, seed=1))
    bench.path.with_name("new").rename(bench.path)


@WAYS
@pytest.mark.parametrize("change", [grow, shrink, shrink_to_nothing, rewrite, restore_date, replace_whole])
def test_whole_object_of_a_changed_file_is_never_deleted(make_bench, small_limit_bytes, change):
    """Its bytes were compared and found right: it may be the last copy of the recording."""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    whole = bench.write(SIZE)
    after_last_byte(bench, change)
    assert bench.fails(FileChanged).disposition is Disposition.RETRY

    assert bench.stored() == whole
    assert bench.store.calls_of("delete") == []
    [info] = bench.store.objects()
    assert bench.journal.orphans == [Orphan(info, WhyOrphaned.FILE_CHANGED)]
    assert (bench.journal.name_version, bench.journal.names) == (1, [bench.job.object_name(1)])
    assert bench.journal.session is None


@CHANGES
def test_whole_object_of_a_resumed_upload_is_never_deleted(bench, change):
    bench.write(SIZE)
    bench.store.fault("send", StopAndTell("403"), skip=1)
    bench.fails(StopAndTell)
    bench.store.fault("send", skip=1, then=lambda: change(bench))
    whole = bench.data
    bench.fails(FileChanged)

    assert bench.stored() == whole
    assert bench.store.calls_of("delete") == []
    assert [orphan.why for orphan in bench.journal.orphans] == [WhyOrphaned.FILE_CHANGED]


@pytest.mark.parametrize("change", [shrink, shrink_to_nothing])
def test_whole_object_of_a_truncated_file_is_never_deleted(bench, monkeypatch, change):
    """Only the ctime had changed, so the file was read again, and it was cut in that moment."""
    whole = bench.write(SIZE)
    reads = []

    def meanwhile(bench):
        chmod(bench)
        real_pread = os.pread
        monkeypatch.setattr(os, "pread", lambda *args: reads.append(change(bench)) or real_pread(*args))

    after_last_byte(bench, meanwhile)
    bench.fails(FileChanged)

    assert reads
    assert bench.stored() == whole
    assert bench.store.calls_of("delete") == []
    assert [orphan.why for orphan in bench.journal.orphans] == [WhyOrphaned.FILE_CHANGED]


class Killed(BaseException):
    """The process is gone: no handler runs."""


def killed_at(bench, method: str, *, after: bool) -> None:
    """The process dies just before or just after a note of the journal is committed."""
    note = getattr(bench.journal, method)

    def noted(*values):
        setattr(bench.journal, method, note)
        if after:
            note(*values)
        raise Killed

    setattr(bench.journal, method, noted)


@WAYS
@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("method", ["session_dropped", "name_changed"])
def test_worker_killed_around_the_orphan_leaves_it_known(make_bench, small_limit_bytes, method, after):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    whole = bench.write(SIZE)
    after_last_byte(bench, rewrite)
    killed_at(bench, method, after=after)
    with pytest.raises(Killed):
        bench.upload()
    bench.data = bench.path.read_bytes()
    result = bench.upload()

    bench.assert_proven(result, name_version=1)
    assert bench.stored(0) == whole
    assert bench.store.calls_of("delete") == []
    assert [orphan.info.generation for orphan in bench.journal.orphans] == [
        info.generation for info in bench.store.objects() if info.name == bench.job.object_name(0)
    ]


@WAYS
def test_changed_file_is_uploaded_again_once_settled(make_bench, small_limit_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(SIZE)
    after_last_byte(bench, rewrite)
    bench.fails(FileChanged)
    bench.data = bench.path.read_bytes()

    bench.assert_proven(bench.upload(), name_version=1)


def test_object_put_under_the_name_meanwhile_is_not_deleted(bench):
    """F12: a failed attempt's tidying deletes its own generation only."""
    bench.write(SIZE)

    def change(bench):
        rewrite(bench)
        bench.existing(b"theirs", **{META_TRANSFER: "transfer-2"})

    after_last_byte(bench, change)
    bench.fails(FileChanged)

    assert bench.stored() == b"theirs"


def test_adopted_object_of_a_changing_file_is_not_deleted(bench):
    """It was there before the bucket made ours: no attempt of ours may take it away."""
    bench.write(SIZE)
    bench.store.fault("send", skip=2, action=lambda: bench.existing(bench.data))
    bench.store.fault("get", action=lambda: rewrite(bench))

    bench.fails(FileChanged)
    assert bench.stored() == bench.data
    assert bench.store.calls_of("delete") == []


# --- another ctime alone ---


def chmod(bench) -> None:
    bench.path.chmod(0o600)


def hard_link(bench) -> None:
    os.link(bench.path, bench.path.with_name("backup"))


@WAYS
@pytest.mark.parametrize("touch", [chmod, hard_link])
def test_backup_that_links_the_file_meanwhile_changes_nothing(make_bench, small_limit_bytes, touch):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(SIZE)
    at_last_part(bench, lambda: touch(bench))
    result = bench.upload()

    bench.assert_proven(result)
    assert result.identity == bench.root.stat(PATH)


def test_rewritten_file_of_old_date_is_caught_by_checksum(bench):
    bench.write(SIZE)
    after_last_byte(bench, restore_date)

    bench.fails(FileChanged)


# --- another file under the path, or none ---


@WAYS
def test_replaced_recording_stays_in_the_bucket_uncounted(make_bench, small_limit_bytes):
    """What was sent is whole, and the bucket may hold its last copy: nothing deletes that (F2)."""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    first = bench.write(SIZE)

    at_last_part(bench, lambda: replace_whole(bench))
    bench.fails(FileChanged)
    assert bench.stored(0) == first

    bench.write(noise(SIZE, seed=1))
    bench.assert_proven(bench.upload(), name_version=1)
    assert bench.stored(0) == first


def test_recording_replaced_by_a_link_is_not_counted(bench, tmp_path):
    bench.write(SIZE)
    (tmp_path / "elsewhere").write_bytes(bench.data)

    def replace():
        bench.path.unlink()
        bench.path.symlink_to(tmp_path / "elsewhere")

    at_last_part(bench, replace)
    bench.fails(FileChanged)
    assert bench.fails(FileProblem).code is Reason.FILE_IS_LINK


@WAYS
def test_file_deleted_after_its_last_byte_is_found(make_bench, small_limit_bytes):
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    bench.write(SIZE)
    at_last_part(bench, bench.path.unlink)
    result = bench.upload()

    assert (result.found_in_bucket, result.identity) == (True, None)
    assert bench.stored() == bench.data
    assert bench.store.calls_of("delete") == []


def test_file_on_an_unplugged_disk_waits_for_the_disk(bench, tmp_path):
    """F16"""
    bench.write(SIZE)

    def unplug():
        bench.root.path.rename(tmp_path / "unplugged")
        (bench.root.path / "cam").mkdir(parents=True)

    at_last_part(bench, unplug)
    assert bench.fails(StopAndTell).code is Reason.MEDIA_ROOT_NOT_MOUNTED

    (bench.root.path / "cam").rmdir()
    bench.root.path.rmdir()
    (tmp_path / "unplugged").rename(bench.root.path)
    result = bench.upload()
    bench.assert_proven(result)
    assert result.bytes_sent == 0


def test_adopted_object_without_our_mark_replaces_no_file(bench):
    bench.write(SIZE)
    info = bench.existing(bench.data)
    bench.store.change(BUCKET, info.name, metadata={})
    bench.store.fault("get", action=bench.path.unlink)

    bench.fails(FileChanged)
    assert bench.stored() == bench.data


# --- a disk that fails ---


@WAYS
@pytest.mark.parametrize("call", ["pread", "fstat", "stat", "open"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOSPC, errno.ETIMEDOUT])
def test_failing_disk_at_any_step_costs_nothing_but_time(make_bench, monkeypatch, small_limit_bytes, call, number):
    """F1: each call of the operating system fails once; the file stays, and a later attempt succeeds."""
    bench = make_bench(small_limit_bytes=small_limit_bytes)
    real_call = getattr(os, call)
    attempts, dispositions = 0, set()
    while True:
        bench.journal.session = None
        bench.store.forget_sessions()
        for info in bench.store.objects():
            bench.store.remove(BUCKET, info.name)
        bench.write(SIZE)
        countdown = iter([False] * attempts + [True])

        def failing(*args, countdown=countdown, **kwargs):
            if next(countdown, False):
                raise OSError(number, os.strerror(number))
            return real_call(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(os, call, failing)
            try:
                bench.upload()
            except (FileProblem, StopAndTell) as error:
                dispositions.add(error.disposition)
        assert bench.path.read_bytes() == bench.data
        if next(countdown, False):  # it was never reached: every call has failed once
            break
        bench.assert_proven(bench.upload())
        attempts += 1
    assert dispositions
    assert dispositions <= {Disposition.RETRY, Disposition.WAIT}


def test_read_error_in_mid_upload_keeps_what_is_committed(bench, monkeypatch):
    bench.write(SIZE)
    real_pread = os.pread

    def failing(descriptor, length, offset):
        if offset >= QUANTUM:
            raise OSError(errno.EIO, "bad sector")
        return real_pread(descriptor, length, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", failing)
        error = bench.fails(FileProblem)
    assert (error.code, error.disposition) == (Reason.FILE_UNREADABLE, Disposition.RETRY)
    assert bench.journal.progressed == [QUANTUM]

    result = bench.upload()
    bench.assert_proven(result)
    assert result.resumed_from_bytes == QUANTUM
