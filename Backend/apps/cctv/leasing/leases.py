"""Leases: who may change a transfer, and until when (P6).

A lease is three columns of the transfer's row. Its number only grows and is the fence: a worker that
lost its lease matches no row any more. On PostgreSQL, where workers run on many machines, every time
compared here is the database's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from apps.cctv.models import GCPVideoTransfer, PeriodicJob, TransferBatch
from apps.cctv.tables.moves import SYSTEM, Lease, MoveRefused, TransferQuerySet
from offload.errors import Reason
from offload.retry import LONGEST_WAIT_SECONDS
from offload.states import Move, State

log = structlog.get_logger("coldreel.worker")


@dataclass(frozen=True, slots=True)
class Claim:
    """A transfer (with its recording loaded) and the lease to work on it.

    `actor` is who the history names for what comes of it.
    """

    transfer: GCPVideoTransfer
    lease: Lease
    actor: str = SYSTEM


@dataclass(frozen=True, slots=True)
class JobLease:
    """A periodic job that a process runs at this moment."""

    name: str
    owner_id: UUID
    number: int


def lease_clock(now: datetime) -> datetime:
    """The moment that leases are measured by: `now`, or the database's clock on PostgreSQL."""
    if connection.vendor != "postgresql":
        return now
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (found,) = cursor.fetchone()
    return found  # type: ignore[no-any-return]


# --- Taking a lease ---------------------------------------------------------------------------------


def _next_lease(found: GCPVideoTransfer, owner_id: UUID, now: datetime, lease_seconds: float) -> Lease:
    return Lease(found.pk, found.lease_number + 1, owner_id, now + timedelta(seconds=lease_seconds))


def _columns(lease: Lease) -> dict[str, object]:
    return {"lease_number": lease.number, "lease_owner": lease.owner_id, "lease_expires_at": lease.expires_at}


def _claim(lease: Lease, actor: str) -> Claim:
    rows = GCPVideoTransfer.objects.select_related("recording__camera", "batch")
    return Claim(rows.get(pk=lease.transfer_id), lease, actor)


def claim_cleanup(
    *, owner_id: UUID, transfer_id: UUID, now: datetime, lease_seconds: float, actor: str = SYSTEM
) -> Claim | None:
    """A lease on a `cleanup_pending` row, which is no move. None where another holds one or the status is another."""
    in_line = GCPVideoTransfer.objects.filter(pk=transfer_id, transfer_status=State.CLEANUP_PENDING)
    return _claim_unleased(in_line, owner_id=owner_id, now=lease_clock(now), lease_seconds=lease_seconds, actor=actor)


def claim_file_in_trash(*, owner_id: UUID, transfer_id: UUID, now: datetime, lease_seconds: float) -> Claim | None:
    """A lease to bring a file back from the trash, whatever its row's status. None where another holds one."""
    rows = GCPVideoTransfer.objects.filter(pk=transfer_id).exclude(transfer_status=State.UPLOADING)
    return _claim_unleased(rows, owner_id=owner_id, now=lease_clock(now), lease_seconds=lease_seconds, actor=SYSTEM)


def _claim_unleased(
    rows: TransferQuerySet, *, owner_id: UUID, now: datetime, lease_seconds: float, actor: str
) -> Claim | None:
    with transaction.atomic():
        found = rows.unleased(now).select_for_update().first()
        if found is None:
            return None
        lease = _next_lease(found, owner_id, now, lease_seconds)
        if rows.unleased(now).filter(lease_number=found.lease_number).update(**_columns(lease)) != 1:
            return None
    return _claim(lease, actor)


def release_cleanup(lease: Lease, now: datetime) -> bool:
    """Give a cleanup's lease back. False where it was no longer held: then nothing is changed."""
    held = GCPVideoTransfer.objects.under_lease(lease, lease_clock(now))
    held = held.exclude(transfer_status=State.UPLOADING)  # an upload's lease ends with a move
    return held.update(lease_owner=None, lease_expires_at=None) == 1


def release_unfinished_cleanup(owner_id: UUID, transfer_id: UUID) -> None:
    """Give back the lease of a cleanup that this owner broke off, where it could not be given back then."""
    rows = GCPVideoTransfer.objects.filter(pk=transfer_id, lease_owner=owner_id, transfer_status=State.CLEANUP_PENDING)
    rows.update(lease_owner=None, lease_expires_at=None)


