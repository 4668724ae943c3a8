"""What goes into an upload, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from offload.journal import StoredSession
from offload.retry import Backoff
from offload.source import SourceIdentity
from offload.store import META_INSTALLATION, META_RECORDING, META_SIZE, META_TRANSFER, ObjectInfo

MIB = 1024 * 1024
RECONNECT_BACKOFF = Backoff(base_seconds=1, cap_seconds=8)


@dataclass(frozen=True, slots=True)
class UploadJob:
    """One transfer's upload. `object_name` turns a name version into a name; `name_version` is the current one.

    - `expected_size_bytes` and `expected_mtime_ns` are the file's as it was registered; another file
      under its path is another recording.
    - `metadata` is the object's, without its size.
    - `passes_conflict`: a person was told of another object under the current name and asked again; where that
      object's bytes differ from the file's, the next name is used.
    - `whole_orphans`: names and generations of earlier objects that were found right.
    """

    transfer_id: str
    bucket: str
    relative_path: str
    content_type: str
    metadata: Mapping[str, str]
    object_name: Callable[[int], str]
    storage_class: str | None = None
    temporary_hold: bool = False
    name_version: int = 0
    session: StoredSession | None = None
    expected_size_bytes: int | None = None
    expected_mtime_ns: int | None = None
    passes_conflict: bool = False
    whole_orphans: Collection[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """How an upload goes. Chunks are rounded down to the bucket's quantum of 256 KiB.

    `reconnects` is how many failed requests in a row, without progress between them, one attempt repeats by itself.
    """

    settle_seconds: float = 10
    progress_seconds: float = 3
    small_limit_bytes: int = 8 * MIB
    chunk_min_bytes: int = 8 * MIB
    chunk_max_bytes: int = 256 * MIB
    chunk_seconds: float = 10
    session_max_age_seconds: float = 6 * 86400
    reconnects: int = 3
    reconnect_backoff: Backoff = RECONNECT_BACKOFF


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A verified object.

    `identity` is the file's at the end; None where it is gone and the object was found in the bucket.
    `adopted`: the object was there before, with the same bytes. `resumed_from_bytes` is what the bucket
    had of the session when this call began.
    """

    info: ObjectInfo
    identity: SourceIdentity | None
    crc32c: int
    adopted: bool
    found_in_bucket: bool
    name_version: int
    bytes_sent: int
    resumed_from_bytes: int


def is_ours(info: ObjectInfo, job: UploadJob) -> bool:
    """Whether this installation wrote the object for this very transfer: none else is ever deleted (P2)."""
    return _agrees(info, job, META_INSTALLATION) and _agrees(info, job, META_TRANSFER)


def is_whole(info: ObjectInfo, job: UploadJob) -> bool:
    """Whether an object is ours, as large as it was to be, and of this recording as it was registered."""
    return (
        is_ours(info, job)
        and _agrees(info, job, META_RECORDING)
        and info.metadata.get(META_SIZE) == str(info.size_bytes)
        and job.expected_size_bytes in {None, info.size_bytes}
    )


def _agrees(info: ObjectInfo, job: UploadJob, key: str) -> bool:
    return info.metadata.get(key) is not None and info.metadata.get(key) == job.metadata.get(key)
