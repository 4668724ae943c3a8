"""Claims: what a worker takes next, several at once, and never more of a batch than it says.

`batch_size` holds on any number of machines because the batch's row is the lock under which its uploads are
counted. On PostgreSQL whoever holds a batch's row waits for no transfer's, and batches are locked oldest
first: nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Subquery
from django.db.models.functions import Coalesce

from apps.cctv.leasing.leases import Claim, lease_clock, put_back_uploads
from apps.cctv.models import GCPVideoTransfer, Recording, TransferBatch
from apps.cctv.tables.moves import Lease, TransferQuerySet
from apps.cctv.tables.sql import Condition, Lock, load_many, select_many
from offload.errors import Reason
from offload.states import State

_MOST_BATCHES = 20


@dataclass(slots=True)
class _Batch:
    """A batch in the line. `has_half`: it may have half-uploaded files. `is_full`: until one of its uploads ends."""

    id: UUID
    has_half: bool = True
    is_full: bool = False


class BatchQueue:
    """The batches that one worker takes from, the oldest first, as they were at its last look.

    What a look costs is paid once, and not at each claim of a batch with thousands of files. `look_again`
    when something may have become due; a line with nothing left looks by itself.
    """

    def __init__(self, *, owner_id: UUID, site_id: UUID | None, lease_seconds: float, actor: str) -> None:
        """A worker of `site_id` takes that site's transfers only. `actor` is named by the history."""
        self._owner_id = owner_id
        self._site_id = site_id
        self._lease_seconds = lease_seconds
        self._actor = actor
        self._batches: list[_Batch] = []

    def look_again(self) -> None:
        self._batches = []

    def claim_due(self, most: int, *, now: datetime, freed: Collection[UUID] = ()) -> list[Claim]:
        """Claim up to `most` due transfers in one transaction; `freed` are batches of which uploads have ended.

        Empty where nothing is due or every batch with due transfers is full.
        """
        now = lease_clock(now)
        if not self._batches:
            self._batches = [_Batch(batch_id) for batch_id in _with_room(self._site_id, now)]
        open_ones = [batch for batch in self._batches if not batch.is_full or batch.id in freed]
        if most < 1 or not open_ones:
            return []
        claims: list[Claim] = []
        with transaction.atomic(savepoint=False):
            for batch in open_ones:
                claims += self._claim_of(batch, most - len(claims), now)
                if len(claims) == most:
                    break
        return claims

    def _claim_of(self, batch: _Batch, most: int, now: datetime) -> list[Claim]:
        # One claimer at a time counts its uploads.
        found_batch = select_many(TransferBatch, ("batch_size", "created_at"), [("id", "=", batch.id)], lock=Lock.WAIT)
        if not found_batch:
            self._batches.remove(batch)
            return []
        ((size, created_at),) = found_batch
        room = size - _uploading(batch.id, now)
        found = self._next_due(batch, created_at, min(most, room), now) if room > 0 else []
        batch.is_full = len(found) >= room
        if len(found) < min(most, room):
            self._batches.remove(batch)
        until = now + timedelta(seconds=self._lease_seconds)
        claims = [Claim(one, Lease(one.pk, one.lease_number + 1, self._owner_id, until), self._actor) for one in found]
        GCPVideoTransfer.objects.claim_locked([claim.lease for claim in claims], actor=self._actor, now=now)
        for claim in claims:
            claim.transfer.transfer_status, claim.transfer.next_attempt_at = State.UPLOADING, None
            claim.transfer.lease_number, claim.transfer.lease_owner = claim.lease.number, self._owner_id
            claim.transfer.lease_expires_at = until
        return claims

    def _next_due(self, batch: _Batch, created_at: datetime, most: int, now: datetime) -> list[GCPVideoTransfer]:
        """Half-uploaded files go first: their sessions end after a week, and a long queue may take longer.

        They were put back after the request, so they are the few rows whose time is later than the batch's.
        Ordered by the index alone: a second key would sort 100,000 rows of one time at every claim. A row that
        somebody holds (a person who cancels it) is passed over.
        """
        due: list[Condition] = [("batch_id", "=", batch.id), *TransferQuerySet.due_conditions(now)]
        if self._site_id is not None:
            due.append(("site_id", "=", self._site_id))
        half: list[GCPVideoTransfer] = []
        if batch.has_half:
            half = _locked([*due, ("next_attempt_at", ">", created_at), ("session_uri", "<>", "")], most)
            batch.has_half = len(half) == most
        if len(half) == most:
            return half
        return half + _locked([*due, ("id", "NOT IN", [one.pk for one in half])], most - len(half))


def _locked(due: Sequence[Condition], most: int) -> list[GCPVideoTransfer]:
    """Transfers with their recordings, the one that is due longest first."""
    found = load_many(GCPVideoTransfer, due, order_by="next_attempt_at", most=most, lock=Lock.SKIP_LOCKED)
    if found:
        recordings = load_many(Recording, [("id", "IN", [one.recording_id for one in found])])
        by_id = {recording.pk: recording for recording in recordings}
        for one in found:
            one.recording = by_id[one.recording_id]
    return found


def _of_site(rows: TransferQuerySet, site_id: UUID | None) -> TransferQuerySet:
    return rows if site_id is None else rows.filter(site=site_id)


def _with_room(site_id: UUID | None, now: datetime) -> list[UUID]:
    """A look without a lock, so that an idle worker locks nothing; who claims counts again."""
    if not GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).exists():
        return []
    rows = GCPVideoTransfer.objects.filter(batch=OuterRef("pk")).order_by()
    live = rows.filter(transfer_status=State.UPLOADING, lease_expires_at__gt=now)
    live_count = Subquery(live.values("batch").annotate(n=Count("pk")).values("n"))
    return list(
        TransferBatch.objects.annotate(live=Coalesce(live_count, 0))
        .filter(Exists(_of_site(rows.due_for_upload(now), site_id)), live__lt=F("batch_size"))
        .order_by("created_at", "pk")
        .values_list("pk", flat=True)[:_MOST_BATCHES]
    )


def _uploading(batch_id: UUID, now: datetime) -> int:
    """Counts every `uploading` row; those whose lease ran out are put back first, so they take no room."""
    ends = select_many(
        GCPVideoTransfer,
        ("lease_expires_at",),
        [("batch_id", "=", batch_id), ("transfer_status", "=", State.UPLOADING)],
    )
    if any(expires_at is None or expires_at <= now for (expires_at,) in ends):
        late = GCPVideoTransfer.objects.filter(
            batch=batch_id, transfer_status=State.UPLOADING, lease_expires_at__lte=now
        )
        return len(ends) - put_back_uploads(late.select_for_update(skip_locked=True), Reason.LEASE_EXPIRED, now)
    return len(ends)
