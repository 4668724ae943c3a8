"""Transfers to show: lists, one transfer, and counts by status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from apps.cctv.models import GCPVideoTransfer
from apps.cctv.selectors.paging import Page, given, page_of
from apps.cctv.selectors.visibility import transfers_visible_to
from apps.cctv.tables.moves import TransferQuerySet
from apps.users.models import User
from offload.states import UPLOADED, State


@dataclass(frozen=True, slots=True)
class TransferFilters:
    """What a list of transfers is narrowed to; None and an empty `search` ask nothing.

    `created_after` is included, `created_before` is not. Each word of `search` is in the name of the recording or of
    its camera, or in the object's path.
    """

    status: State | None = None
    camera_id: UUID | None = None
    search: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None

    def condition(self) -> Q:
        found = given(
            transfer_status=self.status,
            recording__camera_id=self.camera_id,
            created_at__gte=self.created_after,
            created_at__lt=self.created_before,
        )
        for word in self.search.split():
            found &= (
                Q(recording__name__icontains=word)
                | Q(recording__camera__name__icontains=word)
                | Q(gcp_storage_path__icontains=word)
            )
        return found


@dataclass(frozen=True, slots=True)
class TransferCounts:
    """The transfers that a user may see, counted by status; a list's filters do not change them (P9)."""

    total_count: int
    pending_count: int
    uploading_count: int
    completed_count: int
    failed_count: int
    cleanup_pending_count: int
    cleanup_completed_count: int


def transfer_counts(user: User) -> TransferCounts:
    """One grouped query. `completed_count` includes the two cleanup states."""
    counts = transfers_visible_to(user).status_counts()
    return TransferCounts(
        total_count=sum(counts.values()),
        pending_count=counts[State.PENDING],
        uploading_count=counts[State.UPLOADING],
        completed_count=sum(counts[state] for state in UPLOADED),
        failed_count=counts[State.FAILED],
        cleanup_pending_count=counts[State.CLEANUP_PENDING],
        cleanup_completed_count=counts[State.CLEANUP_COMPLETED],
    )


def transfer_page(
    *, user: User, filters: TransferFilters | None = None, limit: int = 100, cursor: str | None = None
) -> Page[GCPVideoTransfer]:
    """Newest first, in one query. Raises CursorRefused."""
    rows = _transfers_to_show(user).filter((filters or TransferFilters()).condition())
    return page_of(rows, column="created_at", limit=limit, cursor=cursor)


def transfer_detail(*, user: User, transfer_id: UUID) -> GCPVideoTransfer | None:
    """One transfer with its events and orphans loaded; None where there is none that `user` may see."""
    return _transfers_to_show(user).prefetch_related("events", "orphans").filter(pk=transfer_id).first()


def _transfers_to_show(user: User) -> TransferQuerySet:
    # The session URI is a key (P10): what is shown to people is read without it.
    return transfers_visible_to(user).select_related("recording__camera", "initiated_by").defer("session_uri")
