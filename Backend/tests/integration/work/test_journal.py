"""The journal in the row: durable, guarded, and silent about its key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from apps.cctv.leasing.journal import OrmJournal
from apps.cctv.leasing.leases import Claim
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.tables.moves import Lease
from offload.errors import LeaseLost
from offload.journal import Journal, Orphan, StoredSession, WhyOrphaned
from offload.source import SourceIdentity
from offload.states import State
from offload.store import ObjectInfo
from offload.testing import FakeClock
from tests.integration.db import rows
from tests.integration.db.rows import NOW

pytestmark = pytest.mark.django_db

IDENTITY = SourceIdentity(1, 2, 1000, 4, 5)
SESSION = StoredSession("https://bucket/upload?upload_id=key", NOW, IDENTITY)
FORMER = ObjectInfo(
    bucket="footage", name="former", generation=77, metageneration=1, size_bytes=1000, crc32c=1, stored_at=NOW
)
ORPHAN = Orphan(FORMER, WhyOrphaned.FILE_CHANGED)
FAR = NOW + timedelta(days=4000)


def journal_of(transfer: GCPVideoTransfer, *, number: int | None = None) -> Journal:
    lease = Lease(transfer.pk, number or transfer.lease_number, rows.OWNER, FAR)
    return OrmJournal(Claim(transfer, lease), FakeClock(NOW))


@pytest.fixture
def transfer() -> GCPVideoTransfer:
    return rows.transfer(State.UPLOADING, lease_expires_at=FAR)


def test_session_is_kept_until_it_is_dropped(transfer: GCPVideoTransfer) -> None:
    journal = journal_of(transfer)
    journal.session_started(SESSION)
    transfer.refresh_from_db()
    assert (transfer.session_uri, transfer.session_started_at) == (SESSION.uri, NOW)
    assert SourceIdentity.decode(transfer.session_identity) == IDENTITY

    journal.session_dropped()
    transfer.refresh_from_db()
    assert (transfer.session_uri, transfer.session_started_at, transfer.session_identity) == ("", None, "")


def test_upload_begins_for_people_with_its_session(transfer: GCPVideoTransfer) -> None:
    GCPVideoTransfer.objects.update(upload_started_at=NOW - timedelta(days=2))
    journal_of(transfer).session_started(SESSION)
    transfer.refresh_from_db()
    assert transfer.upload_started_at is not None
    assert abs(transfer.upload_started_at - datetime.now(tz=UTC)) < timedelta(days=1)


def test_new_session_has_confirmed_nothing_yet(transfer: GCPVideoTransfer) -> None:
    GCPVideoTransfer.objects.filter(pk=transfer.pk).update(bytes_uploaded=700)
    journal_of(transfer).session_started(SESSION)
    transfer.refresh_from_db()
    assert (transfer.bytes_uploaded, transfer.file_size_bytes) == (0, IDENTITY.size_bytes)


def test_confirmed_progress_refreshes_the_budget(transfer: GCPVideoTransfer) -> None:
    rows_of = GCPVideoTransfer.objects.filter(pk=transfer.pk)
    rows_of.update(bytes_uploaded=300, failures_in_row=19, failing_since=NOW, error_code="bucket_busy")
    transfer.refresh_from_db()
    journal = journal_of(transfer)

    journal.progress(300)
    transfer.refresh_from_db()
    assert (transfer.failures_in_row, transfer.failing_since) == (19, NOW)

    journal.progress(301)
    transfer.refresh_from_db()
    assert (transfer.bytes_uploaded, transfer.failures_in_row, transfer.failing_since) == (301, 0, None)
    assert transfer.error_code == ""


def test_next_name_is_noted_with_its_address(transfer: GCPVideoTransfer) -> None:
    GCPVideoTransfer.objects.update(passes_conflict=True)
    journal_of(transfer).name_changed(2, "recordings/c/r/2-one file.mp4", None)
    transfer.refresh_from_db()
    assert (transfer.name_version, transfer.gcp_storage_path) == (2, "recordings/c/r/2-one file.mp4")
    assert transfer.gcp_public_url == "https://storage.googleapis.com/footage/recordings/c/r/2-one%20file.mp4"
    assert not transfer.passes_conflict  # no person has seen what lies under this one
    assert not transfer.orphans.exists()


def test_orphan_is_committed_with_the_next_name(transfer: GCPVideoTransfer) -> None:
    journal_of(transfer).name_changed(1, "next", ORPHAN)
    transfer.refresh_from_db()
    row = transfer.orphans.get()
    assert transfer.gcp_storage_path == "next"
    assert (row.gcp_bucket, row.gcp_storage_path, row.object_generation) == ("footage", "former", 77)
    assert (row.size_bytes, row.object_crc32c, row.why) == (1000, "AAAAAQ==", "file_changed")
    assert row.deleted_at is None


def test_orphan_met_by_a_restored_database_is_one_row(transfer: GCPVideoTransfer) -> None:
    journal_of(transfer).name_changed(1, "next", ORPHAN)
    journal_of(transfer).name_changed(2, "the one after", ORPHAN)
    assert transfer.orphans.count() == 1


def test_orphan_of_an_uncommitted_group_leaves_the_name(transfer: GCPVideoTransfer) -> None:
    with transaction.atomic():
        journal_of(transfer).name_changed(1, "next", ORPHAN)
        transaction.set_rollback(True)
    transfer.refresh_from_db()
    assert (transfer.name_version, transfer.orphans.count()) == (0, 0)


@pytest.mark.parametrize("lost", ["another number", "ran out", "another status"])
@pytest.mark.parametrize(
    "note",
    [
        lambda journal: journal.session_started(SESSION),
        lambda journal: journal.session_dropped(),
        lambda journal: journal.name_changed(1, "another", ORPHAN),
        lambda journal: journal.progress(999),
    ],
    ids=["session_started", "session_dropped", "name_changed", "progress"],
)
def test_worker_that_lost_its_lease_notes_nothing(transfer: GCPVideoTransfer, lost: str, note) -> None:
    journal = journal_of(transfer)
    columns = {
        "another number": {"lease_number": 2},
        "ran out": {"lease_expires_at": NOW - timedelta(days=4000)},
        "another status": {"transfer_status": State.PENDING, "next_attempt_at": NOW},
    }[lost]
    GCPVideoTransfer.objects.filter(pk=transfer.pk).update(**columns)
    before = GCPVideoTransfer.objects.filter(pk=transfer.pk).values().get()

    with pytest.raises(LeaseLost):
        note(journal)

    assert GCPVideoTransfer.objects.filter(pk=transfer.pk).values().get() == before
    assert not transfer.orphans.exists()


def test_error_of_a_lost_lease_holds_no_session_uri(transfer: GCPVideoTransfer) -> None:
    with pytest.raises(LeaseLost) as caught:
        journal_of(transfer, number=9).session_started(SESSION)
    assert "upload_id" not in f"{caught.value!r} {caught.value} {SESSION!r}"
