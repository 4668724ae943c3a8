"""One upload under one lease: ended in time, stopped between requests, never lost by its recording."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from django.db import connection

from apps.cctv import wiring
from apps.cctv.leasing.leases import Claim
from apps.cctv.leasing.recovery import expire_leases
from apps.cctv.models import Alarm, GCPVideoTransfer
from apps.cctv.wiring import service_settings
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.upload_attempt import QueuedJournal, StoppableStore, Tools, UploadAttempt
from offload.errors import LeaseLost, LineDown, Reason, StopAndTell, Stopped
from offload.journal import Journal, StoredSession
from offload.request_body import BufferedBody
from offload.source import SourceIdentity
from offload.states import State
from offload.store import ObjectSpec, SessionStatus
from offload.testing import FakeClock, MemoryJournal, MemoryStore
from offload.uploader import UploadSettings
from tests.integration.db import rows
from tests.integration.work.conftest import MakeTransfer, written_at_once
from tests.worker_tools import worker_tools

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 2**20
SESSION = StoredSession("https://bucket/upload?upload_id=key", rows.NOW, SourceIdentity(1, 2, MIB, 4, 5))
TIMINGS = replace(wiring.timings(), lease_seconds=40, margin_seconds=10)
# A file of n MiB goes in n + 1 requests: the last 256 KiB carry the checksum and go by themselves.
SETTINGS = UploadSettings(
    settle_seconds=0, progress_seconds=0, small_limit_bytes=0, chunk_min_bytes=MIB, chunk_max_bytes=MIB, reconnects=0
)


@pytest.fixture
def tools(store: MemoryStore, clock: FakeClock, media_root: Path, bandwidth: Bandwidth) -> Tools:
    return worker_tools(
        store,
        media_root,
        clock,
        settings=replace(service_settings(), timings=TIMINGS),
        upload_settings=SETTINGS,
        bandwidth=bandwidth,
        group_commit=written_at_once(clock),
    )


def claimed(clock: FakeClock) -> Claim:
    found = rows.claim(now=clock.now())
    assert found is not None
    return found


def attempt_of(tools: Tools) -> UploadAttempt:
    assert isinstance(tools.clock, FakeClock)
    claimed_at = tools.clock.monotonic()
    return UploadAttempt(claimed(tools.clock), tools, claimed_at=claimed_at)


def pause_is_over(clock: FakeClock) -> None:
    """By this clock, and by the database's where that one counts."""
    clock.advance(60)
    GCPVideoTransfer.objects.update(next_attempt_at=rows.NOW)


def row() -> GCPVideoTransfer:
    return GCPVideoTransfer.objects.get()


def test_attempt_uploads_and_records(tools: Tools, store: MemoryStore, make_transfer: MakeTransfer) -> None:
    make_transfer(size_bytes=3 * MIB)
    attempt_of(tools).run()
    assert row().transfer_status == State.CLEANUP_PENDING
    (info,) = store.objects()
    assert (row().object_generation, row().bytes_uploaded) == (info.generation, 3 * MIB)
    assert row().upload_started_at is not None


# --- the lease ---


def test_upload_ends_itself_before_its_lease_does(tools: Tools, clock: FakeClock, make_transfer: MakeTransfer) -> None:
    make_transfer()
    attempt = attempt_of(tools)
    clock.advance(29.9)
    attempt.check_lease()
    clock.advance(0.2)
    with pytest.raises(LeaseLost):
        attempt.check_lease()


def test_renewed_lease_carries_on_from_its_last_confirmation(
    tools: Tools, clock: FakeClock, make_transfer: MakeTransfer
) -> None:
    make_transfer()
    attempt = attempt_of(tools)
    clock.advance(29)
    attempt.renewed(clock.monotonic() + 40)
    clock.advance(29)
    attempt.check_lease()
    clock.advance(2)
    with pytest.raises(LeaseLost):
        attempt.check_lease()


def test_wall_clock_that_jumps_ends_no_upload(tools: Tools, clock: FakeClock, make_transfer: MakeTransfer) -> None:
    make_transfer()
    attempt = attempt_of(tools)
    clock.jump(86_400)
    attempt.check_lease()


