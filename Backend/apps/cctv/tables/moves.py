"""The query vocabulary of the transfer table, and its one way to change a status."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models, transaction
from django.db.models import Count, Q, Sum

from apps.cctv.tables.sql import Condition, Lock, insert_many, select_many, update_many
from offload.errors import LeaseLost, Reason
from offload.states import MOVES, Move, State

if TYPE_CHECKING:
    from apps.cctv.tables.transfers import GCPVideoTransfer  # noqa: F401 - named in the base class below, as a string

SYSTEM = "system"
"""The actor of what no person asked for."""

_NO_LEASE: Mapping[str, Any] = {"lease_owner": None, "lease_expires_at": None}


@dataclass(frozen=True, slots=True)
class Lease:
    """A right to change one transfer until `expires_at` (UTC); `number` is the fence (P6)."""

    transfer_id: UUID
    number: int
    owner_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LeasedMove:
    """One of many moves made together; `changes` has the same columns in all of them, none an expression."""

    lease: Lease
    move: Move
    actor: str
    reason: Reason
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VerifiedUpload:
    """An upload that is complete: its recording is to be read at `object_path` from now on.

    `columns` are the transfer's own, the object's generation and CRC32C among them; many recorded together have the
    same columns, and all of them know `hold_confirmed` (what the bucket has) or none. `found_in_bucket`: the local
    file is gone already.
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
    """The row was not in a status that this move may start from: somebody else was first."""

    def __init__(self, transfer_id: UUID, move: Move, found: str | None) -> None:
        self.transfer_id = transfer_id
        self.move = move
        self.found = found
        super().__init__(f"Transfer {transfer_id} is {found or 'gone'}: it cannot {move.value.replace('_', ' ')}.")


