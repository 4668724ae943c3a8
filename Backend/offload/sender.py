"""Get a file's bytes into the bucket: a resumable session, or one request for a small file.

These are steps 3 to 5 of docs/design/upload.md. A committed byte is never sent again: after every interruption the
bucket is asked how far it got.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from offload.clock import Clock
from offload.digest import crc32c_of
from offload.errors import FileChanged, OffloadError, PreconditionFailed, SessionGone, TryAgain
from offload.journal import Journal, StoredSession
from offload.log import EventLog
from offload.pace import UNLIMITED, Pace
from offload.request_body import BUFFER_ALLOWANCE, BufferedBody, PrefixSum, SourceBody, buffered
from offload.source import Source
from offload.store import SESSION_QUANTUM_BYTES, Abort, ObjectInfo, ObjectSpec, SessionStatus, UploadStore
from offload.upload_job import UploadSettings

_PAUSE_SLICE_SECONDS = 0.5

T = TypeVar("T")


class Connection:
    """Makes requests of one upload, and repeats a few that failed; then the worker's own backoff takes over.

    `pace` is how fast the file's bytes may go.
    """

    def __init__(
        self,
        clock: Clock,
        settings: UploadSettings,
        abort: Abort,
        random: Callable[[], float],
        pace: Pace = UNLIMITED,
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.abort = abort
        self.pace = pace
        self._random = random
        self._failures = 0

    def ask(self, call: Callable[[], T]) -> T:
        """Make a call that may be repeated, until it succeeds or `wait` gives up."""
        while True:
            self.abort()
            try:
                return call()
            except TryAgain as error:
                self.wait(error)

    def wait(self, error: TryAgain) -> None:
        """Wait before the next try; raises `error` where the tries are used up or the bucket asks for a long pause."""
        self._failures += 1
        backoff = self.settings.reconnect_backoff
        seconds = backoff.delay_seconds(
            self._failures, random=self._random, retry_after_seconds=error.retry_after_seconds
        )
        if self._failures > self.settings.reconnects or seconds > backoff.cap_seconds:
            raise error
        while seconds > 0:
            self.abort()
            self.clock.sleep(min(seconds, _PAUSE_SLICE_SECONDS))
            seconds -= _PAUSE_SLICE_SECONDS

    def is_good(self) -> None:
        """The bucket confirmed progress: the next failure is the first one again."""
        self._failures = 0


class Sender:
    """Sends one file. `session` is always what the journal has; `crc32c` is the file's own sum, once it is known."""

    def __init__(
        self,
        source: Source,
        session: StoredSession | None,
        *,
        store: UploadStore,
        journal: Journal,
        connection: Connection,
        log: EventLog,
    ) -> None:
        self.session = session
        self.crc32c: int | None = None
        self.bytes_sent = 0
        self.resumed_from_bytes = 0
        self._source = source
        self._size_bytes = source.identity.size_bytes
        self._store = store
        self._journal = journal
        self._connection = connection
        self._clock = connection.clock
        self._settings = connection.settings
        self._log = log
        self._tail_repeated = False
        self._confirmed_bytes = 0
        self._noted_bytes = 0
        self._noted_at = self._clock.monotonic()
        self._chunk_bytes = _whole_quanta(self._settings.chunk_min_bytes)

    def put(self, spec: ObjectSpec) -> ObjectInfo:
        """Bring the file into the bucket, from where the bucket has got to, and return its answer.

        3. Session: ask the one that the journal has, or start one and have its URI committed. A small file has none.
        4. Send chunks; after each, and after each lost answer, go on from where the bucket says that it got.
        5. Finish with a part that carries the whole object's CRC32C.

        Sets `crc32c`, and raises PreconditionFailed with it set where the session had ended with another
        object than the file, SessionGone where the session may not be continued: it may have ended with an object.
        """
        if self.session is not None:
            # Google ends a session after a week; a day before that there is time to send the rest through it.
            # https://cloud.google.com/storage/docs/resumable-uploads#session-uris
            age = self._clock.now() - self.session.started_at
            too_old = age >= timedelta(seconds=self._settings.session_max_age_seconds)
            if too_old or self.session.identity != self._source.identity:
                raise SessionGone("the session is too old, or was begun for another file")
        if self.session is None and self._size_bytes <= self._settings.small_limit_bytes:
            with BUFFER_ALLOWANCE.asked(self._size_bytes) as granted:
                return self._put_buffered(spec) if granted else self._put_in_two_passes(spec)
        return self._put_resumable(spec)

    def own_crc32c(self) -> int:
        """The whole file's sum: that of the bytes that passed, else a fresh one."""
        if self.crc32c is None:
            self.crc32c = self.fresh_crc32c()
        return self.crc32c

    def fresh_crc32c(self) -> int:
        return crc32c_of(self._source, self._size_bytes, abort=self._connection.abort)

    def drop_session(self) -> None:
        """Delete the session, if there is one: in the bucket first, so that nothing is written through it any more."""
        if self.session is None:
            return
        # A session that cannot be deleted expires by itself, and no later upload of ours continues it.
        try:
            self._store.cancel_session(self.session.uri)
        except OffloadError as error:
            self._log.warning("upload.session_not_cancelled", reason=error.code.value)
        self.forget_session()

    def forget_session(self) -> None:
        """Leave a session behind that has ended. Raises LeaseLost, with or without a session."""
        self.session = None
        self._journal.session_dropped()

    def note_progress(self) -> None:
        """Make durable what the bucket has confirmed."""
        if self._confirmed_bytes > self._noted_bytes:
            self._journal.progress(self._confirmed_bytes)
            self._log.info("upload.progress", bytes_confirmed=self._confirmed_bytes, size_bytes=self._size_bytes)
            self._noted_bytes = self._confirmed_bytes
            self._noted_at = self._clock.monotonic()

    def demand_unchanged(self) -> None:
        """Raises FileChanged where the opened file was written to."""
        if not self._source.identity_open().same_content_as(self._source.identity):
            raise FileChanged("the file changed while it was sent")

    # --- small: one request ---

    def _put_buffered(self, spec: ObjectSpec) -> ObjectInfo:
        """Read once, summed and sent from memory: the checksum stands before the bytes in the request."""
        body, crc32c = self._buffered(offset_bytes=0, length_bytes=self._size_bytes)
        self.crc32c = crc32c
        # If the file was written to meanwhile, the bytes read are a mix that the file never had at any one moment.
        self.demand_unchanged()

        def put() -> ObjectInfo:
            body.rewind()
            return self._store.put_small(spec, body, crc32c=crc32c, abort=self._connection.abort)

        try:
            return self._connection.ask(put)
        finally:
            self.bytes_sent += body.bytes_read

    def _put_in_two_passes(self, spec: ObjectSpec) -> ObjectInfo:
        """A first pass for the sum, a second one to send, where other uploads fill the memory for small files.

        What is sent is summed as well: where the file changed in between, that sum is the object's.
        """
        hashed = self.fresh_crc32c()
        self.demand_unchanged()

        def put() -> ObjectInfo:
            body = self._streamed(offset_bytes=0, length_bytes=self._size_bytes)
            try:
                return self._store.put_small(spec, body, crc32c=hashed, abort=self._connection.abort)
            finally:
                self.bytes_sent += body.bytes_read
                self.crc32c = body.crc32c if body.position_bytes == self._size_bytes else hashed

        return self._connection.ask(put)

    # --- bodies, at the site's pace ---

    def _streamed(self, *, offset_bytes: int, length_bytes: int, crc32c: int = 0) -> SourceBody:
        return SourceBody(
            self._source,
            offset_bytes=offset_bytes,
            length_bytes=length_bytes,
            crc32c=crc32c,
            pace=self._connection.pace,
            abort=self._connection.abort,
        )

    def _buffered(self, *, offset_bytes: int, length_bytes: int, crc32c: int = 0) -> tuple[BufferedBody, int]:
        return buffered(
            self._source,
            offset_bytes=offset_bytes,
            length_bytes=length_bytes,
            crc32c=crc32c,
            pace=self._connection.pace,
            abort=self._connection.abort,
        )

    # --- large: a session ---

    def _put_resumable(self, spec: ObjectSpec) -> ObjectInfo:
        if self.session is None:
            uri = self._connection.ask(lambda: self._store.start_session(spec))
            session = StoredSession(uri=uri, started_at=self._clock.now(), identity=self._source.identity)
            # Committed before its first byte: without its URI the bytes could not be continued (P3).
            self._journal.session_started(session)
            self.session = session
            self._confirmed_bytes = self._noted_bytes = 0
            self._tail_repeated = False
            status = SessionStatus(0)
        else:
            status = self._status(spec)
            self.resumed_from_bytes = status.committed_bytes
            self._log.info(
                "upload.resumed", bytes_confirmed=status.committed_bytes, finished=status.finished is not None
            )
        if status.finished is not None:
            # The answer to the last part was lost, or the process that got it was killed before the record.
            if (status.finished.size_bytes, status.finished.crc32c) != (self._size_bytes, self.own_crc32c()):
                raise PreconditionFailed("the session ended with another object")
            return status.finished
        # What is committed is read again, several GB/s, since the last part carries the sum of the whole object.
        summed = PrefixSum(self._source, self._connection.abort)
        summed.move_to(status.committed_bytes)
        while True:
            self._connection.abort()
            status = self._send_next(spec, summed)
            if status.finished is not None:
                return status.finished

    def _status(self, spec: ObjectSpec) -> SessionStatus:
        status = self._connection.ask(lambda: self._store.session_status(self._uri(), spec))
        self._confirm(status.committed_bytes)
        return status

    def _uri(self) -> str:
        if self.session is None:
            raise SessionGone("there is no session")
        return self.session.uri

    def _send_next(self, spec: ObjectSpec, summed: PrefixSum) -> SessionStatus:
        """Send the next part, then go on from where the bucket says that it got, whatever was sent."""
        body, crc32c = self._next_part(summed)
        before_bytes, started = summed.length_bytes, self._clock.monotonic()
        try:
            status = self._store.send(
                self._uri(), spec, body, offset_bytes=before_bytes, crc32c=crc32c, abort=self._connection.abort
            )
        except TryAgain as error:
            # The answer is lost, the bytes perhaps not: only the bucket knows, and a committed byte is not sent again.
            self._connection.wait(error)
            status = self._status(spec)
        else:
            self._confirm(status.committed_bytes)
            # The next chunk takes about `chunk_seconds` at the speed of this one, and is at most four times as large:
            # a stop waits until the running chunk has ended.
            took_seconds, new_bytes = self._clock.monotonic() - started, status.committed_bytes - before_bytes
            if new_bytes > 0:
                wanted_bytes = new_bytes / max(took_seconds, 0.001) * self._settings.chunk_seconds
                most_bytes = min(self._settings.chunk_max_bytes, 4 * self._chunk_bytes)
                self._chunk_bytes = _whole_quanta(max(self._settings.chunk_min_bytes, min(wanted_bytes, most_bytes)))
            # Without a pause, a bucket that accepts a chunk and commits none of it would be sent that chunk for ever.
            if status.finished is None and status.committed_bytes <= before_bytes:
                self._connection.wait(TryAgain("the bucket committed nothing of a chunk"))
        finally:
            self.bytes_sent += body.bytes_read
        if status.finished is None:
            summed.move_to(status.committed_bytes, body if isinstance(body, SourceBody) else None)
        return status

    def _next_part(self, summed: PrefixSum) -> tuple[SourceBody | BufferedBody, int | None]:
        """A chunk up to a multiple of the quantum; or the last part, never empty, with the whole file's sum.

        The bucket may have committed any number of bytes, and takes no chunk of less than a quantum but the last.
        """
        tail_begins_bytes = (self._size_bytes - 1) // SESSION_QUANTUM_BYTES * SESSION_QUANTUM_BYTES
        if summed.length_bytes >= self._size_bytes:
            # The bucket has every byte and made no object of them: only a last part can end that, or a new session.
            if self._tail_repeated:
                raise SessionGone("the session has every byte and no object")
            self._tail_repeated = True
            summed.move_to(tail_begins_bytes)
        offset_bytes = summed.length_bytes
        if tail_begins_bytes - offset_bytes >= SESSION_QUANTUM_BYTES:
            beyond_bytes = -(offset_bytes + self._chunk_bytes) % SESSION_QUANTUM_BYTES
            length_bytes = min(self._chunk_bytes + beyond_bytes, tail_begins_bytes - offset_bytes)
            return self._streamed(offset_bytes=offset_bytes, length_bytes=length_bytes, crc32c=summed.crc32c), None
        # Checked before the part that makes the object: until here, nothing of a changed file can be seen by others.
        self.demand_unchanged()
        length_bytes = self._size_bytes - offset_bytes
        tail, self.crc32c = self._buffered(offset_bytes=offset_bytes, length_bytes=length_bytes, crc32c=summed.crc32c)
        return tail, self.crc32c

    def _confirm(self, committed_bytes: int) -> None:
        """What the bucket has; noted every few seconds at most."""
        if committed_bytes > self._confirmed_bytes:
            self._confirmed_bytes = committed_bytes
            self._connection.is_good()
        if self._clock.monotonic() - self._noted_at >= self._settings.progress_seconds:
            self.note_progress()


def _whole_quanta(wanted_bytes: float) -> int:
    return max(1, int(wanted_bytes) // SESSION_QUANTUM_BYTES) * SESSION_QUANTUM_BYTES
