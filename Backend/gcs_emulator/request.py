"""One request: its parameters, and its body as a stream that a fault may interrupt."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Protocol

from gcs_emulator.answers import Cut, Refusal, Resource, invalid, not_emulated
from gcs_emulator.checksum import PIECE_BYTES
from gcs_emulator.faults import Fault
from gcs_emulator.limits import RateLimit

MAX_JSON_BYTES = 4 * 1024 * 1024


class Reader(Protocol):
    """The buffered reading end of a connection."""

    def read1(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


class Body:
    """A request's body, read in order. Raises Cut where the connection ends before the body does."""

    def __init__(self, reader: Reader, length_bytes: int, limit: RateLimit) -> None:
        self._reader = reader
        self._limit = limit
        self.length_bytes = length_bytes
        self.received_bytes = 0
        self.fault: Fault | None = None

    @property
    def left_bytes(self) -> int:
        return self.length_bytes - self.received_bytes

    def pieces(self) -> Iterator[bytes]:
        """The rest, at most 1 MiB at a time."""
        while self.left_bytes > 0:
            piece = self._read(min(self.left_bytes, self._bytes_to_fault(), self._limit.piece_bytes(PIECE_BYTES)))
            yield self._flipped(piece)
        self.apply_fault()

    def _read(self, most: int) -> bytes:
        if most == 0:
            self.apply_fault()
        try:
            # read1 returns what has arrived: read would wait for the whole piece on a slow line.
            piece = self._reader.read1(most)
        except OSError as error:
            raise Cut from error
        if not piece:
            raise Cut
        self.received_bytes += len(piece)
        self._limit.spend(len(piece))
        return piece

    def read_all(self, most: int = MAX_JSON_BYTES) -> bytes:
        if self.length_bytes > most:
            raise Refusal(413, "uploadTooLarge", f"At most {most} bytes are taken here.")
        return b"".join(self.pieces())

    def read_until(self, marker: bytes, most: int, *, before: bytes = b"") -> bytes:
        """Read lines up to and with `marker`, as if the body began with `before`; for a multipart's headers."""
        found = before
        while not found.endswith(marker):
            if self.left_bytes <= 0 or len(found) >= most:
                raise invalid("Missing end boundary in multipart body.")
            line = self._reader.readline(min(self.left_bytes, most))
            self.received_bytes += len(line)
            found += line
            if not line:
                raise Cut
        return found

    def _bytes_to_fault(self) -> int:
        fault = self.fault
        if fault is None or fault.action not in {"status", "reset", "stall"}:
            return self.left_bytes
        return max(0, fault.after_bytes - self.received_bytes)

    def apply_fault(self) -> None:
        """Apply the fault, where it is one of those that happen at a byte of the body."""
        fault = self.fault
        if fault is None or fault.action not in {"status", "reset", "stall"}:
            return
        if fault.action == "status":
            raise fault.refusal()
        if fault.action == "stall":
            time.sleep(fault.seconds)
        raise Cut(hard=True)

    def _flipped(self, piece: bytes) -> bytes:
        fault = self.fault
        if fault is None or fault.action != "flip_byte":
            return piece
        at = fault.after_bytes - (self.received_bytes - len(piece))
        if not 0 <= at < len(piece):
            return piece
        return piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]


@dataclass(slots=True)
class Request:
    """`base_url` is the address that the client used; `kind`, `bucket` and `name` are set by the route."""

    method: str
    path: str
    query: dict[str, str]
    repeated_query: Mapping[str, list[str]]
    headers: Message
    body: Body
    base_url: str
    kind: str = ""
    bucket: str = ""
    name: str = ""
    fault: Fault | None = None
    offset_bytes: int | None = None
    sent_again_bytes: int = 0
    upload: bool = field(default=False)

    def json(self) -> Resource:
        raw = self.body.read_all()
        if not raw:
            return {}
        try:
            value = json.loads(raw)
        except ValueError as error:
            raise Refusal(400, "parseError", "Parse Error") from error
        if not isinstance(value, dict):
            raise Refusal(400, "parseError", "Parse Error")
        return value

    def allow(self, *parameters: str) -> None:
        """Refuse with 501 a query parameter that this call would ignore."""
        if unknown := set(self.query) - set(parameters) - HARMLESS:
            raise not_emulated(f"the parameter {', '.join(sorted(unknown))} of {self.kind}")


HARMLESS = frozenset({"alt", "prettyPrint", "projection", "fields", "userProject", "quotaUser", "key", "uploadType"})
"""Parameters that change how an answer looks or who pays. `fields` and `projection` are answered in full."""
