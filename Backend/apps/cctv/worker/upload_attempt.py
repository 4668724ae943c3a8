"""One upload under one lease: run it, end it in time, record how it ended.

Its thread asks the database nothing, except for the orphans of a transfer whose name was in use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from django.db import connections

from apps.cctv.leasing.journal import OrmJournal
from apps.cctv.leasing.leases import Claim
from apps.cctv.services.delete_rights import DeleteRightsWatch
from apps.cctv.services.settings import ServiceSettings, Timings
from apps.cctv.services.uploads import (
    Uploaded,
    upload_job,
    upload_note_start,
    upload_record_failure,
    uploads_work,
)
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.breaker import CircuitBreaker
from apps.cctv.worker.crashes import log_crash
from apps.cctv.worker.group_commit import GroupCommit, QueuedResult, QueuedWrite, Refusal
from offload.clock import Clock
from offload.errors import Disposition, LeaseLost, OffloadError, Reason, Stopped
from offload.journal import Journal, Orphan, StoredSession
from offload.pace import Pace
from offload.source import MediaRoot
from offload.store import Abort, Body, ObjectInfo, ObjectSpec, ObjectStore, SessionStatus, UploadStore, never_abort
from offload.uploader import UploadSettings, upload

log = structlog.get_logger("coldreel.upload")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What all uploads of a worker share."""

    store: ObjectStore
    root: MediaRoot
    clock: Clock
    random: Callable[[], float]
    settings: ServiceSettings
    upload_settings: UploadSettings
    breaker: CircuitBreaker
    bandwidth: Bandwidth
    group_commit: GroupCommit
    stopping: threading.Event
    rights: DeleteRightsWatch | None = None
    cleanup_first: threading.Event = field(default_factory=threading.Event)
    """Set while the disk is full and a cleanup is asked for: nothing else is started then."""

    @property
    def timings(self) -> Timings:
        return self.settings.timings


