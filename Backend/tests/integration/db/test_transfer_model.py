"""The names of the contract's "Model GCPVideoTransfer", and `mark_…` as guarded moves that are no way around."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import models

from apps.cctv.models import DeletionReceipt, GCPVideoTransfer, Recording
from apps.cctv.tables.moves import Lease
from offload.errors import LeaseLost, Reason
from offload.states import State
from tests.integration.db import rows

FIELDS = [
    "id",
    "gcp_bucket",
    "recording",
    "original_local_path",
    "gcp_storage_path",
    "gcp_public_url",
    "file_size_bytes",
    "transfer_status",
    "initiated_by",
    "created_at",
    "upload_started_at",
    "upload_completed_at",
    "cleanup_scheduled_at",
    "cleanup_completed_at",
    "error_message",
    "retry_count",
]
LOST = "a lost lease"


def row_in(state: State) -> tuple[GCPVideoTransfer, Lease, Lease]:
    row = rows.transfer(state)
    return row, rows.lease(row), rows.lease(row, number=row.lease_number + 1)


@pytest.mark.parametrize("name", FIELDS)
def test_the_contract_s_fields_are_there(name: str) -> None:
    field = GCPVideoTransfer._meta.get_field(name)
    assert field.name == name
    if name == "id":
        assert isinstance(field, models.UUIDField)
    if name == "recording":
        assert isinstance(field, models.OneToOneField)


def test_the_table_is_called_as_scripts_call_it() -> None:
    assert GCPVideoTransfer._meta.db_table == "cctv_gcpvideotransfer"


def test_file_size_is_told_in_mib_with_two_decimals() -> None:
    assert GCPVideoTransfer(file_size_bytes=131596288).file_size_mb == 125.5
    assert GCPVideoTransfer(file_size_bytes=0).file_size_mb == 0
    assert GCPVideoTransfer(file_size_bytes=1).file_size_mb == 0


@pytest.mark.django_db
def test_progress_is_whole_only_when_the_upload_is_verified() -> None:
    row = rows.transfer(State.UPLOADING, bytes_uploaded=1000)
    assert row.progress_percent == 99.9
    row.bytes_uploaded = 333
    assert row.progress_percent == 33.3
    assert rows.transfer(State.COMPLETED).progress_percent == 100
    assert GCPVideoTransfer(file_size_bytes=0).progress_percent == 0


@pytest.mark.django_db
def test_cleanup_is_due_when_scheduled_passed_and_unheld() -> None:
    past = rows.NOW - timedelta(days=1000)
    assert rows.transfer(State.CLEANUP_PENDING, cleanup_scheduled_at=past).is_cleanup_due
    assert not rows.transfer(State.COMPLETED, cleanup_scheduled_at=past).is_cleanup_due
    held = rows.recording(hold_wanted=True)
    assert not rows.transfer(State.CLEANUP_PENDING, of=held, cleanup_scheduled_at=past).is_cleanup_due
    far = rows.NOW + timedelta(days=365_000)
    assert not rows.transfer(State.CLEANUP_PENDING, cleanup_scheduled_at=far).is_cleanup_due


@pytest.mark.django_db
def test_no_upload_is_marked_started_without_the_current_lease() -> None:
    row, lease, lost = row_in(State.UPLOADING)
    started = row.upload_started_at
    other = rows.lease(rows.transfer(State.UPLOADING))
    for wrong in (None, lost, other):
        with pytest.raises(LeaseLost):
            row.mark_upload_started(lease=wrong, now=rows.NOW + timedelta(seconds=1))
    row.refresh_from_db()
    assert row.upload_started_at == started
    row.mark_upload_started(lease=lease, now=rows.NOW + timedelta(seconds=1))
    assert row.upload_started_at == rows.NOW + timedelta(seconds=1)


@pytest.mark.django_db
@pytest.mark.parametrize("which", [None, LOST, "another's"])
def test_no_upload_is_marked_completed_without_the_current_lease(which: str | None) -> None:
    row, _, lost = row_in(State.UPLOADING)
    lease = {None: None, LOST: lost, "another's": rows.lease(rows.transfer(State.UPLOADING))}[which]
    with pytest.raises(LeaseLost):
        row.mark_upload_completed(lease=lease, generation=11, crc32c="AAAAAA==", now=rows.NOW)
    assert GCPVideoTransfer.objects.get(pk=row.pk).transfer_status == State.UPLOADING


@pytest.mark.django_db
@pytest.mark.parametrize(
    "proof", [{}, {"generation": 11}, {"crc32c": "AAAAAA=="}, {"generation": 0, "crc32c": "AAAAAA=="}]
)
def test_no_upload_is_marked_completed_without_generation_and_checksum(proof: dict[str, object]) -> None:
    row, lease, _ = row_in(State.UPLOADING)
    with pytest.raises(ValueError, match="generation and CRC32C"):
        row.mark_upload_completed(lease=lease, now=rows.NOW, **proof)  # type: ignore[arg-type]
    assert GCPVideoTransfer.objects.get(pk=row.pk).transfer_status == State.UPLOADING


@pytest.mark.django_db
def test_verified_upload_is_recorded_with_its_proof() -> None:
    row, lease, _ = row_in(State.UPLOADING)
    GCPVideoTransfer.objects.filter(pk=row.pk).update(session_uri="a key", error_code="line_down", failures_in_row=3)
    cleanup_at = rows.NOW + timedelta(hours=24)
    row.mark_upload_completed(lease=lease, generation=11, crc32c="AAAAAA==", cleanup_at=cleanup_at, now=rows.NOW)
    assert (row.transfer_status, row.cleanup_scheduled_at) == (State.CLEANUP_PENDING, cleanup_at)
    assert (row.object_generation, row.object_crc32c, row.upload_completed_at) == (11, "AAAAAA==", rows.NOW)
    assert (row.session_uri, row.error_code, row.failures_in_row, row.lease_owner) == ("", "", 0, None)
    assert row.bytes_uploaded == row.file_size_bytes
    assert row.events.get().move == "complete_scheduled"


@pytest.mark.django_db
def test_completed_upload_moves_its_recording_to_the_bucket() -> None:
    row, lease, _ = row_in(State.UPLOADING)
    local_path = row.original_local_path
    row.mark_upload_completed(lease=lease, generation=11, crc32c="AAAAAA==", now=rows.NOW)
    found = Recording.objects.get(pk=row.recording_id)
    assert (found.storage_type, found.file_path) == ("gcp", row.gcp_storage_path)
    assert (row.original_local_path, found.local_path) == (local_path, local_path)


@pytest.mark.django_db
def test_upload_that_cannot_complete_leaves_its_recording_local() -> None:
    row, _, lost = row_in(State.UPLOADING)
    with pytest.raises(LeaseLost):
        row.mark_upload_completed(lease=lost, generation=11, crc32c="AAAAAA==", now=rows.NOW)
    assert Recording.objects.get(pk=row.recording_id).storage_type == "local"


@pytest.mark.django_db
def test_no_cleanup_is_scheduled_for_a_held_recording() -> None:
    row = rows.transfer(State.UPLOADING, of=rows.recording("held.mp4", hold_wanted=True))
    cleanup_at = rows.NOW + timedelta(hours=24)
    row.mark_upload_completed(
        lease=rows.lease(row), generation=11, crc32c="AAAAAA==", cleanup_at=cleanup_at, now=rows.NOW
    )
    assert (row.transfer_status, row.cleanup_scheduled_at) == (State.COMPLETED, None)


@pytest.mark.django_db
def test_upload_that_stays_on_disk_has_no_schedule() -> None:
    row, lease, _ = row_in(State.UPLOADING)
    row.mark_upload_completed(lease=lease, generation=11, crc32c="AAAAAA==", now=rows.NOW)
    assert (row.transfer_status, row.cleanup_scheduled_at) == (State.COMPLETED, None)


@pytest.mark.django_db
def test_only_the_lease_holder_fails_an_upload_with_reason() -> None:
    row, lease, lost = row_in(State.UPLOADING)
    for wrong in (None, lost):
        with pytest.raises(LeaseLost):
            row.mark_upload_failed(lease=wrong, reason=Reason.FILE_EMPTY, now=rows.NOW)
    row.mark_upload_failed(lease=lease, reason=Reason.FILE_EMPTY, detail="Nothing in it.", now=rows.NOW)
    assert (row.transfer_status, row.error_code, row.error_message) == ("failed", "file_empty", "Nothing in it.")


@pytest.mark.django_db
@pytest.mark.parametrize("which", ["none", "open", "put back", "another's"])
def test_no_cleanup_is_marked_completed_without_its_closed_receipt(which: str) -> None:
    row, lease, _ = row_in(State.CLEANUP_PENDING)
    outcome = DeletionReceipt.Outcome
    receipt = {
        "none": lambda: None,
        "open": lambda: rows.receipt(row, outcome=outcome.DELETING, closed_at=None),
        "put back": lambda: rows.receipt(row, outcome=outcome.PUT_BACK),
        "another's": lambda: rows.receipt(rows.transfer(State.CLEANUP_PENDING)),
    }[which]()
    with pytest.raises(ValueError, match="receipt"):
        row.mark_cleanup_completed(lease=lease, receipt=receipt, now=rows.NOW)
    assert GCPVideoTransfer.objects.get(pk=row.pk).transfer_status == State.CLEANUP_PENDING


@pytest.mark.django_db
def test_no_cleanup_is_marked_completed_without_the_current_lease() -> None:
    row, lease, lost = row_in(State.CLEANUP_PENDING)
    receipt = rows.receipt(row)
    for wrong in (None, lost):
        with pytest.raises(LeaseLost):
            row.mark_cleanup_completed(lease=wrong, receipt=receipt, now=rows.NOW)
    row.mark_cleanup_completed(lease=lease, receipt=receipt, now=rows.NOW)
    assert (row.transfer_status, row.cleanup_completed_at) == (State.CLEANUP_COMPLETED, rows.NOW)


def test_transfer_s_text_and_repr_hold_no_session_uri() -> None:
    row = GCPVideoTransfer(recording=Recording(name="a"), session_uri="https://key.example/?upload_id=secret")
    assert "secret" not in f"{row} {row!r}"
