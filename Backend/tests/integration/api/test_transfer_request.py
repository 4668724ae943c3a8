"""Asking for transfers: what starts, what does not, and that nothing starts twice."""

from __future__ import annotations

import logging
import os
import uuid
from functools import partial

import pytest
from django.db import connection, transaction

from apps.cctv.leasing.leases import renew
from apps.cctv.models import GCPVideoTransfer, Recording, TransferBatch, TransferEvent
from apps.cctv.services import Conflict, NotConfigured, NotFound
from apps.cctv.services.transfers import (
    PAGE_ROWS,
    RequestReport,
    transfer_cancel,
    transfer_request,
    transfer_retry,
)
from apps.cctv.tables.moves import MoveRefused
from apps.cctv.wiring import service_settings
from offload.errors import LeaseLost, Reason
from offload.source import MediaRoot
from offload.states import State
from tests.integration.db import rows
from tests.threads import all_at_once


@pytest.fixture
def ask(admin_user, media_root, bucket, now):
    """Request transfers as the administrator."""

    def request(recording_ids=None, batch_size=5, root=None) -> RequestReport:
        root = root or MediaRoot(media_root)
        return transfer_request(
            recording_ids=recording_ids,
            batch_size=batch_size,
            user=admin_user,
            now=now,
            root=root,
            settings=service_settings(),
        )

    return request


def reasons_of(report: RequestReport) -> dict[str, Reason]:
    return {failure.recording_id: failure.reason for failure in report.failures}


def test_a_request_stores_everything_the_worker_needs(ask, make_recording, admin_user, camera, bucket):
    recording = make_recording("gate/12 30.mp4", size_bytes=2048)

    report = ask(batch_size=7)

    transfer = GCPVideoTransfer.objects.get()
    assert report.transfer_ids == [transfer.pk]
    name = f"recordings/{camera.pk}/{recording.pk}/12 30.mp4"
    assert transfer.recording == recording
    assert transfer.batch.pk == report.batch_id
    assert (transfer.batch.kind, transfer.batch.batch_size) == ("request", 7)
    assert transfer.site == camera.site
    assert transfer.initiated_by == admin_user
    assert transfer.installation_id == "11111111-2222-4333-8444-555555555555"
    assert transfer.original_local_path == "gate/12 30.mp4"
    assert (transfer.gcp_bucket, transfer.gcp_storage_path) == (bucket, name)
    assert transfer.gcp_public_url == f"https://storage.googleapis.com/{bucket}/{name.replace(' ', '%20')}"
    assert (transfer.file_size_bytes, transfer.bytes_uploaded) == (2048, 0)
    assert transfer.transfer_status == State.PENDING
    assert transfer.next_attempt_at == transfer.created_at


def test_a_request_appends_one_event_a_transfer(ask, make_recording):
    make_recording()

    ask()

    event = TransferEvent.objects.get()
    assert (event.actor, event.move, event.from_status, event.to_status) == ("admin", "request", "", "pending")
    assert event.reason == Reason.REQUESTED


def test_request_without_ids_takes_ready_local_recordings_only(ask, make_recording):
    make_recording("ready.mp4")
    make_recording("unfinished.mp4", status=Recording.Status.RECORDING)
    make_recording("damaged.mp4", status=Recording.Status.DAMAGED)
    make_recording("away.mp4", storage_type=Recording.StorageType.GCP)

    report = ask()

    assert (report.total_recordings, report.initiated_transfers) == (1, 1)
    assert GCPVideoTransfer.objects.get().original_local_path == "ready.mp4"


def test_recording_asked_for_twice_in_one_list_counts_once(ask, make_recording):
    recording = make_recording()

    report = ask([str(recording.pk), str(recording.pk).upper(), recording.pk])

    assert (report.total_recordings, report.initiated_transfers) == (1, 1)


def test_asking_twice_starts_nothing_twice(ask, make_recording):
    make_recording()
    ask()

    report = ask()

    assert (report.initiated_transfers, report.already_transferred) == (0, 1)
    assert TransferEvent.objects.count() == 1


def test_a_request_that_starts_nothing_leaves_no_batch(ask, make_recording):
    make_recording(write_file=False)

    report = ask()

    assert report.failed_initiations == 1
    assert not TransferBatch.objects.exists()


