"""Paced uploads through the real transport: waiting for one's turn is no stall of the line."""

from __future__ import annotations

import os
import threading
import time
import uuid

import pytest

from gcs_emulator.process import EmulatorProcess
from offload.clock import SystemClock
from offload.errors import LeaseLost
from offload.gcs import GoogleStore
from offload.pace import Pace, SharedPace, Stretch
from offload.request_body import BufferedBody
from offload.store import Abort, ObjectSpec, SessionStatus, never_abort
from offload.timetable import LEAST_BYTES_PER_SECOND
from tests.integration.gcs.conftest import crc32c, made_store


class AfterSilence:
    """Lets 4 KiB go after so many seconds each, as under a database that is locked."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def take(self, wanted_bytes: int, abort: Abort) -> int:
        del abort
        time.sleep(self._seconds)
        return min(wanted_bytes, 4096)


@pytest.fixture
def impatient(emulator: EmulatorProcess) -> GoogleStore:
    """Calls a line dead that stalls for a second."""
    return made_store(emulator.url, upload_handles=20, stall_seconds=1, connect_seconds=5)


def send(store: GoogleStore, bucket: str, data: bytes, pace: Pace, abort: Abort = never_abort) -> SessionStatus:
    spec = ObjectSpec(bucket, uuid.uuid4().hex, len(data), "video/mp4", {})
    body = BufferedBody([data], pace=pace, abort=abort)
    return store.send(store.start_session(spec), spec, body, offset_bytes=0, crc32c=crc32c(data), abort=abort)


def test_silence_longer_than_a_stall_ends_no_upload(impatient: GoogleStore, bucket: str) -> None:
    data = os.urandom(3 * 4096)
    assert send(impatient, bucket, data, AfterSilence(2.5)).committed_bytes == len(data)


def test_twenty_uploads_survive_the_least_limit(impatient: GoogleStore, bucket: str) -> None:
    clock = SystemClock()
    pace = SharedPace(clock)
    pace.set_limit(LEAST_BYTES_PER_SECOND)
    data = os.urandom(4 * 4096)
    committed: list[int] = []
    senders = [
        threading.Thread(target=lambda: committed.append(send(impatient, bucket, data, pace).committed_bytes))
        for _ in range(20)
    ]
    pace.add(Stretch(clock.monotonic(), 60 * LEAST_BYTES_PER_SECOND, LEAST_BYTES_PER_SECOND))
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert committed == [len(data)] * 20


def test_abort_ends_an_upload_that_waits_for_its_turn(impatient: GoogleStore, bucket: str) -> None:
    pace = SharedPace(SystemClock())
    pace.set_limit(LEAST_BYTES_PER_SECOND)
    asked = []

    def abort() -> None:
        asked.append(1)
        if len(asked) > 5:
            raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        send(impatient, bucket, os.urandom(4096), pace, abort)
