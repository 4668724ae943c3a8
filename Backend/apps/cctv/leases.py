"""Leases: who may change a transfer, until when (P6), and how many of a batch upload at once.

A lease is three columns of the transfer's row. Its number only grows and is the fence: a worker that
lost its lease matches no row any more. On PostgreSQL, where workers run on many machines, every time
compared here is the database's.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.cctv.installation import installation_id
from apps.cctv.models import SYSTEM, GCPVideoTransfer, PeriodicJob, Site, TransferBatch, WorkerProcess
from apps.cctv.querysets import Lease, MoveRefused, TransferQuerySet
from apps.cctv.wakeup import OWNERS_FOLDER, bell_path, hang_bell, ring
from offload.errors import Reason
from offload.states import Move, State

_BATCHES_TRIED = 20
"""Batches tried in one claim. Only batches with room and due work count, so this bounds lost races."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A transfer (with its recording loaded) and the lease to work on it.

    `actor` is who the history names for what comes of it.
    """

    transfer: GCPVideoTransfer
    lease: Lease
    actor: str = SYSTEM


def lease_time(now: datetime) -> datetime:
    """The moment that leases are measured by: `now`, or the database's clock on PostgreSQL."""
    if connection.vendor != "postgresql":
        return now
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (found,) = cursor.fetchone()
    return found  # type: ignore[no-any-return]


# --- Claiming ---------------------------------------------------------------------------------------


def claim_many(
    *, most: int, owner_id: UUID, site_id: UUID | None, now: datetime, lease_seconds: float, actor: str = SYSTEM
) -> list[Claim]:
    """Take up to `most` due transfers (of that site, if one is given) in one transaction: the oldest batch first.

    Empty where nothing is due or every batch with due transfers is full. On PostgreSQL whoever holds a
    batch's row waits for no transfer's, and batches are locked in one order: nobody waits in a circle.
    """
    if most < 1 or not GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).exists():
        return []
    now = lease_time(now)
    batch_ids = _batches_with_room(site_id, now)
    claims: list[Claim] = []
    until = now + timedelta(seconds=lease_seconds)
    with transaction.atomic(savepoint=False) if batch_ids else nullcontext():
        for batch_id in batch_ids:
            # The batch's row is the lock: one claimer at a time counts its uploads.
            batch = TransferBatch.objects.select_for_update().get(pk=batch_id)
            found = _next_due(batch, site_id, now, min(most - len(claims), _room(batch, now)))
            claims += _claimed(found, owner_id, now, until, actor)
            if len(claims) == most:
                break
    return claims


def _of_site(rows: TransferQuerySet, site_id: UUID | None) -> TransferQuerySet:
    return rows if site_id is None else rows.filter(site=site_id)


def _batches_with_room(site_id: UUID | None, now: datetime) -> list[UUID]:
    """A look without a lock, so that an idle worker locks nothing; `claim_many` counts again."""
    rows = GCPVideoTransfer.objects.filter(batch=OuterRef("pk")).order_by()
    live = rows.filter(transfer_status=State.UPLOADING, lease_expires_at__gt=now)
    live_count = Subquery(live.values("batch").annotate(n=Count("pk")).values("n"))
    return list(
        TransferBatch.objects.annotate(live=Coalesce(live_count, 0))
        .filter(Exists(_of_site(rows.due_for_upload(now), site_id)), live__lt=F("batch_size"))
        .order_by("created_at", "pk")
        .values_list("pk", flat=True)[:_BATCHES_TRIED]
    )


def _room(batch: TransferBatch, now: datetime) -> int:
    """Counts every `uploading` row; those whose lease ran out are put back first, so they take no room."""
    uploading = GCPVideoTransfer.objects.filter(batch=batch, transfer_status=State.UPLOADING)
    ends = list(uploading.order_by().values_list("lease_expires_at", flat=True))
    if any(expires_at is None or expires_at <= now for expires_at in ends):
        late = uploading.filter(lease_expires_at__lte=now).select_for_update(skip_locked=True)
        return batch.batch_size - len(ends) + _put_back(late, Reason.LEASE_EXPIRED, now)
    return batch.batch_size - len(ends)


def _next_due(batch: TransferBatch, site_id: UUID | None, now: datetime, most: int) -> list[GCPVideoTransfer]:
    """Half-uploaded files go first: their sessions end after a week, and a long queue may take longer.

    They were put back after the request, so they are the few rows whose time is later than the batch's.
    Ordered by the index alone: a second key would sort 100,000 rows of one time at every claim. A row that
    somebody holds (a person who cancels it) is passed over.
    """
    if most < 1:
        return []
    due = _of_site(GCPVideoTransfer.objects.filter(batch=batch).due_for_upload(now), site_id)
    due = due.select_related("recording").select_for_update(skip_locked=True, of=("self",)).order_by("next_attempt_at")
    half = list(due.filter(next_attempt_at__gt=batch.created_at).exclude(session_uri="")[:most])
    if len(half) == most:
        return half
    return half + list(due.exclude(pk__in=[row.pk for row in half])[: most - len(half)])


def _claimed(found: list[GCPVideoTransfer], owner_id: UUID, now: datetime, until: datetime, actor: str) -> list[Claim]:
    """The rows are locked: they are taken as they were found."""
    if not found:
        return []
    columns = {"lease_owner": owner_id, "lease_expires_at": until, "next_attempt_at": None}
    moved = GCPVideoTransfer.objects.move_many(
        [row.pk for row in found],
        Move.CLAIM,
        actor=actor,
        now=now,
        reason=Reason.CLAIMED,
        changes={**columns, "lease_number": F("lease_number") + 1},
    )
    claims = []
    for row in found:
        if row.pk in moved:
            row.transfer_status = State.UPLOADING
            row.lease_number += 1
            row.lease_owner, row.lease_expires_at, row.next_attempt_at = owner_id, until, None
            claims.append(Claim(row, Lease(row.pk, row.lease_number, owner_id, until), actor))
    return claims


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
    now = lease_time(now)
    rows = GCPVideoTransfer.objects.filter(pk=transfer_id, transfer_status=State.CLEANUP_PENDING)
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
    held = GCPVideoTransfer.objects.held_by_lease(lease, lease_time(now))
    held = held.filter(transfer_status=State.CLEANUP_PENDING)
    return held.update(lease_owner=None, lease_expires_at=None) == 1