class UploadAttempt:
    """One claimed transfer on its way.

    Three threads call it: its own (`run`), the heartbeat's (`renewed`, `lose`, `give_up`), and the one that writes
    (`check_lease`, `ended`).
    """

    def __init__(
        self,
        claim: Claim,
        tools: Tools,
        *,
        claimed_at: float,
        when_ended: Callable[[UploadAttempt], None] | None = None,
    ) -> None:
        """`claimed_at` is by the monotonic clock, read before the claim: the lease lasts no shorter.

        `when_ended` is called by the thread that writes, once the end is recorded or never will be.
        """
        self.claim = claim
        self._tools = tools
        self._when_ended = when_ended
        self._lost = False
        self.has_begun = False
        self.is_stuck = False
        self._has_ended = False
        self._moved_at = claimed_at
        self.waits_for_pace = False
        self._confirmed_until = claimed_at + tools.timings.lease_seconds
        self._small_since: float | None = None
        self._start_is_noted = False

    @property
    def id(self) -> UUID:
        return self.claim.transfer.pk

    # --- the attempt, by its own thread ---

    def run(self) -> None:
        """Upload, and have the end recorded. Nothing is raised: this is the top of a worker's thread.

        The steps of docs/design/upload.md, and where they are done:

        1. Claim: by the dispatcher, before there is an attempt.
        2. Open, 3. session, 4. send, 5. finish, 6. compare: `offload.uploader.upload`.
        7. Record: queued here, written with the next group; a failed attempt queues its failure instead.
        """
        tools = self._tools
        self.has_begun = True
        self.moved()
        try:
            if tools.rights is not None:
                tools.rights.look(self.claim.transfer.site_id, self.claim.transfer.original_local_path)
            with tools.bandwidth.of(self.claim.transfer.site_id) as pace:
                result = upload(
                    upload_job(self.claim, settings=tools.settings),
                    root=tools.root,
                    store=StoppableStore(self, tools.store),
                    journal=QueuedJournal(OrmJournal(self.claim, tools.clock), self.written),
                    clock=tools.clock,
                    settings=tools.upload_settings,
                    abort=self.check,
                    log=log,
                    pace=AttemptPace(self, pace),
                )
        except OffloadError as error:
            # No file's fault: others would fail as well, so only one at a time is tried until one gets through.
            if error.disposition is Disposition.WAIT:
                tools.breaker.trip(self.id)
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the top of the worker loop: a bug must not lose the transfer
            log_crash("upload.crashed", error, transfer=str(self.id))
            self._fail(OffloadError(f"unexpected {type(error).__name__}", code=Reason.INTERNAL_ERROR))
        else:
            tools.group_commit.add(QueuedResult(self, lambda: Uploaded(self.claim, result, self._small_seconds())))
        finally:
            self._has_ended = True
            self.moved()
            connections.close_all()  # usually none was opened

    def give_back(self) -> None:
        """Instead of `run`, where the worker stops before this attempt had a thread."""
        self._fail(Stopped("the worker was asked to stop"))

    def _fail(self, error: OffloadError) -> None:
        self._tools.group_commit.add(QueuedWrite(self, lambda: self._record_failure(error), ends=True))

    def _record_failure(self, error: OffloadError) -> None:
        # Raised again: by LeaseLost a write tells the group commit that the row was left as it is.
        if isinstance(error, LeaseLost):
            raise error
        if self._small_since is not None:
            self._note_start()
        tools = self._tools
        upload_record_failure(
            claim=self.claim, error=error, now=tools.clock.now(), random=tools.random, settings=tools.settings
        )

    def ended(self, refusal: Refusal) -> None:
        """By the thread that writes: the end is recorded, or never will be and the lease runs out."""
        if isinstance(refusal, LeaseLost):
            log.warning(
                "upload.lease_lost", transfer=str(self.id), attempt=self.claim.lease.number, detail=refusal.detail
            )
        elif refusal is not None:
            log_crash("upload.not_recorded", refusal, transfer=str(self.id))
        self._tools.breaker.ended(self.id)
        if self._when_ended is not None:
            self._when_ended(self)

    def written(self, write: Callable[[], object]) -> None:
        """Have `write` called in the next group, and wait for its commit. Raises LeaseLost."""
        queued = QueuedWrite(self, write)
        self._tools.group_commit.add(queued)
        queued.wait()

    # --- the lease, which ends the attempt before another worker can have it ---

    def renewed(self, until: float) -> None:
        """The heartbeat's renewal is committed; `until` is by the monotonic clock, read before the renewal."""
        self._confirmed_until = until

    def lose(self) -> None:
        """The next question whether to go on ends the attempt."""
        self._lost = True

    def check_lease(self) -> None:
        """Raises LeaseLost from `margin_seconds` before the end of the lease on: no other worker can have it yet.

        By the monotonic clock: a wall clock that is set makes no lease longer or shorter.
        """
        last = self._confirmed_until - self._tools.timings.margin_seconds
        if self._lost or self._tools.clock.monotonic() >= last:
            raise LeaseLost(f"the lease of transfer {self.id} could not be renewed")

    def check(self) -> None:
        """The engine's `Abort`: raises LeaseLost, or Stopped once the worker was asked to stop."""
        # A wait for a thin line asks this all the time; it is movement only while the thread that ends the wait works.
        if not self.waits_for_pace or self._tools.bandwidth.stepped_within(self._tools.timings.stuck_seconds):
            self.moved()
        self.check_lease()
        if self._tools.stopping.is_set():
            raise Stopped("the worker was asked to stop")

    # --- movement: a thread that hangs in a read, a lock or a log must not keep its lease ---

    def moved(self) -> None:
        """Its thread gives a sign."""
        self._moved_at = self._tools.clock.monotonic()

    def is_moving(self) -> bool:
        """Whether its thread gave a sign within `stuck_seconds`."""
        return self._tools.clock.monotonic() - self._moved_at < self._tools.timings.stuck_seconds

    @property
    def is_hanging(self) -> bool:
        """Given up, and its thread has not come back."""
        return self.is_stuck and self.has_begun and not self._has_ended

    def give_up(self) -> None:
        """By the heartbeat: its lease is renewed no more. Whatever its thread does later changes nothing."""
        if not self.is_stuck:
            self.is_stuck = True
            log.error("upload.stuck", transfer=str(self.id), attempt=self.claim.lease.number)
        self.lose()

    # --- the time that people see as the upload's start: one commit less for each small file ---

    def small_file_starts(self) -> None:
        """The first byte of a small file is sent. A large one's start is committed with its session."""
        self._small_since = self._tools.clock.monotonic()
        self._start_is_noted = False

    def note_slow_start(self) -> None:
        """Queue the start of a small file that takes longer than a poll, once; usually it is written with its end."""
        seconds = self._small_seconds()
        if seconds is not None and seconds >= self._tools.timings.poll_seconds and not self._start_is_noted:
            self._start_is_noted = True
            self._tools.group_commit.add(QueuedWrite(self, self._note_start))

    def _note_start(self) -> None:
        upload_note_start(claim=self.claim, seconds_ago=self._small_seconds() or 0.0, now=self._tools.clock.now())

    def _small_seconds(self) -> float | None:
        """How long ago the first byte of a small file was sent. A span, as the row's time is the database's."""
        return None if self._small_since is None else self._tools.clock.monotonic() - self._small_since

    def bytes_got_through(self) -> None:
        """The bucket took bytes: reset the breaker, and end the alarms where it had tripped."""
        if self._tools.breaker.reset():
            self.written(lambda: uploads_work(claims=[self.claim], now=self._tools.clock.now()))


