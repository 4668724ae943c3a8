"""Orphaned objects in the admin: seen on the transfer's page, deleted only by people who may manage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.cctv.models import GCPVideoTransfer, OrphanedObject, Recording
from apps.users.models import Role, User
from gcs_emulator.process import EmulatorProcess
from offload.states import State
from offload.store import META_INSTALLATION, META_TRANSFER
from tests.conftest import INSTALLATION_ID
from tests.form_client import FormClient as Client
from tests.integration.admin import pages
from tests.integration.db import rows

pytestmark = pytest.mark.django_db
YES = {"confirmed": "yes"}


@pytest.fixture
def client(admin_user: User) -> Client:
    return pages.signed_in(admin_user)


@pytest.fixture
def orphan(uploaded: Callable[..., GCPVideoTransfer], emulator: EmulatorProcess) -> OrphanedObject:
    """A verified recording, and an object that an earlier upload of it left under another name."""
    row = uploaded("clip.mp4")
    name = f"{row.gcp_storage_path}.orphan"
    stored = emulator.put_object(row.gcp_bucket, name, b"whole")
    ours = {META_INSTALLATION: INSTALLATION_ID, META_TRANSFER: str(row.pk)}
    emulator.patch_object(row.gcp_bucket, name, metadata=ours)
    return rows.orphan(
        row,
        gcp_storage_path=name,
        object_generation=int(stored["generation"]),
        object_crc32c=stored["crc32c"],
        size_bytes=5,
    )


def names(emulator: EmulatorProcess) -> set[str]:
    return {str(one["name"]) for one in emulator.objects()}


def act(client: Client, row: Any) -> Any:
    return client.post(pages.action_of(row, "delete_orphan"), YES, follow=True)


def test_page_of_a_transfer_shows_its_orphans(client: Client) -> None:
    row = rows.transfer(State.COMPLETED)
    orphan = rows.orphan(row, object_generation=1795341600123456)
    shown = client.get(pages.page_of(row)).content.decode()
    assert "Orphaned object" in shown
    assert orphan.gcp_storage_path in shown
    assert "1795341600123456" in shown
    assert pages.page_of(orphan) in shown


def test_orphan_that_became_the_object_is_not_shown(client: Client) -> None:
    row = rows.transfer(State.CLEANUP_COMPLETED)
    orphan = rows.orphan(row, gcp_storage_path=row.gcp_storage_path, object_generation=row.object_generation)
    assert "Orphaned object<" not in client.get(pages.page_of(row)).content.decode().replace(" <small", "<small")
    assert client.get(pages.page_of(orphan)).context["row_actions"] == []


def test_orphan_is_deleted_after_asking_and_its_row_stays(
    client: Client, orphan: OrphanedObject, emulator: EmulatorProcess
) -> None:
    asked = client.get(pages.action_of(orphan, "delete_orphan")).content.decode()
    assert f"#{orphan.object_generation}" in asked
    assert orphan.gcp_storage_path in names(emulator)
    assert "is gone from the bucket" in pages.told(act(client, orphan))[0]
    assert orphan.gcp_storage_path not in names(emulator)
    assert orphan.transfer.gcp_storage_path in names(emulator)
    orphan.refresh_from_db()
    assert (orphan.deleted_by, orphan.deleted_at is not None) == ("admin", True)
    assert client.get(pages.page_of(orphan)).context["row_actions"] == []


def test_orphan_of_a_held_recording_offers_no_deletion(
    client: Client, orphan: OrphanedObject, emulator: EmulatorProcess
) -> None:
    Recording.objects.update(hold_wanted=True)
    assert client.get(pages.page_of(orphan)).context["row_actions"] == []
    assert "is held" in pages.told(act(client, orphan))[0]
    assert orphan.gcp_storage_path in names(emulator)


def test_orphan_stays_while_the_object_is_not_proven(
    client: Client, orphan: OrphanedObject, emulator: EmulatorProcess
) -> None:
    emulator.delete_object(orphan.gcp_bucket, orphan.transfer.gcp_storage_path)
    assert "not as it was uploaded" in pages.told(act(client, orphan))[0]
    assert orphan.gcp_storage_path in names(emulator)


@pytest.mark.parametrize("role", [Role.DEV, Role.VISITOR])
def test_who_only_views_deletes_no_orphan(role: Role, orphan: OrphanedObject, emulator: EmulatorProcess) -> None:
    other = pages.signed_in(rows.user(role))
    assert act(other, orphan).status_code in {403, 200}
    other.post(pages.list_of(OrphanedObject), {"action": "delete_orphan", "_selected_action": [str(orphan.pk)], **YES})
    assert orphan.gcp_storage_path in names(emulator)
    assert OrphanedObject.objects.get().deletion_asked_at is None


def test_orphan_of_a_private_camera_is_hidden(orphan: OrphanedObject) -> None:
    type(orphan.transfer.recording.camera).objects.update(is_private=True)
    dev = pages.signed_in(rows.user(Role.DEV))
    assert pages.rows_shown(dev.get(pages.list_of(OrphanedObject))) == []
    assert dev.get(pages.page_of(orphan)).status_code == 404
