"""The dispatcher: writes what uploads have queued, claims where there is room, and hands each claim to a thread."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import Error, connection

from apps.cctv.leasing.claims import BatchQueue
from apps.cctv.leasing.leases import Claim, lease_clock, put_back_uploads
from apps.cctv.leasing.listener import Listener
from apps.cctv.leasing.owners import Owner
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.worker.crashes import log_crash
from apps.cctv.worker.group_commit import GROUP_SECONDS
from apps.cctv.worker.lookout import Lookout
from apps.cctv.worker.periodic import PeriodicJobs
from apps.cctv.worker.pool import ThreadPool
from apps.cctv.worker.signals import Waker
from apps.cctv.worker.upload_attempt import Tools, UploadAttempt
from offload.errors import Reason
from offload.states import State

log = structlog.get_logger("coldreel.worker")

BUSY_SECONDS = 1.0
"""How often the loop passes at least while something uploads."""
RECONNECT_SECONDS = 1.0
"""How long after a failed connection the next one is tried; `connect_timeout` may come on top."""


class Dispatcher:
    """Runs in the worker's main thread, which alone writes for uploads; at most `uploads` attempts run in its pool.

    Without a site it claims nothing: an office sees no disk.
    """

    def __init__(
        self,
        owner: Owner,
        tools: Tools,
        waker: Waker,
        *,
        site_id: UUID | None,
        uploads: int,
        listener: Listener | None = None,
        jobs: PeriodicJobs | None = None,
    ) -> None:
        """`waker` waits for what `listener` hears, on this thread's connection to the database."""
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
        self._listener = listener
        self._lookout = Lookout(tools, self._queue, jobs, site_id=site_id)
        self._claimed_at = tools.clock.monotonic()
        self._is_cut_off = False
        self._replaced: list[UploadAttempt] = []
        """Attempts whose thread hangs, while another attempt has their transfer."""
        self._pool = ThreadPool(most=uploads, wake=waker.wake)

    def running(self) -> Collection[UploadAttempt]:
        with self._lock:
            return tuple(self._running.values())

    def run(self, *, until_idle: bool) -> None:
        """The worker's loop, until it is asked to stop or, with `until_idle`, nothing is left.

        1. On a new connection to the database: listen for wake-ups, and look.
        2. Look once a poll and after a wake-up: start the periodic jobs that are due, end leases that ran out, and note
           whether anything waits to be uploaded.
        3. Write what is queued and claim, in one transaction.
        4. Hand each claim to the thread pool.
        5. Wait for something to write, for a wake-up, for a signal, for the next transfer that becomes due, or for the
           poll to be over.

        Then nothing more is claimed; attempts without a thread are given back, and the end of every other is written.
        """
        try:
            while not self._tools.stopping.is_set():
                try:
                    self._look_and_claim()
                    if until_idle and self._idle():
                        break
                    self._wait()
                except Error as error:
                    self._lose_database(error)
            if self._tools.stopping.is_set():
                log.info("worker.stop_asked", worker=self._owner.name, running=len(self.running()))
                # Attempts that have no thread yet may never get one.
                waiting = self._pool.take_back()
                for attempt in self.running():
                    if attempt.run in waiting:
                        attempt.give_back()
            # Each attempt asks whether to go on several times a second, so this ends about as soon as a request does.
            while any(not attempt.is_stuck for attempt in self.running()):
                try:
                    self._tools.group_commit.write()
                    self._waker.wait(self._busy_seconds)
                except Error as error:
                    self._lose_database(error)
        finally:
            self._tools.group_commit.close()
            self._pool.close(hanging=sum(attempt.is_hanging for attempt in [*self._replaced, *self.running()]))

    def _look_and_claim(self) -> None:
        if self._listener is not None and self._listener.open():
            self._lookout.look_now()  # what was sent before was not heard
            # The answer to the commit of a claim may have been lost with the connection. Only this thread claims, so
            # what is leased and does not run is such a claim; without this it would wait until the lease ends.
            running = [attempt.id for attempt in self.running()]
            unknown = GCPVideoTransfer.objects.filter(lease_owner=self._owner.id).exclude(pk__in=running)
            put_back_uploads(unknown, Reason.LEASE_RETURNED, lease_clock(self._tools.clock.now()))
        for attempt in self.running():
            attempt.note_slow_start()
        self._lookout.look_if_due(has_room=len(self.running()) < self._uploads)
        # A larger group costs less, and while the pool has tasks no thread waits for the claims.
        for claim in self._tools.group_commit.write(self._claim, patient=self._pool.has_plenty()):
            self._start(claim)
        self._is_cut_off = False

    def _wait(self) -> None:
        """Until the next look, and no longer than anything else that comes sooner by itself."""
        waits = [self._lookout.seconds_left(), self._pool.look(), self._tools.breaker.pause_seconds()]
        if self._tools.group_commit.is_waiting():
            waits.append(GROUP_SECONDS)
        if self.running():
            waits.append(self._busy_seconds)
        if self._waker.wait(max(0.0, min(seconds for seconds in waits if seconds is not None))):
            self._lookout.look_now()

    @property
    def _busy_seconds(self) -> float:
        """How often the loop passes while something uploads. It asks the database nothing for that."""
        return min(self._tools.timings.poll_seconds, BUSY_SECONDS)

    def _lose_database(self, error: Error) -> None:
        """The database is away or busy. What is queued stays so; a new connection is tried after a pause."""
        if not self._is_cut_off:  # with its trace, once; the further tries are told by what they could not do
            log_crash("worker.claim_missed", error)
        else:
            log.warning("worker.claim_missed", error=type(error).__name__)
        connection.close()
        # The first try is made at once: often only this connection has ended.
        if self._is_cut_off:
            self._waker.wait(min(self._tools.timings.poll_seconds, RECONNECT_SECONDS))
        self._is_cut_off = True

    def _claim(self, ending: Collection[Claim]) -> list[Claim]:
        """Claim as many as there is room for once the `ending` attempts are over, and as the breaker allows."""
        # Attempts whose end is in this group still count as running, but no longer once it is committed.
        room = self._tools.breaker.room(self._uploads - len(self.running()) + len(ending))
        is_barred = self._tools.stopping.is_set() or self._tools.cleanup_first.is_set()
        if not room or self._site_id is None or is_barred or not self._lookout.has_its_tables:
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
        if attempt.has_failed:
            self._lookout.look_soon()

    def _idle(self) -> bool:
        """Whether no worker uploads, and nothing will be due before the longest pause between two tries is over."""
        soon = lease_clock(self._tools.clock.now()) + timedelta(seconds=self._tools.timings.backoff.cap_seconds)
        if self._site_id is None:
            return True
        rows = GCPVideoTransfer.objects.filter(site=self._site_id)
        return not (
            self.running()
            or rows.filter(transfer_status=State.UPLOADING).exists()
            or rows.due_for_upload(soon).exists()
        )
