"""What the tests of the work share: a bucket in memory and transfers of real small files.

| fixture | what it is |
|---|---|
| `clock` | a `FakeClock` at `rows.NOW` |
| `store` | an empty `MemoryStore` of the bucket `footage` on that clock |
| `bandwidth` | the limits of the sites, read by a running thread |
| `batch` | a batch of two at a time, asked for at `rows.NOW` |
| `make_transfer(name=…, size_bytes=…, **columns)` | a recording with a file below `media_root` and its pending transfer |
| `impatient` | connections to the database that give up at once |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from apps.cctv.models import GCPVideoTransfer, TransferBatch
from apps.cctv.wiring import service_settings
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.group_commit import GroupCommit
from offload.clock import Clock, SystemClock
from offload.testing import FakeClock, MemoryStore
from tests.conftest import MakeRecording
from tests.integration.db import rows

MakeTransfer = Callable[..., GCPVideoTransfer]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(rows.NOW)


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(buckets=("footage",), clock=clock)


@pytest.fixture
def bandwidth(db: None) -> Iterator[Bandwidth]:
    """By the real clock: uploads that wait for its thread would make a fake one run away."""
    bandwidth = Bandwidth(SystemClock())
    bandwidth.start()
    yield bandwidth
    bandwidth.finish()


@pytest.fixture
def batch(db: None) -> TransferBatch:
    return TransferBatch.objects.create(batch_size=2, created_at=rows.NOW)


@pytest.fixture
def make_transfer(make_recording: MakeRecording, batch: TransferBatch, bucket: str) -> MakeTransfer:
    def make(name: str = "clip.ts", size_bytes: int = 1024, **columns: Any) -> GCPVideoTransfer:
        recording = make_recording(name, size_bytes, **columns.pop("recording", {}))
        columns = {"batch": batch, "created_at": rows.NOW, **columns}
        return rows.transfer(columns.pop("status", rows.State.PENDING), of=recording, **columns)

    return make


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections that give up at once instead of after 30 s."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.01)
    connection.close()
    yield
    connection.close()


def written_at_once(clock: Clock) -> GroupCommit:
    """A group commit for one upload: what it tells is written by the thread that tells it."""

    def write() -> None:
        group_commit.write()

    group_commit = GroupCommit(clock=clock, wake=write, settings=service_settings())
    return group_commit
