"""The dispatcher: claims as long as there is room, hands each claim to a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import Error, connection

from apps.cctv.leases import Owner, claim_next, expire_leases, lease_time
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.worker.attempt import Attempt, Tools, log_crash
from apps.cctv.worker.stopping import Waker
from offload.states import State

log = structlog.get_logger("coldreel.worker")


class Dispatcher:
    """Runs at most `uploads` attempts at once. Its threads are made as they are needed."""

    def __init__(self, owner: Owner, tools: Tools, waker: Waker, *, site_id: UUID | None, uploads: int) -> None:
        self._owner = owner
        self._tools = tools
        self._waker = waker
        self._site_id = site_id
        self._uploads = uploads
        self._lock = threading.Lock()
        self._running: dict[UUID, Attempt] = {}
        self._threads = ThreadPoolExecutor(max_workers=uploads, thread_name_prefix="upload")

    def running(self) -> Collection[Attempt]:
        with self._lock:
            return tuple(self._running.values())

    def run(self, *, until_idle: bool) -> None:
        """Until asked to stop (or nothing is left), then until what runs has ended by itself."""
        while not self._tools.stopping.is_set():
            try:
                expire_leases(now=self._tools.clock.now())
                self._fill()
                if until_idle and self._idle():
                    break
            except Error as error:
                log_crash("worker.claim_missed", error)
                connection.close()
            self._waker.wait(self._tools.timings.poll_seconds)
        if self._tools.stopping.is_set():
            log.info("worker.stop_asked", worker=self._owner.name, running=len(self.running()))
        while self.running():
            self._waker.wait(self._tools.timings.poll_seconds)
        self._threads.shutdown()

    def _fill(self) -> None:
        """Claim until there is no room, nothing due, or nothing gets through."""
        while len(self.running()) < self._uploads and self._tools.gate.may_claim():
            attempt = self._claim()
            if attempt is None or self._tools.stopping.is_set():
                return

    def _claim(self) -> Attempt | None:
        # Before the database is asked: however long it takes, the upload knows no longer lease than the row.
        claimed_at, now = self._tools.clock.monotonic(), self._tools.clock.now()
        claim = claim_next(
            owner_id=self._owner.id,
            site_id=self._site_id,
            now=now,
            lease_seconds=self._tools.timings.lease_seconds,
            actor=self._owner.name,
        )
        if claim is None:
            return None
        attempt = Attempt(claim, self._tools, claimed_at=claimed_at)
        self._tools.gate.claimed(attempt.id)
        with self._lock:
            self._running[attempt.id] = attempt
        self._threads.submit(self._run, attempt)
        return attempt

    def _run(self, attempt: Attempt) -> None:
        try:
            attempt.run()
        finally:
            with self._lock:
                # The same transfer may run again already, if this attempt lost its lease.
                if self._running.get(attempt.id) is attempt:
                    del self._running[attempt.id]
            self._waker.wake()

    def _idle(self) -> bool:
        """Nothing uploads, anywhere, and nothing will be due before the longest pause between tries is over."""
        soon = lease_time(self._tools.clock.now()) + timedelta(seconds=self._tools.timings.retry_cap_seconds)
        rows = GCPVideoTransfer.objects.all()
        if self._site_id is not None:
            rows = rows.filter(site=self._site_id)
        return not (
            self.running()
            or rows.filter(transfer_status=State.UPLOADING).exists()
            or rows.due_for_upload(soon).exists()
        )
