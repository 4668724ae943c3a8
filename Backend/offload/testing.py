"""A bucket, a journal and a clock in memory, with faults: for tests only.

`MemoryStore` keeps the whole contract of `ObjectStore` and passes the same suite as the real one.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import google_crc32c

from offload.errors import (
    ChecksumRefused,
    LeaseLost,
    LineDown,
    ObjectProblem,
    OffloadError,
    PreconditionFailed,
    Reason,
    SessionGone,
    StopAndTell,
    TryAgain,
)
from offload.journal import Orphan, StoredSession
from offload.store import (
    SESSION_QUANTUM_BYTES,
    Abort,
    Body,
    BucketReport,
    ObjectInfo,
    ObjectSpec,
    SessionStatus,
    never_abort,
)

SESSION_LIFETIME = timedelta(days=7)
_PIECE_BYTES = 64 * 1024
_READ_BYTES = 1024 * 1024


class FakeClock:
    """A clock that moves when told to. `sleep` moves it and returns at once; `sleeps` keeps what was asked."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._lock = threading.Lock()
        self._now = start
        self._monotonic = 1000.0
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        with self._lock:
            self._now += timedelta(seconds=seconds)


@dataclass
class Fault:
    """What goes wrong in the next `times` calls of one kind, after `skip` calls that go well.

    One of them is meant at a time; `action` runs first and may come with each.

    - `error` alone: raised before anything happens.
    - `after_bytes`: the line is cut when so many bytes of the body have arrived; what makes whole
      quanta is committed, all of it where all arrived; then `error` is raised (LineDown if none is given).
    - `commit_bytes`: the chunk arrives, the bucket commits exactly so many of its bytes and says so.
    - `lost_answer`: everything is done, then `error` is raised (LineDown if none is given).
    - `flip_byte_at`: that byte of the body arrives with its bits turned over.
    - `action`: runs before the call, in its thread: change the file, set a hold, stop the worker.
    - `then`: likewise, when the work is done and the answer not yet given.
    """

    error: OffloadError | None = None
    times: int = 1
    skip: int = 0
    after_bytes: int | None = None
    commit_bytes: int | None = None
    lost_answer: bool = False
    flip_byte_at: int | None = None
    action: Callable[[], None] | None = None
    then: Callable[[], None] | None = None


@dataclass(frozen=True)
class Call:
    """One line of the log. The session is told by its number, never by its URI (P10)."""

    kind: str
    bucket: str = ""
    name: str = ""
    session: int | None = None
    generation: int | None = None
    offset_bytes: int | None = None
    committed_before_bytes: int = 0
    """`send`: what the bucket had when the chunk began."""
    received_bytes: int = 0
    """`send` and `put_small`: how much of the body arrived."""
    committed_bytes: int = 0
    """`send` and `session_status`: what the bucket has after it."""
    size_bytes: int = 0
    """`send`: of the whole object."""
    last: bool = False
    error: OffloadError | None = None

    @property
    def resent_bytes(self) -> int:
        """Bytes of a `send` that the bucket had committed before: P3 wants 0."""
        if self.offset_bytes is None:
            return 0
        return max(0, min(self.committed_before_bytes - self.offset_bytes, self.received_bytes))


@dataclass
class _Session:
    number: int
    spec: ObjectSpec
    expires_at: datetime
    data: bytearray = field(default_factory=bytearray)
    finished: ObjectInfo | None = None


@dataclass
class _Stored:
    info: ObjectInfo
    data: bytes


