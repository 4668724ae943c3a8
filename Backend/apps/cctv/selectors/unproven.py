"""What at a site is not proven to be in the bucket, or waits for a person: the list before a site is closed (F25)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import Case, CharField, Count, Q, QuerySet, Value, When

from apps.cctv.models import DeletionReceipt, OrphanedObject, PeriodicJob, Recording
from apps.cctv.tables.work import JobKind
from offload.errors import Reason
from offload.states import State

_NAMED = 5


class Why(StrEnum):
    """Why something at a site is not proven, or waits for a person."""

    NO_TRANSFER = "no_transfer"
    WAITING = "waiting"
    FAILED = "failed"
    OBJECT_LOST = "object_lost"
    NEEDS_ATTENTION = "needs_attention"
    HELD = "held"
    OPEN_RECEIPT = "open_receipt"
    ORPHAN = "orphan"
    UNKNOWN_FILE = "unknown_file"
    DISK_NOT_SEEN = "disk_not_seen"


MEANING = {
    Why.NO_TRANSFER: "recordings without a transfer",
    Why.WAITING: "transfers that wait or are under way",
    Why.FAILED: "transfers that failed",
    Why.OBJECT_LOST: "recordings whose object is gone from the bucket",
    Why.NEEDS_ATTENTION: "uploaded recordings that a person has to look at",
    Why.HELD: "held recordings whose local file is there",
    Why.OPEN_RECEIPT: "deletions that were begun and not ended",
    Why.ORPHAN: "orphaned objects in the bucket",
    Why.UNKNOWN_FILE: "files on the disk that were never imported, at the last look",
    Why.DISK_NOT_SEEN: "look at the disk for files that were never imported: none has ended well",
}


@dataclass(frozen=True, slots=True)
class Unproven:
    """One reason, how often it is met at the site, and a few of the names for which it is."""

    why: Why
    count: int
    names: tuple[str, ...]


def unproven_at(site_id: UUID) -> list[Unproven]:
    """What stands against closing the site; a recording is counted once. Empty where all is proven."""
    return [*_recordings(site_id), *_rest(site_id)]


def _recordings(site_id: UUID) -> Iterator[Unproven]:
    status = "gcp_transfer__transfer_status"
    # The first that is true counts.
    reasons = [
        When(gcp_transfer__isnull=True, then=Value(Why.NO_TRANSFER.value)),
        When(Q(**{f"{status}__in": [State.PENDING, State.UPLOADING]}), then=Value(Why.WAITING.value)),
        When(Q(**{status: State.FAILED}), then=Value(Why.FAILED.value)),
        When(gcp_transfer__error_code=Reason.OBJECT_LOST, then=Value(Why.OBJECT_LOST.value)),
        When(gcp_transfer__needs_attention=True, then=Value(Why.NEEDS_ATTENTION.value)),
        When(~Q(**{status: State.CLEANUP_COMPLETED}) & Q(hold_wanted=True), then=Value(Why.HELD.value)),
    ]
    rows = Recording.objects.filter(site_id=site_id).annotate(
        why=Case(*reasons, default=Value(""), output_field=CharField())
    )
    counts = dict(rows.exclude(why="").order_by().values_list("why").annotate(count=Count("pk")))
    for why in Why:
        if count := counts.get(why.value):
            names = rows.filter(why=why.value).order_by("pk").values_list("local_path", flat=True)[:_NAMED]
            yield Unproven(why, count, tuple(names))


def _rest(site_id: UUID) -> Iterator[Unproven]:
    receipts = DeletionReceipt.objects.filter(transfer__site_id=site_id, closed_at__isnull=True)
    orphans = OrphanedObject.objects.left_in_bucket().filter(transfer__site_id=site_id)
    yield from _counted(Why.OPEN_RECEIPT, receipts.order_by("pk").values_list("local_path", flat=True))
    yield from _counted(Why.ORPHAN, orphans.order_by("pk").values_list("gcp_storage_path", flat=True))
    look = PeriodicJob.objects.filter(kind=JobKind.LOOK.value, site_id=site_id).first()
    if look is not None and look.last_ok and look.unknown_files is not None:
        if look.unknown_files:
            yield Unproven(Why.UNKNOWN_FILE, look.unknown_files, ())
    elif Recording.objects.filter(site_id=site_id).exists():  # a site that never had any has no disk to be looked at
        yield Unproven(Why.DISK_NOT_SEEN, 1, ())


def _counted(why: Why, names: QuerySet[Any, str]) -> Iterator[Unproven]:
    if count := names.count():
        yield Unproven(why, count, tuple(names[:_NAMED]))
