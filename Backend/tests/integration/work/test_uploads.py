"""What an upload is made from, and how each of its ends is recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from apps.cctv.leasing.leases import Claim
from apps.cctv.models import Alarm, GCPVideoTransfer, Recording
from apps.cctv.services.uploads import Uploaded, upload_job, upload_record_failure, uploads_record
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.wiring import service_settings
from offload.errors import (
    Disposition,
    FileProblem,
    LeaseLost,
    LineDown,
    ObjectProblem,
    OffloadError,
    Reason,
    StopAndTell,
    Stopped,
    TryAgain,
)
from offload.states import State
from offload.store import META_INSTALLATION, META_RECORDING, META_TRANSFER
from offload.uploader import UploadResult
from tests.conftest import INSTALLATION_ID
from tests.integration.db import rows
from tests.integration.db.rows import NOW
from tests.integration.work.conftest import MakeTransfer
from tests.integration.work.results import IDENTITY, result_for

pytestmark = pytest.mark.django_db
FOOTAGE = Subject(SubjectKind.BUCKET, "footage")


def half() -> float:
    return 0.5


@pytest.fixture
def claim(make_transfer: MakeTransfer) -> Claim:
    make_transfer()
    return claimed()


def claimed() -> Claim:
    found = rows.claim(lease_seconds=10**9, actor="box:7")
    assert found is not None
    return found


def record(claim: Claim, result: UploadResult) -> bool:
    """Whether it was recorded."""
    return uploads_record(uploads=[Uploaded(claim, result)], now=NOW, settings=service_settings()) == {
        claim.transfer.pk
    }


def row_of(claim: Claim) -> GCPVideoTransfer:
    return GCPVideoTransfer.objects.select_related("recording").get(pk=claim.transfer.pk)


def fail(claim: Claim, error: OffloadError, *, seconds: float = 0) -> GCPVideoTransfer:
    upload_record_failure(
        claim=claim, error=error, now=NOW + timedelta(seconds=seconds), random=half, settings=service_settings()
    )
    return row_of(claim)


# --- the job ---


def test_job_says_whose_the_object_will_be(claim: Claim) -> None:
    job = upload_job(claim, settings=service_settings())
    assert job.metadata[META_INSTALLATION] == INSTALLATION_ID
    assert job.metadata[META_TRANSFER] == str(claim.transfer.pk)
    assert job.metadata[META_RECORDING] == str(claim.transfer.recording_id)
    assert job.object_name(0) == claim.transfer.gcp_storage_path
    assert job.object_name(1).endswith("/1-clip.ts")
    assert job.content_type == "video/mp2t"
    assert (job.expected_size_bytes, job.expected_mtime_ns) == (1024, claim.transfer.recording.file_mtime_ns)


def test_job_of_a_held_recording_asks_for_a_hold(make_transfer: MakeTransfer) -> None:
    make_transfer(recording={"hold_wanted": True})
    assert upload_job(claimed(), settings=service_settings()).temporary_hold


def test_job_continues_the_stored_session(make_transfer: MakeTransfer) -> None:
    make_transfer(session_uri="https://key", session_started_at=NOW, session_identity=IDENTITY.encode())
    session = upload_job(claimed(), settings=service_settings()).session
    assert session is not None
    assert (session.uri, session.started_at, session.identity) == ("https://key", NOW, IDENTITY)


# --- uploaded ---


def test_verified_upload_changes_row_and_catalogue_together(claim: Claim) -> None:
    record(claim, result_for(claim))
    row = row_of(claim)
    assert row.transfer_status == State.CLEANUP_PENDING
    assert (row.object_generation, row.object_crc32c, row.object_stored_at) == (77, "AAAAAQ==", NOW)
    assert (row.bytes_uploaded, row.file_size_bytes) == (1024, 1024)
    assert row.source_identity == IDENTITY.encode()
    assert (row.lease_owner, row.session_uri, row.next_attempt_at) == (None, "", None)
    assert row.cleanup_scheduled_at is not None
    assert row.upload_completed_at is not None
    assert row.cleanup_scheduled_at - row.upload_completed_at == timedelta(hours=24)
    assert row.recording.storage_type == Recording.StorageType.GCP
    assert row.recording.file_path == row.gcp_storage_path
    assert row.recording.local_path == row.original_local_path
    event = row.events.last()
    assert event is not None
    assert (event.reason, event.actor) == ("uploaded", "box:7")


@pytest.mark.parametrize("known", [True, False], ids=["by its session", "by how long it took"])
def test_record_tells_when_the_bytes_began_to_go(claim: Claim, known: bool) -> None:
    claim.transfer.upload_started_at = NOW - timedelta(hours=1) if known else None
    seconds = None if known else 3600.0
    uploads_record(uploads=[Uploaded(claim, result_for(claim), seconds)], now=NOW, settings=service_settings())
    row = row_of(claim)
    assert row.upload_started_at is not None
    assert row.upload_completed_at is not None
    by_the_row = row.upload_completed_at - timedelta(hours=1)
    assert row.upload_started_at == (claim.transfer.upload_started_at if known else by_the_row)


def test_waiting_period_is_the_settings(claim: Claim, settings: Any) -> None:
    settings.GCP_CLEANUP_DELAY_HOURS = 0.5
    record(claim, result_for(claim, adopted=True))
    row = row_of(claim)
    assert row.cleanup_scheduled_at is not None
    assert row.upload_completed_at is not None
    assert row.cleanup_scheduled_at - row.upload_completed_at == timedelta(minutes=30)
    assert row.events.last().reason == "adopted"


def test_held_recordings_local_file_stays(claim: Claim) -> None:
    """Also when it was held while it was uploaded: the wish is read when the end is recorded."""
    Recording.objects.update(hold_wanted=True)
    record(claim, result_for(claim))
    row = row_of(claim)
    assert (row.transfer_status, row.cleanup_scheduled_at) == (State.COMPLETED, None)
    assert not row.recording.hold_confirmed


def test_hold_is_confirmed_by_the_object_alone(claim: Claim) -> None:
    Recording.objects.update(hold_wanted=True)
    record(claim, result_for(claim, held=True))
    assert row_of(claim).recording.hold_confirmed


def test_with_cleanup_off_the_local_file_stays(claim: Claim, settings: Any) -> None:
    settings.GCP_STORAGE_CLEANUP_LOCAL = False
    record(claim, result_for(claim))
    assert row_of(claim).transfer_status == State.COMPLETED


def test_recording_found_in_the_bucket_needs_no_cleanup(claim: Claim) -> None:
    record(claim, result_for(claim, found_in_bucket=True, identity=None))
    row = row_of(claim)
    assert row.transfer_status == State.CLEANUP_COMPLETED
    assert (row.object_generation, row.object_crc32c) == (77, "AAAAAQ==")
    assert row.cleanup_completed_at is not None
    assert row.recording.storage_type == Recording.StorageType.GCP
    assert row.events.last().reason == "found_in_bucket"


@pytest.mark.parametrize("columns", [{"lease_number": 2}, {"lease_expires_at": NOW - timedelta(days=4000)}])
@pytest.mark.parametrize("found", [False, True])
def test_worker_that_lost_its_lease_records_no_upload(claim: Claim, columns: dict[str, Any], found: bool) -> None:
    GCPVideoTransfer.objects.update(**columns)
    before = GCPVideoTransfer.objects.values().get()
    assert not record(claim, result_for(claim, found_in_bucket=found))
    with pytest.raises(LeaseLost):
        fail(claim, TryAgain("busy"))
    assert GCPVideoTransfer.objects.values().get() == before
    assert Recording.objects.get().storage_type == Recording.StorageType.LOCAL


def test_upload_without_its_files_identity_is_not_recorded(claim: Claim) -> None:
    with pytest.raises(ValueError, match="identity"), transaction.atomic():
        record(claim, result_for(claim, identity=None))
    assert row_of(claim).transfer_status == State.UPLOADING


# --- not uploaded ---


def test_what_another_try_may_cure_is_tried_later(claim: Claim) -> None:
    row = fail(claim, TryAgain("the bucket is busy"))
    assert (row.transfer_status, row.error_code, row.error_message) == (
        State.PENDING,
        "bucket_busy",
        "the bucket is busy",
    )
    assert (row.failures_in_row, row.retry_count) == (1, 1)
    assert row.next_attempt_at is not None
    assert row.next_attempt_at > row.events.last().at


def test_bucket_that_asks_for_patience_gets_it(claim: Claim) -> None:
    row = fail(claim, TryAgain("busy", retry_after_seconds=600))
    assert row.next_attempt_at is not None
    assert row.next_attempt_at - row.events.last().at == timedelta(seconds=600)


@pytest.mark.parametrize(
    "error", [LineDown("no answer"), StopAndTell("no right to write", code=Reason.PERMISSION_DENIED)]
)
def test_failure_that_is_not_the_files_burns_no_budget(claim: Claim, error: OffloadError) -> None:
    GCPVideoTransfer.objects.update(failures_in_row=1000, failing_since=NOW - timedelta(days=4000))
    row = fail(claim, error)
    assert (row.transfer_status, row.failures_in_row, row.retry_count) == (State.PENDING, 1000, 0)


def test_what_no_retry_cures_fails_with_its_reason(claim: Claim) -> None:
    row = fail(claim, ObjectProblem("another object lives there"))
    assert (row.transfer_status, row.error_code, row.error_message) == (
        State.FAILED,
        "object_conflict",
        "another object lives there",
    )
    assert row.next_attempt_at is None
    assert row.recording.storage_type == Recording.StorageType.LOCAL


def test_returned_lease_is_due_at_once_without_a_failure(claim: Claim) -> None:
    row = fail(claim, Stopped("asked to stop"))
    assert (row.transfer_status, row.error_code, row.failures_in_row) == (State.PENDING, "", 0)
    assert row.next_attempt_at == row.events.last().at
    assert row.events.last().reason == "lease_returned"


def test_abandoned_transfer_is_left_alone(claim: Claim) -> None:
    before = GCPVideoTransfer.objects.values().get()
    assert (
        upload_record_failure(claim=claim, error=LeaseLost("gone"), now=NOW, random=half, settings=service_settings())
        is None
    )
    assert GCPVideoTransfer.objects.values().get() == before


@pytest.mark.parametrize(
    ("failures", "hours", "status"),
    [(19, 73, State.FAILED), (18, 73, State.PENDING), (19, 71, State.PENDING), (1000, 71, State.PENDING)],
)
def test_budget_ends_by_number_and_time_together(
    claim: Claim, settings: Any, failures: int, hours: float, status: State
) -> None:
    settings.COLDREEL_RETRY_LIMIT, settings.COLDREEL_RETRY_HOURS = 20, 72
    begun = claim.lease.expires_at - timedelta(seconds=10**9)
    GCPVideoTransfer.objects.update(failures_in_row=failures, failing_since=begun - timedelta(hours=hours))
    row = fail(claim, TryAgain("busy"))
    assert row.transfer_status == status
    if status is State.FAILED:
        assert row.error_code == "retries_exhausted"
        assert "busy" in row.error_message


def test_changed_file_is_sent_again_and_another_file_not(claim: Claim) -> None:
    again = FileProblem("changed", code=Reason.FILE_CHANGED, disposition=Disposition.RETRY)
    assert fail(claim, again).transfer_status == State.PENDING
    GCPVideoTransfer.objects.update(next_attempt_at=NOW)
    another = FileProblem("another", code=Reason.FILE_CHANGED, disposition=Disposition.FAIL)
    assert fail(claimed(), another).transfer_status == State.FAILED


def test_progress_of_a_dropped_session_is_shown_no_more(claim: Claim) -> None:
    GCPVideoTransfer.objects.update(bytes_uploaded=512, session_uri="")
    assert fail(claim, TryAgain("busy")).bytes_uploaded == 0


def test_progress_of_a_kept_session_stays(claim: Claim) -> None:
    GCPVideoTransfer.objects.update(bytes_uploaded=512, session_uri="https://key")
    assert fail(claim, TryAgain("busy")).bytes_uploaded == 512


# --- alarms ---


def test_many_files_that_cannot_be_uploaded_raise_one_alarm(make_transfer: MakeTransfer, batch: Any) -> None:
    for number in range(3):
        make_transfer(f"{number}.ts")
    batch.batch_size = 3
    batch.save()
    for claim in [claimed(), claimed(), claimed()]:
        fail(claim, StopAndTell("no right to write", code=Reason.PERMISSION_DENIED))
    alarm = Alarm.objects.get()
    assert (alarm.code, alarm.subject, alarm.seen_count) == ("permission_denied", FOOTAGE, 3)
    assert alarm.cleared_at is None


def test_first_success_clears_the_alarm(claim: Claim) -> None:
    for code in (Reason.PERMISSION_DENIED, Reason.QUOTA_EXCEEDED):
        rows_of = Alarm(code=code, **FOOTAGE.columns, detail="x", raised_at=NOW, last_seen_at=NOW)
        rows_of.save()
    Alarm.objects.create(code="object_lost", **FOOTAGE.columns, detail="x", raised_at=NOW, last_seen_at=NOW)
    record(claim, result_for(claim))
    assert list(Alarm.objects.filter(cleared_at=None).values_list("code", flat=True)) == ["object_lost"]


def test_unmounted_media_root_is_an_alarm_of_the_site(claim: Claim) -> None:
    row = fail(claim, StopAndTell("not mounted", code=Reason.MEDIA_ROOT_NOT_MOUNTED))
    assert row.transfer_status == State.PENDING
    assert Alarm.objects.get().subject == Subject.of_site(SubjectKind.MEDIA_ROOT, claim.transfer.site_id)
