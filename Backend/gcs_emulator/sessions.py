"""Resumable upload sessions: the bytes that the bucket has of an object that does not exist yet.

    DATA/sessions/ID.json     what the client asked for at the start, and how the session ended
    DATA/sessions/ID.data     the bytes; whole 256 KiB of them count as committed, and what a fault committed besides

The size of the data file says how many bytes are committed, so that a kill at any moment loses no byte that a
client was told of, and no chunk costs a second write.

Source: https://cloud.google.com/storage/docs/resumable-uploads
"""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from gcs_emulator.answers import Cut, Refusal, Resource
from gcs_emulator.checksum import crc_of_file, extend
from gcs_emulator.disk import read_json, write_all, write_json
from gcs_emulator.preconditions import Preconditions
from gcs_emulator.storage import Storage

QUANTUM_BYTES = 256 * 1024
"""https://cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload"""
SESSION_SECONDS = 7 * 86_400
"""https://cloud.google.com/storage/docs/resumable-uploads#session-uris"""

OPEN, FINISHED, CANCELLED, EXPIRED = "open", "finished", "cancelled", "expired"
UNKNOWN = 404


def whole_quanta(byte_count: int) -> int:
    return byte_count - byte_count % QUANTUM_BYTES


@dataclass
class Session:
    """One session. Take `lock` to read or change any field after it."""

    path: Path
    bucket: str
    name: str
    resource: Resource
    preconditions: Preconditions
    declared_bytes: int | None
    started_at: float
    state: str = OPEN
    finished: Resource | None = None
    odd_bytes: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    received_bytes: int = 0
    # None: not known since a restart or a fault, to be read again from the file.
    committed_crc: int | None = 0
    writer: object = None

    @property
    def data_path(self) -> Path:
        return self.path.with_suffix(".data")

    @property
    def committed_bytes(self) -> int:
        return max(whole_quanta(self.received_bytes), self.odd_bytes)

    def save(self) -> None:
        write_json(
            self.path,
            {
                "bucket": self.bucket,
                "name": self.name,
                "resource": self.resource,
                "preconditions": self.preconditions.record(),
                "declared_bytes": self.declared_bytes,
                "started_at": self.started_at,
                "state": self.state,
                "finished": self.finished,
                "odd_bytes": self.odd_bytes,
            },
        )

    @classmethod
    def load(cls, path: Path) -> Session:
        record = read_json(path)
        record["preconditions"] = Preconditions.of_record(record["preconditions"])
        session = cls(path=path, **record)
        if session.data_path.exists():
            session.received_bytes = session.data_path.stat().st_size
            session.committed_crc = None
        return session

    def settle(self, most_bytes: int | None = None) -> None:
        """Drop the bytes that are not committed (and, for a fault, those beyond `most_bytes`)."""
        with self.lock:
            committed = self.committed_bytes
            if most_bytes is not None and whole_quanta(most_bytes) < committed:
                committed, self.committed_crc = whole_quanta(most_bytes), None
            if self.data_path.exists():
                os.truncate(self.data_path, committed)
            self.received_bytes = committed

    def commit_exactly(self, byte_count: int) -> None:
        """For a fault: commit exactly so many bytes, in whole 256 KiB or not."""
        with self.lock:
            self.odd_bytes = self.received_bytes = min(byte_count, self.received_bytes)
            self.committed_crc = None
            os.truncate(self.data_path, self.received_bytes)
            self.save()

    def crc(self) -> int:
        """The CRC32C of the committed bytes; they are read again after a restart."""
        if self.committed_crc is None:
            self.committed_crc = crc_of_file(self.data_path, self.committed_bytes)
        return self.committed_crc

    def end(self, state: str, finished: Resource | None = None) -> None:
        with self.lock:
            self.state, self.finished, self.writer = state, finished, None
            self.save()
            self.data_path.unlink(missing_ok=True)


