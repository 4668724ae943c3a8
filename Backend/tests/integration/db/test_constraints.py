"""What must never be, the database itself refuses: here row by row, past every line of Python."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, models, transaction

from apps.cctv.models import (
    Alarm,
    Camera,
    CameraGrant,
    DeletionReceipt,
    GCPVideoTransfer,
    OrphanedObject,
    Recording,
    TransferBatch,
)
from offload.states import MOVES, UPLOADED, State
from tests.integration.db import rows

pytestmark = pytest.mark.django_db

T = GCPVideoTransfer
TRANSFERS: list[tuple[str, State, dict[str, Any]]] = [
    ("transfer_status_known", State.PENDING, {"transfer_status": "uploaded"}),
    ("transfer_status_known", State.PENDING, {"transfer_status": ""}),
    *(
        ("transfer_uploaded_has_proof", state, without)
        for state in sorted(UPLOADED)
        for without in (
            {"gcp_bucket": ""},
            {"object_generation": None},
            {"object_crc32c": ""},
            {"upload_completed_at": None},
        )
    ),
    ("transfer_uploading_has_lease", State.UPLOADING, {"lease_owner": None}),
    ("transfer_uploading_has_lease", State.UPLOADING, {"lease_expires_at": None}),
    ("transfer_pending_has_next_attempt", State.PENDING, {"next_attempt_at": None}),
    ("transfer_cleanup_is_scheduled", State.CLEANUP_PENDING, {"cleanup_scheduled_at": None}),
    ("transfer_cleaned_has_time", State.CLEANUP_COMPLETED, {"cleanup_completed_at": None}),
    ("transfer_failed_has_reason", State.FAILED, {"error_code": ""}),
    ("transfer_progress_within_size", State.UPLOADING, {"bytes_uploaded": 1001}),
]
OTHERS = [
    ("recording_status_known", Recording, {"status": "done"}),
    ("recording_storage_known", Recording, {"storage_type": "s3"}),
    ("batch_size_1_to_20", TransferBatch, {"batch_size": 0}),
    ("batch_size_1_to_20", TransferBatch, {"batch_size": 21}),
    ("receipt_outcome_known", DeletionReceipt, {"outcome": "lost"}),
    ("receipt_open_or_closed", DeletionReceipt, {"closed_at": None}),
    ("receipt_open_or_closed", DeletionReceipt, {"outcome": "deleting"}),
    ("orphan_why_known", OrphanedObject, {"why": "lost"}),
    ("orphan_deletion_was_asked_for", OrphanedObject, {"deleted_at": rows.NOW}),
    ("orphan_deletion_was_asked_for", OrphanedObject, {"deleted_at": rows.NOW, "deleted_by": "ada"}),
    ("orphan_deletion_was_asked_for", OrphanedObject, {"deleted_at": rows.NOW, "deletion_asked_at": rows.NOW}),
]


def refused(queryset: models.QuerySet[Any], columns: dict[str, Any]) -> str:
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        queryset.update(**columns)
    return str(caught.value)


@pytest.mark.parametrize(("constraint", "state", "columns"), TRANSFERS)
def test_database_refuses_a_transfer_that_must_never_be(constraint: str, state: State, columns: dict[str, Any]) -> None:
    row = rows.transfer(state)
    assert constraint in refused(T.objects.filter(pk=row.pk), columns)


@pytest.mark.parametrize(("constraint", "model", "columns"), OTHERS)
def test_database_refuses_other_rows_that_must_never_be(
    constraint: str, model: type[models.Model], columns: dict[str, Any]
) -> None:
    of = rows.transfer(State.CLEANUP_COMPLETED)
    rows.receipt(of)
    rows.orphan(of)
    assert constraint in refused(model._default_manager.all(), columns)


def test_every_check_of_the_models_is_tried_here() -> None:
    declared = {
        constraint.name
        for model in apps.get_app_config("cctv").get_models()
        for constraint in model._meta.constraints
        if isinstance(constraint, models.CheckConstraint)
    }
    assert declared == {name for name, _, _ in [*TRANSFERS, *OTHERS]}


def test_database_knows_exactly_the_states_of_the_machine() -> None:
    check = next(c for c in T._meta.constraints if c.name == "transfer_status_known")
    assert isinstance(check, models.CheckConstraint)
    [(_, statuses)] = check.condition.children
    assert set(statuses) == {state.value for state in State}
    assert {rule.target for rule in MOVES.values()} == set(State)
    assert {value for value, _ in T._meta.get_field("transfer_status").choices or ()} == set(statuses)


@pytest.mark.parametrize("state", State)
def test_database_accepts_every_state_with_what_belongs_to_it(state: State) -> None:
    assert T.objects.get(pk=rows.transfer(state).pk).transfer_status == state


def test_one_recording_has_one_transfer() -> None:
    first = rows.transfer()
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.transfer(of=first.recording)


def test_file_is_registered_once_and_again_when_rewritten() -> None:
    rows.recording("a.mp4", file_mtime_ns=5)
    rows.recording("a.mp4", file_mtime_ns=6)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.recording("a.mp4", file_mtime_ns=5)


def test_a_site_has_a_camera_name_once() -> None:
    gate = rows.camera("Gate")
    with pytest.raises(IntegrityError), transaction.atomic():
        Camera.objects.create(site=gate.site, name="Gate")


def test_a_user_has_a_grant_once() -> None:
    dev, gate = rows.user(), rows.camera()
    CameraGrant.objects.create(camera=gate, user=dev)
    with pytest.raises(IntegrityError), transaction.atomic():
        CameraGrant.objects.create(camera=gate, user=dev)


def test_transfer_has_one_open_receipt_and_many_closed() -> None:
    row = rows.transfer(State.CLEANUP_PENDING)
    opened = {"outcome": DeletionReceipt.Outcome.DELETING, "closed_at": None}
    rows.receipt(row)
    rows.receipt(row)
    rows.receipt(row, **opened)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.receipt(row, **opened)


def test_alarm_is_open_once_and_may_return() -> None:
    facts = {
        "code": "line_down",
        "subject_kind": "bucket",
        "subject_id": "footage",
        "detail": "-",
        "raised_at": rows.NOW,
        "last_seen_at": rows.NOW,
    }
    Alarm.objects.create(**facts, cleared_at=rows.NOW)
    Alarm.objects.create(**facts)
    with pytest.raises(IntegrityError), transaction.atomic():
        Alarm.objects.create(**facts)
