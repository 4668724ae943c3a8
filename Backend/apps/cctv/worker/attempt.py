"""One upload under one lease: run it, end it in time, record how it ended."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connections

from apps.cctv.journal import OrmJournal
from apps.cctv.leases import Claim, lease_time
from apps.cctv.services.uploads import upload_job, upload_record, upload_record_failure, upload_works
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.gate import Gate
from apps.cctv.worker.timings import Timings
from offload.clock import Clock
from offload.errors import Disposition, LeaseLost, OffloadError, Reason, Stopped
from offload.journal import Journal
from offload.source import MediaRoot
from offload.store import Abort, Body, ObjectInfo, ObjectSpec, ObjectStore, SessionStatus, never_abort
from offload.uploader import UploadResult, UploadSettings, upload

log = structlog.get_logger("coldreel.upload")

_WRITE_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What all uploads of a worker share."""

    store: ObjectStore
    root: MediaRoot
    clock: Clock
    random: Callable[[], float]
    upload_settings: UploadSettings
    timings: Timings
    gate: Gate
    bandwidth: Bandwidth
    stopping: threading.Event


class Attempt:
    """One claimed transfer on its way. `renewed` and `lose` are called by the heartbeat's thread."""

    def __init__(self, claim: Claim, tools: Tools, *, claimed_at: float) -> None:
        """`claimed_at` is by the monotonic clock, read before the claim: the lease lasts no shorter."""
        self.claim = claim
        self._tools = tools
        self._lost = False
        self._confirmed_until = claimed_at + tools.timings.lease_seconds

    @property
    def id(self) -> UUID:
        return self.claim.transfer.pk

    def renewed(self, until: float) -> None:
        self._confirmed_until = until

    def lose(self) -> None:
        self._lost = True

    def check_lease(self) -> None:
        """Raises LeaseLost in time before anybody else can have the lease."""
        last = self._confirmed_until - self._tools.timings.margin_seconds
        if self._lost or self._tools.clock.monotonic() >= last:
            raise LeaseLost(f"the lease of transfer {self.id} could not be renewed")

    def check(self) -> None:
        """The engine's `Abort`: raises LeaseLost, or Stopped once the worker was asked to stop."""
        self.check_lease()
        if self._tools.stopping.is_set():
            raise Stopped("the worker was asked to stop")

    def run(self) -> None:
        """Upload and record. Nothing is raised: this is the top of a worker's thread."""
        try:
            self._run()
        except LeaseLost as error:
            log.warning(
                "upload.lease_lost", transfer=str(self.id), attempt=self.claim.lease.number, detail=error.detail
            )
        except Exception as error:  # noqa: BLE001 - recording failed in a way nobody foresaw; the lease runs out
            log_crash("upload.not_recorded", error, transfer=str(self.id))
        finally:
            self._tools.gate.ended(self.id)
            connections.close_all()  # this thread's own

    def _run(self) -> None:
        try:
            result = self._upload()
        except OffloadError as error:
            self._record_failure(error)
        except Exception as error:  # noqa: BLE001 - the top of the worker loop: a bug must not lose the transfer
            log_crash("upload.crashed", error, transfer=str(self.id))
            detail = f"unexpected {type(error).__name__}"
            self._record_failure(OffloadError(detail, code=Reason.INTERNAL_ERROR))
        else:
            now = self._tools.clock.now
            self.patiently(lambda: upload_record(claim=self.claim, result=result, now=now()))

    def _upload(self) -> UploadResult:
        tools = self._tools
        with tools.bandwidth.of(self.claim.transfer.site_id) as pace:
            return upload(
                upload_job(self.claim),
                root=tools.root,
                store=cast("ObjectStore", _BetweenRequests(self, tools)),
                journal=cast("Journal", _Patient(self, OrmJournal(self.claim, tools.clock))),
                clock=tools.clock,
                settings=tools.upload_settings,
                abort=self.check,
                log=log,
                pace=pace,
            )

    def _record_failure(self, error: OffloadError) -> None:
        if isinstance(error, LeaseLost):
            raise error
        if error.disposition is Disposition.WAIT:
            self._tools.gate.close(self.id)
        tools = self._tools
        self.patiently(
            lambda: upload_record_failure(claim=self.claim, error=error, now=tools.clock.now(), random=tools.random)
        )

    def patiently(self, write: Callable[[], object]) -> None:
        """A busy database must cost neither a result nor an upload: tried again for as long as the lease lives."""
        while True:
            try:
                write()
            except (OperationalError, InterfaceError) as error:
                log.warning("upload.database_busy", transfer=str(self.id), error=type(error).__name__)
                connections.close_all()
                self._tools.clock.sleep(_WRITE_AGAIN_SECONDS)
                self.check_lease()
            else:
                return

    def sending(self) -> None:
        """A new object is about to be begun: the time that people see as the upload's start."""
        self.check()
        self.patiently(self._mark_started)

    def _mark_started(self) -> None:
        now = lease_time(self._tools.clock.now())
        self.claim.transfer.mark_upload_started(lease=self.claim.lease, now=now)

    def got_through(self) -> None:
        if self._tools.gate.open():
            self.patiently(lambda: upload_works(claim=self.claim, now=self._tools.clock.now()))


class _BetweenRequests:
    """The store as one attempt sees it: asked to stop, it begins no request, but ends none that runs."""

    def __init__(self, attempt: Attempt, tools: Tools) -> None:
        self._attempt = attempt
        self._store = tools.store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def start_session(self, spec: ObjectSpec) -> str:
        self._attempt.sending()
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
        self._attempt.sending()
        info = self._store.put_small(spec, body, crc32c=crc32c, abort=_even_if_stopping(abort))
        self._attempt.got_through()
        return info


class _Patient:
    """A journal whose notes wait for a busy database."""

    def __init__(self, attempt: Attempt, journal: Journal) -> None:
        self._attempt = attempt
        self._journal = journal

    def __getattr__(self, name: str) -> Callable[..., None]:
        note = getattr(self._journal, name)
        return lambda *values: self._attempt.patiently(lambda: note(*values))


def _even_if_stopping(abort: Abort) -> Abort:
    def check() -> None:
        with suppress(Stopped):
            abort()

    return check


def log_crash(event: str, error: BaseException, **fields: object) -> None:
    """Where it happened, not what it said: a foreign library's message may hold a session URI (P10)."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    log.error(event, error=type(error).__name__, trace=trace, **fields)