@pytest.mark.parametrize("status", [state for state in State if state is not State.FAILED])
def test_running_or_uploaded_counts_as_already_transferred(ask, make_recording, status, now):
    recording = make_recording()
    rows.transfer(State(status), of=recording)

    report = ask([recording.pk])

    assert (report.total_recordings, report.already_transferred) == (1, 1)
    assert GCPVideoTransfer.objects.get().transfer_status == status


def test_recording_in_the_bucket_counts_as_already_transferred(ask, make_recording):
    recording = make_recording(storage_type=Recording.StorageType.GCP)

    assert ask([recording.pk]).already_transferred == 1


def test_bad_recordings_fail_with_a_reason_and_alone(ask, make_recording, media_root, tmp_path):
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"not ours")
    (media_root / "link.mp4").symlink_to(outside)
    (media_root / "linked-folder").symlink_to(tmp_path)
    (media_root / "folder.mp4").mkdir()
    os.mkfifo(media_root / "pipe.mp4")
    absent = uuid.uuid4()
    expected = {
        str(absent): Reason.RECORDING_NOT_FOUND,
        "no-uuid-at-all": Reason.RECORDING_NOT_FOUND,
        make_recording("gone.mp4", write_file=False).pk: Reason.FILE_MISSING,
        make_recording("empty.mp4", size_bytes=0).pk: Reason.FILE_EMPTY,
        make_recording("link.mp4", write_file=False).pk: Reason.FILE_IS_LINK,
        make_recording("linked-folder/outside.mp4", write_file=False).pk: Reason.FILE_IS_LINK,
        make_recording("folder.mp4", write_file=False).pk: Reason.FILE_NOT_REGULAR,
        make_recording("pipe.mp4", write_file=False).pk: Reason.FILE_NOT_REGULAR,
        make_recording("../outside.mp4", write_file=False).pk: Reason.FILE_OUTSIDE_MEDIA_ROOT,
        make_recording(str(outside), write_file=False).pk: Reason.FILE_OUTSIDE_MEDIA_ROOT,
        make_recording("/etc/passwd", write_file=False).pk: Reason.FILE_OUTSIDE_MEDIA_ROOT,
        make_recording("sub/../../outside.mp4", write_file=False).pk: Reason.FILE_OUTSIDE_MEDIA_ROOT,
        make_recording(".coldreel-trash/x", write_file=False).pk: Reason.FILE_OUTSIDE_MEDIA_ROOT,
        make_recording("n" * 300, write_file=False).pk: Reason.FILE_MISSING,
        make_recording("unfinished.mp4", status=Recording.Status.RECORDING).pk: Reason.RECORDING_NOT_READY,
    }
    good = make_recording("good.mp4")

    report = ask([*expected, good.pk])

    assert reasons_of(report) == {str(pk): reason for pk, reason in expected.items()}
    assert report.initiated_transfers == 1
    assert report.total_recordings == len(expected) + 1
    assert not any(str(tmp_path) in failure.detail or "passwd" in failure.detail for failure in report.failures)


@pytest.mark.parametrize(
    "name",
    [
        "a'b\"c`d$(e).mp4",
        "two words  and\ttab.mp4",
        "line\nbreak\r.mp4",
        "Überwachung-カメラ-🎥.mp4",
        "-rf.mp4",
        "%2e%2e%2f.mp4",
        "back\\slash.mp4",
        "x" * 251 + ".mp4",
        "ü" * 125 + "a.mp4",
        "'; DROP TABLE cctv_recording; --.mp4",
        "semi;colon?query#frag.mp4",
        "..mp4",
    ],
)
def test_a_strange_file_name_starts_like_any_other(ask, make_recording, name, camera):
    recording = make_recording(name)

    report = ask()

    transfer = GCPVideoTransfer.objects.get()
    assert report.initiated_transfers == 1
    assert transfer.original_local_path == name
    assert transfer.gcp_storage_path.startswith(f"recordings/{camera.pk}/{recording.pk}/")
    assert len(transfer.gcp_storage_path.encode()) <= 1024
    assert "\n" not in transfer.gcp_storage_path + transfer.gcp_public_url
    assert transfer.gcp_public_url.isascii()


