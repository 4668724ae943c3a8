"""Claims: the next transfers that a worker uploads, several at once, and never more of a batch than its size allows.

`batch_size` holds on any number of machines, since a batch's uploads are counted while its row is locked. On
PostgreSQL a process that has locked a batch waits for no transfer's row (those that are locked are passed over), and
batches are locked oldest first; so no two processes wait for each other.
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
from apps.cctv.tables.moves import Lease, is_due
from apps.cctv.tables.sql import Condition, Lock, load_many, select_many
from offload.errors import Reason
from offload.states import State

_MOST_BATCHES = 20
"""How many batches one look finds at most."""


@dataclass(slots=True)
class _Batch:
    """A batch as a worker knows it since its last look."""

    id: UUID
    may_have_half_uploaded: bool = True
    is_full: bool = False
    """It had no room at the last claim, and none of this worker's uploads of it has ended since."""


class BatchQueue:
    """The batches from which one worker claims, oldest first, as they were at its last look.

    A look counts the uploads of every batch, so it is made once for many claims. Call `look_again` when something may
    have become due; a queue that has nothing left looks by itself.
    """

    def __init__(self, *, owner_id: UUID, site_id: UUID | None, lease_seconds: float, actor: str) -> None:
        """Claim the transfers of one site, or of all sites where `site_id` is None. The history names `actor`."""
        self._owner_id = owner_id
        self._site_id = site_id
        self._lease_seconds = lease_seconds
        self._actor = actor
        self._batches: list[_Batch] = []

    def look_again(self) -> None:
        """Let the next claim look for batches with due transfers."""
        self._batches = []

    def claim_due(self, most: int, *, now: datetime, freed: Collection[UUID] = ()) -> list[Claim]:
        """Claim up to `most` due transfers in one transaction; `freed` are batches of which uploads have ended.

        1. Look, if the queue is empty: the oldest batches that have room and a due transfer of this site.
        2. Lock the first batch's row: one process at a time counts its uploads.
        3. Count its `uploading` rows. Where the lease of one ran out, it is put back first and takes no room.
        4. Find as many due transfers as there is room for, half-uploaded ones first, and lock their rows.
        5. Make the move `claim` of each: lease number + 1, owner, expiry.
        6. Repeat 2 to 5 with the next batch until there are `most`.

        Empty where nothing is due and where every batch with due transfers is full.
        """
        now = lease_clock(now)
        if not self._batches:
            # Without a lock, outside the transaction: what it finds may be claimed by others before this process does.
            self._batches = [_Batch(batch_id) for batch_id in _batches_with_room(self._site_id, now)]
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
        found_batch = select_many(TransferBatch, ("batch_size", "created_at"), [("id", "=", batch.id)], lock=Lock.WAIT)
        if not found_batch:  # deleted since the look
            self._batches.remove(batch)
            return []
        ((size, created_at),) = found_batch
        uploading: list[Condition] = [("batch_id", "=", batch.id), ("transfer_status", "=", State.UPLOADING)]
        ends = select_many(GCPVideoTransfer, ("lease_expires_at",), uploading)
        room = size - len(ends)
        if any(expires_at is None or expires_at <= now for (expires_at,) in ends):
            expired = GCPVideoTransfer.objects.filter(batch=batch.id).expired(now)
            # A row that is locked is just being renewed or ended: it is counted, and not waited for.
            room += put_back_uploads(expired.select_for_update(skip_locked=True), Reason.LEASE_EXPIRED, now)
        found = self._next_due(batch, created_at, min(most, room), now) if room > 0 else []
        batch.is_full = len(found) >= room
        if len(found) < min(most, room):  # nothing of it is due any more
            self._batches.remove(batch)
        until = now + timedelta(seconds=self._lease_seconds)
        claims = [Claim(one, Lease(one.pk, one.lease_number + 1, self._owner_id, until), self._actor) for one in found]
        GCPVideoTransfer.objects.claim_locked([claim.lease for claim in claims], actor=self._actor, now=now)
        for claim in claims:  # the rows in memory as they are now, without reading them again
            claim.transfer.transfer_status, claim.transfer.next_attempt_at = State.UPLOADING, None
            claim.transfer.lease_number, claim.transfer.lease_owner = claim.lease.number, self._owner_id
            claim.transfer.lease_expires_at = until
        return claims

    def _next_due(self, batch: _Batch, created_at: datetime, most: int, now: datetime) -> list[GCPVideoTransfer]:
        """Half-uploaded files first: their sessions end after a week, and a long queue may take longer.

        They were put back after the request, so they are among the few rows whose time is later than the batch's.
        """
        due: list[Condition] = [("batch_id", "=", batch.id), *is_due(now)]
        if self._site_id is not None:
            due.append(("site_id", "=", self._site_id))
        half: list[GCPVideoTransfer] = []
        if batch.may_have_half_uploaded:
            half = _locked([*due, ("next_attempt_at", ">", created_at), ("session_uri", "<>", "")], most)
            batch.may_have_half_uploaded = len(half) == most
        if len(half) == most:
            return half
        return half + _locked([*due, ("id", "NOT IN", [one.pk for one in half])], most - len(half))


def _locked(due: Sequence[Condition], most: int) -> list[GCPVideoTransfer]:
    """Lock up to `most` transfers, the one that is due longest first; their recordings are loaded too.

    A row that another process has locked (a person cancels it, for example) is passed over.
    """
    # The index has them in this order. A second key would sort 100,000 rows of one time at every claim.
    found = load_many(GCPVideoTransfer, due, order_by="next_attempt_at", most=most, lock=Lock.SKIP_LOCKED)
    if found:
        recordings = load_many(Recording, [("id", "IN", [one.recording_id for one in found])])
        by_id = {recording.pk: recording for recording in recordings}
        for one in found:
            one.recording = by_id[one.recording_id]
    return found


def _batches_with_room(site_id: UUID | None, now: datetime) -> list[UUID]:
    """Looks without a lock, so that an idle worker locks nothing; a claim counts again under the lock."""
    if not GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).exists():
        return []
    rows = GCPVideoTransfer.objects.filter(batch=OuterRef("pk")).order_by()
    due = rows.due_for_upload(now) if site_id is None else rows.due_for_upload(now).filter(site=site_id)
    live = rows.filter(transfer_status=State.UPLOADING, lease_expires_at__gt=now)
    live_count = Subquery(live.values("batch").annotate(n=Count("pk")).values("n"))
    return list(
        TransferBatch.objects.annotate(live=Coalesce(live_count, 0))
        .filter(Exists(due), live__lt=F("batch_size"))
        .order_by("created_at", "pk")
        .values_list("pk", flat=True)[:_MOST_BATCHES]
    )