class MemoryStore:
    """A bucket in memory. Safe to share between threads.

    `faults` are set by `fault`, what happened is in `calls`. `bucket_offset_seconds` puts the bucket's
    clock ahead of `clock`. `retention_seconds` is the bucket's retention policy. A bucket that does not
    `enforce_checksums` stores what arrives; one that does not `refuse_at_start` begins a session for a name that is
    taken and refuses its last part.
    """

    def __init__(self, *, buckets: Iterable[str] = ("test-bucket",), clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.bucket_offset_seconds = 0.0
        self.retention_seconds: float | None = None
        self.enforce_checksums = True
        self.refuse_at_start = True
        self.report: BucketReport | None = None
        self.calls: list[Call] = []
        self._buckets: dict[str, dict[str, _Stored]] = {name: {} for name in buckets}
        self._sessions: dict[str, _Session] = {}
        self._faults: dict[str, list[Fault]] = {}
        self._generations = itertools.count(1_700_000_000_000_001)
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    # --- what tests set up and look at ---

    def fault(self, kind: str, error: OffloadError | None = None, **how: Any) -> Fault:
        """Queue a `Fault` with these fields for the calls named `kind` (``"send"``, ``"get"``, …)."""
        fault = Fault(error, **how)
        with self._lock:
            self._faults.setdefault(kind, []).append(fault)
        return fault

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    def calls_of(self, *kinds: str) -> list[Call]:
        with self._lock:
            return [call for call in self.calls if call.kind in kinds]

    def objects(self, bucket: str | None = None) -> list[ObjectInfo]:
        """Every live object, of one bucket or of all."""
        with self._lock:
            names = [bucket] if bucket is not None else list(self._buckets)
            return [stored.info for name in names for stored in self._buckets[name].values()]

    def data(self, bucket: str, name: str) -> bytes:
        """The bytes of a live object; KeyError where there is none."""
        with self._lock:
            return self._buckets[bucket][name].data

    def put(self, spec: ObjectSpec, data: bytes) -> ObjectInfo:
        """Somebody else writes an object, over what is there."""
        with self._lock:
            return self._store(replace(spec, size_bytes=len(data)), data)

    def change(self, bucket: str, name: str, **changes: object) -> ObjectInfo:
        """Somebody else changes an object's metadata: any fields of its ObjectInfo, and the metageneration."""
        with self._lock:
            stored = self._buckets[bucket][name]
            changes.setdefault("metageneration", stored.info.metageneration + 1)
            stored.info = replace(stored.info, **changes)  # type: ignore[arg-type]
            return stored.info

    def remove(self, bucket: str, name: str) -> None:
        """Somebody else deletes an object."""
        with self._lock:
            del self._buckets[bucket][name]

    def add_bucket(self, bucket: str) -> None:
        with self._lock:
            self._buckets.setdefault(bucket, {})

    def remove_bucket(self, bucket: str) -> None:
        with self._lock:
            self._buckets.pop(bucket, None)

    def forget_sessions(self) -> None:
        """Every session is gone: 410."""
        with self._lock:
            self._sessions.clear()

    def open_sessions(self) -> int:
        """How many sessions could still be written through."""
        with self._lock:
            return sum(session.finished is None for session in self._sessions.values())

    # --- ObjectStore ---

    def start_session(self, spec: ObjectSpec) -> str:
        fault = self._enter("start_session", bucket=spec.bucket, name=spec.name)
        with self._lock:
            if self.refuse_at_start:
                self._demand_absent("start_session", spec)
            number = next(self._numbers)
            uri = f"memory://session/{number}?upload_id=secret-{number}"
            self._sessions[uri] = _Session(number, spec, self.clock.now() + SESSION_LIFETIME)
            self._leave(Call("start_session", spec.bucket, spec.name, session=number), fault)
        return uri

    def session_status(self, uri: str, spec: ObjectSpec) -> SessionStatus:
        fault = self._enter("session_status", bucket=spec.bucket, name=spec.name)
        with self._lock:
            session = self._session("session_status", uri)
            status = SessionStatus(len(session.data), session.finished)
            call = Call("session_status", spec.bucket, spec.name, session.number, committed_bytes=len(session.data))
            self._leave(call, fault)
        return status

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
        _demand_whole_chunk(spec, body, offset_bytes, last=crc32c is not None)
        fault = self._enter("send", bucket=spec.bucket, name=spec.name)
        with self._lock:
            session = self._session("send", uri)
            before = len(session.data)
        call = Call(
            "send",
            spec.bucket,
            spec.name,
            session.number,
            None,
            offset_bytes,
            before,
            size_bytes=spec.size_bytes,
            last=crc32c is not None,
        )
        received, cut = self._receive(body, fault, abort)
        arrived = cut is None or len(received) == body.length_bytes
        whole = arrived and (fault is None or fault.commit_bytes is None)
        with self._lock:
            session = self._session("send", uri)
            try:
                self._commit(session, received, offset_bytes, fault, whole=whole)
                if whole and crc32c is not None and session.finished is None:
                    session.finished = self._finalise(session, crc32c)
            except OffloadError as error:
                self._log(replace(call, received_bytes=len(received), committed_bytes=len(session.data), error=error))
                raise
            call = replace(call, received_bytes=len(received), committed_bytes=len(session.data), error=cut)
            self._leave(call, fault if cut is None else None)
            if cut is not None:
                raise cut
            return SessionStatus(len(session.data), session.finished)

    def cancel_session(self, uri: str) -> None:
        fault = self._enter("cancel_session")
        with self._lock:
            session = self._sessions.pop(uri, None)
            self._leave(Call("cancel_session", session=session.number if session else None), fault)

    def put_small(self, spec: ObjectSpec, body: Body, *, crc32c: int, abort: Abort = never_abort) -> ObjectInfo:
        fault = self._enter("put_small", bucket=spec.bucket, name=spec.name)
        received, cut = self._receive(body, fault, abort)
        with self._lock:
            call = Call("put_small", spec.bucket, spec.name, received_bytes=len(received), error=cut)
            if cut is not None:
                self._log(call)
                raise cut
            self._demand_absent("put_small", spec)
            try:
                self._demand_checksum(spec, received, crc32c)
            except ChecksumRefused as refused:
                self._log(replace(call, error=refused))
                raise
            info = self._store(spec, bytes(received))
            self._leave(replace(call, generation=info.generation), fault)
        return info

    def get(self, bucket: str, name: str, *, generation: int | None = None) -> ObjectInfo | None:
        fault = self._enter("get", bucket=bucket, name=name)
        with self._lock:
            stored = self._bucket(bucket).get(name)
            self._leave(Call("get", bucket, name, generation=generation), fault)
            if stored is None or generation not in {None, stored.info.generation}:
                return None
            return stored.info

    def list_prefix(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        fault = self._enter("list_prefix", bucket=bucket, name=prefix)
        with self._lock:
            objects = self._bucket(bucket)
            found = [objects[name].info for name in sorted(objects, key=str.encode) if name.startswith(prefix)]
            self._leave(Call("list_prefix", bucket, prefix), fault)
        yield from found

    def set_hold(self, info: ObjectInfo, *, held: bool) -> ObjectInfo:
        fault = self._enter("set_hold", bucket=info.bucket, name=info.name)
        with self._lock:
            stored = self._live("set_hold", info.bucket, info.name)
            current = stored.info
            if (current.generation, current.metageneration) != (info.generation, info.metageneration):
                raise self._refused("set_hold", PreconditionFailed(f"{info.name} changed since it was read"))
            if current.temporary_hold != held:
                stored.info = replace(current, temporary_hold=held, metageneration=current.metageneration + 1)
            self._leave(Call("set_hold", info.bucket, info.name, generation=info.generation), fault)
            return stored.info

    def delete(self, bucket: str, name: str, *, generation: int) -> None:
        fault = self._enter("delete", bucket=bucket, name=name)
        with self._lock:
            info = self._live("delete", bucket, name).info
            if info.generation != generation:
                raise self._refused("delete", _gone(name))
            if info.held:
                raise self._refused("delete", ObjectProblem(f"{name} is held", code=Reason.OBJECT_HELD))
            if info.retention_expires_at is not None and info.retention_expires_at > self._bucket_now():
                raise self._refused("delete", ObjectProblem(f"{name} is retained", code=Reason.OBJECT_RETAINED))
            del self._buckets[bucket][name]
            self._leave(Call("delete", bucket, name, generation=generation), fault)

    def read_range(
        self, info: ObjectInfo, *, offset_bytes: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        fault = self._enter("read_range", bucket=info.bucket, name=info.name)
        with self._lock:
            stored = self._live("read_range", info.bucket, info.name)
            if stored.info.generation != info.generation:
                raise self._refused("read_range", _gone(info.name))
            end_bytes = len(stored.data) if length_bytes is None else offset_bytes + length_bytes
            data = stored.data[offset_bytes:end_bytes]
            self._leave(Call("read_range", info.bucket, info.name, offset_bytes=offset_bytes), fault)
        for start in range(0, len(data), _READ_BYTES):
            yield data[start : start + _READ_BYTES]

    def signed_url(self, info: ObjectInfo, *, expires_seconds: int) -> str:
        fault = self._enter("signed_url", bucket=info.bucket, name=info.name)
        self._leave(Call("signed_url", info.bucket, info.name), fault)
        return f"memory://{info.bucket}/{info.name}?generation={info.generation}&expires={expires_seconds}&signature=s"

    def bucket_time(self, bucket: str) -> datetime:
        fault = self._enter("bucket_time", bucket=bucket)
        self._leave(Call("bucket_time", bucket), fault)
        return self._bucket_now().replace(microsecond=0)

    def bucket_report(self, bucket: str) -> BucketReport:
        fault = self._enter("bucket_report", bucket=bucket)
        with self._lock:
            self._leave(Call("bucket_report", bucket), fault)
            return self.report or BucketReport(exists=bucket in self._buckets, missing_permissions=())

    # --- inside ---

    def _enter(self, kind: str, *, bucket: str = "", name: str = "") -> Fault | None:
        """The fault of this call, if it has one; one that strikes before anything happens strikes here."""
        with self._lock:
            fault = self._next_fault(kind)
        if fault is None:
            return None
        if fault.action is not None:
            fault.action()
        if fault.error is not None and fault.after_bytes is None and not fault.lost_answer:
            self._log(Call(kind, bucket, name, error=fault.error))
            raise fault.error
        return fault

    def _next_fault(self, kind: str) -> Fault | None:
        for fault in self._faults.get(kind, []):
            if fault.times <= 0:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                return None
            fault.times -= 1
            return fault
        return None

    def _leave(self, call: Call, fault: Fault | None) -> None:
        """Log a call that did its work; its answer may be lost all the same."""
        if fault is not None and fault.then is not None:
            fault.then()
        lost = (fault.error or LineDown("the answer was lost")) if fault is not None and fault.lost_answer else None
        self._log(call if lost is None else replace(call, error=lost))
        if lost is not None:
            raise lost

    def _log(self, call: Call) -> None:
        with self._lock:
            self.calls.append(call)

    def _refused(self, kind: str, error: OffloadError) -> OffloadError:
        self._log(Call(kind, error=error))
        return error

    def _bucket(self, bucket: str) -> dict[str, _Stored]:
        if bucket not in self._buckets:
            raise StopAndTell(f"bucket {bucket} does not exist", code=Reason.BUCKET_NOT_FOUND)
        return self._buckets[bucket]

    def _live(self, kind: str, bucket: str, name: str) -> _Stored:
        stored = self._bucket(bucket).get(name)
        if stored is None:
            raise self._refused(kind, _gone(name))
        return stored

    def _session(self, kind: str, uri: str) -> _Session:
        session = self._sessions.get(uri)
        if session is None or session.expires_at <= self.clock.now():
            raise self._refused(kind, SessionGone("the session is gone"))
        return session

    def _demand_absent(self, kind: str, spec: ObjectSpec) -> None:
        if spec.name in self._bucket(spec.bucket):
            raise self._refused(kind, PreconditionFailed(f"an object lives under {spec.name}"))

    def _receive(self, body: Body, fault: Fault | None, abort: Abort) -> tuple[bytearray, OffloadError | None]:
        """What arrives of a body, and what ended it early."""
        received = bytearray()
        limit = body.length_bytes if fault is None or fault.after_bytes is None else fault.after_bytes
        try:
            while len(received) < min(limit, body.length_bytes):
                abort()
                piece = body.read(min(_PIECE_BYTES, limit - len(received)))
                if not piece:
                    return received, LineDown("the body ended early")
                received += piece
        except OffloadError as error:  # the caller raises it, after the commit
            return received, error
        if fault is not None and fault.flip_byte_at is not None and fault.flip_byte_at < len(received):
            received[fault.flip_byte_at] ^= 0xFF
        if fault is not None and fault.after_bytes is not None:
            return received, fault.error or LineDown("the connection was cut")
        return received, None

    def _commit(
        self, session: _Session, received: bytearray, offset_bytes: int, fault: Fault | None, *, whole: bool
    ) -> None:
        """Append what is new. A request that did not arrive whole commits whole quanta, or what the fault says."""
        if session.finished is not None:
            return
        committed = len(session.data)
        if offset_bytes > committed:
            raise TryAgain(f"the chunk begins at {offset_bytes}, the bucket has {committed}")
        end = offset_bytes + len(received)
        if fault is not None and fault.commit_bytes is not None:
            end = min(end, offset_bytes + fault.commit_bytes)
        elif not whole:
            end -= end % SESSION_QUANTUM_BYTES
        if end > committed:
            session.data += received[committed - offset_bytes : end - offset_bytes]

    def _finalise(self, session: _Session, crc32c: int) -> ObjectInfo:
        spec = session.spec
        if spec.name in self._bucket(spec.bucket):
            raise PreconditionFailed(f"an object lives under {spec.name}")
        self._demand_checksum(spec, session.data, crc32c)
        return self._store(spec, bytes(session.data))

    def _demand_checksum(self, spec: ObjectSpec, data: bytearray, crc32c: int) -> None:
        if self.enforce_checksums and (len(data) != spec.size_bytes or _crc32c(data) != crc32c):
            raise ChecksumRefused(f"the bucket computed another CRC32C of {spec.name}")

    def _store(self, spec: ObjectSpec, data: bytes) -> ObjectInfo:
        now = self._bucket_now()
        retained = None if self.retention_seconds is None else now + timedelta(seconds=self.retention_seconds)
        info = ObjectInfo(
            bucket=spec.bucket,
            name=spec.name,
            generation=next(self._generations),
            metageneration=1,
            size_bytes=len(data),
            crc32c=_crc32c(data),
            stored_at=now,
            metadata=dict(spec.metadata),
            temporary_hold=spec.temporary_hold,
            retention_expires_at=retained,
            storage_class=spec.storage_class or "STANDARD",
            content_type=spec.content_type,
        )
        self._bucket(spec.bucket)[spec.name] = _Stored(info, data)
        return info

    def _bucket_now(self) -> datetime:
        return self.clock.now() + timedelta(seconds=self.bucket_offset_seconds)


def _crc32c(data: bytes | bytearray) -> int:
    value: int = google_crc32c.value(bytes(data))
    return value


def _gone(name: str) -> ObjectProblem:
    return ObjectProblem(f"{name} is gone", code=Reason.OBJECT_MISSING)


def _demand_whole_chunk(spec: ObjectSpec, body: Body, offset_bytes: int, *, last: bool) -> None:
    """A caller that breaks the rules for chunks has a mistake, no bad luck."""
    end = offset_bytes + body.length_bytes
    if last:
        fits = end == spec.size_bytes and body.length_bytes > 0
    else:
        whole = body.length_bytes >= SESSION_QUANTUM_BYTES and end % SESSION_QUANTUM_BYTES == 0
        fits = whole and end < spec.size_bytes
    if not fits:
        raise ValueError(f"no chunk: bytes {offset_bytes} to {end} of {spec.size_bytes}, last={last}")


class MemoryJournal:
    """What an upload made durable. `lose_lease` makes every later call raise LeaseLost."""

    def __init__(self, session: StoredSession | None = None, *, name_version: int = 0) -> None:
        self.session = session
        self.name_version = name_version
        self.names: list[str] = []
        self.orphans: list[Orphan] = []
        self.progressed: list[int] = []
        self.events: list[str] = []
        """The calls in their order: ``session_started``, ``session_dropped``, ``name_changed``, ``progress``."""
        self._calls_left: int | None = None
        self._lock = threading.Lock()

    def lose_lease(self, *, after_calls: int = 0) -> None:
        """Somebody else owns the transfer, after so many more calls."""
        self._calls_left = after_calls

    def check_lease(self) -> None:
        """An `Abort` that ends the upload as soon as the lease is lost."""
        if self._calls_left == 0:
            raise LeaseLost("the lease is another's now")

    def session_started(self, session: StoredSession) -> None:
        with self._lock:
            self._write("session_started")
            self.session = session

    def session_dropped(self) -> None:
        with self._lock:
            self._write("session_dropped")
            self.session = None

    def name_changed(self, name_version: int, name: str, orphan: Orphan | None) -> None:
        with self._lock:
            self._write("name_changed")
            self.name_version = name_version
            self.names.append(name)
            if orphan is not None:
                self.orphans.append(orphan)

    def progress(self, bytes_confirmed: int) -> None:
        with self._lock:
            self._write("progress")
            self.progressed.append(bytes_confirmed)

    def _write(self, event: str) -> None:
        self.check_lease()
        if self._calls_left is not None:
            self._calls_left -= 1
        self.events.append(event)
