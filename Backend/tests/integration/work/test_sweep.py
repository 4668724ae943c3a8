"""The sweep: what is stuck, expired or in disagreement is put in order, whatever else is broken."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from apps.cctv.models import Alarm, GCPVideoTransfer, WorkerProcess
from apps.cctv.services.sweep import SweepReport, sweep
from apps.cctv.wiring import service_settings
from offload.errors import LineDown
from offload.source import MediaRoot
from offload.states import State
from offload.store import ObjectSpec
from offload.testing import FakeClock, MemoryStore
from tests.integration.db import rows
from tests.integration.db.rows import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]

FAR = NOW + timedelta(days=4000)
PAST = NOW - timedelta(days=4000)


@pytest.fixture
def swept(store: MemoryStore, clock: FakeClock, tmp_path: Path, media_root: Path):
    return lambda: sweep(
        store=store, clock=clock, home=tmp_path, root=MediaRoot(media_root), settings=service_settings()
    )


def status_of(transfer: GCPVideoTransfer) -> str:
    transfer.refresh_from_db()
    return transfer.transfer_status


def test_nothing_to_do_is_said_and_changes_nothing(swept) -> None:
    assert swept() == SweepReport()
    assert str(SweepReport()) == "nothing to do"


def test_expired_lease_is_put_back(swept) -> None:
    late = rows.transfer(State.UPLOADING, lease_expires_at=PAST)
    assert swept().expired_leases == 1
    assert status_of(late) == State.PENDING


def test_bucket_that_is_away_keeps_nothing_stuck(swept, store: MemoryStore) -> None:
    """P4: leases are freed whether or not anything answers."""
    late = rows.transfer(State.UPLOADING, lease_expires_at=PAST)
    rows.transfer(session_uri="memory://old", session_started_at=PAST, session_identity="1:2:3:4:5")
    rows.transfer(State.COMPLETED, of=rows.recording("held.mp4", hold_wanted=True))
    for kind in ("cancel_session", "get", "set_hold", "list_prefix", "bucket_time"):
        store.fault(kind, LineDown("no answer"), times=1000)
    swept()
    assert status_of(late) == State.PENDING


# --- silence (F7) ---


def pass_until(clock: FakeClock, asked_for: GCPVideoTransfer, *, hours: float) -> None:
    clock.advance((asked_for.created_at + timedelta(hours=hours) - clock.now()).total_seconds())


def open_alarms() -> list[str]:
    return list(Alarm.objects.filter(cleared_at__isnull=True).values_list("code", flat=True))


def test_silence_raises_one_alarm_though_nothing_failed(swept, clock: FakeClock) -> None:
    waiting = rows.transfer(next_attempt_at=FAR)
    pass_until(clock, waiting, hours=1)
    swept()
    assert open_alarms() == []

    pass_until(clock, waiting, hours=3)
    swept()
    swept()
    assert open_alarms() == ["silence"]


def test_upload_that_arrives_ends_the_silence(swept, clock: FakeClock) -> None:
    waiting = rows.transfer(next_attempt_at=FAR)
    pass_until(clock, waiting, hours=3)
    swept()
    rows.transfer(State.COMPLETED, upload_completed_at=clock.now())
    swept()
    assert open_alarms() == []


def test_long_upload_that_moves_is_no_silence(swept, clock: FakeClock) -> None:
    waiting = rows.transfer(State.UPLOADING, lease_expires_at=FAR, file_size_bytes=10, bytes_uploaded=5)
    pass_until(clock, waiting, hours=3)
    swept()
    assert open_alarms() == []


# --- sessions ---


def test_session_that_the_bucket_will_forget_soon_is_dropped(swept, store: MemoryStore) -> None:
    uri = store.start_session(ObjectSpec("footage", "one", 1000, "video/mp4", {}))
    old = rows.transfer(
        bytes_uploaded=256,
        session_uri=uri,
        session_started_at=NOW - timedelta(days=6, seconds=1),
        session_identity="1:2:3:4:5",
    )
    assert swept().sessions_dropped == 1
    old.refresh_from_db()
    assert (old.session_uri, old.session_started_at, old.bytes_uploaded) == ("", None, 0)
    assert store.open_sessions() == 0


@pytest.mark.parametrize(
    ("status", "days"), [(State.PENDING, 5), (State.UPLOADING, 6.5)], ids=["still young", "in somebody's hands"]
)
def test_session_in_use_is_left_alone(swept, store: MemoryStore, status: State, days: float) -> None:
    columns: dict[str, Any] = {"lease_expires_at": FAR} if status is State.UPLOADING else {}
    kept = rows.transfer(status, session_uri="memory://s", session_started_at=NOW - timedelta(days=days), **columns)
    assert swept().sessions_dropped == 0
    kept.refresh_from_db()
    assert kept.session_uri == "memory://s"
    assert store.calls_of("cancel_session") == []


# --- cleanup on and off ---


def test_cleanup_switched_on_schedules_what_was_kept(swept, settings: Any) -> None:
    settings.GCP_CLEANUP_DELAY_HOURS = 24
    kept = rows.transfer(State.COMPLETED)
    held = rows.transfer(State.COMPLETED, of=rows.recording("held.mp4", hold_wanted=True, hold_confirmed=True))
    changed = rows.transfer(State.COMPLETED, error_code="local_changed")
    flagged = rows.transfer(State.COMPLETED, needs_attention=True)

    assert swept().cleanups_scheduled == 1

    assert status_of(kept) == State.CLEANUP_PENDING
    assert kept.cleanup_scheduled_at == NOW + timedelta(hours=24)
    assert kept.events.get().reason == "cleanup_scheduled"
    assert {status_of(one) for one in (held, changed, flagged)} == {State.COMPLETED}
    assert swept().cleanups_scheduled == 0


def test_cleanup_switched_off_calls_off_what_waits(swept, settings: Any) -> None:
    settings.GCP_STORAGE_CLEANUP_LOCAL = False
    waiting = rows.transfer(State.CLEANUP_PENDING)
    busy = rows.transfer(State.CLEANUP_PENDING, lease_owner=rows.OWNER, lease_expires_at=FAR)
    half_gone = rows.transfer(State.CLEANUP_PENDING)
    rows.receipt(half_gone, outcome="deleting", closed_at=None)

    assert swept().cleanups_called_off == 1

    assert (status_of(waiting), waiting.cleanup_scheduled_at) == (State.COMPLETED, None)
    assert waiting.events.get().reason == "cleanup_off"
    assert {status_of(one) for one in (busy, half_gone)} == {State.CLEANUP_PENDING}


def test_cleanup_put_back_earlier_is_called_off_too(swept, settings: Any) -> None:
    settings.GCP_STORAGE_CLEANUP_LOCAL = False
    waiting = rows.transfer(State.CLEANUP_PENDING)
    rows.receipt(waiting, outcome="put_back")
    assert swept().cleanups_called_off == 1


# --- owners ---


def test_rows_of_long_gone_workers_are_forgotten(swept) -> None:
    for days in (31, 29):
        WorkerProcess.objects.create(
            host="box", pid=1, installation_id="x", stopped_at=NOW - timedelta(days=days), started_at=PAST
        )
    WorkerProcess.objects.create(host="box", pid=2, installation_id="x", started_at=PAST)
    swept()
    assert WorkerProcess.objects.count() == 2
