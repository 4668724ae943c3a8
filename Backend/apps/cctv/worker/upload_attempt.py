"""One upload under one lease: run it, end it in time, tell how it ended. Its thread asks the database nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import structlog
from django.db import connections

from apps.cctv.leasing.journal import OrmJournal
from apps.cctv.leasing.leases import Claim
from apps.cctv.services.rights import RightsWatch
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
from offload.journal import Journal
from offload.pace import Pace
from offload.source import MediaRoot
from offload.store import Abort, Body, ObjectInfo, ObjectSpec, ObjectStore, SessionStatus, never_abort
from offload.uploader import UploadResult, UploadSettings, upload

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
    rights: RightsWatch | None = None
    cleanup_first: threading.Event = field(default_factory=threading.Event)
    """Set while the disk is full and a cleanup is asked for: nothing else is begun."""

    @property
    def timings(self) -> Timings:
        return self.settings.timings


class UploadAttempt:
    """One claimed transfer on its way. `renewed` and `lose` are called by the heartbeat's thread."""

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
        self._waits_for_pace = False
        self._confirmed_until = claimed_at + tools.timings.lease_seconds
        self._sending_since: float | None = None
        self._start_is_told = False

    @property
    def id(self) -> UUID:
        return self.claim.transfer.pk

    def renewed(self, until: float) -> None:
        self._confirmed_until = until

    def lose(self) -> None:
        self._lost = True

    # --- movement: a thread that hangs in a read, a lock or a log must not keep its lease ---

    def is_moving(self) -> bool:
        """Whether its thread gave a sign within `stuck_seconds`."""
        return self._tools.clock.monotonic() - self._moved_at < self._tools.timings.stuck_seconds

    @property
    def is_hanging(self) -> bool:
        """Given up, and its thread is still in whatever it hangs in."""
        return self.is_stuck and self.has_begun and not self._has_ended

    def moved(self) -> None:
        self._moved_at = self._tools.clock.monotonic()

    def give_up(self) -> None:
        """By the heartbeat: its lease is renewed no more. Whatever its thread does later changes nothing."""
        if not self.is_stuck:
            self.is_stuck = True
            log.error("upload.stuck", transfer=str(self.id), attempt=self.claim.lease.number)
        self.lose()

    def take(self, pace: Pace, wanted_bytes: int, abort: Abort) -> int:
        """A piece of the line. Who waits for it moves as long as the thread does that gives the pieces out."""
        self._waits_for_pace = True
        try:
            return pace.take(wanted_bytes, abort)
        finally:
            self._waits_for_pace = False

    def check_lease(self) -> None:
        """Raises LeaseLost in time before anybody else can have the lease."""
        last = self._confirmed_until - self._tools.timings.margin_seconds
        if self._lost or self._tools.clock.monotonic() >= last:
            raise LeaseLost(f"the lease of transfer {self.id} could not be renewed")

    def check(self) -> None:
        """The engine's `Abort`: raises LeaseLost, or Stopped once the worker was asked to stop."""
        if not self._waits_for_pace or self._tools.bandwidth.stepped_within(self._tools.timings.stuck_seconds):
            self.moved()
        self.check_lease()
        if self._tools.stopping.is_set():
            raise Stopped("the worker was asked to stop")

    def run(self) -> None:
        """Upload, and have the end recorded. Nothing is raised: this is the top of a worker's thread."""
        self.has_begun = True
        self.moved()
        try:
            result = self._upload()
        except OffloadError as error:
            if error.disposition is Disposition.WAIT:
                self._tools.breaker.trip(self.id)
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the top of the worker loop: a bug must not lose the transfer
            log_crash("upload.crashed", error, transfer=str(self.id))
            self._fail(OffloadError(f"unexpected {type(error).__name__}", code=Reason.INTERNAL_ERROR))
        else:
            self._tools.group_commit.add(
                QueuedResult(self, lambda: Uploaded(self.claim, result, self._sending_seconds()))
            )
        finally:
            self._has_ended = True
            self.moved()
            connections.close_all()  # this thread's own, if anything had to ask after all

    def give_back(self) -> None:
        """Instead of `run`, where the worker stops before this attempt had a thread."""
        self._fail(Stopped("the worker was asked to stop"))

    def _upload(self) -> UploadResult:
        tools = self._tools
        if tools.rights is not None:
            tools.rights.look(self.claim.transfer.site_id, self.claim.transfer.original_local_path)
        with tools.bandwidth.of(self.claim.transfer.site_id) as pace:
            return upload(
                upload_job(self.claim, settings=tools.settings),
                root=tools.root,
                store=cast("ObjectStore", _BetweenRequests(self, tools)),
                journal=cast("Journal", _InTurn(self, OrmJournal(self.claim, tools.clock))),
                clock=tools.clock,
                settings=tools.upload_settings,
                abort=self.check,
                log=log,
                pace=_OfAttempt(self, pace),
            )

    def _fail(self, error: OffloadError) -> None:
        self._tools.group_commit.add(QueuedWrite(self, lambda: self._record_failure(error), ends=True))

    def _record_failure(self, error: OffloadError) -> None:
        if isinstance(error, LeaseLost):
            raise error
        if self._sending_since is not None:
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
        note = QueuedWrite(self, write)
        self._tools.group_commit.add(note)
        note.wait()

    # --- the upload's start, as people see it: of a small file in the row with its end, or when somebody looks ---

    def sending(self) -> None:
        """A small file's bytes begin to go. A session's start is in the row with the session."""
        self._sending_since = self._tools.clock.monotonic()
        self._start_is_told = False

    def tell_slow_start(self) -> None:
        """Have the start of a small file that takes longer than a look written, once; waits for nothing."""
        seconds = self._sending_seconds()
        if seconds is not None and seconds >= self._tools.timings.poll_seconds and not self._start_is_told:
            self._start_is_told = True
            self._tools.group_commit.add(QueuedWrite(self, self._note_start))

    def _note_start(self) -> None:
        upload_note_start(claim=self.claim, seconds_ago=self._sending_seconds() or 0.0, now=self._tools.clock.now())

    def _sending_seconds(self) -> float | None:
        """Since when, by a clock that nobody sets; the row's time is reckoned back from the database's."""
        return None if self._sending_since is None else self._tools.clock.monotonic() - self._sending_since

    def got_through(self) -> None:
        if self._tools.breaker.reset():
            self.written(lambda: uploads_work(claims=[self.claim], now=self._tools.clock.now()))