def test_upload_stops_sending_when_its_lease_is_lost(
    tools: Tools, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer(size_bytes=4 * MIB)
    attempt = attempt_of(tools)
    store.fault("send", skip=1, action=attempt.lose)
    before = GCPVideoTransfer.objects.values("transfer_status", "lease_number").get()

    attempt.run()

    assert store.objects() == []
    assert len(store.calls_of("send")) <= 2
    assert GCPVideoTransfer.objects.values("transfer_status", "lease_number").get() == before


def test_upload_that_lost_its_lease_at_the_end_records_nothing(
    tools: Tools, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    """The bytes are in the bucket; the next holder of the lease finds and adopts them (P2, P6)."""
    make_transfer(size_bytes=2 * MIB)
    attempt = attempt_of(tools)

    def taken_by_another() -> None:
        GCPVideoTransfer.objects.update(lease_number=2, lease_owner=rows.uuid.UUID(int=9))

    store.fault("send", skip=2, action=taken_by_another)
    attempt.run()
    assert len(store.objects()) == 1
    assert row().transfer_status == State.UPLOADING
    assert row().object_generation is None
    assert not row().events.filter(reason="uploaded").exists()


# --- stopping ---


def test_stop_finishes_the_chunk_and_gives_the_lease_back(
    tools: Tools, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer(size_bytes=4 * MIB)
    store.fault("send", skip=1, action=tools.stopping.set)

    attempt_of(tools).run()

    assert (row().transfer_status, row().lease_owner) == (State.PENDING, None)
    assert row().bytes_uploaded == 2 * MIB
    assert row().session_uri
    assert row().events.last().reason == "lease_returned"

    tools.stopping.clear()
    attempt_of(tools).run()
    assert row().transfer_status == State.CLEANUP_PENDING
    assert sum(call.resent_bytes for call in store.calls) == 0
    assert sum(call.received_bytes for call in store.calls_of("send")) == 4 * MIB


def test_stop_before_the_first_request_begins_none(
    tools: Tools, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer(size_bytes=MIB)
    attempt = attempt_of(tools)
    tools.stopping.set()
    attempt.run()
    assert store.calls == []
    assert row().transfer_status == State.PENDING
    assert row().upload_started_at is None
    with pytest.raises(Stopped):
        attempt.check()


# --- errors ---


def test_missing_line_trips_the_breaker_and_bytes_reset_it(
    tools: Tools, store: MemoryStore, clock: FakeClock, make_transfer: MakeTransfer
) -> None:
    make_transfer(size_bytes=2 * MIB)
    store.fault("start_session", LineDown("no answer"))
    attempt_of(tools).run()
    assert (row().transfer_status, row().error_code) == (State.PENDING, "line_down")
    assert not tools.breaker.room(1)

    pause_is_over(clock)
    attempt_of(tools).run()
    assert row().transfer_status == State.CLEANUP_PENDING
    assert tools.breaker.room(1)
    assert (row().error_code, row().failures_in_row) == ("", 0)


def test_first_chunk_that_gets_through_clears_the_alarm(
    tools: Tools, store: MemoryStore, clock: FakeClock, make_transfer: MakeTransfer
) -> None:
    """Not the first file: of a large one the operator would wait for hours to see that the right is back."""
    make_transfer(size_bytes=4 * MIB)
    store.fault("start_session", StopAndTell("no right", code=Reason.PERMISSION_DENIED))
    attempt_of(tools).run()
    assert Alarm.objects.get().cleared_at is None

    pause_is_over(clock)
    seen: list[Any] = []
    store.fault("send", skip=1, action=lambda: seen.append(Alarm.objects.get().cleared_at))
    attempt_of(tools).run()
    assert seen != [None]


def test_missing_media_root_loses_no_transfer(tools: Tools, media_root: Path, make_transfer: MakeTransfer) -> None:
    """F16: the folder is there, but the disk that belongs on it is not mounted."""
    make_transfer()
    for path in media_root.iterdir():
        path.unlink()
    attempt_of(tools).run()
    assert (row().transfer_status, row().error_code) == (State.PENDING, "media_root_not_mounted")
    assert not tools.breaker.room(1)


class _Bug(Exception):
    pass


def test_unexpected_error_is_recorded_and_says_no_secret(
    tools: Tools, store: MemoryStore, make_transfer: MakeTransfer, caplog: pytest.LogCaptureFixture
) -> None:
    make_transfer(size_bytes=2 * MIB)

    message = "PUT https://bucket/upload?upload_id=secret-key"

    def crash() -> None:
        raise _Bug(message)

    store.fault("send", action=crash)
    with caplog.at_level(logging.DEBUG):
        attempt_of(tools).run()

    assert (row().transfer_status, row().error_code, row().failures_in_row) == (State.PENDING, "internal_error", 1)
    event = row().events.last()
    assert event is not None
    told = f"{caplog.text} {row().error_message} {event.detail}"
    assert "secret-key" not in told
    assert "upload_id" not in told
    assert "_Bug" in told
    assert "test_attempts.py" in caplog.text


# --- a busy database ---


class _Busy(FakeClock):
    """Another process holds SQLite's one write lock, until this clock's `sleep` was called so many times."""

    def __init__(self, sleeps: float) -> None:
        super().__init__(rows.NOW)
        self._left = sleeps
        self._other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)

    def lock(self) -> None:
        self._other.execute("BEGIN IMMEDIATE")

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._left -= 1
        if self._left <= 0:
            self.unlock()

    def unlock(self) -> None:
        if self._other.in_transaction:
            self._other.execute("ROLLBACK")

    def close(self) -> None:
        self.unlock()
        self._other.close()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's one writer")
@pytest.mark.parametrize("requests_before", [0, 1, 3], ids=["first chunk", "second chunk", "last part"])
def test_busy_database_costs_neither_the_upload_nor_its_result(
    tools: Tools, store: MemoryStore, make_transfer: MakeTransfer, impatient: None, requests_before: int
) -> None:
    make_transfer(size_bytes=3 * MIB)
    with closing(_Busy(sleeps=5)) as clock:
        store.fault("send", skip=requests_before, action=clock.lock)
        attempt_of(replace(tools, clock=clock, group_commit=written_at_once(clock))).run()
    assert row().transfer_status == State.CLEANUP_PENDING
    assert (row().failures_in_row, row().lease_number) == (0, 1)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's one writer")
def test_database_that_stays_busy_costs_no_byte(
    tools: Tools, store: MemoryStore, make_transfer: MakeTransfer, impatient: None
) -> None:
    """The lease runs out with nothing recorded; the next attempt finds the finished object and sends nothing."""
    make_transfer(size_bytes=3 * MIB)
    with closing(_Busy(sleeps=10**9)) as clock:
        store.fault("send", skip=3, action=clock.lock)
        attempt_of(replace(tools, clock=clock, group_commit=written_at_once(clock))).run()
        assert len(store.objects()) == 1
        assert row().transfer_status == State.UPLOADING
        clock.unlock()
        clock.advance(60)
        expire_leases(now=clock.now())
        attempt_of(replace(tools, clock=clock, group_commit=written_at_once(clock))).run()
    assert row().transfer_status == State.CLEANUP_PENDING
    assert sum(call.received_bytes for call in store.calls_of("send")) == 3 * MIB


# --- what the engine gets from an attempt ---


@pytest.mark.parametrize(
    ("note", "noted"),
    [
        (lambda journal: journal.session_started(SESSION), ("session_started", SESSION, [], [])),
        (lambda journal: journal.session_dropped(), ("session_dropped", None, [], [])),
        (lambda journal: journal.name_changed(1, "next", None), ("name_changed", None, ["next"], [])),
        (lambda journal: journal.progress(7), ("progress", None, [], [7])),
    ],
    ids=["session_started", "session_dropped", "name_changed", "progress"],
)
def test_queued_journal_leaves_the_writing_to_the_writer(
    note: Callable[[Journal], None], noted: tuple[object, ...]
) -> None:
    journal, queue = MemoryJournal(), list[Callable[[], None]]()
    note(QueuedJournal(journal, queue.append))
    assert journal.events == []
    (write,) = queue
    write()
    (event,) = journal.events
    assert (event, journal.session, journal.names, journal.progressed) == noted


def test_attempt_passes_every_request_on_to_the_store(
    tools: Tools, store: MemoryStore, make_transfer: MakeTransfer
) -> None:
    make_transfer()
    wrapped = StoppableStore(attempt_of(tools), store)
    small, large = (ObjectSpec("footage", name, MIB, "video/mp4", {}) for name in ("small", "large"))
    data = bytes(MIB)
    crc32c = google_crc32c.value(data)

    info = wrapped.put_small(small, BufferedBody([data]), crc32c=crc32c)
    uri = wrapped.start_session(large)
    assert wrapped.session_status(uri, large) == SessionStatus(0)
    status = wrapped.send(uri, large, BufferedBody([data]), offset_bytes=0, crc32c=crc32c)
    assert status.finished is not None
    wrapped.cancel_session(uri)
    assert wrapped.get("footage", "small", generation=info.generation) == info
    assert list(wrapped.list_prefix("footage", "")) == [status.finished, info]
    wrapped.delete("footage", "small", generation=info.generation)
    assert store.objects() == [status.finished]
    assert [call.kind for call in store.calls] == [
        "put_small", "start_session", "session_status", "send", "cancel_session", "get", "list_prefix", "delete",
    ]  # fmt: skip
