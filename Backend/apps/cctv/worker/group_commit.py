"""Group commit: one thread writes for all uploads of a worker, everything that is queued in one transaction.

SQLite has one writer and each commit costs an fsync, so twenty uploads that wrote for themselves would mostly wait for
each other. Writes commit as soon as the previous commit ends: what queues up meanwhile is the next group.
What is not committed has not happened: an upload waits for the commit of its write, and an attempt keeps its
place and its lease until its end is recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Protocol

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction

from apps.cctv.leasing.leases import Claim, lease_clock
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.disk_reserve import log_disk_full
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.services.uploads import Uploaded, uploads_record
from apps.cctv.worker.crashes import log_crash
from offload.clock import Clock
from offload.errors import LeaseLost

log = structlog.get_logger("coldreel.upload")

GROUP_SECONDS = 0.02
"""How long a verified upload waits at most for others to be recorded with it."""
_WRITE_AGAIN_SECONDS = 0.5
_BUSY = (OperationalError, InterfaceError)

Refusal = Exception | None
"""Why an entry was not written; None where it was."""


class LeaseHolder(Protocol):
    """The attempt whose lease an entry is written under."""

    @property
    def claim(self) -> Claim: ...

    def check_lease(self) -> None:
        """Raises LeaseLost where the lease is lost, or so near its end that it counts as lost."""

    def ended(self, refusal: Refusal) -> None:
        """Its end is recorded, or never will be."""


class QueuedWrite:
    """A write of an upload that goes on, or the end of one that failed (`ends`).

    `write` is called in a transaction and raises LeaseLost where it changed nothing.
    """

    def __init__(self, by: LeaseHolder, write: Callable[[], object], *, ends: bool = False) -> None:
        self.by = by
        self.write = write
        self.ends = ends
        self._written: Future[None] = Future()

    def settle(self, refusal: Refusal) -> None:
        if self.ends:
            self.by.ended(refusal)
        elif refusal is None:
            self._written.set_result(None)
        else:
            self._written.set_exception(refusal)

    def wait(self) -> None:
        """Until it is committed. Raises LeaseLost, or what `write` raised."""
        self._written.result()


class QueuedResult:
    """The end of a verified upload. Results of one group are recorded together."""

    ends = True

    def __init__(self, by: LeaseHolder, upload: Callable[[], Uploaded]) -> None:
        self.by = by
        self.upload = upload

    def settle(self, refusal: Refusal) -> None:
        self.by.ended(refusal)


Entry = QueuedWrite | QueuedResult


class GroupCommit:
    """The queue. `add` is for the uploads' threads, `write` for the one thread that writes."""

    def __init__(self, *, clock: Clock, wake: Callable[[], None], settings: ServiceSettings) -> None:
        """`wake` is called when something waits to be written, by the thread that queued it."""
        self._clock = clock
        self._wake = wake
        self._settings = settings
        self._lock = threading.Lock()
        self._queue: list[Entry] = []
        self._record_since = 0.0
        self._closed = False

    def add(self, entry: Entry) -> None:
        with self._lock:
            closed, first = self._closed, not self._queue
            if not closed:
                if isinstance(entry, QueuedResult) and not any(isinstance(one, QueuedResult) for one in self._queue):
                    self._record_since = self._clock.monotonic()
                self._queue.append(entry)
        if closed:
            entry.settle(_worker_has_ended())
        elif first or isinstance(entry, QueuedWrite):
            # A result may wait, so only the first entry wakes. A write always does: it must not wait as results do.
            self._wake()

    def write(
        self, claim: Callable[[Collection[Claim]], list[Claim]] | None = None, *, patient: bool = False
    ) -> list[Claim]:
        """Write everything that is queued and claim, in one transaction; returns the claims, once they are committed.

        1. Take what is queued. Where `patient`, results stay queued for up to GROUP_SECONDS; while only
           results are queued, nothing is claimed.
        2. Begin a transaction and lock the rows of all entries, in the order of their keys.
        3. Make each write under its own lease. One whose lease is lost changes nothing and hinders no other.
        4. Record all results together.
        5. Call `claim`, if there is one, with the claims whose attempts end with this group: their places are free.
        6. Commit.
        7. Tell each entry's attempt how it ended.

        Where the database is busy or away, the entries are queued again for as long as their leases live. After any
        other error each is written in a transaction of its own, and the one that fails is told the error.
        """
        entries = self._take(patient=patient)
        if not entries:
            return [] if claim is None or self.is_waiting() else claim(())
        try:
            # One transaction for both: the place of an upload that ends is filled by the commit that ends it.
            with transaction.atomic():
                refusals = self._written(entries)
                claims = claim([entry.by.claim for entry in entries if entry.ends]) if claim is not None else []
        except _BUSY as error:
            self._queue_again(entries, error)
            return []
        except Exception as error:  # noqa: BLE001 - of one of them, which must not spoil the others
            log_crash("upload.group_not_written", error)
            self._one_by_one(entries)
            return []
        for entry, refusal in zip(entries, refusals, strict=True):
            entry.settle(refusal)
        return claims

    def is_waiting(self) -> bool:
        """Whether something is queued."""
        return bool(self._queue)

    def close(self) -> None:
        """The worker ends and nothing is written any more: what waits is told that its lease is lost."""
        with self._lock:
            self._closed = True
        for entry in self._take():
            entry.settle(_worker_has_ended())

    def _take(self, *, patient: bool = False) -> list[Entry]:
        """What is to be written now. No upload waits for its result to be recorded, so results may wait for others."""
        with self._lock:
            if patient and self._clock.monotonic() - self._record_since < GROUP_SECONDS:
                notes: list[Entry] = [entry for entry in self._queue if isinstance(entry, QueuedWrite)]
                self._queue = [entry for entry in self._queue if isinstance(entry, QueuedResult)]
                return notes
            entries, self._queue = self._queue, []
            return entries

    def _written(self, entries: Sequence[Entry]) -> list[Refusal]:
        """Steps 2 to 4, in a transaction; for each entry why it was not written, or None."""
        records = {entry: entry.upload() for entry in entries if isinstance(entry, QueuedResult)}
        if len(records) < len(entries):
            # All rows in one order before any is written, so that two workers never wait for each other (deadlock).
            leases = [entry.by.claim.lease for entry in entries]
            GCPVideoTransfer.objects.lock_leased(leases, lease_clock(self._clock.now()))
        refusals: dict[Entry, Refusal] = {}
        for entry in entries:
            if isinstance(entry, QueuedWrite):
                try:
                    entry.write()
                except LeaseLost as lost:
                    refusals[entry] = lost
        if records:
            recorded = uploads_record(uploads=list(records.values()), now=self._clock.now(), settings=self._settings)
            for entry in records:
                transfer_id = entry.by.claim.lease.transfer_id
                if transfer_id not in recorded:
                    refusals[entry] = LeaseLost(f"the lease of transfer {transfer_id} is another's now")
        return [refusals.get(entry) for entry in entries]

    def _one_by_one(self, entries: Sequence[Entry]) -> None:
        for number, entry in enumerate(entries):
            refusal: Refusal
            try:
                with transaction.atomic():
                    (refusal,) = self._written([entry])
            except _BUSY as error:
                self._queue_again(entries[number:], error)
                return
            except Exception as error:  # noqa: BLE001 - of this entry: its attempt is told
                refusal = error
            entry.settle(refusal)
        self._wake()  # there is room now, and nothing was claimed

    def _queue_again(self, entries: Sequence[Entry], error: Exception) -> None:
        """Put the entries whose lease lives back at the head of the queue; the others are told that it is lost."""
        if not log_disk_full("upload.not_yet_recorded", error, waiting=len(entries)):
            log.warning("upload.database_busy", waiting=len(entries), error=type(error).__name__)
        # A connection that broke is of no more use, and one that waited for a lock loses nothing by being made again.
        connection.close()
        self._clock.sleep(_WRITE_AGAIN_SECONDS)
        alive: list[Entry] = []
        for entry in entries:
            try:
                entry.by.check_lease()
            except LeaseLost as lost:
                entry.settle(lost)
            else:
                alive.append(entry)
        with self._lock:
            self._queue[:0] = alive
        self._wake()


def _worker_has_ended() -> LeaseLost:
    return LeaseLost("the worker has ended")
