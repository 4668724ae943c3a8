"""The heartbeat: renews every lease of this process, or tells the attempt that its lease is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from django.db import connection

from apps.cctv.leasing.leases import JobLease, renew, renew_jobs
from apps.cctv.leasing.owners import Owner
from apps.cctv.models import WorkerProcess
from apps.cctv.services.settings import Timings
from apps.cctv.worker.crashes import survive
from apps.cctv.worker.upload_attempt import UploadAttempt
from offload.clock import Clock

_LAST_BEAT_SECONDS = 10.0


def moving(attempts: Collection[UploadAttempt]) -> list[UploadAttempt]:
    """The attempts that move; the others are given up.

    One that waits for a thread counts as moving for as long as any that has a thread does.
    """
    one_moves = any(attempt.has_begun and attempt.is_moving() for attempt in attempts)
    found = []
    for attempt in attempts:
        if attempt.is_stuck or not (attempt.is_moving() or (one_moves and not attempt.has_begun)):
            attempt.give_up()
        else:
            found.append(attempt)
    return found


class Heartbeat(threading.Thread):
    """Renews leases until `finish`, on a database connection of its own.

    Only of attempts and jobs that run and move in this process at this moment: a lease that could not be given back
    runs out, and so does that of a thread that hangs.
    """

    def __init__(
        self,
        owner: Owner,
        attempts: Callable[[], Collection[UploadAttempt]],
        *,
        jobs: Callable[[], Collection[JobLease]] = tuple,
        clock: Clock,
        timings: Timings,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._owner = owner
        self._attempts = attempts
        self._jobs = jobs
        self._clock = clock
        self._timings = timings
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(self._timings.heartbeat_seconds):
            survive(self.beat, "worker.heartbeat_missed")
        connection.close()

    def finish(self) -> None:
        """Stop, and wait a while for a renewal that runs: not for ever, since the database or the log may be gone."""
        self._finished.set()
        self.join(_LAST_BEAT_SECONDS)

    def beat(self) -> None:
        """Renew once. Both clocks are read first: the time that the database takes makes no lease longer."""
        # The row's expiry is by the wall clock, the attempt's own limit by the monotonic one.
        attempts, now, begun = moving(self._attempts()), self._clock.now(), self._clock.monotonic()
        # Other connections wait 30 s for a lock, but a beat that waits renews no lease.
        # SQLite waits for its one writer, PostgreSQL for the lock of a row; each has its own setting for it.
        milliseconds = max(1, int(self._timings.heartbeat_wait_seconds * 1000))
        sqlite = connection.vendor == "sqlite"
        with connection.cursor() as cursor:
            cursor.execute(f"{'PRAGMA busy_timeout' if sqlite else 'SET lock_timeout'} = {milliseconds}")
        kept = renew(
            leases=[attempt.claim.lease for attempt in attempts], now=now, lease_seconds=self._timings.lease_seconds
        )
        for attempt in attempts:
            if attempt.id in kept:
                attempt.renewed(begun + self._timings.lease_seconds)
            else:
                attempt.lose()
        renew_jobs(leases=self._jobs(), now=now, lease_seconds=self._timings.lease_seconds)
        WorkerProcess.objects.filter(pk=self._owner.id).update(heartbeat_at=now)
