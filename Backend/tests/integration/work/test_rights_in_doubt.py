"""A 403 beside which the bucket says "you may": rights take minutes to spread, and no recording fails by it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.cctv.leasing.leases import Claim
from apps.cctv.models import Alarm, GCPVideoTransfer, Recording, RightInDoubt
from apps.cctv.services.holds import holds_reconcile
from apps.cctv.services.rights_in_doubt import right_doubts_drop_idle
from apps.cctv.services.uploads import Uploaded, upload_record_failure, uploads_record
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.wiring import service_settings
from offload.errors import PermissionUnclear, Reason, StopAndTell
from offload.states import State
from offload.testing import MemoryStore
from tests.database_calls import DatabaseCalls
from tests.integration.db import rows
from tests.integration.db.rows import NOW
from tests.integration.work.conftest import MakeTransfer
from tests.integration.work.results import result_for

pytestmark = pytest.mark.django_db(transaction=True)

UNCLEAR = PermissionUnclear("The bucket answered 403 forbidden.")
LONG = 10**9


def claimed(owner: int = 7) -> Claim:
    GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).update(next_attempt_at=NOW)
    found = rows.claim(owner_id=UUID(int=owner), lease_seconds=LONG)
    assert found is not None
    return found


def refuse(claim: Claim, error: Any = UNCLEAR, *, seconds: float = 0) -> GCPVideoTransfer:
    upload_record_failure(
        claim=claim, error=error, now=NOW + timedelta(seconds=seconds), random=lambda: 0.5, settings=service_settings()
    )
    return GCPVideoTransfer.objects.get(pk=claim.transfer.pk)


def minutes_pass(minutes: float) -> None:
    """For what is stored, on a database that goes by its own clock as well."""
    for doubt in RightInDoubt.objects.all():
        RightInDoubt.objects.filter(pk=doubt.pk).update(since=doubt.since - timedelta(minutes=minutes))


def open_alarms() -> list[tuple[str, str]]:
    return sorted(rows.told())


def test_refusal_while_rights_spread_burns_no_retry(make_transfer: MakeTransfer, bucket: str) -> None:
    make_transfer(gcp_bucket=bucket)
    row = refuse(claimed())
    assert (row.transfer_status, row.error_code) == (State.PENDING, "permission_denied")
    assert (row.retry_count, row.failures_in_row, row.failing_since) == (0, 0, None)
    assert row.next_attempt_at is not None
    assert open_alarms() == []


def test_two_processes_count_the_ten_minutes_together(make_transfer: MakeTransfer, bucket: str) -> None:
    for number in range(3):
        make_transfer(f"{number}.ts", gcp_bucket=bucket)
    refuse(claimed(1))
    minutes_pass(9)
    refuse(claimed(2))
    assert (RightInDoubt.objects.count(), open_alarms()) == (1, [])
    minutes_pass(2)
    for owner in (2, 1, 2):
        row = refuse(claimed(owner))
        assert (row.transfer_status, row.retry_count) == (State.PENDING, 0)
    assert open_alarms() == [("permission_denied", bucket)]
    assert Alarm.objects.count() == 1


def test_first_success_ends_the_doubt_and_the_alarm(make_transfer: MakeTransfer, bucket: str) -> None:
    make_transfer(gcp_bucket=bucket)
    refuse(claimed())
    minutes_pass(11)
    refuse(claimed())
    assert open_alarms() == [("permission_denied", bucket)]
    claim = claimed()
    assert uploads_record(uploads=[Uploaded(claim, result_for(claim))], now=NOW, settings=service_settings())
    assert (RightInDoubt.objects.count(), open_alarms()) == (0, [])


def test_success_before_ten_minutes_begins_the_count_again(make_transfer: MakeTransfer, bucket: str) -> None:
    make_transfer("a.ts", gcp_bucket=bucket)
    make_transfer("b.ts", gcp_bucket=bucket)
    refuse(claimed())
    minutes_pass(9)
    claim = claimed()
    uploads_record(uploads=[Uploaded(claim, result_for(claim))], now=NOW, settings=service_settings())
    refuse(claimed())
    minutes_pass(9)
    refuse(claimed())
    assert open_alarms() == []


def test_one_buckets_success_says_nothing_of_another(make_transfer: MakeTransfer, bucket: str) -> None:
    make_transfer("a.ts", gcp_bucket="other")
    refuse(claimed())
    make_transfer("b.ts", gcp_bucket=bucket)
    GCPVideoTransfer.objects.filter(gcp_bucket="other").update(next_attempt_at=NOW + timedelta(days=1))
    claim = rows.claim(lease_seconds=LONG)
    assert claim is not None
    uploads_record(uploads=[Uploaded(claim, result_for(claim))], now=NOW, settings=service_settings())
    assert RightInDoubt.objects.get().subject == Subject(SubjectKind.BUCKET, "other")


def test_right_that_the_bucket_denies_is_told_at_once(make_transfer: MakeTransfer, bucket: str) -> None:
    make_transfer(gcp_bucket=bucket)
    refuse(claimed(), StopAndTell("no", code=Reason.PERMISSION_DENIED))
    assert open_alarms() == [("permission_denied", bucket)]


def test_doubt_from_a_wrong_clock_counts_from_now(make_transfer: MakeTransfer, bucket: str) -> None:
    make_transfer(gcp_bucket=bucket)
    RightInDoubt.objects.create(subject_kind="bucket", subject_id=bucket, since=NOW + timedelta(days=3650))
    refuse(claimed())
    minutes_pass(11)
    refuse(claimed())
    assert open_alarms() == [("permission_denied", bucket)]


def test_doubt_that_nothing_waits_for_is_forgotten(make_transfer: MakeTransfer, bucket: str) -> None:
    made = make_transfer(gcp_bucket=bucket)
    refuse(claimed())
    right_doubts_drop_idle()
    assert RightInDoubt.objects.count() == 1
    GCPVideoTransfer.objects.filter(pk=made.pk).update(transfer_status=State.FAILED, next_attempt_at=None)
    right_doubts_drop_idle()
    assert RightInDoubt.objects.count() == 0


def test_file_refused_alone_fails(make_transfer: MakeTransfer, bucket: str) -> None:
    """Otherwise it would wait for ever without an alarm: each success of another ends the bucket's doubt."""
    make_transfer(gcp_bucket=bucket)
    refused = refuse(claimed())
    refused.events.filter(reason="permission_denied").update(at=NOW - timedelta(hours=1))
    refused.events.exclude(reason="permission_denied").update(at=NOW - timedelta(hours=2))
    for minutes in (50, 1):
        begun = NOW - timedelta(minutes=minutes)
        rows.transfer(State.COMPLETED, gcp_bucket=bucket, upload_started_at=begun, upload_completed_at=begun)
        if minutes == 50:
            assert refuse(claimed()).transfer_status == State.PENDING
    row = refuse(claimed())
    assert (row.transfer_status, row.error_code) == (State.FAILED, "permission_denied")


