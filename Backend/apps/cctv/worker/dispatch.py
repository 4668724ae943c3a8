"""The dispatcher: writes what uploads have queued, claims where there is room, and hands each claim to a thread."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import Error, connection

from apps.cctv.leasing.claims import BatchQueue
from apps.cctv.leasing.leases import Claim, lease_clock
from apps.cctv.leasing.owners import Owner
from apps.cctv.leasing.recovery import correct_far_times, expire_leases
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.worker.crashes import log_crash
from apps.cctv.worker.group_commit import GROUP_SECONDS
from apps.cctv.worker.pool import ThreadPool
from apps.cctv.worker.signals import Waker
from apps.cctv.worker.upload_attempt import Tools, UploadAttempt
from offload.states import State

log = structlog.get_logger("coldreel.worker")


class Dispatcher:
    """Runs in the worker's main thread, which alone writes for uploads; at most `uploads` attempts run in its pool."""

    def __init__(self, owner: Owner, tools: Tools, waker: Waker, *, site_id: UUID | None, uploads: int) -> None:
        self._owner = owner
        self._tools = tools
        self._waker = waker
        self._site_id = site_id
        self._uploads = uploads
        self._lock = threading.Lock()
        self._running: dict[UUID, UploadAttempt] = {}
        self._queue = BatchQueue(
            owner_id=owner.id, site_id=site_id, lease_seconds=tools.timings.lease_seconds, actor=owner.name
        )
        self._look_around_at = self._claimed_at = tools.clock.monotonic()
        self._replaced: list[UploadAttempt] = []
        """Attempts whose thread hangs, while another attempt has their transfer."""
        self._pool = ThreadPool(most=uploads, wake=waker.wake)

    def running(self) -> Collection[UploadAttempt]:
        with self._lock:
            return tuple(self._running.values())

    def run(self, *, until_idle: bool) -> None:
        """The worker's loop, until it is asked to stop or, with `until_idle`, nothing is left.

        1. Once a poll: correct times that lie too far ahead, end leases that ran out, note slow starts.
        2. Write what is queued and claim, in one transaction.
        3. Hand each claim to the thread pool.
        4. Wait for something to write, for a wake-up, for a signal, or for the poll to be over.

        Then nothing more is claimed; attempts without a thread are given back, and the end of every other is written.
        """
        try:
            while not self._tools.stopping.is_set():
                try:
                    self._look_around()
                    # A larger group costs less, and while the pool has tasks no thread waits for the claims.
                    for claim in self._tools.group_commit.write(self._claim, patient=self._pool.has_plenty()):
                        self._start(claim)
                    if until_idle and self._idle():
                        break
                except Error as error:
                    # The database is away or busy. What is queued stays so; a new connection is tried after the wait.
                    log_crash("worker.claim_missed", error)
                    connection.close()
                # At most until results have waited long enough, or until the pool is to be looked at again.
                look_in, poll = self._pool.look(), self._tools.timings.poll_seconds
                group = GROUP_SECONDS if self._tools.group_commit.is_waiting() else poll
                if self._waker.wait(min(poll, group, poll if look_in is None else look_in)):
                    self._queue.look_again()
            if self._tools.stopping.is_set():
                log.info("worker.stop_asked", worker=self._owner.name, running=len(self.running()))
                # Attempts that have no thread yet may never get one.
                waiting = self._pool.take_back()
                for attempt in self.running():
                    if attempt.run in waiting:
                        attempt.give_back()
            # Each attempt asks whether to go on several times a second, so this ends about as soon as a request does.
            while any(not attempt.is_stuck for attempt in self.running()):
                self._tools.group_commit.write()
                self._waker.wait(self._tools.timings.poll_seconds)
        finally:
            self._tools.group_commit.close()
            self._pool.close(hanging=sum(attempt.is_hanging for attempt in [*self._replaced, *self.running()]))

    def _look_around(self) -> None:
        """Once a poll, however often the worker is woken: far times, leases that ran out, slow small files."""
        now = self._tools.clock.monotonic()
        if now >= self._look_around_at:
            self._look_around_at = now + self._tools.timings.poll_seconds
            self._queue.look_again()
            correct_far_times(now=self._tools.clock.now(), lease_seconds=self._tools.settings.timings.lease_seconds)
            expire_leases(now=self._tools.clock.now())
            for attempt in self.running():
                attempt.note_slow_start()

    def _claim(self, ending: Collection[Claim]) -> list[Claim]:
        """Claim as many as there is room for once the `ending` attempts are over, and as the breaker allows."""
        # Attempts whose end is in this group still count as running, but no longer once it is committed.
        room = self._tools.breaker.room(self._uploads - len(self.running()) + len(ending))
        if not room or self._tools.stopping.is_set() or self._tools.cleanup_first.is_set():
            return []
        # Read before the database is asked: however long it takes, no upload counts on a longer lease than its row has.
        self._claimed_at, now = self._tools.clock.monotonic(), self._tools.clock.now()
        return self._queue.claim_due(room, now=now, freed={claim.transfer.batch_id for claim in ending})

    def _start(self, claim: Claim) -> None:
        attempt = UploadAttempt(claim, self._tools, claimed_at=self._claimed_at, when_ended=self._ended)
        self._tools.breaker.claimed(attempt.id)
        with self._lock:
            former = self._running.get(attempt.id)
            self._replaced = [one for one in [*self._replaced, former] if one is not None and one.is_hanging]
            self._running[attempt.id] = attempt
        self._pool.submit(attempt.run)

    def _ended(self, attempt: UploadAttempt) -> None:
        with self._lock:
            # The same transfer may run again already, if this attempt lost its lease.
            if self._running.get(attempt.id) is attempt:
                del self._running[attempt.id]

    def _idle(self) -> bool:
        """Whether no worker uploads, and nothing will be due before the longest pause between two tries is over."""
        soon = lease_clock(self._tools.clock.now()) + timedelta(seconds=self._tools.timings.backoff.cap_seconds)
        rows = GCPVideoTransfer.objects.all()
        if self._site_id is not None:
            rows = rows.filter(site=self._site_id)
        return not (
            self.running()
            or rows.filter(transfer_status=State.UPLOADING).exists()
            or rows.due_for_upload(soon).exists()
        )
