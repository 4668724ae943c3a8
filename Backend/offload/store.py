"""What Coldreel asks of a bucket: `UploadStore` for an upload, `ObjectStore` for everything.

The contract, which the suite in `tests/contract/` checks of every store:

- Every write carries ``ifGenerationMatch=0``: where an object lives under the name, the write raises
  `PreconditionFailed` and the object stays as it was (P2).
- A session's committed bytes only grow. `session_status` tells them exactly, also after the asking
  process was killed, and never finalises (``bytes */*``).
- `send` with ``crc32c`` finalises. Where the bucket computed another CRC32C it raises
  `ChecksumRefused` and no object exists.
- `get`, `list_prefix` and the answers of writes report the bucket's own size, generation and CRC32C;
  nothing is computed here.
- `set_hold` and `delete` name a generation and touch no other.

Idempotent: `get`, `list_prefix`, `session_status`, `cancel_session`, `set_hold`, `bucket_time`, `bucket_report`.
`delete` of what is gone raises `ObjectProblem(OBJECT_MISSING)`. `send` may be repeated after
`session_status`. `start_session` and `put_small` may be repeated: an unused session expires after a
week, and a second `put_small` meets the precondition.

Errors are those of `offload.errors`, sorted by the bucket's reason; no vendor exception leaves a store.
Every store is safe to share between threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

SESSION_QUANTUM_BYTES = 256 * 1024
"""Every chunk but the last has at least so many bytes and ends at a multiple of it:
https://cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload"""

META_INSTALLATION = "coldreel-installation"
META_TRANSFER = "coldreel-transfer"
META_RECORDING = "coldreel-recording"
META_CAMERA = "coldreel-camera"
META_STARTED_AT = "coldreel-recording-started-at"
META_ENDED_AT = "coldreel-recording-ended-at"
META_LOCAL_PATH = "coldreel-local-path"
META_SIZE = "coldreel-size-bytes"


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """The object that an upload is to make. `size_bytes` is the whole object's."""

    bucket: str
    name: str
    size_bytes: int
    content_type: str
    metadata: Mapping[str, str]
    storage_class: str | None = None
    temporary_hold: bool = False


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object, as the bucket describes it. `crc32c` is the unsigned 32-bit value, `stored_at` aware and UTC."""

    bucket: str
    name: str
    generation: int
    metageneration: int
    size_bytes: int
    crc32c: int
    stored_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    temporary_hold: bool = False
    event_based_hold: bool = False
    retention_expires_at: datetime | None = None
    storage_class: str | None = None
    content_type: str | None = None

    @property
    def held(self) -> bool:
        return self.temporary_hold or self.event_based_hold


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """How far a session is. `finished` is the object it ended with, if it did; then `committed_bytes` is its size."""

    committed_bytes: int
    finished: ObjectInfo | None = None


@dataclass(frozen=True, slots=True)
class BucketReport:
    """Settings of a bucket that matter to Coldreel. None where the bucket does not tell."""

    exists: bool
    missing_permissions: tuple[str, ...]
    lifecycle_deletes: bool | None = None
    retention_period_seconds: int | None = None
    default_event_based_hold: bool | None = None
    soft_delete_seconds: int | None = None
    autoclass: bool | None = None
    location: str | None = None
    storage_class: str | None = None


class Body(Protocol):
    """The bytes of one request, read in order from the source file."""

    length_bytes: int

    def read(self, max_bytes: int) -> bytes:
        """At most `max_bytes` next bytes; ``b""`` only at the end.

        Raises FileChanged where the file is shorter than promised, FileProblem where it cannot be read.
        """

    def rewind(self) -> None:
        """Start again from the first byte (a kept-alive connection was closed before the request)."""


Abort = Callable[[], None]
"""Called often while bytes move; raises `Stopped` or `LeaseLost` to end the request at once."""


def never_abort() -> None:
    """The `Abort` of a caller without a lease."""


class UploadStore(Protocol):
    """What `offload.uploader.upload` asks of a bucket."""

    def start_session(self, spec: ObjectSpec) -> str:
        """Begin a resumable upload and return its session URI, which is a key (P10)."""

    def session_status(self, uri: str, spec: ObjectSpec) -> SessionStatus:
        """How many bytes the bucket has committed. Raises SessionGone on 404 and 410."""

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
        """Send one chunk that begins at `offset_bytes`.

        With `crc32c` (the whole object's) the chunk is the last one: it ends at ``spec.size_bytes`` and
        the bucket finalises or raises ChecksumRefused. Without, the chunk has at least SESSION_QUANTUM_BYTES and
        ends at a multiple of them before ``spec.size_bytes``; the bucket may commit less than was sent, and any
        number of bytes.
        """

    def cancel_session(self, uri: str) -> None:
        """Delete the session, so that nothing can be written through it; gone already is fine."""

    def put_small(self, spec: ObjectSpec, body: Body, *, crc32c: int, abort: Abort = never_abort) -> ObjectInfo:
        """One multipart request with precondition and CRC32C in it. Raises ChecksumRefused likewise."""

    def get(self, bucket: str, name: str, *, generation: int | None = None) -> ObjectInfo | None:
        """Metadata read from the bucket now; None where the object (or that generation) does not exist.

        A missing *bucket* raises StopAndTell(BUCKET_NOT_FOUND): it is no proof that an object is gone.
        """

    def list_prefix(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """Live objects whose names start with `prefix`, page by page, in name order.

        An object of which the bucket shows no CRC32C is left out; `get` of it raises ObjectProblem.
        """

    def delete(self, bucket: str, name: str, *, generation: int) -> None:
        """Delete that generation only. Raises ObjectProblem: OBJECT_HELD, OBJECT_RETAINED, OBJECT_MISSING."""


class ObjectStore(UploadStore, Protocol):
    """What all of Coldreel asks of a bucket."""

    def set_hold(self, info: ObjectInfo, *, held: bool) -> ObjectInfo:
        """Set or release the temporary hold of that generation at that metageneration.

        Raises PreconditionFailed where the object changed since `info` was read.
        """

    def read_range(
        self, info: ObjectInfo, *, offset_bytes: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        """The bytes of that generation, in pieces of at most 1 MiB."""

    def signed_url(self, info: ObjectInfo, *, expires_seconds: int) -> str:
        """A URL that lets its holder read that object for a while; a key (P10)."""

    def bucket_time(self, bucket: str) -> datetime:
        """The bucket's clock: the ``Date`` header of a cheap answer, aware, UTC, whole seconds."""

    def bucket_report(self, bucket: str) -> BucketReport:
        """Existence, missing permissions and surprising settings of a bucket."""
