"""Leases: renewed by their owner, never taken from a living one, ended when they ran out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from apps.cctv.leasing.leases import claim_cleanup, claim_file_in_trash, release_cleanup, renew
from apps.cctv.leasing.recovery import expire_leases
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.tables.moves import Lease
from offload.states import State
from tests.integration.db import rows
from tests.integration.db.rows import NOW

pytestmark = pytest.mark.django_db

FAR = NOW + timedelta(days=4000)
"""PostgreSQL measures leases by its own clock, so "not run out" has to be far ahead of it."""
PAST = NOW - timedelta(days=4000)


def uploading(**columns: object) -> tuple[GCPVideoTransfer, Lease]:
    transfer = rows.transfer(State.UPLOADING, **{"lease_expires_at": FAR, **columns})
    return transfer, Lease(transfer.pk, transfer.lease_number, rows.OWNER, transfer.lease_expires_at)


def test_renewed_lease_lasts_longer_in_row_and_memory() -> None:
    transfer, lease = uploading()
    kept = renew(leases=[lease], now=NOW, lease_seconds=10**9)
    transfer.refresh_from_db()
    assert kept[transfer.pk].expires_at == transfer.lease_expires_at
    assert kept[transfer.pk].expires_at > lease.expires_at
    assert kept[transfer.pk].number == lease.number


@pytest.mark.parametrize(
    "columns",
    [{"lease_owner": uuid.UUID(int=8)}, {"lease_number": 2}, {"lease_expires_at": PAST}],
    ids=["another owner", "another number", "ran out"],
)
def test_lease_that_is_lost_is_not_renewed(columns: dict[str, object]) -> None:
    transfer, lease = uploading()
    GCPVideoTransfer.objects.filter(pk=transfer.pk).update(**columns)
    assert renew(leases=[lease], now=NOW, lease_seconds=40) == {}


def test_one_lost_lease_costs_the_others_nothing() -> None:
    (_, lost), (kept, lease) = uploading(), uploading()
    GCPVideoTransfer.objects.filter(pk=lost.transfer_id).update(lease_number=9)
    assert set(renew(leases=[lost, lease], now=NOW, lease_seconds=40)) == {kept.pk}


def test_expired_lease_puts_its_upload_back_at_once() -> None:
    late, _ = uploading(lease_expires_at=PAST, bytes_uploaded=500, session_uri="s")
    alive, _ = uploading()

    assert expire_leases(now=NOW) == 1

    late.refresh_from_db()
    alive.refresh_from_db()
    assert (late.transfer_status, late.lease_owner) == (State.PENDING, None)
    assert late.next_attempt_at is not None
    assert late.next_attempt_at == late.events.get().at
    assert (late.bytes_uploaded, late.session_uri) == (500, "s")
    assert (late.failures_in_row, late.retry_count) == (0, 0)
    assert late.events.get().reason == "lease_expired"
    assert alive.transfer_status == State.UPLOADING


def test_expired_cleanup_lease_is_cleared_without_a_move() -> None:
    late = rows.transfer(State.CLEANUP_PENDING, lease_owner=rows.OWNER, lease_expires_at=PAST)
    assert expire_leases(now=NOW) == 1
    late.refresh_from_db()
    assert (late.transfer_status, late.lease_owner, late.lease_expires_at) == (State.CLEANUP_PENDING, None, None)
    assert not late.events.exists()


def test_two_cleanups_never_hold_one_transfer() -> None:
    transfer = rows.transfer(State.CLEANUP_PENDING)
    first = claim_cleanup(owner_id=uuid.uuid4(), transfer_id=transfer.pk, now=NOW, lease_seconds=40)
    second = claim_cleanup(owner_id=uuid.uuid4(), transfer_id=transfer.pk, now=NOW, lease_seconds=40)
    assert first is not None
    assert second is None
    assert release_cleanup(first.lease, NOW)
    third = claim_cleanup(owner_id=uuid.uuid4(), transfer_id=transfer.pk, now=NOW, lease_seconds=40)
    assert third is not None
    assert third.lease.number == 2
    assert not release_cleanup(first.lease, NOW)


@pytest.mark.parametrize("status", [status for status in State if status is not State.CLEANUP_PENDING])
def test_only_a_scheduled_cleanup_can_be_claimed(status: State) -> None:
    transfer = rows.transfer(status)
    assert claim_cleanup(owner_id=uuid.uuid4(), transfer_id=transfer.pk, now=NOW, lease_seconds=40) is None


@pytest.mark.parametrize(
    ("status", "columns"),
    [
        (State.UPLOADING, {"lease_owner": None}),
        (State.UPLOADING, {"lease_expires_at": None}),
        (State.PENDING, {"next_attempt_at": None}),
        (State.CLEANUP_PENDING, {"cleanup_scheduled_at": None}),
    ],
)
def test_row_that_would_be_forgotten_cannot_exist(status: State, columns: dict[str, object]) -> None:
    """P4 by the database: whatever is under way has a lease that ends or a time for its next try."""
    transfer = rows.transfer(status)
    with pytest.raises(IntegrityError), transaction.atomic():
        GCPVideoTransfer.objects.filter(pk=transfer.pk).update(**columns)


class AfterTheLook:
    """Calls `act` once, when the leases to be put back have been read and before the first is touched."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: Callable[[], object] | None = act

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        act, looked = self._act, sql.startswith("SELECT") and "lease_number" in sql and "LIMIT" not in sql
        if act is not None and looked:
            self._act = None
            act()
        return result


@pytest.mark.parametrize(
    "columns", [{"lease_expires_at": FAR}, {"lease_number": 7}], ids=["renewed", "another worker's"]
)
def test_renewed_lease_found_late_stays_with_its_worker(columns: dict[str, object]) -> None:
    """The read-out of late leases is a moment old when the first of them is put back (P6)."""
    late, _ = uploading(lease_expires_at=PAST)
    look = AfterTheLook(lambda: GCPVideoTransfer.objects.filter(pk=late.pk).update(**columns))
    with connection.execute_wrapper(look):
        assert expire_leases(now=NOW) == 0
    late.refresh_from_db()
    assert late.transfer_status == State.UPLOADING
    assert late.lease_owner == rows.OWNER
    assert not late.events.exists()


def test_file_is_leased_in_any_status_but_uploading() -> None:
    for state in set(State) - {State.UPLOADING}:
        transfer = rows.transfer(state, lease_owner=None, lease_expires_at=None)
        claim = claim_file_in_trash(owner_id=rows.OWNER, transfer_id=transfer.pk, now=NOW, lease_seconds=10**9)
        assert claim is not None, state
        assert claim.lease.number == transfer.lease_number + 1
        assert claim_file_in_trash(owner_id=uuid.uuid4(), transfer_id=transfer.pk, now=NOW, lease_seconds=40) is None
        assert release_cleanup(claim.lease, NOW)
    late, _ = uploading(lease_expires_at=PAST)
    assert claim_file_in_trash(owner_id=rows.OWNER, transfer_id=late.pk, now=NOW, lease_seconds=40) is None


def test_release_of_a_cleanup_leaves_an_upload_its_lease() -> None:
    """Without it the row would break the table's own rule: an upload has a lease."""
    transfer, lease = uploading()
    assert not release_cleanup(lease, NOW)
    transfer.refresh_from_db()
    assert transfer.lease_owner == rows.OWNER
