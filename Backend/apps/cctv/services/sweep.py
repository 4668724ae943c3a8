"""The sweep: every few seconds it brings back what is stuck, expired or in disagreement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog

from apps.cctv.installation import machine_id
from apps.cctv.leasing.owners import unreadable_locks
from apps.cctv.leasing.recovery import correct_far_times, expire_leases, free_leases_of_dead_owners
from apps.cctv.leasing.wakeup import OWNERS_FOLDER
from apps.cctv.models import GCPVideoTransfer, WorkerProcess
from apps.cctv.services.alarm_review import alarms_review
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.services.bucket_check import bucket_check
from apps.cctv.services.cleanup import trash_recover
from apps.cctv.services.holds import holds_reconcile
from apps.cctv.services.retention import cleanups_call_off, cleanups_schedule, far_cleanups_correct
from apps.cctv.services.rights_in_doubt import right_doubts_drop_idle
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.services.stalled_uploads import stalled_uploads_check
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.moves import RowGuard
from offload.clock import Clock
from offload.errors import OffloadError, Reason
from offload.source import MediaRoot
from offload.states import State
from offload.store import ObjectStore

log = structlog.get_logger("coldreel.worker")

SESSION_MAX_AGE = timedelta(days=6)
"""A day less than the seven days for which the bucket keeps a session: https://cloud.google.com/storage/docs/resumable-uploads"""

_SESSIONS_A_SWEEP = 20  # each is a request to the bucket
_FORGET_WORKERS_AFTER = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """How many rows of each kind this sweep changed."""

    owners_leases: int = 0
    expired_leases: int = 0
    sessions_dropped: int = 0
    cleanups_scheduled: int = 0
    cleanups_called_off: int = 0
    holds_agreed: int = 0
    trash_recovered: int = 0
    alarms_closed: int = 0

    def __str__(self) -> str:
        found = {name: getattr(self, name) for name in self.__slots__}
        return ", ".join(f"{name}={count}" for name, count in found.items() if count) or "nothing to do"


def sweep(
    *,
    store: ObjectStore,
    clock: Clock,
    home: Path,
    root: MediaRoot,
    settings: ServiceSettings,
    owner_id: UUID | None = None,
    site_id: UUID | None = None,
) -> SweepReport:
    """One sweep. `site_id` is the site that this process works for; `owner_id` gets the leases that the sweep takes.

    What needs no bucket comes first, so that nothing stays stuck because the bucket does not answer (P4).

    1. Free the leases of dead owners, correct times that a wrong clock wrote, end leases that ran out.
    2. Look for lock files of another user, and forget workers that stopped 30 days ago.
    3. Look for stalled uploads, and remove doubts about a right that nothing waits for.
    4. Schedule or call off cleanups, as cleanup is switched on or off.
    5. Put back files that a dead run left in the trash.
    6. Ask the bucket whether it answers.
    7. Look at the cause of each open alarm again.
    8. If the bucket answers: drop old sessions, and bring holds to what people asked for.
    """
    now = clock.now()
    owners_leases = free_leases_of_dead_owners(home=home, now=now)
    correct_far_times(now=now, lease_seconds=settings.timings.lease_seconds)
    far_cleanups_correct(settings=settings, now=now)
    expired_leases = expire_leases(now=now)
    _check_lock_files(home, now)
    WorkerProcess.objects.filter(stopped_at__lte=now - _FORGET_WORKERS_AFTER).delete()
    stalled_uploads_check(now)
    right_doubts_drop_idle()
    cleanups_scheduled = cleanups_schedule(settings=settings, now=now)
    cleanups_called_off = cleanups_call_off(settings=settings, now=now)
    trash_recovered = trash_recover(root, now, owner_id=owner_id)
    # Before the review, which closes some alarms only where the bucket has just answered.
    answers = bucket_check(store=store, now=now, site_id=site_id, settings=settings)
    # The last two ask the bucket for each row. While it does not answer, every request would wait for its time-out.
    report = SweepReport(
        owners_leases=owners_leases,
        expired_leases=expired_leases,
        cleanups_scheduled=cleanups_scheduled,
        cleanups_called_off=cleanups_called_off,
        trash_recovered=trash_recovered,
        alarms_closed=alarms_review(root=root, now=now, site_id=site_id, settings=settings),
        sessions_dropped=_drop_old_sessions(store, now) if answers else 0,
        holds_agreed=holds_reconcile(store=store, now=now) if answers else 0,
    )
    if str(report) != str(SweepReport()):
        log.info("sweep.done", **{name: getattr(report, name) for name in report.__slots__})
    return report


def _check_lock_files(home: Path, now: datetime) -> None:
    """One alarm for a machine whose home has lock files of another user, for example of a worker once run as root."""
    subject = Subject(SubjectKind.LOCK_FILES, machine_id())
    names = unreadable_locks(home)
    if not names:
        alarm_clear(code=Reason.OWNER_OF_ANOTHER_USER, subject=subject, now=now)
        return
    detail = (
        f"Below {OWNERS_FOLDER} in COLDREEL_HOME another user's worker left {', '.join(names)}. What it had is free "
        "only when its leases run out. Run all workers as one user; remove the file when no worker of that user runs."
    )
    alarm_raise(code=Reason.OWNER_OF_ANOTHER_USER, subject=subject, detail=detail, now=now)


# --- Sessions that the bucket will forget -----------------------------------------------------------------


def _drop_old_sessions(store: ObjectStore, now: datetime) -> int:
    """Drop sessions of waiting and failed transfers that the bucket will forget soon; an upload drops its own."""
    old = GCPVideoTransfer.objects.filter(
        transfer_status__in=[State.PENDING, State.FAILED], session_started_at__lte=now - SESSION_MAX_AGE
    ).exclude(session_uri="")
    found = old.order_by().only("pk", "session_uri")[:_SESSIONS_A_SWEEP]
    columns = {"session_uri": "", "session_started_at": None, "session_identity": "", "bytes_uploaded": 0}
    dropped = 0
    for row in found:
        # The row first: a worker that claims it at this moment must not find a session that is about to end.
        if not old.change(RowGuard.of_row(row.pk, ("session_uri", "=", row.session_uri)), **columns):
            continue
        dropped += 1
        try:
            store.cancel_session(row.session_uri)
        except OffloadError as error:  # it expires by itself
            log.info("sweep.session_not_cancelled", transfer=str(row.pk), reason=error.code)
    return dropped
