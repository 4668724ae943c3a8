"""An orphan from the upload that left it to the person who deletes it: never the last copy, never another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from apps.cctv.leasing.journal import OrmJournal
from apps.cctv.leasing.leases import Claim
from apps.cctv.models import GCPVideoTransfer, OrphanedObject, Recording
from apps.cctv.services import Conflict, NotFound
from apps.cctv.services.holds import hold_set
from apps.cctv.services.orphans import orphan_delete
from apps.cctv.services.uploads import Uploaded, upload_job, upload_record_failure, uploads_record
from apps.cctv.wiring import service_settings
from apps.users.models import Role, User
from offload.digest import from_base64
from offload.errors import (
    FileChanged,
    FileProblem,
    LeaseLost,
    ObjectProblem,
    OffloadError,
    Reason,
    StopAndTell,
    TryAgain,
)
from offload.source import MediaRoot
from offload.states import State
from offload.store import META_INSTALLATION, META_TRANSFER, ObjectInfo, ObjectSpec
from offload.testing import FakeClock, MemoryStore
from offload.uploader import UploadResult, UploadSettings, upload
from tests.integration.db import rows
from tests.integration.db.rows import NOW
from tests.integration.work.conftest import MakeTransfer

pytestmark = pytest.mark.django_db
BUCKET = "footage"


@pytest.fixture
def clock() -> FakeClock:
    """The files of these tests were written long ago by it."""
    return FakeClock(NOW + timedelta(hours=1))


class Depot:
    """One transfer, its file, and attempts of it as a worker makes them, one after the other."""

    def __init__(self, row: GCPVideoTransfer, root: Path, store: MemoryStore, clock: FakeClock) -> None:
        self.row, self.store, self.clock = row, store, clock
        self.root = MediaRoot(root)
        self.path = root / row.original_local_path
        self.whole = self.path.read_bytes()

    def claim(self) -> Claim:
        GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).update(next_attempt_at=NOW)
        claim = rows.claim(lease_seconds=10**9, now=self.clock.now())
        assert claim is not None
        return claim

    def attempt(self) -> UploadResult | OffloadError:
        claim = self.claim()
        try:
            result = upload(
                upload_job(claim, settings=service_settings()),
                root=self.root,
                store=self.store,
                journal=OrmJournal(claim, self.clock),
                clock=self.clock,
                settings=UploadSettings(),
                random=lambda: 0.5,
            )
        except OffloadError as error:
            upload_record_failure(
                claim=claim, error=error, now=self.clock.now(), random=lambda: 0.5, settings=service_settings()
            )
            return error
        uploads_record(uploads=[Uploaded(claim, result)], now=self.clock.now(), settings=service_settings())
        return result

    def change_after_last_byte(self, change: Callable[[], object]) -> None:
        self.store.fault("put_small", then=change)

    def leave_orphan(self) -> OrphanedObject:
        """The file is truncated after its last byte, then written anew and uploaded."""
        self.change_after_last_byte(lambda: self.path.write_bytes(b""))
        assert isinstance(self.attempt(), FileChanged)
        self.register(self.whole + b"more")
        assert isinstance(self.attempt(), UploadResult)
        return OrphanedObject.objects.get()

    def register(self, data: bytes) -> None:
        """The file is another one now, and the catalogue knows."""
        self.path.write_bytes(data)
        found = self.path.stat()
        Recording.objects.update(file_size_bytes=found.st_size, file_mtime_ns=found.st_mtime_ns)

    def object(self, orphan: OrphanedObject) -> ObjectInfo | None:
        return self.store.get(orphan.gcp_bucket, orphan.gcp_storage_path, generation=orphan.object_generation)

    def now(self) -> GCPVideoTransfer:
        return GCPVideoTransfer.objects.select_related("recording").get(pk=self.row.pk)


@pytest.fixture
def depot(make_transfer: MakeTransfer, media_root: Path, store: MemoryStore, clock: FakeClock) -> Depot:
    return Depot(make_transfer("clip.ts"), media_root, store, clock)


@pytest.fixture
def ada() -> User:
    return rows.user(Role.ADMIN, username="ada")


def delete(orphan: OrphanedObject, depot: Depot, user: User) -> OrphanedObject:
    return orphan_delete(orphan_id=orphan.pk, store=depot.store, user=user, now=depot.clock.now())


def assert_there(orphan: OrphanedObject, depot: Depot) -> None:
    """Neither the bucket nor the row lost it."""
    assert depot.object(orphan) is not None
    assert OrphanedObject.objects.get(pk=orphan.pk).deleted_at is None


# --- left by an upload ---


def test_file_truncated_after_its_last_byte_leaves_an_orphan(depot: Depot) -> None:
    depot.change_after_last_byte(lambda: depot.path.write_bytes(b""))
    error = depot.attempt()

    assert isinstance(error, FileChanged)
    [info] = depot.store.objects(BUCKET)
    assert depot.store.data(BUCKET, info.name) == depot.whole
    row, orphan = depot.now(), OrphanedObject.objects.get()
    assert (orphan.transfer_id, orphan.gcp_storage_path, orphan.object_generation) == (
        row.pk,
        info.name,
        info.generation,
    )
    assert (orphan.size_bytes, from_base64(orphan.object_crc32c)) == (len(depot.whole), info.crc32c)
    assert orphan.why == OrphanedObject.Why.FILE_CHANGED
    assert (row.transfer_status, row.name_version, row.recording.storage_type) == (State.PENDING, 1, "local")
    assert row.gcp_storage_path != orphan.gcp_storage_path


def test_worker_without_its_lease_leaves_no_row_or_name(depot: Depot) -> None:
    """P6: the next attempt meets the object under its name, and writes the row then."""

    def change() -> None:
        depot.path.write_bytes(b"other")
        GCPVideoTransfer.objects.update(lease_number=9)

    depot.change_after_last_byte(change)
    assert isinstance(depot.attempt(), LeaseLost)

    assert not OrphanedObject.objects.exists()
    assert depot.now().name_version == 0
    assert len(depot.store.objects(BUCKET)) == 1
    assert depot.store.calls_of("delete") == []


def test_gone_file_whose_orphan_is_whole_is_found(depot: Depot) -> None:
    depot.change_after_last_byte(lambda: depot.path.write_bytes(b""))
    depot.attempt()
    depot.path.unlink()
    result = depot.attempt()

    assert isinstance(result, UploadResult)
    row, orphan = depot.now(), OrphanedObject.objects.get()
    assert row.transfer_status == State.CLEANUP_COMPLETED
    assert (row.gcp_storage_path, row.object_generation) == (orphan.gcp_storage_path, orphan.object_generation)
    assert row.recording.file_path == orphan.gcp_storage_path
    assert orphan.is_found_again
    assert not OrphanedObject.objects.left_in_bucket().exists()


def test_gone_file_with_only_an_unproven_object_is_missing(depot: Depot) -> None:
    depot.change_after_last_byte(lambda: depot.path.write_bytes(b""))
    depot.attempt()
    OrphanedObject.objects.update(why=OrphanedObject.Why.EARLIER_CONTENT)
    depot.path.unlink()
    problem = depot.attempt()

    assert isinstance(problem, FileProblem)
    assert problem.code is Reason.FILE_MISSING


# --- a retry ---


def fail_by_cleanup(depot: Depot) -> None:
    """The cleanup found another object than was uploaded; a person asks again."""
    GCPVideoTransfer.objects.filter(pk=depot.row.pk).update(
        transfer_status=State.PENDING,
        passes_conflict=True,
        next_attempt_at=NOW,
        object_generation=None,
        object_crc32c="",
    )
    Recording.objects.update(storage_type="local")


def test_retry_after_an_equal_rewrite_adopts_the_object(depot: Depot) -> None:
    depot.attempt()
    [info] = depot.store.objects(BUCKET)
    depot.store.remove(BUCKET, info.name)
    job = upload_job(Claim(depot.now(), rows.lease(depot.now(), number=1)), settings=service_settings())
    rewritten = depot.store.put(_spec(info, job.metadata), depot.whole)
    fail_by_cleanup(depot)
    result = depot.attempt()

    assert isinstance(result, UploadResult)
    assert result.adopted
    assert depot.store.objects(BUCKET) == [rewritten]
    row = depot.now()
    assert (row.object_generation, row.name_version, row.passes_conflict) == (rewritten.generation, 0, False)
    assert row.cleanup_scheduled_at is not None
    assert not OrphanedObject.objects.exists()


def test_retry_after_another_took_the_name_takes_the_next(depot: Depot) -> None:
    depot.attempt()
    [info] = depot.store.objects(BUCKET)
    depot.store.remove(BUCKET, info.name)
    theirs = depot.store.put(_spec(info, {}), b"theirs")
    fail_by_cleanup(depot)
    result = depot.attempt()

    assert isinstance(result, UploadResult)
    assert theirs in depot.store.objects(BUCKET)
    row = depot.now()
    assert (row.name_version, row.gcp_storage_path.endswith("/1-clip.ts"), row.passes_conflict) == (1, True, False)
    assert not OrphanedObject.objects.exists()  # it is not ours


def _spec(info: ObjectInfo, metadata: Mapping[str, str]) -> ObjectSpec:
    return ObjectSpec(info.bucket, info.name, info.size_bytes, "video/mp2t", metadata)


# --- deleted by a person ---


def test_person_deletes_an_orphan_by_its_generation(depot: Depot, ada: User) -> None:
    orphan = depot.leave_orphan()
    current = depot.now()
    found = delete(orphan, depot, ada)

    [call] = depot.store.calls_of("delete")
    assert (call.name, call.generation) == (orphan.gcp_storage_path, orphan.object_generation)
    [left] = depot.store.objects(BUCKET)
    assert left.generation == current.object_generation
    assert (found.deleted_by, found.deletion_asked_at, found.deleted_at) == (
        "ada",
        depot.clock.now(),
        depot.clock.now(),
    )


def spoil(name: str) -> Callable[[Depot, OrphanedObject], object]:
    def held(depot: Depot, orphan: OrphanedObject) -> None:
        Recording.objects.update(hold_wanted=True)

    def still_held_in_the_bucket(depot: Depot, orphan: OrphanedObject) -> None:
        Recording.objects.update(hold_confirmed=True)

    def object_held(depot: Depot, orphan: OrphanedObject) -> None:
        depot.store.change(BUCKET, orphan.gcp_storage_path, temporary_hold=True)

    def another_installation(depot: Depot, orphan: OrphanedObject) -> None:
        marks = {META_INSTALLATION: "another", META_TRANSFER: str(orphan.transfer_id)}
        depot.store.change(BUCKET, orphan.gcp_storage_path, metadata=marks)

    def another_transfer(depot: Depot, orphan: OrphanedObject) -> None:
        info = depot.object(orphan)
        assert info is not None
        depot.store.change(BUCKET, orphan.gcp_storage_path, metadata={**info.metadata, META_TRANSFER: "another"})

    def no_marks(depot: Depot, orphan: OrphanedObject) -> None:
        depot.store.change(BUCKET, orphan.gcp_storage_path, metadata={})

    def other_bytes(depot: Depot, orphan: OrphanedObject) -> None:
        depot.store.change(BUCKET, orphan.gcp_storage_path, crc32c=5)

    def not_uploaded(depot: Depot, orphan: OrphanedObject) -> None:
        GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code="file_missing")

    def current_gone(depot: Depot, orphan: OrphanedObject) -> None:
        depot.store.remove(BUCKET, depot.now().gcp_storage_path)

    def current_differs(depot: Depot, orphan: OrphanedObject) -> None:
        depot.store.change(BUCKET, depot.now().gcp_storage_path, crc32c=5)

    def current_of_another(depot: Depot, orphan: OrphanedObject) -> None:
        depot.store.change(BUCKET, depot.now().gcp_storage_path, metadata={META_INSTALLATION: "another"})

    def held_in_this_moment(depot: Depot, orphan: OrphanedObject) -> None:
        def hold() -> None:
            hold_set(recording_id=depot.row.recording_id, user=User.objects.get(), reason="case", now=NOW)

        depot.store.fault("get", skip=1, then=hold)

    def started_anew_in_this_moment(depot: Depot, orphan: OrphanedObject) -> None:
        depot.store.fault("get", skip=1, then=lambda: not_uploaded(depot, orphan))

    def is_the_recording_s_own(depot: Depot, orphan: OrphanedObject) -> None:
        GCPVideoTransfer.objects.update(
            gcp_storage_path=orphan.gcp_storage_path,
            object_generation=orphan.object_generation,
            object_crc32c=orphan.object_crc32c,
            file_size_bytes=orphan.size_bytes,
            bytes_uploaded=orphan.size_bytes,
        )

    found: dict[str, Callable[[Depot, OrphanedObject], object]] = {
        key.replace("_", " "): value for key, value in locals().items() if callable(value)
    }
    return found[name]


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("held", "recording is held"),
        ("still held in the bucket", "recording is held"),
        ("object held", "bucket holds"),
        ("another installation", "marks"),
        ("another transfer", "marks"),
        ("no marks", "marks"),
        ("other bytes", "another object"),
        ("not uploaded", "last copy"),
        ("current gone", "not as it was uploaded"),
        ("current differs", "not as it was uploaded"),
        ("current of another", "another installation"),
        ("held in this moment", "recording is held"),
        ("started anew in this moment", "changed in this moment"),
        ("is the recording s own", "not an orphan any more"),
    ],
)
def test_orphan_stays_where_anything_speaks_for_it(what: str, told: str, depot: Depot, ada: User) -> None:
    orphan = depot.leave_orphan()
    spoil(what)(depot, orphan)

    with pytest.raises(Conflict, match=told):
        delete(orphan, depot, ada)

    depot.store.clear_faults()
    assert depot.store.calls_of("delete") == []
    assert_there(orphan, depot)


@pytest.mark.parametrize(
    "error", [StopAndTell("403"), TryAgain("503"), ObjectProblem("retained", code=Reason.OBJECT_RETAINED)], ids=repr
)
def test_undeleted_orphan_is_not_noted_as_deleted(error: OffloadError, depot: Depot, ada: User) -> None:
    orphan = depot.leave_orphan()
    depot.store.fault("delete", error)

    with pytest.raises(type(error)):
        delete(orphan, depot, ada)

    assert_there(orphan, depot)
    assert delete(orphan, depot, ada).deleted_at is not None


def test_death_between_bucket_and_row_is_finished_by_asking(depot: Depot, ada: User) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    orphan = depot.leave_orphan()
    depot.store.fault("delete", then=kill)
    with pytest.raises(Killed):
        delete(orphan, depot, ada)
    asked = OrphanedObject.objects.get()
    assert (asked.deleted_by, asked.deletion_asked_at, asked.deleted_at) == ("ada", depot.clock.now(), None)

    found = delete(orphan, depot, ada)
    assert found.deleted_at is not None
    assert found.detail == "It was gone from the bucket already."


def test_orphan_is_deleted_once(depot: Depot, ada: User) -> None:
    orphan = depot.leave_orphan()
    delete(orphan, depot, ada)
    with pytest.raises(Conflict, match="ada deleted it"):
        delete(orphan, depot, ada)
    assert len(depot.store.calls_of("delete")) == 1


def test_orphan_of_a_hidden_camera_is_hidden(depot: Depot) -> None:
    orphan = depot.leave_orphan()
    type(depot.row.recording.camera).objects.update(is_private=True)
    with pytest.raises(NotFound):
        delete(orphan, depot, rows.user(Role.DEV))
    assert_there(orphan, depot)