def renew(*, leases: Iterable[Lease], now: datetime, lease_seconds: float) -> dict[UUID, Lease]:
    """Prolong those leases that are still held, in one transaction; the others are not in the answer."""
    kept: dict[UUID, Lease] = {}
    with transaction.atomic():
        now = lease_time(now)
        expires_at = now + timedelta(seconds=lease_seconds)
        for lease in sorted(leases, key=lambda one: one.transfer_id):  # in the order in which everybody locks many
            if GCPVideoTransfer.objects.held_by_lease(lease, now).update(lease_expires_at=expires_at) == 1:
                kept[lease.transfer_id] = replace(lease, expires_at=expires_at)
    return kept


# --- Leases that nobody holds any more ----------------------------------------------------------------


def expire_leases(*, now: datetime) -> int:
    """Put back the uploads whose lease ran out, at once and without backoff; end other leases that did.

    Returns how many leases ended.
    """
    now = lease_time(now)
    expired = GCPVideoTransfer.objects.filter(lease_expires_at__lte=now)
    if not expired.exists():  # asked once a second by every worker: no write lock for nothing
        return 0
    put_back = _put_back(expired.filter(transfer_status=State.UPLOADING), Reason.LEASE_EXPIRED, now)
    return put_back + _clear(expired)


def _put_back(rows: TransferQuerySet, reason: Reason, now: datetime) -> int:
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


def _clear(rows: TransferQuerySet) -> int:
    rows = rows.exclude(transfer_status=State.UPLOADING)
    return rows.update(lease_owner=None, lease_expires_at=None)


def free_dead_owners(*, home: Path, now: datetime) -> int:
    """Free at once what owners of this home held when they died; how many leases that were.

    An owner is alive while its lock file is locked, so this never touches a worker that merely sleeps.
    """
    freed = 0
    for path in sorted((home / OWNERS_FOLDER).glob("*.lock")):
        lock = _lock_of_the_dead(path)
        if lock is not None:
            try:
                freed += _free(UUID(path.stem), Reason.OWNER_DIED, lease_time(now))
                _remove(path)
            finally:
                os.close(lock)
    return freed


def _remove(lock_path: Path) -> None:
    """The lock file last: whoever finds none finds no bell either."""
    bell_path(lock_path).unlink(missing_ok=True)
    lock_path.unlink(missing_ok=True)


def _lock_of_the_dead(path: Path) -> int | None:
    """The file's lock, which nobody holds while its owner lives."""
    try:
        lock = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _free(owner_id: UUID, reason: Reason, now: datetime) -> int:
    owned = GCPVideoTransfer.objects.filter(lease_owner=owner_id)
    freed = _put_back(owned.filter(transfer_status=State.UPLOADING), reason, now) + _clear(owned)
    PeriodicJob.objects.filter(lease_owner=owner_id).update(lease_owner=None, lease_expires_at=None)
    WorkerProcess.objects.filter(pk=owner_id, stopped_at__isnull=True).update(stopped_at=now)
    return freed


# --- Owners -------------------------------------------------------------------------------------------

_locks_held: set[int] = set()


def _leave_locks_to_the_parent() -> None:
    """A forked child that kept the descriptor would keep its dead parent's lock."""
    while _locks_held:
        os.close(_locks_held.pop())


os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


class Owner:
    """A process that may hold leases: a row, and a lock file that the kernel frees when it dies.

    `bell` is a descriptor that is readable once something may be due, or None.
    """

    def __init__(self, owner_id: UUID, path: Path, lock: int, name: str) -> None:
        self.id = owner_id
        self.name = name
        self.bell = hang_bell(bell_path(path))
        self._path = path
        self._lock = lock

    @classmethod
    def start(cls, home: Path, site: Site | None, now: datetime) -> Owner:
        """Lock first, then the row. Raises InstallationUnknown where this machine must not work."""
        owner_id = uuid4()
        host, pid = socket.gethostname(), os.getpid()
        installation = installation_id()
        path, lock = _locked_file(home / OWNERS_FOLDER, owner_id)
        owner = cls(owner_id, path, lock, f"{host}:{pid}")
        WorkerProcess.objects.create(
            id=owner_id,
            site=site,
            host=host,
            pid=pid,
            installation_id=installation,
            started_at=now,
            heartbeat_at=now,
        )
        return owner

    def stop(self, now: datetime) -> None:
        """Give back what is still held, for the others to take; end the row and the lock."""
        _free(self.id, Reason.LEASE_RETURNED, lease_time(now))
        _remove(self._path)
        _locks_held.discard(self._lock)
        os.close(self._lock)
        if self.bell is not None:
            os.close(self.bell)
        ring(self._path.parent.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(timezone.now())


def _locked_file(folder: Path, owner_id: UUID) -> tuple[Path, int]:
    """Locked under another name first: whoever looks for dead owners never meets an unlocked live one."""
    folder.mkdir(parents=True, exist_ok=True)
    draft, path = folder / f"{owner_id}.new", folder / f"{owner_id}.lock"
    lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    _locks_held.add(lock)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    draft.rename(path)
    return path, lock