def test_absolute_path_below_the_media_root_is_stored_relative(ask, make_recording, media_root):
    make_recording("gate/one.mp4", local_path=str(media_root / "gate/one.mp4"))

    ask()

    assert GCPVideoTransfer.objects.get().original_local_path == "gate/one.mp4"


def test_missing_media_root_fails_each_recording_with_that_reason(ask, make_recording, media_root):
    recording = make_recording()
    media_root.rename(media_root.with_name("unmounted"))

    assert reasons_of(ask()) == {str(recording.pk): Reason.MEDIA_ROOT_NOT_MOUNTED}


def test_failed_transfer_is_started_again_in_this_batch(ask, make_recording, now):
    make_recording()
    ask()
    first = GCPVideoTransfer.objects.get()
    GCPVideoTransfer.objects.update(
        transfer_status=State.FAILED,
        error_code="retries_exhausted",
        error_message="It failed too often.",
        failures_in_row=20,
        failing_since=now,
        needs_attention=True,
        next_attempt_at=None,
        session_uri="kept",
        bytes_uploaded=512,
    )

    report = ask()

    again = GCPVideoTransfer.objects.get()
    assert report.transfer_ids == [first.pk] == [again.pk]
    assert again.batch_id == report.batch_id != first.batch_id
    assert again.transfer_status == State.PENDING
    assert (again.failures_in_row, again.failing_since, again.retry_count) == (0, None, 1)
    assert (again.error_code, again.error_message, again.needs_attention) == ("", "", False)
    assert again.next_attempt_at == now
    assert (again.session_uri, again.bytes_uploaded) == ("kept", 512)  # a committed byte is never sent again
    assert again.events.last().reason == Reason.RETRIED


@pytest.mark.parametrize(
    ("code", "known"),
    [("object_conflict", True), ("object_differs", True), ("object_exists", True), ("object_missing", False)],
)
def test_retry_after_a_conflict_remembers_the_other_object(ask, make_recording, code, known):
    """P2: what lies there may have the same bytes by now. The attempt compares them before it takes the next name."""
    make_recording("one.mp4")
    ask()
    before = GCPVideoTransfer.objects.get()
    GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code=code)

    ask()

    again = GCPVideoTransfer.objects.get()
    assert (again.name_version, again.gcp_storage_path) == (0, before.gcp_storage_path)
    assert again.passes_conflict is known


def test_retry_in_another_bucket_knows_of_no_object_there(ask, make_recording, settings):
    make_recording()
    ask()
    GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code="object_conflict")
    settings.GCP_STORAGE_BUCKET_NAME = "another"

    ask()

    assert GCPVideoTransfer.objects.get().passes_conflict is False


def test_retry_after_a_bucket_change_uses_the_new_bucket(ask, make_recording, settings):
    make_recording()
    ask()
    GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code="cancelled", session_uri="old")
    settings.GCP_STORAGE_BUCKET_NAME = "another"

    ask()

    transfer = GCPVideoTransfer.objects.get()
    assert (transfer.gcp_bucket, transfer.session_uri) == ("another", "")
    assert "/another/" in transfer.gcp_public_url


def test_retry_of_a_grown_file_has_its_new_size(ask, make_recording, media_root):
    make_recording("one.mp4", size_bytes=100)
    ask()
    GCPVideoTransfer.objects.update(
        transfer_status=State.FAILED, error_code="file_changed", session_uri="old", bytes_uploaded=100
    )
    (media_root / "one.mp4").write_bytes(b"x" * 300)

    ask()

    transfer = GCPVideoTransfer.objects.get()
    assert (transfer.file_size_bytes, transfer.bytes_uploaded, transfer.session_uri) == (300, 0, "")


def test_a_request_without_a_bucket_is_refused(ask, make_recording, settings):
    make_recording()
    settings.GCP_STORAGE_USE_GCS = False

    with pytest.raises(NotConfigured, match="GCP storage is not configured"):
        ask()


def test_request_without_installation_id_is_refused_without_a_path(ask, make_recording, settings, tmp_path):
    make_recording()
    ask()
    settings.COLDREEL_INSTALLATION_ID = ""
    settings.COLDREEL_HOME = tmp_path / "home"

    with pytest.raises(Conflict) as refused:
        ask()
    assert str(tmp_path) not in refused.value.detail