def renew(*, leases: Iterable[Lease], now: datetime, lease_seconds: float) -> dict[UUID, Lease]:
    """Prolong those leases that are still held, in one transaction; the others are not in the answer."""
    kept: dict[UUID, Lease] = {}
    with transaction.atomic():
        now = lease_clock(now)
        expires_at = now + timedelta(seconds=lease_seconds)
        for lease in sorted(leases, key=lambda one: one.transfer_id):  # in the order in which everybody locks many
            if GCPVideoTransfer.objects.under_lease(lease, now).update(lease_expires_at=expires_at) == 1:
                kept[lease.transfer_id] = replace(lease, expires_at=expires_at)
    return kept


def renew_jobs(*, leases: Iterable[JobLease], now: datetime, lease_seconds: float) -> None:
    """Prolong the leases of those jobs; one that another worker has taken meanwhile stays as it is."""
    expires_at = lease_clock(now) + timedelta(seconds=lease_seconds)
    for lease in leases:
        held = PeriodicJob.objects.filter(name=lease.name, lease_owner=lease.owner_id, lease_number=lease.number)
        held.update(lease_expires_at=expires_at)


# --- Times that a wrong clock left -------------------------------------------------------------------

LONGEST_PAUSE = timedelta(seconds=LONGEST_WAIT_SECONDS + 60)
"""No try is put off longer than the bucket may ask for, which is longer than any backoff; a minute for slow writes."""


def correct_far_times(*, now: datetime, lease_seconds: float) -> None:
    """Bring near what lies further ahead than it can have been meant: next tries, and the ends of leases.

    A clock that was ahead and is right again, or one that was set back, would park them until it gets there. A next
    try becomes due. A lease ends when one taken now would: its holder renews it before, if it lives. Half of twice
    the length is for workers whose settings say otherwise.
    """
    now = lease_clock(now)
    _pull_in_tries(now)
    lease = timedelta(seconds=lease_seconds)
    for leased in (GCPVideoTransfer.objects.all(), PeriodicJob.objects.all()):
        far = leased.filter(lease_expires_at__gt=now + 2 * lease)
        if far.exists():  # asked once a second by every worker: no write lock for nothing
            count = far.update(lease_expires_at=now + lease)
            log.warning("worker.leases_pulled_in", count=count)


def _pull_in_tries(now: datetime) -> None:
    """Batch by batch: that is how the index has them."""
    parked = GCPVideoTransfer.objects.filter(transfer_status=State.PENDING, next_attempt_at__gt=now + LONGEST_PAUSE)
    batches = TransferBatch.objects.filter(Exists(parked.filter(batch=OuterRef("pk")).order_by()))
    found = list(batches.values_list("pk", flat=True))
    if found:
        count = parked.filter(batch__in=found).update(next_attempt_at=now)
        log.warning("worker.tries_pulled_in", count=count)


# --- Leases that nobody holds any more ----------------------------------------------------------------


def expire_leases(*, now: datetime) -> int:
    """Put back the uploads whose lease ran out, at once and without backoff; end other leases that did.

    Returns how many leases ended.
    """
    now = lease_clock(now)
    expired = GCPVideoTransfer.objects.filter(lease_expires_at__lte=now)
    if not expired.exists():  # asked once a second by every worker: no write lock for nothing
        return 0
    put_back = put_back_uploads(expired.filter(transfer_status=State.UPLOADING), Reason.LEASE_EXPIRED, now)
    return put_back + end_other_leases(expired)


def put_back_uploads(rows: TransferQuerySet, reason: Reason, now: datetime) -> int:
    """Those `uploading` rows are pending again, each in its own move; how many still were as found."""
    return sum(
        _put_back_one(transfer_id, Q(lease_number=number, lease_expires_at=expires_at), reason, now)
        for transfer_id, number, expires_at in rows.order_by().values_list("pk", "lease_number", "lease_expires_at")
    )


def _put_back_one(transfer_id: UUID, as_found: Q, reason: Reason, now: datetime) -> bool:
    try:
        GCPVideoTransfer.objects.move(
            transfer_id,
            Move.PUT_BACK,
            actor=SYSTEM,
            now=now,
            reason=reason,
            only_if=as_found,
            changes={"next_attempt_at": now},
        )
    except MoveRefused:  # renewed, finished or put back by somebody else meanwhile
        return False
    return True


def end_other_leases(rows: TransferQuerySet) -> int:
    """In the order of their keys, as everybody locks many: an UPDATE of all would lock them as it finds them."""
    rows = rows.exclude(transfer_status=State.UPLOADING)
    with transaction.atomic():
        return rows.filter(pk__in=rows.lock_many()).update(lease_owner=None, lease_expires_at=None)
