"""The stores that the contract suite checks, each with what a test needs beside it.

A `Bench` is a store and a bucket. A `ControlledBench` can also change the bucket behind the store's back,
which a real bucket's tests must do without.
"""

from __future__ import annotations

import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import google_crc32c

from gcs_emulator.process import EmulatorProcess
from offload.errors import LineDown, TryAgain
from offload.gcs import GoogleStore
from offload.store import META_INSTALLATION, META_TRANSFER, ObjectInfo, ObjectSpec, ObjectStore, SessionStatus
from offload.testing import FakeClock, MemoryStore
from tests.contract.certificates import Certificates

BUCKET = "contract-bucket"
QUANTUM = 256 * 1024
PAGE_OBJECTS = 7


class BytesBody:
    """A body in memory; `read_bytes` counts what was asked of it."""

    def __init__(self, data: bytes, *, fail_after_bytes: int | None = None, error: Exception | None = None) -> None:
        self.length_bytes = len(data)
        self._data = data
        self._position = 0
        self._fail_after_bytes = fail_after_bytes
        self._error = error
        self.read_bytes = 0

    def read(self, max_bytes: int) -> bytes:
        most = max_bytes
        if self._fail_after_bytes is not None and self._error is not None:
            if self._position >= self._fail_after_bytes:
                raise self._error
            most = min(most, self._fail_after_bytes - self._position)
        piece = self._data[self._position : self._position + most]
        self._position += len(piece)
        self.read_bytes += len(piece)
        return piece

    def rewind(self) -> None:
        self._position = 0


def crc_of(data: bytes) -> int:
    return int(google_crc32c.value(data))