# --- Many at once ---------------------------------------------------------------------------------
def make_many(camera, media_root, count: int, now) -> None:
    """Recordings that share one file by hard links."""
    first = media_root / "0.mp4"
    first.write_bytes(b"x")
    for number in range(1, count):
        os.link(first, media_root / f"{number}.mp4")
    Recording.objects.bulk_create(
        Recording(camera=camera, name=f"{n}.mp4", local_path=f"{n}.mp4", file_path=f"{n}.mp4", started_at=now)
        for n in range(count)
    )


class RowsOfTransactions:
    """How many transfers each transaction inserted, and how many statements the whole took."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.statements = 0
        self.reads = 0
        self._rows = 0

    def __call__(self, execute, sql, params, many, context):
        self.statements += 1
        self.reads += sql.startswith("SELECT")
        if sql.startswith("INSERT") and '"cctv_gcpvideotransfer"' in sql:
            if not self._rows:
                transaction.on_commit(self._commit)
            self._rows += len(params) if many else len(params) // (sql[: sql.index(")")].count(",") + 1)
        return execute(sql, params, many, context)

    def _commit(self) -> None:
        self.committed.append(self._rows)
        self._rows = 0


@pytest.mark.django_db(transaction=True)
def test_2500_recordings_take_three_transactions_of_1000_rows(ask, camera, media_root, now):
    make_many(camera, media_root, 2500, now)
    seen = RowsOfTransactions()

    with connection.execute_wrapper(seen):
        report = ask()

    assert report.initiated_transfers == GCPVideoTransfer.objects.count() == TransferEvent.objects.count() == 2500
    assert TransferBatch.objects.count() == 1
    assert len(set(report.transfer_ids)) == 2500
    assert seen.committed == [1000, 1000, 500]


@pytest.mark.django_db(transaction=True)
def test_1000_more_recordings_cost_a_bounded_number_of_statements(ask, camera, media_root, now):
    make_many(camera, media_root, PAGE_ROWS, now)
    seen = RowsOfTransactions()

    with connection.execute_wrapper(seen):
        ask()
        asked_again = seen.statements
        ask()

    assert asked_again <= 20
    assert seen.reads <= 12
    assert seen.statements - asked_again <= 3  # nothing new: read, and that is all


@pytest.mark.django_db(transaction=True)
def test_1500_failed_transfers_are_started_again_in_few_statements(ask, camera, media_root, now):
    make_many(camera, media_root, 1500, now)
    ask()
    GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code="cancelled")
    seen = RowsOfTransactions()

    with connection.execute_wrapper(seen):
        report = ask()

    assert report.initiated_transfers == 1500
    assert GCPVideoTransfer.objects.filter(transfer_status=State.PENDING, batch=report.batch_id).count() == 1500
    assert TransferEvent.objects.filter(move="retry").count() == 1500
    assert seen.statements <= 50


@pytest.mark.django_db(transaction=True)
def test_two_requests_at_once_start_each_recording_once(ask, camera, media_root, now):
    make_many(camera, media_root, 300, now)

    reports = all_at_once(2, ask)

    assert [report.total_recordings for report in reports] == [300, 300]
    assert sum(report.initiated_transfers for report in reports) == 300
    assert sum(report.already_transferred for report in reports) == 300
    assert GCPVideoTransfer.objects.count() == TransferEvent.objects.count() == 300


def test_recording_started_by_another_request_is_not_started_again(ask, make_recording, media_root):
    """The other request commits between this one's read and its insert."""
    make_recording()
    inner: list[RequestReport] = []

    class SlowRoot(MediaRoot):
        def stat(self, relative_path):
            inner.append(ask())
            return super().stat(relative_path)

    report = ask(root=SlowRoot(media_root))

    assert inner[0].initiated_transfers == 1
    assert (report.initiated_transfers, report.already_transferred, report.failed_initiations) == (0, 1, 0)
    assert TransferEvent.objects.count() == 1


# --- Retry and cancel -----------------------------------------------------------------------------
@pytest.fixture
def transfer(ask, make_recording) -> GCPVideoTransfer:
    make_recording()
    ask()
    return GCPVideoTransfer.objects.get()


