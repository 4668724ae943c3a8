"""Step 2 of a run: which rows it takes, oldest first."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, Sum

from apps.cctv.models import DeletionReceipt, GCPVideoTransfer
from apps.cctv.services.retention import MAY_GO_EARLY, waiting_period_over
from apps.cctv.tables.moves import TransferQuerySet
from offload.states import State

ROWS_AT_A_TIME = 1000
LONGEST_BACKOFF = timedelta(hours=25)
"""An hour more than the day by which a file is put off that failed again and again."""


class DueRow(NamedTuple):
    """What the guards need of a row."""

    transfer_id: UUID
    path: str
    bucket: str
    installation: str
    held: bool
    size_bytes: int
    has_open_receipt: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """`force`: also those whose waiting period is not over. `site_id`: of that site only."""

    force: bool
    site_id: UUID | None


def due_rows(scope: Scope, now: datetime) -> list[DueRow]:
    """Rows that a run takes: due, or with a receipt that an earlier run left open; not those in backoff.

    A next try further ahead than `LONGEST_BACKOFF` was written by a wrong clock, and counts as due.
    """
    tries = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now) | Q(next_attempt_at__gt=now + LONGEST_BACKOFF)
    rows = _waiting(scope).filter(tries)
    if not scope.force:
        rows = rows.filter(waiting_period_over(now) | Q(has_open_receipt=True))
    return list(_described(rows))


def is_anything_due(site_id: UUID | None, now: datetime) -> bool:
    """Whether a run would find something: due, or not yet due where a site has a high-water mark."""
    rows = _waiting(Scope(force=True, site_id=site_id)).filter(MAY_GO_EARLY)
    rows = rows.filter(Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now))
    at_once = waiting_period_over(now) | Q(has_open_receipt=True)
    return rows.filter(at_once | Q(site__disk_high_water_percent__isnull=False)).exists()


def one_row(transfer_id: UUID) -> list[DueRow]:
    """That row in any status; none where there is no such transfer."""
    return list(_described(_with_receipts(GCPVideoTransfer.objects.filter(pk=transfer_id))))


def rows_not_due(site_id: UUID, now: datetime) -> list[DueRow]:
    """Rows of a site without a hold whose waiting period is not over: what disk pressure may take (step 7)."""
    rows = _waiting(Scope(force=True, site_id=site_id))
    rows = rows.filter(MAY_GO_EARLY, ~waiting_period_over(now), next_attempt_at__isnull=True)
    return list(_described(rows))


def bytes_in_quarantine(site_id: UUID) -> int:
    """Bytes that lie in the trash under an open receipt, and are as good as freed."""
    open_receipts = DeletionReceipt.objects.filter(transfer__site=site_id, closed_at__isnull=True)
    return int(open_receipts.aggregate(n=Sum("size_bytes"))["n"] or 0)


def load(rows: list[DueRow]) -> list[GCPVideoTransfer]:
    """The rows as they are now, in the same order."""
    ids = [row.transfer_id for row in rows]
    found: dict[UUID, GCPVideoTransfer] = {}
    for start in range(0, len(ids), ROWS_AT_A_TIME):
        some = GCPVideoTransfer.objects.filter(pk__in=ids[start : start + ROWS_AT_A_TIME])
        found.update((row.pk, row) for row in some.select_related("recording__camera"))
    return [found[pk] for pk in ids if pk in found]


def _waiting(scope: Scope) -> TransferQuerySet:
    rows = _with_receipts(GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING))
    return rows if scope.site_id is None else rows.filter(site=scope.site_id)


def _with_receipts(rows: TransferQuerySet) -> TransferQuerySet:
    open_receipts = DeletionReceipt.objects.filter(transfer=OuterRef("pk"), closed_at__isnull=True)
    return rows.annotate(has_open_receipt=Exists(open_receipts))


def _described(rows: TransferQuerySet) -> Iterator[DueRow]:
    rows = rows.order_by("cleanup_scheduled_at", "pk")
    fields = ("pk", "original_local_path", "gcp_bucket", "installation_id", "recording__hold_wanted", "file_size_bytes")
    for values in rows.values_list(*fields, "has_open_receipt").iterator(chunk_size=ROWS_AT_A_TIME):
        pk, path, bucket, installation, *others = values
        # A hundred thousand rows name the same bucket.
        yield DueRow(pk, path, sys.intern(bucket), sys.intern(installation), *others)
