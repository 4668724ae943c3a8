"""A clock that stood wrong, forward or back, leaves times that nothing waits for once it is right again (P4).

Rows are written as such a clock would have written them; on PostgreSQL the database's own clock judges them.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from apps.cctv.leasing.leases import lease_clock
from apps.cctv.leasing.recovery import correct_far_times
from apps.cctv.models import GCPVideoTransfer, PeriodicJob, TransferBatch
from apps.cctv.services.cleanup.due_rows import Scope, due_rows
from apps.cctv.services.stalled_uploads import stalled_uploads
from apps.cctv.services.sweep import sweep
from apps.cctv.wiring import service_settings
from offload.source import MediaRoot
from offload.states import State
from offload.testing import FakeClock, MemoryStore
from tests.integration.db import rows
from tests.integration.db.rows import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]

TEN_YEARS = timedelta(days=3650)
HOUR = timedelta(hours=1)


def found(transfer: GCPVideoTransfer) -> GCPVideoTransfer:
    return GCPVideoTransfer.objects.get(pk=transfer.pk)


def now_by_the_judge() -> datetime:
    return lease_clock(NOW)


def test_request_of_a_future_clock_is_claimed_now() -> None:
    then = NOW + TEN_YEARS
    batch = TransferBatch.objects.create(created_at=then)
    parked = rows.transfer(batch=batch, created_at=then, next_attempt_at=then)
    correct_far_times(now=NOW, lease_seconds=settings.COLDREEL_LEASE_SECONDS)
    claim = rows.claim(now=NOW + timedelta(seconds=1))
    assert claim is not None
    assert claim.transfer.pk == parked.pk


def test_pause_of_a_legal_length_is_waited_for() -> None:
    """An hour is the longest that a bucket may ask for."""
    at = now_by_the_judge() + HOUR
    waiting = rows.transfer(next_attempt_at=at)
    correct_far_times(now=NOW, lease_seconds=settings.COLDREEL_LEASE_SECONDS)
    assert found(waiting).next_attempt_at == at


def test_clock_changes_leave_no_pause_beyond_the_legal() -> None:
    waiting = rows.transfer(next_attempt_at=now_by_the_judge() + 6 * HOUR)
    before = now_by_the_judge()
    correct_far_times(now=NOW, lease_seconds=settings.COLDREEL_LEASE_SECONDS)
    at = found(waiting).next_attempt_at
    assert at is not None
    assert before <= at <= before + HOUR


@pytest.mark.parametrize("status", [State.UPLOADING, State.CLEANUP_PENDING])
def test_lease_too_far_ahead_ends_like_a_new_one(status: State) -> None:
    """Its holder, if it lives, renews it long before; if it is dead, the row is free within a lease's length."""
    held = rows.transfer(status, lease_number=3, lease_owner=rows.OWNER, lease_expires_at=NOW + 6 * HOUR)
    before = now_by_the_judge()
    correct_far_times(now=NOW, lease_seconds=settings.COLDREEL_LEASE_SECONDS)
    row, lease = found(held), timedelta(seconds=settings.COLDREEL_LEASE_SECONDS)
    assert (row.transfer_status, row.lease_number, row.lease_owner) == (status, 3, rows.OWNER)
    assert row.lease_expires_at is not None
    assert before + lease <= row.lease_expires_at <= before + lease + timedelta(minutes=1)


def test_lease_of_a_legal_length_stays_as_it_is() -> None:
    until = now_by_the_judge() + timedelta(seconds=settings.COLDREEL_LEASE_SECONDS)
    held = rows.transfer(State.UPLOADING, lease_expires_at=until)
    correct_far_times(now=NOW, lease_seconds=settings.COLDREEL_LEASE_SECONDS)
    assert found(held).lease_expires_at == until


def test_job_whose_lease_is_too_far_ahead_is_freed() -> None:
    PeriodicJob.objects.create(
        name="sweep", next_run_at=NOW, lease_owner=uuid.uuid4(), lease_expires_at=NOW + TEN_YEARS
    )
    correct_far_times(now=NOW, lease_seconds=settings.COLDREEL_LEASE_SECONDS)
    until = PeriodicJob.objects.get().lease_expires_at
    assert until is not None
    assert until < now_by_the_judge() + timedelta(minutes=2)


def test_cleanup_retry_ten_years_ahead_is_due() -> None:
    parked = rows.transfer(State.CLEANUP_PENDING, cleanup_scheduled_at=NOW - HOUR, next_attempt_at=NOW + TEN_YEARS)
    rows.transfer(State.CLEANUP_PENDING, cleanup_scheduled_at=NOW - HOUR, next_attempt_at=NOW + 24 * HOUR)
    assert [row.transfer_id for row in due_rows(Scope(force=False, site_id=None), NOW)] == [parked.pk]


def test_waiting_period_of_ten_years_begins_anew(
    store: MemoryStore, clock: FakeClock, tmp_path: Path, media_root: Path
) -> None:
    parked = rows.transfer(State.CLEANUP_PENDING, cleanup_scheduled_at=NOW + TEN_YEARS)
    legal = rows.transfer(State.CLEANUP_PENDING, cleanup_scheduled_at=NOW + timedelta(days=364))
    sweep(store=store, clock=clock, home=tmp_path, root=MediaRoot(media_root), settings=service_settings())
    assert found(parked).cleanup_scheduled_at == NOW + timedelta(hours=settings.GCP_CLEANUP_DELAY_HOURS)
    assert found(legal).cleanup_scheduled_at == legal.cleanup_scheduled_at


# --- silence ---


def test_upload_that_ended_in_the_future_breaks_no_silence() -> None:
    """The clock went back by six hours: what waits since then is told after two, not after eight."""
    rows.transfer(State.COMPLETED, upload_completed_at=NOW + 6 * HOUR)
    rows.transfer(created_at=NOW - 3 * HOUR, next_attempt_at=NOW - 3 * HOUR)
    silence = stalled_uploads(NOW)
    assert silence is not None
    assert silence.lasted == 3 * HOUR


def test_transfer_of_the_future_waits_since_it_was_corrected() -> None:
    waiting = rows.transfer(created_at=NOW + TEN_YEARS, next_attempt_at=NOW)
    assert stalled_uploads(NOW) is None
    silence = stalled_uploads(NOW + 3 * HOUR)
    assert silence is not None
    assert silence.lasted == 3 * HOUR
    GCPVideoTransfer.objects.filter(pk=waiting.pk).update(next_attempt_at=NOW + TEN_YEARS)
    assert stalled_uploads(NOW) is None, "a time that lies ahead counts as now"
