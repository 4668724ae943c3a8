"""Recovery: what dead workers, lapsed leases and wrong clocks leave behind is made ready for the next worker (P3, P4).

A worker frees the leases of dead owners when it starts, and ends expired leases and corrects times once a poll; each
sweep does all three. Each change is guarded by what was found, so any number of processes may do it at the same time.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog
from django.db.models import Exists, OuterRef

from apps.cctv.leasing.leases import end_other_leases, lease_clock, put_back_uploads, release_all
from apps.cctv.leasing.owners import lock_of_dead_owner, lock_paths, remove_lock_files
from apps.cctv.models import GCPVideoTransfer, PeriodicJob, TransferBatch
from offload.errors import Reason
from offload.retry import LONGEST_WAIT_SECONDS
from offload.states import State

log = structlog.get_logger("coldreel.worker")

LONGEST_PAUSE = timedelta(seconds=LONGEST_WAIT_SECONDS + 60)
"""A next attempt further ahead than this was written by a wrong clock. Neither a backoff nor a `Retry-After` that is
obeyed is longer than `LONGEST_WAIT_SECONDS`; a minute more is for slow writes."""


def free_leases_of_dead_owners(*, home: Path, now: datetime) -> int:
    """Free at once the leases of dead owners of this home; how many leases on transfers that were.

    For each lock file of the home:

    1. Try to lock it. The kernel refuses while its owner lives, also while it sleeps or hangs: then it is passed over.
    2. End all leases of the dead owner (`release_all`).
    3. Remove its pipe and its lock file, then let go of the lock.

    Killed between 1 and 3, the file stays, and the next call does all of it again.
    """
    count = 0
    for path in lock_paths(home):
        try:
            lock = lock_of_dead_owner(path)
        except OSError as error:  # another user's, for example: its leases run out by themselves
            log.info("owner.lock_passed_over", lock=path.name, reason=os.strerror(error.errno or 0))
            continue
        if lock is not None:
            try:
                count += release_all(UUID(path.stem), Reason.OWNER_DIED, lease_clock(now))
                remove_lock_files(path)
            finally:
                os.close(lock)
    return count


def expire_leases(*, now: datetime) -> int:
    """End the leases on transfers that ran out; how many ended.

    1. Look whether there is one, without a lock.
    2. Make each expired upload pending again, at once and without backoff, where its lease is still as it was found.
    3. End the other expired leases: those of cleanups, whose rows keep their status.
    """
    now = lease_clock(now)
    expired = GCPVideoTransfer.objects.expired(now)
    if not expired.exists():  # every worker asks once a poll: an UPDATE would take SQLite's write lock each time
        return 0
    return put_back_uploads(expired, Reason.LEASE_EXPIRED, now) + end_other_leases(expired)


def correct_far_times(*, now: datetime, lease_seconds: float) -> None:
    """Correct times that lie further ahead than any that is ever set: a wrong clock wrote them.

    Without this, transfers would wait until the clock, once it is right again, reaches those times.

    1. A next attempt more than `LONGEST_PAUSE` ahead becomes due.
    2. A lease that ends more than twice `lease_seconds` ahead ends when one claimed now would. A living owner renews it
       before that. Twice, since another machine's settings may name a longer lease.
    """
    now = lease_clock(now)
    # Batch by batch, since the index of next attempts begins with the batch.
    parked = GCPVideoTransfer.objects.filter(transfer_status=State.PENDING, next_attempt_at__gt=now + LONGEST_PAUSE)
    batches = TransferBatch.objects.filter(Exists(parked.filter(batch=OuterRef("pk")).order_by()))
    found = list(batches.values_list("pk", flat=True))
    if found:
        count = parked.filter(batch__in=found).update(next_attempt_at=now)
        log.warning("worker.tries_pulled_in", count=count)
    lease = timedelta(seconds=lease_seconds)
    for leased in (GCPVideoTransfer.objects.all(), PeriodicJob.objects.all()):
        far = leased.filter(lease_expires_at__gt=now + 2 * lease)
        if far.exists():  # as in `expire_leases`
            count = far.update(lease_expires_at=now + lease)
            log.warning("worker.leases_pulled_in", count=count)
