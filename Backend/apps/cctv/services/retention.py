"""When the local file of a recording may go. Everything that asks for it, or schedules it, does so here.

1. Only the file of a transfer that is `cleanup_pending` goes: its upload is verified and its cleanup scheduled.
2. The file of a held recording stays, whatever else is true (P5).
3. While `GCP_STORAGE_CLEANUP_LOCAL` is off every file stays.
4. The waiting period has passed by this machine's clock: `cleanup_scheduled_at` is not later than now.
5. By the bucket's clock it has passed as well since the object was stored, and `cleanup_scheduled_at` is reached.
6. A person (`--force`, *Clean up now*) or a disk above its site's high-water mark waives 4 and 5, and nothing else.

A row alone tells of 1, 2 and 4: `GCPVideoTransfer.reason_to_keep` has them for a row that is loaded, `MAY_GO_EARLY`
and `waiting_period_over` for a query. Whether object and file are the ones that were uploaded is another question:
`cleanup/comparison.py` answers it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from django.db.models import Exists, OuterRef, Q

from apps.cctv.models import DeletionReceipt, GCPVideoTransfer
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.moves import SYSTEM, TransferQuerySet
from offload.errors import Reason
from offload.states import Move, State

log = structlog.get_logger("coldreel.worker")

LONGEST_WAITING_PERIOD = timedelta(days=366)
"""A day more than `GCP_CLEANUP_DELAY_HOURS` allows."""

DATE_GRAIN = timedelta(seconds=1)
"""An HTTP `Date` has whole seconds, so the bucket's clock may be that much further."""

_ROWS_A_SWEEP = 1000


class Waiver(StrEnum):
    """Why the waiting period does not count for a file. The values are written into receipts."""

    FORCE = "force"
    DISK_PRESSURE = "disk_pressure"


class FileStays(Exception):
    """The local file is not deleted now, though no call failed: `reason` says why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    @property
    def move(self) -> Move | None:
        """The move that the transfer makes for that reason; None where it goes on waiting for its cleanup."""
        return _MOVES.get(self.reason)


_MOVES = {
    Reason.HELD: Move.UNSCHEDULE_CLEANUP,
    Reason.CLEANUP_OFF: Move.UNSCHEDULE_CLEANUP,
    Reason.LOCAL_CHANGED: Move.UNSCHEDULE_CLEANUP,
    Reason.OBJECT_MISSING: Move.FAIL,
    Reason.OBJECT_DIFFERS: Move.FAIL,
    Reason.OBJECT_LOST: Move.FAIL,
}


# --- May it go? --------------------------------------------------------------------------------------


MAY_GO_EARLY = Q(transfer_status=State.CLEANUP_PENDING, recording__hold_wanted=False)
"""Rules 1 and 2 for a query of transfers: all that a waived waiting period leaves (rule 6)."""


def waiting_period_over(now: datetime) -> Q:
    """Rule 4 for a query of transfers."""
    return Q(cleanup_scheduled_at__lte=now)


def retention_check(row: GCPVideoTransfer, *, settings: ServiceSettings, now: datetime, waived: bool) -> None:
    """Rules 1 to 4 for a row with its recording; `waived` leaves 4 out. Raises FileStays."""
    reason = row.reason_to_keep(now, waived=waived)
    if reason in {None, Reason.NOT_DUE} and not settings.cleanup_local:
        raise FileStays(Reason.CLEANUP_OFF, "GCP_STORAGE_CLEANUP_LOCAL is off")
    if reason is Reason.HELD:
        raise FileStays(reason, row.recording.hold_reason or "the recording is held")
    if reason is Reason.WRONG_STATE:
        raise FileStays(reason, f"the transfer is {row.transfer_status}")
    if reason is not None:
        raise FileStays(reason, f"due at {_shown(row.cleanup_scheduled_at)}")


def bucket_time_check(
    row: GCPVideoTransfer, *, stored_at: datetime, bucket_now: datetime, settings: ServiceSettings
) -> None:
    """Rule 5: `stored_at` and `bucket_now` are by the bucket's clock. Raises FileStays."""
    due = max(stored_at + settings.waiting_period, row.cleanup_scheduled_at or stored_at)
    if due > bucket_now + DATE_GRAIN:
        raise FileStays(
            Reason.NOT_DUE_IN_BUCKET,
            f"due at {_shown(due)}, and by the bucket's clock it is {_shown(bucket_now)}",
        )


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "no time"


# --- The schedule ------------------------------------------------------------------------------------


def cleanup_time(settings: ServiceSettings, now: datetime) -> datetime | None:
    """When a waiting period that begins now is over; None where local files stay (rule 3)."""
    return now + settings.waiting_period if settings.cleanup_local else None


def cleanups_schedule(*, settings: ServiceSettings, now: datetime) -> int:
    """Schedule what was kept only because cleanup was off, after a full waiting period from now; how many.

    Not what a person has to look at: there the file may be another one than was uploaded.
    """
    cleanup_at = cleanup_time(settings, now)
    if cleanup_at is None:
        return 0
    kept = GCPVideoTransfer.objects.filter(
        transfer_status=State.COMPLETED, recording__hold_wanted=False, needs_attention=False, error_code=""
    )
    return _move_many(kept, Move.SCHEDULE_CLEANUP, Reason.CLEANUP_SCHEDULED, now, cleanup_at)


def cleanups_call_off(*, settings: ServiceSettings, now: datetime) -> int:
    """Call off every scheduled cleanup where cleanup is off; how many.

    Not those whose receipt is open: their file is in the trash or gone, and the next run finishes them.
    """
    if settings.cleanup_local:
        return 0
    open_receipts = DeletionReceipt.objects.filter(transfer=OuterRef("pk"), closed_at__isnull=True)
    waiting = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING).unleased(now)
    return _move_many(waiting.filter(~Exists(open_receipts)), Move.UNSCHEDULE_CLEANUP, Reason.CLEANUP_OFF, now, None)


def far_cleanups_correct(*, settings: ServiceSettings, now: datetime) -> None:
    """Begin a whole waiting period now where one ends later than any setting allows: it comes from a wrong clock."""
    far = GCPVideoTransfer.objects.filter(
        transfer_status=State.CLEANUP_PENDING, cleanup_scheduled_at__gt=now + LONGEST_WAITING_PERIOD
    )
    if far.exists():
        count = far.update(cleanup_scheduled_at=now + settings.waiting_period)
        log.warning("sweep.cleanups_pulled_in", count=count)


def _move_many(rows: TransferQuerySet, move: Move, reason: Reason, now: datetime, cleanup_at: datetime | None) -> int:
    found = list(rows.order_by("created_at").values_list("pk", flat=True)[:_ROWS_A_SWEEP])
    if not found:
        return 0
    moved = rows.move_many(
        found,
        move,
        actor=SYSTEM,
        now=now,
        reason=reason,
        changes={"cleanup_scheduled_at": cleanup_at, "next_attempt_at": None},
    )
    return len(moved)
