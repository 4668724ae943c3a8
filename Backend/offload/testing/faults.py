"""What goes wrong in which call of a MemoryStore, and the log of its calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from offload.errors import LineDown, OffloadError
from offload.store import Abort, Body

_PIECE_BYTES = 64 * 1024


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
        """Bytes of a `send` that the bucket had committed before: by P3 it is 0."""
        if self.offset_bytes is None:
            return 0
        return max(0, min(self.committed_before_bytes - self.offset_bytes, self.received_bytes))


class FaultyCalls:
    """The queue of faults and the log of calls. `_lock` is locked by the store while it does a call's work."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.RLock()

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


def receive(body: Body, fault: Fault | None, abort: Abort) -> tuple[bytearray, OffloadError | None]:
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