def noise(length_bytes: int, seed: int = 0) -> bytes:
    """Bytes in which no quantum looks like another, the same for the same seed."""
    block = bytes((index * 131 + seed * 7 + 3) % 251 for index in range(4093))
    return (block * (length_bytes // len(block) + 1))[:length_bytes]


def settled_status(store: ObjectStore, uri: str, spec: ObjectSpec) -> SessionStatus:
    """What is committed once the bucket has noticed that a connection ended: two answers alike."""
    give_up_at = time.monotonic() + 30
    last = store.session_status(uri, spec)
    while time.monotonic() < give_up_at:
        time.sleep(0.05)
        now = store.session_status(uri, spec)
        if now == last:
            return now
        last = now
    raise TimeoutError("the session never came to rest")


class Bench(ABC):
    """One store on one bucket. Every name of a test begins with its own prefix."""

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self.store = store
        self.bucket = bucket
        self.prefix = f"contract/{secrets.token_hex(6)}/"

    @abstractmethod
    def another_store(self) -> ObjectStore:
        """A store of another process on the same bucket: it shares nothing in memory with the first."""

    def spec(self, name: str, size_bytes: int, **changes: Any) -> ObjectSpec:
        spec = ObjectSpec(
            bucket=self.bucket,
            name=self.prefix + name,
            size_bytes=size_bytes,
            content_type="video/mp4",
            metadata={META_INSTALLATION: "installation-1", META_TRANSFER: "transfer-1"},
        )
        return replace(spec, **changes)

    def upload(self, name: str = "clip.mp4", data: bytes = b"small footage", **changes: Any) -> ObjectInfo:
        spec = self.spec(name, len(data), **changes)
        return self.store.put_small(spec, BytesBody(data), crc32c=crc_of(data))

    def content(self, info: ObjectInfo) -> bytes:
        return b"".join(self.store.read_range(info))

    @abstractmethod
    def tidy(self) -> None:
        """Remove what the next test could meet."""


class ControlledBench(Bench):
    """A bench whose bucket does what a test says."""

    @abstractmethod
    def replace_object(self, name: str, data: bytes) -> None:
        """Another program writes another generation under a name."""

    @abstractmethod
    def set_event_based_hold(self, info: ObjectInfo) -> None: ...

    @abstractmethod
    def retain(self, seconds: float) -> None:
        """A retention policy for objects written from now on."""

    @abstractmethod
    def pass_days(self, days: float) -> None:
        """The bucket's clock moves on."""

    @abstractmethod
    def commit_only(self, commit_bytes: int, *, last: bool = False) -> None:
        """Of the next chunk (the last one, or another) so much is committed, and nothing finished."""

    @abstractmethod
    def commit_exactly(self, commit_bytes: int) -> None:
        """Of the next chunk, not the last one, exactly so much is committed, in whole 256 KiB or not."""

    @abstractmethod
    def lose_next_answer(self, *, last: bool) -> None:
        """The next chunk (the last one, or another) does its work and is not answered."""

    @abstractmethod
    def lose_small_answer(self) -> None:
        """The next small upload does its work and is not answered."""

    @abstractmethod
    def cut_after(self, received_bytes: int) -> None:
        """The connection of the next chunk is reset after so many bytes."""

    @abstractmethod
    def flip_byte(self, *, small: bool) -> None:
        """The next last chunk (or small upload) arrives with one byte turned over."""

    @abstractmethod
    def answer_once(self, call: str, **fault: Any) -> None:
        """The next `call` (a method's name) is refused: 503 with Retry-After."""


class MemoryBench(ControlledBench):
    def __init__(self) -> None:
        self.memory = MemoryStore(buckets=[BUCKET], clock=FakeClock())
        super().__init__(self.memory, BUCKET)

    def another_store(self) -> ObjectStore:
        return self.memory

    def replace_object(self, name: str, data: bytes) -> None:
        self.memory.put(self.spec(name, len(data)), data)

    def set_event_based_hold(self, info: ObjectInfo) -> None:
        self.memory.change(info.bucket, info.name, event_based_hold=True)

    def retain(self, seconds: float) -> None:
        self.memory.retention_seconds = seconds

    def pass_days(self, days: float) -> None:
        self.memory.clock.advance(days * 86_400)

    def commit_only(self, commit_bytes: int, *, last: bool = False) -> None:
        del last
        self.memory.fault("send", commit_bytes=commit_bytes)

    def commit_exactly(self, commit_bytes: int) -> None:
        self.memory.fault("send", commit_bytes=commit_bytes)

    def lose_next_answer(self, *, last: bool) -> None:
        del last
        self.memory.fault("send", lost_answer=True)

    def lose_small_answer(self) -> None:
        self.memory.fault("put_small", lost_answer=True)

    def cut_after(self, received_bytes: int) -> None:
        self.memory.fault("send", LineDown("cut"), after_bytes=received_bytes)

    def flip_byte(self, *, small: bool) -> None:
        self.memory.fault("put_small" if small else "send", flip_byte_at=3)

    def answer_once(self, call: str, **fault: Any) -> None:
        self.memory.fault(call, TryAgain("busy", retry_after_seconds=7))

    def tidy(self) -> None:
        """Every test has its own memory."""


KIND_OF_CALL = {
    "start_session": "session_start",
    "session_status": "status",
    "send": "chunk",
    "put_small": "multipart",
    "get": "get",
    "list_prefix": "list",
    "set_hold": "patch",
    "delete": "delete",
    "read_range": "download",
    "bucket_time": "list",
}


class EmulatorBench(ControlledBench):
    """GoogleStore against the development emulator."""

    def __init__(self, emulator: EmulatorProcess, *, ca_file: Path | None = None) -> None:
        self.emulator = emulator
        self._ca_file = ca_file
        super().__init__(self.another_store(), BUCKET)

    def another_store(self) -> ObjectStore:
        return google_store(self.emulator.url, self._ca_file)

    def replace_object(self, name: str, data: bytes) -> None:
        self.emulator.put_object(self.bucket, self.prefix + name, data)

    def set_event_based_hold(self, info: ObjectInfo) -> None:
        self.emulator.patch_object(info.bucket, info.name, eventBasedHold=True)

    def retain(self, seconds: float) -> None:
        self.emulator.set_bucket(self.bucket, retentionPolicy={"retentionPeriod": str(int(seconds))})

    def pass_days(self, days: float) -> None:
        self.emulator.set_clock(days * 86_400)

    def commit_only(self, commit_bytes: int, *, last: bool = False) -> None:
        self.emulator.fault("partial_commit", kind="final_chunk" if last else "chunk", commit_bytes=commit_bytes)

    def commit_exactly(self, commit_bytes: int) -> None:
        self.emulator.fault("odd_commit", kind="chunk", commit_bytes=commit_bytes)

    def lose_next_answer(self, *, last: bool) -> None:
        self.emulator.fault("lost_answer", kind="final_chunk" if last else "chunk")

    def lose_small_answer(self) -> None:
        self.emulator.fault("lost_answer", kind="multipart")

    def cut_after(self, received_bytes: int) -> None:
        self.emulator.fault("reset", kind="chunk", after_bytes=received_bytes)

    def flip_byte(self, *, small: bool) -> None:
        # A multipart body has its JSON before the footage.
        kind, at = ("multipart", 600) if small else ("final_chunk", 3)
        self.emulator.fault("flip_byte", kind=kind, after_bytes=at)

    def answer_once(self, call: str, **fault: Any) -> None:
        wanted = {"status": 503, "retry_after_seconds": 7} | fault
        self.emulator.fault("status", kind=KIND_OF_CALL[call], **wanted)

    def tidy(self) -> None:
        """The emulator serves many tests: it forgets what one of them asked for."""
        self.emulator.clear_faults()
        self.emulator.set_clock(0)
        self.emulator.set_rate(0)
        self.emulator.set_bucket(
            self.bucket,
            deniedPermissions=[],
            retentionPolicy=None,
            lifecycle=None,
            defaultEventBasedHold=None,
            autoclass=None,
        )


class PlainBench(Bench):
    """GoogleStore against any endpoint: another emulator, or a real bucket."""

    def __init__(self, endpoint: str | None, bucket: str) -> None:
        self._endpoint = endpoint
        super().__init__(self.another_store(), bucket)

    def another_store(self) -> ObjectStore:
        return google_store(self._endpoint, None)

    def tidy(self) -> None:
        for info in self.store.list_prefix(self.bucket, self.prefix):
            free = self.store.set_hold(info, held=False) if info.temporary_hold else info
            self.store.delete(free.bucket, free.name, generation=free.generation)


def google_store(endpoint: str | None, ca_file: Path | None) -> GoogleStore:
    return GoogleStore(
        project="contract",
        credentials_path=os.environ.get("GCP_STORAGE_CREDENTIALS_PATH") if endpoint is None else None,
        emulator_host=endpoint,
        ca_file=str(ca_file) if ca_file else None,
        upload_handles=4,
        stall_seconds=2,
        connect_seconds=10,
    )


@dataclass
class Named:
    """One entry of the list of stores: `opened` yields a maker of benches."""

    name: str
    opened: Callable[[Path], Any]
    controlled: bool


@contextmanager
def memory(folder: Path) -> Iterator[Callable[[], Bench]]:
    del folder
    yield MemoryBench


@contextmanager
def emulator(folder: Path) -> Iterator[Callable[[], Bench]]:
    with EmulatorProcess(folder / "data", buckets=[BUCKET], page_objects=PAGE_OBJECTS) as process:
        yield lambda: EmulatorBench(process)


@contextmanager
def emulator_tls(folder: Path) -> Iterator[Callable[[], Bench]]:
    certificates = Certificates(folder)
    tls = (certificates.server_certificate, certificates.server_key)
    with EmulatorProcess(
        folder / "data", buckets=[BUCKET], page_objects=PAGE_OBJECTS, tls=tls, ca_file=certificates.authority
    ) as process:
        yield lambda: EmulatorBench(process, ca_file=certificates.authority)


@contextmanager
def gcp_storage_emulator(folder: Path) -> Iterator[Callable[[], Bench]]:
    from tests.contract.other_emulator import OtherEmulator

    with OtherEmulator(folder, BUCKET) as endpoint:
        yield lambda: PlainBench(endpoint, BUCKET)


@contextmanager
def environment(folder: Path) -> Iterator[Callable[[], Bench]]:
    del folder
    endpoint = os.environ.get("COLDREEL_CONTRACT_ENDPOINT") or None
    bucket = os.environ.get("COLDREEL_CONTRACT_BUCKET") or BUCKET
    yield lambda: PlainBench(endpoint, bucket)


def all_benches() -> list[Named]:
    found = [
        Named("memory", memory, controlled=True),
        Named("emulator", emulator, controlled=True),
        Named("emulator-tls", emulator_tls, controlled=True),
        Named("gcp-storage-emulator", gcp_storage_emulator, controlled=False),
    ]
    if os.environ.get("COLDREEL_CONTRACT_ENDPOINT") or os.environ.get("COLDREEL_CONTRACT_BUCKET"):
        found.append(Named("environment", environment, controlled=False))
    return found
