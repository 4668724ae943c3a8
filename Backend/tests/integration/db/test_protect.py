"""No row that proves something vanishes by a cascade (P4): neither through Django nor past it."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction

from apps.cctv.models import CameraGrant, GCPVideoTransfer, Recording
from apps.users.models import Role
from offload.states import State
from tests.integration.db import rows

KEPT = {"site", "camera", "recording", "batch", "transfer"}


@pytest.fixture
def cleaned(db: None) -> GCPVideoTransfer:
    row = rows.transfer(State.CLEANUP_COMPLETED)
    rows.receipt(row)
    row.events.create(at=rows.NOW, actor="ada", move="request", to_status="pending", reason="requested")
    return row


@pytest.mark.parametrize("what", ["site", "camera", "recording", "batch", "transfer"])
def test_deleting_what_a_transfer_rests_on_is_refused(cleaned: GCPVideoTransfer, what: str) -> None:
    target: models.Model = {
        "site": cleaned.site,
        "camera": cleaned.recording.camera,
        "recording": cleaned.recording,
        "batch": cleaned.batch,
        "transfer": cleaned,
    }[what]
    with pytest.raises(models.ProtectedError), transaction.atomic():
        target.delete()
    with pytest.raises(models.ProtectedError), transaction.atomic():
        type(target)._default_manager.filter(pk=target.pk).delete()
    assert GCPVideoTransfer.objects.filter(pk=cleaned.pk).exists()


def delete_past_django(table: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table}")
        connection.check_constraints()


@pytest.mark.parametrize(
    "table", ["cctv_site", "cctv_camera", "cctv_recording", "cctv_transferbatch", "cctv_gcpvideotransfer"]
)
def test_the_database_refuses_it_as_well(cleaned: GCPVideoTransfer, table: str) -> None:
    with pytest.raises(IntegrityError):
        delete_past_django(table)


def test_every_foreign_key_of_the_app_is_protect() -> None:
    keys: list[models.ForeignKey[Any, Any]] = [
        field
        for model in apps.get_app_config("cctv").get_models()
        for field in model._meta.fields
        if isinstance(field, models.ForeignKey) and field.related_model._meta.app_label == "cctv"
    ]
    assert {field.name for field in keys} == KEPT
    assert {field.remote_field.on_delete for field in keys} == {models.PROTECT}


def test_deleting_a_person_leaves_what_the_person_did(cleaned: GCPVideoTransfer) -> None:
    ada = rows.user(Role.ADMIN)
    CameraGrant.objects.create(camera=cleaned.recording.camera, user=ada, granted_by=ada)
    GCPVideoTransfer.objects.filter(pk=cleaned.pk).update(initiated_by=ada)
    Recording.objects.filter(pk=cleaned.recording_id).update(held_by=ada)
    ada.delete()
    cleaned.refresh_from_db()
    assert (cleaned.initiated_by, cleaned.recording.held_by) == (None, None)
    assert not CameraGrant.objects.exists()
