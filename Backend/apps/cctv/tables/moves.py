"""The transfer table's queries and its guarded updates.

A status, a lease, and what is noted under a lease change in three ways:

1. `change`: one row, where its `RowGuard` is true. Django makes the UPDATE, so a guard may look at other tables and a
   column may be computed. `move` makes one move with it.
2. `change_many`: many rows in one prepared statement, each where its own guard is true. Claims (`claim_locked`), the
   ends of uploads (`move_leased`) and notes (`note`) are made with it, since every upload needs them.
3. Rows that were locked before, all in one UPDATE: `move_many`, and the ends of leases in `leasing`.

Each move appends its event in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.db import models, transaction
from django.db.models import Count, Q, Sum

from apps.cctv.tables.sql import Condition, Lock, as_q, insert_many, select_many, update_many
from offload.errors import LeaseLost, Reason
from offload.states import MOVES, Move, State

if TYPE_CHECKING:
    from apps.cctv.tables.transfers import GCPVideoTransfer  # noqa: F401 - named in the base class below, as a string

SYSTEM = "system"
"""The actor of what no person asked for."""

NO_LEASE: Mapping[str, Any] = {"lease_owner": None, "lease_expires_at": None}
"""The columns of a row without a lease. The number stays: it only grows."""


_PENDING: Condition = ("transfer_status", "=", State.PENDING)
_UPLOADING: Condition = ("transfer_status", "=", State.UPLOADING)


def is_due(now: datetime) -> list[Condition]:
    """The conditions under which a transfer may be claimed for its upload."""
    return [_PENDING, ("next_attempt_at", "<=", now)]


@dataclass(frozen=True, slots=True)
class Lease:
    """A right to change one transfer until `expires_at` (UTC); `number` is the fence (P6)."""

    transfer_id: UUID
    number: int
    owner_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RowGuard:
    """What must be true of a transfer's row at the moment when it is changed.

    An UPDATE whose guard is false changes no row: another process was first. Make one by `of_row` or `of_lease`.
    """

    where: Sequence[Condition]
    only_if: Q | None = None
    """A further condition, which may look at other tables; for an UPDATE by Django alone."""

    @classmethod
    def of_row(cls, transfer_id: UUID, *where: Condition, only_if: Q | None = None) -> Self:
        """The row of that id, while `where` and `only_if` are true of it."""
        return cls([("id", "=", transfer_id), *where], only_if)

    @classmethod
    def of_lease(cls, lease: Lease, now: datetime, *where: Condition, only_if: Q | None = None) -> Self:
        """The lease's row, while the lease is the row's own and has not run out at `now` (P6)."""
        fence: list[Condition] = [
            ("id", "=", lease.transfer_id),
            ("lease_number", "=", lease.number),
            ("lease_owner", "=", lease.owner_id),
            ("lease_expires_at", ">", now),
        ]
        return cls([*fence, *where], only_if)

    def as_q(self) -> Q:
        """For Django's `filter`."""
        return as_q(self.where) & (self.only_if or Q())


@dataclass(frozen=True, slots=True)
class LeasedMove:
    """One of many moves of uploads made together.

    `changes` has the same columns in all of them, and values only, no expression that the database computes.
    """

    lease: Lease
    move: Move
    actor: str
    reason: Reason
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VerifiedUpload:
    """An upload that is complete: from now on its recording is read at `object_path` in the bucket.

    `columns` are the transfer's own, the object's generation and CRC32C among them. Uploads recorded together have the
    same columns, and `hold_confirmed` (what the bucket has) is known of all of them or of none. `found_in_bucket`: the
    local file was gone before the upload began, and the object was there.
    """

    lease: Lease
    recording_id: UUID
    object_path: str
    columns: Mapping[str, Any]
    actor: str
    reason: Reason
    cleanup_at: datetime | None = None
    found_in_bucket: bool = False
    hold_confirmed: bool | None = None


class MoveRefused(Exception):
    """The row was not in a status that this move may start from, or `only_if` was false: another process was first."""

    def __init__(self, transfer_id: UUID, move: Move, found: str | None) -> None:
        self.transfer_id = transfer_id
        self.move = move
        self.found = found
        super().__init__(f"Transfer {transfer_id} is {found or 'gone'}: it cannot {move.value.replace('_', ' ')}.")


