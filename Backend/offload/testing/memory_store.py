"""A bucket in memory. It keeps the whole contract of `ObjectStore` and passes the same suite as the real one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import google_crc32c

from offload.errors import (
    ChecksumRefused,
    ObjectProblem,
    OffloadError,
    PreconditionFailed,
    Reason,
    SessionGone,
    StopAndTell,
    TryAgain,
)
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
from offload.testing.clock import FakeClock
from offload.testing.faults import Call, Fault, FaultyCalls, receive

SESSION_LIFETIME = timedelta(days=7)
_READ_BYTES = 1024 * 1024


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


class MemoryStore(FaultyCalls):
    """A bucket in memory. Safe to share between threads.

    `faults` are set by `fault`, what happened is in `calls`. `bucket_offset_seconds` puts the bucket's
    clock ahead of `clock`. `retention_seconds` is the bucket's retention policy. A bucket that does not
    `enforce_checksums` stores what arrives; one that does not `refuse_at_start` begins a session for a name that is
    taken and refuses its last part.
    """

    def __init__(self, *, buckets: Iterable[str] = ("test-bucket",), clock: FakeClock | None = None) -> None:
        super().__init__()
        self.clock = clock or FakeClock()
        self.bucket_offset_seconds = 0.0
        self.retention_seconds: float | None = None
        self.enforce_checksums = True
        self.refuse_at_start = True
        self.report: BucketReport | None = None
        self._buckets: dict[str, dict[str, _Stored]] = {name: {} for name in buckets}
        self._sessions: dict[str, _Session] = {}
        self._generations = itertools.count(1_700_000_000_000_001)
        self._numbers = itertools.count(1)

    # --- what tests set up and look at ---

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
        """Another program writes an object, over one that may be there."""
        with self._lock:
            return self._store(replace(spec, size_bytes=len(data)), data)

    def change(self, bucket: str, name: str, **changes: object) -> ObjectInfo:
        """Another program changes an object's metadata: any fields of its ObjectInfo, and the metageneration."""
        with self._lock:
            stored = self._buckets[bucket][name]
            changes.setdefault("metageneration", stored.info.metageneration + 1)
            stored.info = replace(stored.info, **changes)  # type: ignore[arg-type]
            return stored.info

    def remove(self, bucket: str, name: str) -> None:
        """Another program deletes an object."""
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
        received, cut = receive(body, fault, abort)
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
        received, cut = receive(body, fault, abort)
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

    def _commit(
        self, session: _Session, received: bytearray, offset_bytes: int, fault: Fault | None, *, whole: bool
    ) -> None:
        """Append the new bytes. Of a request cut short, whole quanta are committed, or as many as the fault says."""
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
    """Raises ValueError for a chunk that the real bucket would not take: a mistake of the caller."""
    end = offset_bytes + body.length_bytes
    if last:
        fits = end == spec.size_bytes and body.length_bytes > 0
    else:
        whole = body.length_bytes >= SESSION_QUANTUM_BYTES and end % SESSION_QUANTUM_BYTES == 0
        fits = whole and end < spec.size_bytes
    if not fits:
        raise ValueError(f"no chunk: bytes {offset_bytes} to {end} of {spec.size_bytes}, last={last}")
