"""Leases: who may change a transfer, and until when (P6).

A lease is three columns of the transfer's row: number, owner and expiry. The number only grows and is the fence: the
guard of a worker that lost its lease is true of no row any more. On PostgreSQL, where workers run on many machines,
every time compared here is the database's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from apps.cctv.models import GCPVideoTransfer, PeriodicJob, WorkerProcess
from apps.cctv.tables.moves import NO_LEASE, SYSTEM, Lease, MoveRefused, RowGuard, TransferQuerySet
from offload.errors import Reason
from offload.states import Move, State


@dataclass(frozen=True, slots=True)
class Claim:
    """A transfer, its recording loaded, and the lease to work on it.

    The history names `actor` as the one who made the moves under this lease.
    """

    transfer: GCPVideoTransfer
    lease: Lease
    actor: str = SYSTEM


@dataclass(frozen=True, slots=True)
class JobLease:
    """The right of one process to run a periodic job at this moment."""

    name: str
    owner_id: UUID
    number: int


def lease_clock(now: datetime) -> datetime:
    """The time by the clock that leases are measured by: the database's on PostgreSQL, else `now`."""
    if connection.vendor != "postgresql":
        return now
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")  # now() would be the time when the transaction began
        (found,) = cursor.fetchone()
    return found  # type: ignore[no-any-return]


def claim_cleanup(
    *, owner_id: UUID, transfer_id: UUID, now: datetime, lease_seconds: float, actor: str = SYSTEM
) -> Claim | None:
    """A lease on a `cleanup_pending` row, which is no move. None where another has one or the status is another."""
    waiting = GCPVideoTransfer.objects.filter(pk=transfer_id, transfer_status=State.CLEANUP_PENDING)
    return _claim_unleased(waiting, owner_id=owner_id, now=now, lease_seconds=lease_seconds, actor=actor)


def claim_file_in_trash(*, owner_id: UUID, transfer_id: UUID, now: datetime, lease_seconds: float) -> Claim | None:
    """A lease to bring a file back from the trash, in any status but `uploading`. None where another has one."""
    rows = GCPVideoTransfer.objects.filter(pk=transfer_id).exclude(transfer_status=State.UPLOADING)
    return _claim_unleased(rows, owner_id=owner_id, now=now, lease_seconds=lease_seconds, actor=SYSTEM)


def _claim_unleased(
    rows: TransferQuerySet, *, owner_id: UUID, now: datetime, lease_seconds: float, actor: str
) -> Claim | None:
    now = lease_clock(now)
    with transaction.atomic():
        unleased = rows.unleased(now)
        found = unleased.select_for_update().first()
        if found is None:
            return None
        lease = Lease(found.pk, found.lease_number + 1, owner_id, now + timedelta(seconds=lease_seconds))
        # SQLite locks no row: there the number tells whether another process was first.
        guard = RowGuard.of_row(found.pk, ("lease_number", "=", found.lease_number))
        columns = {"lease_number": lease.number, "lease_owner": lease.owner_id, "lease_expires_at": lease.expires_at}
        if not unleased.change(guard, **columns):
            return None
    transfers = GCPVideoTransfer.objects.select_related("recording__camera", "batch")
    return Claim(transfers.get(pk=lease.transfer_id), lease, actor)


def release_cleanup(lease: Lease, now: datetime) -> bool:
    """Give a cleanup's lease back. False where it was another's or had run out: then nothing is changed."""
    # The lease of an upload ends with a move, never alone.
    guard = RowGuard.of_lease(lease, lease_clock(now), ("transfer_status", "<>", State.UPLOADING))
    return GCPVideoTransfer.objects.change(guard, **NO_LEASE)


def release_unfinished_cleanup(owner_id: UUID, transfer_id: UUID) -> None:
    """Give back the lease of a cleanup that this owner broke off, where it could not be given back then."""
    guard = RowGuard.of_row(
        transfer_id, ("lease_owner", "=", owner_id), ("transfer_status", "=", State.CLEANUP_PENDING)
    )
    GCPVideoTransfer.objects.change(guard, **NO_LEASE)


def renew(*, leases: Iterable[Lease], now: datetime, lease_seconds: float) -> dict[UUID, Lease]:
    """Prolong those leases that are still their rows' own, in one transaction; the lost ones are not in the result."""
    kept: dict[UUID, Lease] = {}
    with transaction.atomic():
        now = lease_clock(now)
        expires_at = now + timedelta(seconds=lease_seconds)
        for lease in sorted(leases, key=lambda one: one.transfer_id):  # in the order of `TransferQuerySet.lock_many`
            if GCPVideoTransfer.objects.change(RowGuard.of_lease(lease, now), lease_expires_at=expires_at):
                kept[lease.transfer_id] = replace(lease, expires_at=expires_at)
    return kept


def renew_jobs(*, leases: Iterable[JobLease], now: datetime, lease_seconds: float) -> None:
    """Prolong the leases of those jobs; one that another worker has by now stays as it is."""
    expires_at = lease_clock(now) + timedelta(seconds=lease_seconds)
    for lease in leases:
        own = PeriodicJob.objects.filter(name=lease.name, lease_owner=lease.owner_id, lease_number=lease.number)
        own.update(lease_expires_at=expires_at)


def release_all(owner_id: UUID, reason: Reason, now: datetime) -> int:
    """End everything that an owner has, when it stops or is dead; how many leases on transfers that were.

    1. Its uploads are pending again, at once and without backoff (`put_back_uploads`).
    2. Its other leases on transfers end (`end_other_leases`).
    3. The leases of its periodic jobs end.
    4. Its row says that it stopped.
    """
    owned = GCPVideoTransfer.objects.filter(lease_owner=owner_id)
    count = put_back_uploads(owned, reason, now) + end_other_leases(owned)
    PeriodicJob.objects.filter(lease_owner=owner_id).update(**NO_LEASE)
    WorkerProcess.objects.filter(pk=owner_id, stopped_at__isnull=True).update(stopped_at=now)
    return count


def put_back_uploads(rows: TransferQuerySet, reason: Reason, now: datetime) -> int:
    """Make those rows that are `uploading` pending again, each by its own move; how many still were as found."""
    count = 0
    uploading = rows.filter(transfer_status=State.UPLOADING).order_by()
    for transfer_id, number, expires_at in uploading.values_list("pk", "lease_number", "lease_expires_at"):
        try:
            GCPVideoTransfer.objects.move(
                transfer_id,
                Move.PUT_BACK,
                actor=SYSTEM,
                now=now,
                reason=reason,
                # A heartbeat that came late may have renewed the lease since it was found.
                only_if=Q(lease_number=number, lease_expires_at=expires_at),
                changes={"next_attempt_at": now},
            )
        except MoveRefused:  # renewed, finished or put back by another process since it was found
            continue
        count += 1
    return count


def end_other_leases(rows: TransferQuerySet) -> int:
    """End the leases of those rows that are not `uploading`; how many there were."""
    rows = rows.exclude(transfer_status=State.UPLOADING)
    with transaction.atomic():
        # One UPDATE of all of them would lock the rows in the order in which it finds them.
        return rows.filter(pk__in=rows.lock_many()).update(**NO_LEASE)