def test_upload_that_goes_well_asks_no_more_than_before(make_transfer: MakeTransfer, bucket: str) -> None:
    make_transfer(gcp_bucket=bucket)
    claim = claimed()
    calls = DatabaseCalls()
    with calls.watching():
        uploads_record(uploads=[Uploaded(claim, result_for(claim))], now=NOW, settings=service_settings())
    about = [call for call in calls.queries() if "cctv_alarm" in str(call) or "rightindoubt" in str(call)]
    assert len(about) == 1


# --- holds ---


def test_refused_holds_alarm_once_after_ten_minutes(store: MemoryStore, bucket: str) -> None:
    for number in range(5):
        rows.transfer(State.COMPLETED, of=rows.recording(f"{number}.mp4", hold_wanted=True), gcp_bucket=bucket)
    store.fault("get", UNCLEAR, times=1000)
    holds_reconcile(store=store, now=NOW)
    assert open_alarms() == []
    holds_reconcile(store=store, now=NOW + timedelta(minutes=9))
    assert open_alarms() == []
    holds_reconcile(store=store, now=NOW + timedelta(minutes=10))
    assert open_alarms() == [("permission_denied", f"holds in {bucket}")]
    Recording.objects.update(hold_wanted=False)
    right_doubts_drop_idle()
    assert RightInDoubt.objects.count() == 0