class ChunkWriter:
    """Appends one chunk. Where a later chunk of the same session arrives, this one's connection is cut."""

    def __init__(self, session: Session, offset_bytes: int) -> None:
        self._session = session
        with session.lock:
            # From here on an earlier writer of the session ends at its next piece.
            session.writer = self
            session.settle()
            self.crc = session.crc()
            # The service ignores bytes that it has already (documented under the address above).
            self._skip_bytes = session.committed_bytes - offset_bytes
            self._descriptor = os.open(session.data_path, os.O_WRONLY | os.O_CREAT, 0o644)

    def write(self, piece: bytes) -> None:
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(piece))
            self._skip_bytes -= skipped
            piece = piece[skipped:]
        session = self._session
        with session.lock:
            if session.writer is not self:
                raise Cut
            write_all(self._descriptor, piece, session.received_bytes)
            self._sum_up(piece)

    def _sum_up(self, piece: bytes) -> None:
        """Keep two running sums: of all bytes, and of those committed."""
        session = self._session
        before = session.received_bytes
        session.received_bytes += len(piece)
        boundary = session.committed_bytes - before
        if boundary > 0:
            session.committed_crc = extend(self.crc, piece[:boundary])
            self.crc = extend(session.committed_crc, piece[boundary:])
        else:
            self.crc = extend(self.crc, piece)

    def close(self) -> None:
        os.close(self._descriptor)


class Sessions:
    def __init__(self, folder: Path, storage: Storage) -> None:
        self._folder = folder / "sessions"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._storage = storage
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        for path in self._folder.glob("*.json"):
            # A glob also sees sessions that ended: they answer 410, 499 or the object for a week.
            self._sessions[path.stem] = self._recovered(Session.load(path))
        self._drop_strays()

    def _recovered(self, session: Session) -> Session:
        """Finish a session that a kill left open after its object was committed."""
        if session.state == OPEN:
            live = self._storage.bucket(session.bucket).live(session.name)
            if live and live.get("_session") == session.path.stem:
                session.end(FINISHED, live)
        return session

    def _drop_strays(self) -> None:
        for path in self._folder.iterdir():
            if path.suffix != ".json" and path.stem not in self._sessions:
                path.unlink()

    def temporary_path(self) -> Path:
        """A path for a body that has no session; a restart removes the file."""
        return self._folder / f"{secrets.token_hex(16)}.body"

    def start(
        self, bucket: str, name: str, resource: Resource, preconditions: Preconditions, declared_bytes: int | None
    ) -> str:
        """Store a new session and return its id, which authorises writes like a key."""
        key = secrets.token_urlsafe(48)
        session = Session(
            path=self._folder / f"{key}.json",
            bucket=bucket,
            name=name,
            resource=resource,
            preconditions=preconditions,
            declared_bytes=declared_bytes,
            started_at=self._storage.clock.now(),
        )
        session.save()
        with self._lock:
            self._sessions[key] = session
        return key

    def find(self, key: str) -> Session:
        """Refuses with 404 an unknown id, with 410 a session older than a week, with 499 a cancelled one."""
        with self._lock:
            session = self._sessions.get(key)
        if session is None:
            raise Refusal(404, "notFound", "Not Found", plain=True)
        age_seconds = self._storage.clock.now() - session.started_at
        if session.state == EXPIRED or age_seconds > SESSION_SECONDS:
            raise Refusal(410, "gone", "Gone", plain=True)
        if session.state == CANCELLED:
            raise Refusal(499, "cancelled", "", plain=True)
        return session

    def counts(self) -> dict[str, int]:
        """How many sessions there are of each state."""
        with self._lock:
            states = [session.state for session in self._sessions.values()]
        return {state: states.count(state) for state in (OPEN, FINISHED, CANCELLED, EXPIRED)}

    def expire(self, status: int) -> int:
        """End every open session, as the service may; with 404 they are unknown from then on."""
        with self._lock:
            open_ones = {key: one for key, one in self._sessions.items() if one.state == OPEN}
            for key, session in open_ones.items():
                if status == UNKNOWN:
                    del self._sessions[key]
                    session.path.unlink()
                    session.data_path.unlink(missing_ok=True)
                else:
                    session.end(EXPIRED)
        return len(open_ones)
