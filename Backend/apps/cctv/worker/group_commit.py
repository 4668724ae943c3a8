"""Group commit: one thread writes what all uploads of a worker have to tell, everything queued in one transaction.

Nobody who waits for a note waits for a group to fill: what queues up while one commit runs is the next group.
What is not committed has not happened: whoever waits for a note is told after the commit, and an attempt keeps its
slot and its lease until its end is recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Protocol
from uuid import UUID

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
"""A verified upload waits at most so long for others to be recorded with it."""
_WRITE_AGAIN_SECONDS = 0.5
_BUSY = (OperationalError, InterfaceError)

Refusal = Exception | None
"""Why an entry was not written; None where it was."""


class LeaseHolder(Protocol):
    """Whose lease an entry is written under: an attempt."""

    @property
    def claim(self) -> Claim: ...

    def check_lease(self) -> None:
        """Raises LeaseLost in time before anybody else can have the lease."""

    def ended(self, refusal: Refusal) -> None:
        """Its end is recorded, or never will be."""


class QueuedWrite:
    """Something to be written while an upload goes on, or its end where it failed (`ends`).

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
    """A verified upload: its end."""

    ends = True

    def __init__(self, by: LeaseHolder, upload: Callable[[], Uploaded]) -> None:
        self.by = by
        self.upload = upload

    def settle(self, refusal: Refusal) -> None:
        self.by.ended(refusal)


Entry = QueuedWrite | QueuedResult


def _claim_nothing(ending: Collection[Claim]) -> list[Claim]:
    del ending
    return []


class GroupCommit:
    """`add` is for the uploads' threads, `write` for the one thread that writes."""

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
            entry.settle(_nobody_writes())
        elif first or isinstance(entry, QueuedWrite):
            self._wake()

    def write(
        self, claim: Callable[[Collection[Claim]], list[Claim]] = _claim_nothing, *, patient: bool = False
    ) -> list[Claim]:
        """Write everything queued, then `claim` in the same transaction; what was claimed, once it is committed.

        Where it is `patient`, verified uploads stay queued a moment for company, and nothing is claimed for them.
        `claim` is called with the claims whose attempts end with this group. A busy database costs neither
        a result nor an upload: what is queued stays so for as long as its lease lives.
        """
        entries = self._take(patient=patient)
        if not entries:
            return [] if self.is_waiting() else claim(())
        try:
            with transaction.atomic():
                refusals = self._written(entries)
                claims = claim([entry.by.claim for entry in entries if entry.ends])
        except _BUSY as error:
            self._later(entries, error)
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
        """Nobody writes any more: those who wait are told."""
        with self._lock:
            self._closed = True
        for entry in self._take():
            entry.settle(_nobody_writes())

    def _take(self, *, patient: bool = False) -> list[Entry]:
        """Nobody waits for a verified upload's record, so some company may come; for a note somebody does."""
        with self._lock:
            if patient and self._clock.monotonic() - self._record_since < GROUP_SECONDS:
                notes: list[Entry] = [entry for entry in self._queue if isinstance(entry, QueuedWrite)]
                self._queue = [entry for entry in self._queue if isinstance(entry, QueuedResult)]
                return notes
            entries, self._queue = self._queue, []
            return entries

    def _written(self, entries: Sequence[Entry]) -> list[Refusal]:
        """In a transaction: what came of each."""
        records = {entry: entry.upload() for entry in entries if isinstance(entry, QueuedResult)}
        if len(records) < len(entries):
            # All rows in one order before any is written: two who lock many never wait in a circle.
            leases = [entry.by.claim.lease for entry in entries]
            GCPVideoTransfer.objects.lock_leased(leases, lease_clock(self._clock.now()))
        noted = {entry: _refusal(entry) for entry in entries if isinstance(entry, QueuedWrite)}
        recorded: set[UUID] = set()
        if records:
            recorded = uploads_record(uploads=list(records.values()), now=self._clock.now(), settings=self._settings)
        return [
            noted[entry] if isinstance(entry, QueuedWrite) else _refusal_of_record(entry, recorded) for entry in entries
        ]

    def _one_by_one(self, entries: Sequence[Entry]) -> None:
        for number, entry in enumerate(entries):
            refusal: Refusal
            try:
                with transaction.atomic():
                    (refusal,) = self._written([entry])
            except _BUSY as error:
                self._later(entries[number:], error)
                return
            except Exception as error:  # noqa: BLE001 - this one: whoever made it is told
                refusal = error
            entry.settle(refusal)
        self._wake()  # there is room now, and nothing was claimed

    def _later(self, entries: Sequence[Entry], error: Exception) -> None:
        """Back to the head of the queue, those whose lease lives."""
        if not log_disk_full("upload.not_yet_recorded", error, waiting=len(entries)):
            log.warning("upload.database_busy", waiting=len(entries), error=type(error).__name__)
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


def _refusal(note: QueuedWrite) -> Refusal:
    try:
        note.write()
    except LeaseLost as lost:
        return lost
    return None


def _refusal_of_record(record: QueuedResult, recorded: Collection[UUID]) -> Refusal:
    transfer_id = record.by.claim.lease.transfer_id
    if transfer_id in recorded:
        return None
    return LeaseLost(f"the lease of transfer {transfer_id} is another's now")


def _nobody_writes() -> LeaseLost:
    return LeaseLost("the worker has ended")