def test_cancelled_transfer_fails_with_that_reason_and_no_session(transfer, admin_user, now):
    GCPVideoTransfer.objects.update(session_uri="https://secret", bytes_uploaded=10)

    cancelled = transfer_cancel(transfer_id=transfer.pk, user=admin_user, now=now)

    assert (cancelled.transfer_status, cancelled.error_code) == (State.FAILED, Reason.CANCELLED)
    assert cancelled.error_message == "Cancelled by admin."
    assert (cancelled.session_uri, cancelled.bytes_uploaded, cancelled.next_attempt_at) == ("", 0, None)
    assert cancelled.events.last().actor == "admin"


def test_cancelling_an_upload_takes_the_workers_lease_away(transfer, admin_user, now):
    claim = rows.claim(now=now)

    transfer_cancel(transfer_id=transfer.pk, user=admin_user, now=now)

    assert renew(leases=[claim.lease], now=now, lease_seconds=40) == {}
    with pytest.raises(LeaseLost):
        claim.transfer.mark_upload_completed(lease=claim.lease, generation=1, crc32c="AAAAAA==", now=now)
    transfer.refresh_from_db()
    assert transfer.transfer_status == State.FAILED


def test_cancelled_transfer_can_be_retried_in_its_own_batch(transfer, admin_user, now):
    transfer_cancel(transfer_id=transfer.pk, user=admin_user, now=now)

    retried = transfer_retry(transfer_id=transfer.pk, user=admin_user, now=now, settings=service_settings())

    assert (retried.transfer_status, retried.retry_count, retried.error_code) == (State.PENDING, 1, "")
    assert (retried.batch.kind, retried.batch.created_by) == ("retry", admin_user)
    assert [event.move for event in retried.events.all()] == ["request", "cancel", "retry"]


def test_transfer_of_a_missing_object_starts_without_old_proof(transfer, admin_user, now):
    GCPVideoTransfer.objects.update(
        transfer_status=State.FAILED,
        error_code="object_missing",
        object_generation=5,
        object_crc32c="AAAAAA==",
        upload_completed_at=now,
        cleanup_scheduled_at=now,
        bytes_uploaded=1024,
    )

    retried = transfer_retry(transfer_id=transfer.pk, user=admin_user, now=now, settings=service_settings())

    assert (retried.object_generation, retried.object_crc32c, retried.bytes_uploaded) == (None, "", 0)
    assert (retried.upload_completed_at, retried.cleanup_scheduled_at) == (None, None)


@pytest.mark.parametrize("status", [State.COMPLETED, State.CLEANUP_PENDING, State.CLEANUP_COMPLETED])
def test_what_is_uploaded_can_be_neither_cancelled_nor_retried(make_recording, admin_user, now, status, bucket):
    row = rows.transfer(status, of=make_recording())

    for move in (transfer_cancel, partial(transfer_retry, settings=service_settings())):
        with pytest.raises(MoveRefused):
            move(transfer_id=row.pk, user=admin_user, now=now)
    row.refresh_from_db()
    assert row.transfer_status == status
    assert not TransferBatch.objects.filter(kind="retry").exists()
    assert not row.events.exists()


def test_a_pending_transfer_cannot_be_retried(transfer, admin_user, now):
    with pytest.raises(MoveRefused):
        transfer_retry(transfer_id=transfer.pk, user=admin_user, now=now, settings=service_settings())


def test_transfer_that_does_not_exist_is_not_found(admin_user, now, bucket):
    for move in (transfer_cancel, partial(transfer_retry, settings=service_settings())):
        with pytest.raises(NotFound):
            move(transfer_id=uuid.uuid4(), user=admin_user, now=now)


def test_log_names_the_transfer_and_never_its_session(transfer, admin_user, now, caplog):
    GCPVideoTransfer.objects.update(session_uri="https://storage/upload?upload_id=SECRET")

    with caplog.at_level(logging.INFO, "coldreel.transfer"):
        transfer_cancel(transfer_id=transfer.pk, user=admin_user, now=now)

    assert str(transfer.pk) in caplog.text
    assert "transfer_cancelled" in caplog.text
    assert "SECRET" not in caplog.text