class StoppableStore:
    """The worker's store for one attempt: asked to stop, it finishes the running request and sends no further bytes.

    A request that is cut off has sent bytes that the bucket does not commit: up to 256 KiB would be sent again.
    """

    def __init__(self, attempt: UploadAttempt, store: UploadStore) -> None:
        self._attempt = attempt
        self._store = store

    def start_session(self, spec: ObjectSpec) -> str:
        self._attempt.check()
        return self._store.start_session(spec)

    def session_status(self, uri: str, spec: ObjectSpec) -> SessionStatus:
        return self._store.session_status(uri, spec)

    def send(
        self,
        uri: str,
        spec: ObjectSpec,
        body: Body,
        *,
        offset_bytes: int,
        crc32c: int | None = None,
        abort: Abort = never_abort,
    ) -> SessionStatus:
        self._attempt.check()
        status = self._store.send(
            uri, spec, body, offset_bytes=offset_bytes, crc32c=crc32c, abort=_even_if_stopping(abort)
        )
        self._attempt.bytes_got_through()
        return status

    def cancel_session(self, uri: str) -> None:
        self._store.cancel_session(uri)

    def put_small(self, spec: ObjectSpec, body: Body, *, crc32c: int, abort: Abort = never_abort) -> ObjectInfo:
        self._attempt.check()
        self._attempt.small_file_starts()
        info = self._store.put_small(spec, body, crc32c=crc32c, abort=_even_if_stopping(abort))
        self._attempt.bytes_got_through()
        return info

    def get(self, bucket: str, name: str, *, generation: int | None = None) -> ObjectInfo | None:
        return self._store.get(bucket, name, generation=generation)

    def list_prefix(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        return self._store.list_prefix(bucket, prefix)

    def delete(self, bucket: str, name: str, *, generation: int) -> None:
        self._store.delete(bucket, name, generation=generation)


class AttemptPace:
    """The site's pace for one attempt, which counts as moving while it waits for its turn."""

    def __init__(self, attempt: UploadAttempt, pace: Pace) -> None:
        self._attempt = attempt
        self._pace = pace

    def take(self, wanted_bytes: int, abort: Abort) -> int:
        self._attempt.waits_for_pace = True
        try:
            return self._pace.take(wanted_bytes, abort)
        finally:
            self._attempt.waits_for_pace = False


class QueuedJournal:
    """A journal whose calls are made by the thread that writes, in a group with those of other uploads.

    Each method returns once its group is committed, as `offload.journal.Journal` promises, and raises LeaseLost.
    """

    def __init__(self, journal: Journal, write: Callable[[Callable[[], None]], None]) -> None:
        """`write` has a call made in the next group, and returns once that is committed."""
        self._journal = journal
        self._write = write

    def session_started(self, session: StoredSession) -> None:
        self._write(lambda: self._journal.session_started(session))

    def session_dropped(self) -> None:
        self._write(self._journal.session_dropped)

    def name_changed(self, name_version: int, name: str, orphan: Orphan | None) -> None:
        self._write(lambda: self._journal.name_changed(name_version, name, orphan))

    def progress(self, bytes_confirmed: int) -> None:
        self._write(lambda: self._journal.progress(bytes_confirmed))


def _even_if_stopping(abort: Abort) -> Abort:
    def check() -> None:
        with suppress(Stopped):
            abort()

    return check