class TransferQuerySet(models.QuerySet["GCPVideoTransfer"]):
    def under_lease(self, lease: Lease, now: datetime) -> TransferQuerySet:
        """The lease's row, if the lease is still the row's and has not run out."""
        return self.filter(RowGuard.of_lease(lease, now).as_q())

    def due_for_upload(self, now: datetime) -> TransferQuerySet:
        return self.filter(as_q(is_due(now)))

    def expired(self, now: datetime) -> TransferQuerySet:
        """Rows whose lease has run out and was not ended yet."""
        return self.filter(lease_expires_at__lte=now)

    def unleased(self, now: datetime) -> TransferQuerySet:
        return self.filter(Q(lease_owner__isnull=True) | Q(lease_expires_at__lte=now))

    def status_counts(self) -> dict[str, int]:
        """Rows per exact status; every status is a key (P9)."""
        counts = {state.value: 0 for state in State}
        counts.update(self.order_by().values_list("transfer_status").annotate(n=Count("pk")))
        return counts

    def waiting_for_cleanup_bytes(self) -> int:
        """Bytes on local disks that wait for their cleanup."""
        total = self.filter(transfer_status=State.CLEANUP_PENDING).aggregate(n=Sum("file_size_bytes"))["n"]
        return int(total or 0)

    def change(self, guard: RowGuard, **columns: Any) -> bool:
        """Change columns of one row where its guard is true; whether it was.

        An `only_if` that joins another table makes Django wrap the UPDATE in a sub-select; it is still one statement.
        """
        return self.filter(guard.as_q()).update(**columns) == 1

    def change_many(self, rows: Sequence[tuple[RowGuard, Mapping[str, Any]]], *, same: Mapping[str, Any]) -> int:
        """Change many rows in one prepared statement, each where its own guard is true; how many were changed.

        The guards ask for the same things, and all rows change the same columns. `same` are columns that get the same
        value in all of them. Raises ValueError for a guard with an `only_if`, which this form cannot ask.
        """
        if any(guard.only_if for guard, _ in rows):
            raise ValueError("a guard with only_if is for one row")
        return update_many(self.model, [(guard.where, columns) for guard, columns in rows], same=same)

    def move(
        self,
        transfer_id: UUID,
        move: Move,
        *,
        actor: str,
        now: datetime,
        reason: Reason,
        detail: str = "",
        lease: Lease | None = None,
        only_if: Q | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Make one guarded move and append its event, in one transaction.

        1. Lock the row and read its status; it must be one that the move may start from.
        2. Change status and `changes` in one UPDATE, guarded by that status, by `lease` where one is given, and by
           `only_if`. The row's lease ends with it, unless the target is `uploading`.
        3. Append the event.

        Raises LeaseLost where `lease` is no longer the row's, MoveRefused where the status or `only_if` forbids the
        move. Nothing is changed then.
        """
        rule = MOVES[move]
        if rule.needs_lease and lease is None:
            raise LeaseLost(f"{move.value} needs the current lease of transfer {transfer_id}")
        columns = {**(changes or {}), "transfer_status": rule.target}
        if rule.target is not State.UPLOADING:
            columns = {**NO_LEASE, **columns}
        with transaction.atomic():
            found = self.filter(pk=transfer_id).select_for_update().values_list("transfer_status", flat=True).first()
            if found not in rule.sources:
                if lease is not None:
                    raise LeaseLost(f"transfer {transfer_id} is {found} now")
                raise MoveRefused(transfer_id, move, found)
            # SQLite locks no row, so the UPDATE asks for the status again.
            as_found: Condition = ("transfer_status", "=", found)
            if lease is None:
                guard = RowGuard.of_row(transfer_id, as_found, only_if=only_if)
            else:
                guard = RowGuard.of_lease(lease, now, as_found, only_if=only_if)
            if not self.change(guard, **columns):
                if lease is not None and not self.under_lease(lease, now).exists():
                    raise LeaseLost(f"the lease of transfer {transfer_id} is another's now")
                raise MoveRefused(transfer_id, move, found)
            self._append_events({transfer_id: found}, move, actor=actor, now=now, reason=reason, detail=detail)

    def move_many(
        self,
        transfer_ids: Collection[UUID],
        move: Move,
        *,
        actor: str,
        now: datetime,
        reason: Reason,
        detail: str = "",
        changes: Mapping[str, Any] | None = None,
    ) -> set[UUID]:
        """Make one move that needs no lease for those of at most 1,000 rows whose status allows it; their ids.

        The rows are locked first, then one UPDATE changes all of them; their events are in the same transaction.
        """
        rule = MOVES[move]
        if rule.needs_lease:
            raise LeaseLost(f"{move.value} needs the current lease of each transfer")
        columns = {**NO_LEASE, **(changes or {})}
        with transaction.atomic():
            free = self.filter(pk__in=transfer_ids, transfer_status__in=rule.sources)
            found = free.lock_many()
            self.filter(pk__in=found, transfer_status__in=rule.sources).update(transfer_status=rule.target, **columns)
            self._append_events(found, move, actor=actor, now=now, reason=reason, detail=detail)
        return set(found)

    def lock_many(self) -> dict[UUID, str]:
        """Lock these rows until the transaction ends; the status of each.

        They are locked in the order of their keys, here and wherever many rows are locked. Two transactions that lock
        in different orders may wait for each other, and PostgreSQL ends one of them.
        """
        return dict(self.order_by("pk").select_for_update().values_list("pk", "transfer_status"))

    def note(self, lease: Lease, now: datetime, columns: Mapping[str, Any]) -> None:
        """Change columns of an upload's row under its lease. Raises LeaseLost, and changes nothing then."""
        if self.change_many([(RowGuard.of_lease(lease, now, _UPLOADING), columns)], same={}) != 1:
            raise LeaseLost(f"the lease of transfer {lease.transfer_id} is another's now")

    def lock_leased(self, leases: Collection[Lease], now: datetime) -> set[UUID]:
        """Lock the rows of those uploads whose lease is still the row's and has not run out; their ids.

        They are locked in the order of their keys (`lock_many` says why).
        """
        wanted = {lease.transfer_id: (lease.number, lease.owner_id) for lease in leases}
        found = select_many(
            self.model,
            ("id", "lease_number", "lease_owner"),
            [("id", "IN", wanted), _UPLOADING, ("lease_expires_at", ">", now)],
            order_by="id",
            lock=Lock.WAIT,
        )
        return {pk for pk, number, owner_id in found if (number, owner_id) == wanted[pk]}

    def claim_locked(self, leases: Sequence[Lease], *, actor: str, now: datetime) -> None:
        """Make the move `claim` for pending rows that the caller has locked.

        The leases have one owner and one expiry, and each has the number after its row's own. All moves are made in
        one transaction, or none: raises LeaseLost where a row is not as the caller found it.
        """
        if not leases:
            return
        rows = [
            (
                RowGuard.of_row(lease.transfer_id, ("lease_number", "=", lease.number - 1), _PENDING),
                {"lease_number": lease.number},
            )
            for lease in leases
        ]
        claimed = {
            "lease_owner": leases[0].owner_id,
            "lease_expires_at": leases[0].expires_at,
            "next_attempt_at": None,
            "transfer_status": MOVES[Move.CLAIM].target,
        }
        with transaction.atomic(savepoint=False):
            if self.change_many(rows, same=claimed) != len(leases):
                raise LeaseLost("a transfer changed under its claimer's lock")
            found = dict.fromkeys([lease.transfer_id for lease in leases], State.PENDING)
            self._append_events(found, Move.CLAIM, actor=actor, now=now, reason=Reason.CLAIMED)

    def move_leased(self, moves: Sequence[LeasedMove], *, now: datetime, same: Mapping[str, Any]) -> None:
        """Make those moves of uploads and append their events, in one transaction: all of them or none.

        `same` are columns that get the same value in all of them. Each row is guarded by its own lease, which ends
        with the move. Raises LeaseLost where one is lost; `lock_leased` tells beforehand which ones are not.
        """
        rows = [
            (
                RowGuard.of_lease(one.lease, now, _UPLOADING),
                {**one.changes, "transfer_status": MOVES[one.move].target},
            )
            for one in moves
        ]
        # Savepoints would be two more statements for each group of uploads, and an error ends the whole of it anyway.
        with transaction.atomic(savepoint=False):
            changed = self.change_many(rows, same={**same, **NO_LEASE})
            if changed != len(moves):
                raise LeaseLost(f"{len(moves) - changed} of {len(moves)} leases are another's now")
            self._append(
                [
                    {
                        "transfer_id": one.lease.transfer_id,
                        "move": one.move,
                        "to_status": MOVES[one.move].target,
                        "actor": one.actor,
                        "reason": one.reason,
                    }
                    for one in moves
                ],
                same={"from_status": State.UPLOADING, "at": now, "detail": ""},
            )

    def complete_uploads(self, uploads: Sequence[VerifiedUpload], *, now: datetime) -> dict[UUID, Move]:
        """Record verified uploads and their recordings in one transaction, all of them or none; each transfer's move.

        This is the only way to complete an upload. The caller has locked the transfers by `lock_leased`.

        1. Lock the recordings and read which of them are held now.
        2. Make the moves (`move_leased`). A cleanup is scheduled at `cleanup_at`, but not for a held recording.
        3. Note in each recording that it is read from the bucket from now on.

        Raises LeaseLost where a lease is another's, ValueError without generation or CRC32C.
        """
        if not all(one.columns.get("object_generation") and one.columns.get("object_crc32c") for one in uploads):
            raise ValueError("an upload is complete only with the object's generation and CRC32C")
        recordings: Any = self.model._meta.get_field("recording").related_model  # noqa: SLF001 - Django's documented Model._meta
        with transaction.atomic(savepoint=False):
            # Read under the lock: a hold that is set at this moment is either seen here, or finds the upload complete.
            ids = [one.recording_id for one in uploads]
            wishes = select_many(recordings, ("id", "hold_wanted"), [("id", "IN", ids)], order_by="id", lock=Lock.WAIT)
            held = dict(wishes)
            moves = [_completing(one, hold_wanted=held[one.recording_id]) for one in uploads]
            self.move_leased(moves, now=now, same={"upload_completed_at": now, **_AFTER_UPLOAD})
            update_many(
                recordings,
                [
                    (
                        [("id", "=", one.recording_id)],
                        {"file_path": one.object_path}
                        | ({} if one.hold_confirmed is None else {"hold_confirmed": one.hold_confirmed}),
                    )
                    for one in uploads
                ],
                same={"storage_type": "gcp"},
            )
        return {one.lease.transfer_id: one.move for one in moves}

    def request_many(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        same: Mapping[str, Any],
        actor: str,
        now: datetime,
        reason: Reason = Reason.REQUESTED,
    ) -> set[UUID]:
        """Insert at most 1,000 pending rows and their events in one transaction; the ids of the new rows.

        `rows` and `same` are columns as in `insert_many`; each row has its `id`. A recording that has a
        transfer keeps it, so two requests at the same moment start it once.
        """
        columns = {**same, "transfer_status": State.PENDING, "created_at": now}
        with transaction.atomic():
            insert_many(self.model, rows, same=columns, ignore_conflicts=True)
            new = set(self.filter(pk__in=[row["id"] for row in rows]).values_list("pk", flat=True))
            self._append_events(dict.fromkeys(new, ""), Move.REQUEST, actor=actor, now=now, reason=reason)
        return new

    def _append_events(
        self,
        from_statuses: Mapping[UUID, str],
        move: Move,
        *,
        actor: str,
        now: datetime,
        reason: Reason,
        detail: str = "",
    ) -> None:
        self._append(
            [{"transfer_id": pk, "from_status": from_status} for pk, from_status in from_statuses.items()],
            same={
                "at": now,
                "actor": actor,
                "move": move,
                "to_status": MOVES[move].target,
                "reason": reason,
                "detail": detail,
            },
        )

    def _append(self, events: Sequence[Mapping[str, Any]], *, same: Mapping[str, Any]) -> None:
        event_model: Any = self.model._meta.get_field("events").related_model  # noqa: SLF001 - Django's documented Model._meta
        insert_many(event_model, events, same=same)


def _completing(one: VerifiedUpload, *, hold_wanted: bool) -> LeasedMove:
    cleanup_at = None if hold_wanted else one.cleanup_at
    if one.found_in_bucket:
        move = Move.FIND_IN_BUCKET
    else:
        move = Move.COMPLETE if cleanup_at is None else Move.COMPLETE_SCHEDULED
    return LeasedMove(one.lease, move, one.actor, one.reason, {**one.columns, "cleanup_scheduled_at": cleanup_at})


_AFTER_UPLOAD: dict[str, Any] = {
    "next_attempt_at": None,
    "error_code": "",
    "error_message": "",
    "failures_in_row": 0,
    "failing_since": None,
    "passes_conflict": False,
    "session_uri": "",
    "session_started_at": None,
    "session_identity": "",
}
"""Columns that every completed upload gets beside its proof: they clear earlier errors and the session."""
