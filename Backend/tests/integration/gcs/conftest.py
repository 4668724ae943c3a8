"""A real GoogleStore against the development emulator, one process for all tests of this folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import pytest

from gcs_emulator.process import EmulatorProcess
from offload.gcs import GoogleStore
from offload.store import ObjectInfo, ObjectSpec

QUANTUM = 256 * 1024


class Bytes:
    """A `Body` over bytes in memory that counts what is asked of it."""

    def __init__(self, data: bytes) -> None:
        self.length_bytes = len(data)
        self.rewinds = 0
        self.reads = 0
        self._data = data
        self._at = 0

    def read(self, max_bytes: int) -> bytes:
        self.reads += 1
        piece = self._data[self._at : self._at + max_bytes]
        self._at += len(piece)
        return piece

    def rewind(self) -> None:
        self.rewinds += 1
        self._at = 0


def crc32c(data: bytes) -> int:
    return google_crc32c.value(data)


def made_store(url: str, **settings: object) -> GoogleStore:
    return GoogleStore(project=None, credentials_path=None, emulator_host=url, **settings)  # type: ignore[arg-type]


def put(store: GoogleStore, spec: ObjectSpec, data: bytes) -> ObjectInfo:
    return store.put_small(spec, Bytes(data), crc32c=crc32c(data))


@pytest.fixture(scope="session")
def emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("bucket"), page_objects=3) as process:
        yield process


@pytest.fixture
def emulator(emulator_process: EmulatorProcess) -> Iterator[EmulatorProcess]:
    yield emulator_process
    emulator_process.clear_faults()


@pytest.fixture
def bucket(emulator: EmulatorProcess) -> str:
    """A bucket of the test's own; replaces `bucket` of the Django fixtures."""
    name = f"b-{uuid.uuid4().hex[:20]}"
    emulator.create_bucket(name)
    emulator.clear_requests()
    return name


@pytest.fixture
def store(emulator: EmulatorProcess) -> GoogleStore:
    return made_store(emulator.url, upload_handles=2, stall_seconds=5, connect_seconds=5)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1 and its key."""
    from tests.integration.gcs.certificates import write_certificate

    return write_certificate(tmp_path)
