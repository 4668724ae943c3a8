"""The heartbeat: renews every lease of this process, or tells its holder that it is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import timedelta

from django.db import Error, connection

from apps.cctv.leases import Owner, lease_time, renew
from apps.cctv.models import PeriodicJob, WorkerProcess
from apps.cctv.worker.attempt import Attempt
from apps.cctv.worker.crashes import log_crash
from apps.cctv.worker.timings import Timings
from offload.clock import Clock


class Heartbeat(threading.Thread):
    """Beats until `finish`, on a database connection of its own."""

    def __init__(
        self, owner: Owner, attempts: Callable[[], Collection[Attempt]], *, clock: Clock, timings: Timings
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._owner = owner
        self._attempts = attempts
        self._clock = clock
        self._timings = timings
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(self._timings.heartbeat_seconds):
            try:
                self.beat()
            except Error as error:
                log_crash("worker.heartbeat_missed", error)
                connection.close()
        connection.close()

    def finish(self) -> None:
        self._finished.set()
        self.join()

    def beat(self) -> None:
        """Both clocks are read first: what the database took to answer makes the lease no longer."""
        attempts, now, begun = list(self._attempts()), self._clock.now(), self._clock.monotonic()
        _wait_at_most(self._timings.heartbeat_wait_seconds)
        kept = renew(
            leases=[attempt.claim.lease for attempt in attempts], now=now, lease_seconds=self._timings.lease_seconds
        )
        for attempt in attempts:
            if attempt.id in kept:
                attempt.renewed(begun + self._timings.lease_seconds)
            else:
                attempt.lose()
        until = lease_time(now) + timedelta(seconds=self._timings.lease_seconds)
        PeriodicJob.objects.filter(lease_owner=self._owner.id).update(lease_expires_at=until)
        WorkerProcess.objects.filter(pk=self._owner.id).update(heartbeat_at=now)


def _wait_at_most(seconds: float) -> None:
    """For this connection alone; the others may wait 30 s for their turn."""
    milliseconds = max(1, int(seconds * 1000))
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"PRAGMA busy_timeout = {milliseconds}")
        else:
            cursor.execute(f"SET lock_timeout = {milliseconds}")