class TransferQuerySet(models.QuerySet["GCPVideoTransfer"]):
    def under_lease(self, lease: Lease, now: datetime) -> TransferQuerySet:
        """The lease's row, if the lease is still its own and unexpired."""
        return self.filter(
            pk=lease.transfer_id,
            lease_number=lease.number,
            lease_owner=lease.owner_id,
            lease_expires_at__gt=now,
        )

    @staticmethod
    def due_conditions(now: datetime) -> list[Condition]:
        """`due_for_upload` for `tables.sql`."""
        return [("transfer_status", "=", State.PENDING), ("next_attempt_at", "<=", now)]

    def due_for_upload(self, now: datetime) -> TransferQuerySet:
        return self.filter(transfer_status=State.PENDING, next_attempt_at__lte=now)

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

        `changes` are further columns of the same UPDATE. A lease held on the row ends with the move,
        unless the target is `uploading`. Raises LeaseLost where `lease` is no longer the row's,
        MoveRefused where the status (or `only_if`) forbids the move. Nothing is changed then.
        """
        rule = MOVES[move]
        if rule.needs_lease and lease is None:
            raise LeaseLost(f"{move.value} needs the current lease of transfer {transfer_id}")
        columns = dict(changes or {})
        if rule.target is not State.UPLOADING:
            columns = {**_NO_LEASE, **columns}
        with transaction.atomic():
            found = self.filter(pk=transfer_id).select_for_update().values_list("transfer_status", flat=True).first()
            if found not in rule.sources:
                if lease is not None:
                    raise LeaseLost(f"transfer {transfer_id} is {found} now")
                raise MoveRefused(transfer_id, move, found)
            row = self.filter(pk=transfer_id) if lease is None else self.under_lease(lease, now)
            row = row.filter(only_if or Q(), transfer_status=found)
            # A condition that joins another table makes Django wrap the UPDATE in a sub-select; still one statement.
            if row.update(transfer_status=rule.target, **columns) != 1:
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
        """Make one move that needs no lease for those of at most 1,000 rows whose status allows it: which ones.

        One UPDATE for all of them, their events in the same transaction. The rows are locked in the order of their
        keys, as everybody locks many.
        """
        rule = MOVES[move]
        if rule.needs_lease:
            raise LeaseLost(f"{move.value} needs the current lease of each transfer")
        columns = {**_NO_LEASE, **(changes or {})}
        with transaction.atomic():
            free = self.filter(pk__in=transfer_ids, transfer_status__in=rule.sources)
            found = free.lock_many()
            self.filter(pk__in=found, transfer_status__in=rule.sources).update(transfer_status=rule.target, **columns)
            self._append_events(found, move, actor=actor, now=now, reason=reason, detail=detail)
        return set(found)

    def lock_many(self) -> dict[UUID, str]:
        """Lock these rows until the transaction ends: the status of each.

        In the order of their keys, as everything that locks many: PostgreSQL ends one of two that wait in a circle.
        """
        return dict(self.order_by("pk").select_for_update().values_list("pk", "transfer_status"))

    def note(self, lease: Lease, now: datetime, columns: Mapping[str, Any]) -> None:
        """Change columns of an upload's row under its lease. Raises LeaseLost, and changes nothing then."""
        row = (_held_uploading(lease), columns)
        if update_many(self.model, [row], same={}, later={"lease_expires_at": now}) != 1:
            raise LeaseLost(f"the lease of transfer {lease.transfer_id} is another's now")

    def lock_leased(self, leases: Collection[Lease], now: datetime) -> set[UUID]:
        """Which of those leases on uploads are still their own and unexpired; their rows are locked.

        In the order of their keys, so that two who lock many never wait for each other.
        """
        wanted = {lease.transfer_id: (lease.number, lease.owner_id) for lease in leases}
        found = select_many(
            self.model,
            ("id", "lease_number", "lease_owner"),
            [("id", "IN", wanted), ("transfer_status", "=", State.UPLOADING), ("lease_expires_at", ">", now)],
            order_by="id",
            lock=Lock.WAIT,
        )
        return {pk for pk, number, owner_id in found if (number, owner_id) == wanted[pk]}

    def claim_locked(self, leases: Sequence[Lease], *, actor: str, now: datetime) -> None:
        """Make the move `claim` for pending rows that the caller has locked, with leases of one owner and expiry.

        Each lease has the number after its row's own. All of them or none, in one transaction; raises LeaseLost
        where one is not as the caller found it.
        """
        if not leases:
            return
        rows = [
            (
                {"id": lease.transfer_id, "lease_number": lease.number - 1, "transfer_status": State.PENDING},
                {"lease_number": lease.number},
            )
            for lease in leases
        ]
        taken = {
            "lease_owner": leases[0].owner_id,
            "lease_expires_at": leases[0].expires_at,
            "next_attempt_at": None,
            "transfer_status": MOVES[Move.CLAIM].target,
        }
        with transaction.atomic(savepoint=False):
            if update_many(self.model, rows, same=taken) != len(leases):
                raise LeaseLost("a transfer changed under its claimer's lock")
            found = dict.fromkeys([lease.transfer_id for lease in leases], State.PENDING)
            self._append_events(found, Move.CLAIM, actor=actor, now=now, reason=Reason.CLAIMED)

    def move_leased(self, moves: Sequence[LeasedMove], *, now: datetime, same: Mapping[str, Any]) -> None:
        """Make those moves of uploads and append their events, in one transaction: all of them or none.

        `same` are columns that all of them change to the same. Each UPDATE is guarded by its own lease, which
        ends with the move. Raises LeaseLost; `lock_leased` says beforehand whose would be.
        """
        rows = [
            (_held_uploading(one.lease), {**one.changes, "transfer_status": MOVES[one.move].target}) for one in moves
        ]
        with transaction.atomic(savepoint=False):
            changed = update_many(self.model, rows, same={**same, **_NO_LEASE}, later={"lease_expires_at": now})
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
        """Record verified uploads, their recordings with them, in one transaction: each transfer's move.

        The one way to complete an upload. The caller has locked the rows by `lock_leased`. A cleanup is scheduled at
        `cleanup_at`, but not where the recording is held by now. All of them or none: raises LeaseLost where a lease
        is another's, ValueError without generation or CRC32C.
        """
        if not all(one.columns.get("object_generation") and one.columns.get("object_crc32c") for one in uploads):
            raise ValueError("an upload is complete only with the object's generation and CRC32C")
        recordings: Any = self.model._meta.get_field("recording").related_model  # noqa: SLF001 - Django's documented Model._meta
        with transaction.atomic(savepoint=False):
            ids = [one.recording_id for one in uploads]
            wishes = select_many(recordings, ("id", "hold_wanted"), [("id", "IN", ids)], order_by="id", lock=Lock.WAIT)
            held = dict(wishes)
            moves = [_completing(one, hold_wanted=held[one.recording_id]) for one in uploads]
            self.move_leased(moves, now=now, same=_uploaded_columns(now))
            update_many(
                recordings,
                [({"id": one.recording_id}, _recording_columns(one)) for one in uploads],
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
        """Insert at most 1,000 pending rows and their events, in one transaction: the ids of the new ones.

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


def _recording_columns(one: VerifiedUpload) -> dict[str, Any]:
    known = {} if one.hold_confirmed is None else {"hold_confirmed": one.hold_confirmed}
    return {"file_path": one.object_path, **known}


def _uploaded_columns(now: datetime) -> dict[str, Any]:
    """Of every transfer whose upload is complete and verified, beside its proof: no trace of what went wrong before."""
    return {
        "upload_completed_at": now,
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


def _held_uploading(lease: Lease) -> dict[str, Any]:
    """The columns by which an upload's row is found while the lease is its own."""
    return {
        "id": lease.transfer_id,
        "lease_number": lease.number,
        "lease_owner": lease.owner_id,
        "transfer_status": State.UPLOADING,
    }