class _BetweenRequests:
    """The store as one attempt sees it: asked to stop, it begins no request, but ends none that runs."""

    def __init__(self, attempt: UploadAttempt, tools: Tools) -> None:
        self._attempt = attempt
        self._store = tools.store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def start_session(self, spec: ObjectSpec) -> str:
        self._attempt.check()
        return self._store.start_session(spec)

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
        self._attempt.got_through()
        return status

    def put_small(self, spec: ObjectSpec, body: Body, *, crc32c: int, abort: Abort = never_abort) -> ObjectInfo:
        self._attempt.check()
        self._attempt.sending()
        info = self._store.put_small(spec, body, crc32c=crc32c, abort=_even_if_stopping(abort))
        self._attempt.got_through()
        return info


class _OfAttempt:
    """The site's pace as one attempt waits for it."""

    def __init__(self, attempt: UploadAttempt, pace: Pace) -> None:
        self._attempt = attempt
        self._pace = pace

    def take(self, wanted_bytes: int, abort: Abort) -> int:
        return self._attempt.take(self._pace, wanted_bytes, abort)


class _InTurn:
    """A journal whose notes are written in groups with those of the other uploads."""

    def __init__(self, attempt: UploadAttempt, journal: Journal) -> None:
        self._attempt = attempt
        self._journal = journal

    def __getattr__(self, name: str) -> Callable[..., None]:
        note = getattr(self._journal, name)
        return lambda *values: self._attempt.written(lambda: note(*values))


def _even_if_stopping(abort: Abort) -> Abort:
    def check() -> None:
        with suppress(Stopped):
            abort()

    return check
