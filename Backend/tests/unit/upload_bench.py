"""A media root, a bucket, a journal and a clock for one transfer, and an `upload` over them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from offload.digest import Crc32c
from offload.errors import OffloadError
from offload.pace import UNLIMITED, Pace
from offload.source import MediaRoot
from offload.store import (
    META_CAMERA,
    META_INSTALLATION,
    META_RECORDING,
    META_SIZE,
    META_TRANSFER,
    SESSION_QUANTUM_BYTES,
    ObjectInfo,
    ObjectSpec,
    never_abort,
)
from offload.testing import FakeClock, MemoryJournal, MemoryStore
from offload.uploader import UploadJob, UploadResult, UploadSettings, upload

QUANTUM = SESSION_QUANTUM_BYTES
BUCKET = "test-bucket"
PATH = "cam/clip.mkv"
SETTINGS = UploadSettings(small_limit_bytes=0, chunk_min_bytes=QUANTUM, chunk_max_bytes=QUANTUM, progress_seconds=0)
METADATA = {
    META_INSTALLATION: "installation-1",
    META_TRANSFER: "transfer-1",
    META_RECORDING: "recording-1",
    META_CAMERA: "camera-1",
}


def noise(size_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def crc_of(data: bytes) -> int:
    running = Crc32c()
    running.update(data)
    return running.value


def box(kind: bytes, payload: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    return (len(payload) + 8).to_bytes(4, "big") + kind + payload


def mp4(size_bytes: int) -> bytes:
    """As many bytes with the boxes of a finished MP4."""
    head, index = box(b"ftyp", b"isom" + bytes(8)), box(b"moov", bytes(92))
    return head + box(b"mdat", noise(size_bytes - len(head) - len(index) - 8)) + index


class UploadBench:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.root = MediaRoot(folder / "media")
        (self.root.path / "cam").mkdir(parents=True)
        self.root.write_marker("test\n")
        self.clock = FakeClock()
        self.store = MemoryStore(clock=self.clock)
        self.journal = MemoryJournal()
        self.settings = replace(SETTINGS, **settings)
        self.job = UploadJob(
            transfer_id="transfer-1",
            bucket=BUCKET,
            relative_path=PATH,
            content_type="video/x-matroska",
            metadata=METADATA,
            object_name=lambda name_version: f"recordings/{name_version}-clip.mkv",
        )
        self.pace: Pace = UNLIMITED
        self.data = b""
        self.touches = 0

    @property
    def path(self) -> Path:
        return self.root.path / PATH

    def write(self, data: bytes | int, *, age_seconds: float = 3600) -> bytes:
        """The recording, last written to so long ago. A number means so many bytes of noise."""
        self.data = noise(data) if isinstance(data, int) else data
        self.path.write_bytes(self.data)
        self.touch(age_seconds)
        return self.data

    def touch(self, age_seconds: float = 3600) -> None:
        self.touches += 1  # the kernel's own times may be the same for two writes in a row
        when_ns = int((self.clock.now().timestamp() - age_seconds) * 1_000_000_000) - self.touches
        os.utime(self.path, ns=(when_ns, when_ns))

    def upload(self, *, abort: Callable[[], None] = never_abort, **changes: Any) -> UploadResult:
        """One call, as a worker makes it: what it knows of earlier ones is in the journal."""
        job = replace(self.job, session=self.journal.session, name_version=self.journal.name_version, **changes)
        return upload(
            job,
            root=self.root,
            store=self.store,
            journal=self.journal,
            clock=self.clock,
            settings=self.settings,
            abort=abort,
            random=lambda: 0.5,
            log=structlog.get_logger(),
            pace=self.pace,
        )

    def fails(self, kind: type[OffloadError], **changes: Any) -> OffloadError:
        """One call that must raise exactly `kind`."""
        with pytest.raises(kind) as raised:
            self.upload(**changes)
        assert type(raised.value) is kind
        return raised.value

    def existing(self, data: bytes, name_version: int = 0, **metadata: str) -> ObjectInfo:
        """An object that lies under the name already; ours, unless `metadata` says otherwise."""
        size = {META_SIZE: str(len(data))}
        spec = ObjectSpec(
            BUCKET, self.job.object_name(name_version), len(data), "video/mp4", METADATA | size | metadata
        )
        return self.store.put(spec, data)

    def stored(self, name_version: int = 0) -> bytes:
        return self.store.data(BUCKET, self.job.object_name(name_version))

    def sent(self) -> list[tuple[int, int]]:
        """Offset and length of every chunk that arrived."""
        return [(call.offset_bytes or 0, call.received_bytes) for call in self.store.calls_of("send")]

    def kinds(self) -> list[str]:
        return [call.kind for call in self.store.calls]

    def assert_proven(self, result: UploadResult, name_version: int = 0) -> None:
        """The bucket has exactly this file under exactly one name, and the result says so."""
        assert self.stored(name_version) == self.data
        assert result.info in self.store.objects(BUCKET)
        assert result.info.name == self.job.object_name(name_version)
        assert result.crc32c == result.info.crc32c == crc_of(self.data)
        assert result.name_version == name_version
        assert result.identity == self.root.stat(PATH)
