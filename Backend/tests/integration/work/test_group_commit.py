"""Group commit: entries that are written together, and what one of them cannot do to the others."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection
from contextlib import closing
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from apps.cctv.leasing.claims import BatchQueue
from apps.cctv.leasing.leases import Claim
from apps.cctv.models import GCPVideoTransfer, Recording, TransferBatch
from apps.cctv.services.uploads import Uploaded
from apps.cctv.wiring import service_settings
from apps.cctv.worker.group_commit import GROUP_SECONDS, GroupCommit, QueuedResult, QueuedWrite, Refusal
from offload.errors import LeaseLost
from offload.states import State
from offload.testing import FakeClock
from tests.database_calls import DatabaseCalls
from tests.integration.db import rows
from tests.integration.work.conftest import MakeTransfer
from tests.integration.work.results import result_for

pytestmark = pytest.mark.django_db(transaction=True)

UNTOLD = object()


class Holder:
    """An attempt as group commit knows it."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.told: Any = UNTOLD
        self.lease_is_lost = False

    def check_lease(self) -> None:
        if self.lease_is_lost:
            raise LeaseLost("ran out")

    def ended(self, refusal: Refusal) -> None:
        self.told = refusal

    def row(self) -> GCPVideoTransfer:
        return GCPVideoTransfer.objects.select_related("recording").get(pk=self.claim.transfer.pk)

    def columns(self) -> dict[str, Any]:
        (found,) = GCPVideoTransfer.objects.filter(pk=self.claim.transfer.pk).values()
        return found


MakeGroup = Callable[..., list[Holder]]


@pytest.fixture
def group_of(make_transfer: MakeTransfer, batch: TransferBatch) -> MakeGroup:
    def make(size: int, *, waiting: int = 0) -> list[Holder]:
        TransferBatch.objects.update(batch_size=size)
        for number in range(size + waiting):
            make_transfer(f"{number}.ts")
        return [Holder(claim) for claim in rows.claim_many(size)]

    return make


def uploaded(holder: Holder, **changes: Any) -> QueuedResult:
    return QueuedResult(holder, lambda: Uploaded(holder.claim, result_for(holder.claim, **changes)))


@pytest.fixture
def group_commit(clock: FakeClock) -> GroupCommit:
    return GroupCommit(clock=clock, wake=lambda: None, settings=service_settings())


# --- together ---


def test_group_and_next_claim_share_one_commit(group_commit: GroupCommit, group_of: MakeGroup) -> None:
    group = group_of(5, waiting=5)
    queue = BatchQueue(owner_id=rows.OWNER, site_id=None, lease_seconds=40, actor="box:7")
    for holder in group:
        group_commit.add(uploaded(holder))

    def claim(ending: Collection[Claim]) -> list[Claim]:
        return queue.claim_due(len(ending), now=rows.NOW, freed={one.transfer.batch_id for one in ending})

    with DatabaseCalls().watching() as calls:
        claims = group_commit.write(claim)

    assert len(calls.commits()) == 1
    assert len(calls.queries()) <= 17  # whatever the group's size
    assert [holder.told for holder in group] == [None] * 5
    assert {holder.row().transfer_status for holder in group} == {State.CLEANUP_PENDING}
    assert len(claims) == 5
    assert {claim.transfer.pk for claim in claims}.isdisjoint(holder.claim.transfer.pk for holder in group)


def test_empty_queue_asks_the_database_nothing(group_commit: GroupCommit) -> None:
    with DatabaseCalls().watching() as calls:
        assert group_commit.write() == []
    assert calls.calls == []


def test_group_whose_claim_fails_is_not_recorded_yet(group_commit: GroupCommit, group_of: MakeGroup) -> None:
    """Both or neither: and what is not committed is not reported as done."""
    group = group_of(2)
    for holder in group:
        group_commit.add(uploaded(holder))

    def claim(ending: Collection[Claim]) -> list[Claim]:
        raise OperationalError("the connection is gone")

    assert group_commit.write(claim) == []
    assert [holder.told for holder in group] == [UNTOLD, UNTOLD]
    assert {holder.row().transfer_status for holder in group} == {State.UPLOADING}
    group_commit.write()
    assert {holder.row().transfer_status for holder in group} == {State.CLEANUP_PENDING}
    assert [holder.told for holder in group] == [None, None]


def test_note_is_committed_when_its_writer_goes_on(group_commit: GroupCommit, group_of: MakeGroup) -> None:
    (holder,) = group_of(1)
    queued, seen = threading.Event(), []

    def upload() -> None:
        rows_of = GCPVideoTransfer.objects.filter(pk=holder.claim.transfer.pk)
        note = QueuedWrite(holder, lambda: rows_of.update(bytes_uploaded=512))
        group_commit.add(note)
        queued.set()
        note.wait()
        seen.append(holder.row().bytes_uploaded)
        connections.close_all()

    thread = threading.Thread(target=upload)
    thread.start()
    queued.wait()
    group_commit.write()
    thread.join()
    assert seen == [512]


# --- one of them ---


def test_lost_lease_changes_nothing_and_hinders_no_other(group_commit: GroupCommit, group_of: MakeGroup) -> None:
    group = group_of(4)
    late = group[1]
    GCPVideoTransfer.objects.filter(pk=late.claim.transfer.pk).update(lease_number=9)
    before = late.columns()
    for holder in group:
        group_commit.add(uploaded(holder))
    group_commit.write()

    assert late.columns() == before
    assert late.row().recording.storage_type == Recording.StorageType.LOCAL
    assert late.row().events.count() == 1
    assert isinstance(late.told, LeaseLost)
    others = [holder for holder in group if holder is not late]
    assert [holder.told for holder in others] == [None] * 3
    assert {holder.row().transfer_status for holder in others} == {State.CLEANUP_PENDING}


def test_lease_expired_before_the_group_records_nothing(
    group_commit: GroupCommit, clock: FakeClock, group_of: MakeGroup
) -> None:
    """Waiting for the group makes no lease longer."""
    (holder,) = group_of(1)
    group_commit.add(uploaded(holder))
    clock.advance(41)
    if connection.vendor == "postgresql":  # which goes by its own clock
        GCPVideoTransfer.objects.update(lease_expires_at=rows.NOW)
    group_commit.write()
    assert isinstance(holder.told, LeaseLost)
    assert holder.row().transfer_status == State.UPLOADING


def test_unwritable_row_is_told_and_the_others_recorded(group_commit: GroupCommit, group_of: MakeGroup) -> None:
    group = group_of(4)
    bad = group[2]
    for holder in group:
        group_commit.add(uploaded(holder, identity=None) if holder is bad else uploaded(holder))
    group_commit.write()
    assert isinstance(bad.told, ValueError)
    assert bad.row().transfer_status == State.UPLOADING
    others = [holder for holder in group if holder is not bad]
    assert [holder.told for holder in others] == [None] * 3
    assert {holder.row().transfer_status for holder in others} == {State.CLEANUP_PENDING}


def test_note_that_fails_is_raised_where_it_was_made(group_commit: GroupCommit, group_of: MakeGroup) -> None:
    first, second = group_of(2)

    def broken() -> None:
        raise ZeroDivisionError

    note = QueuedWrite(first, broken)
    group_commit.add(note)
    group_commit.add(uploaded(second))
    group_commit.write()
    with pytest.raises(ZeroDivisionError):
        note.wait()
    assert second.row().transfer_status == State.CLEANUP_PENDING


# --- a busy database ---


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's one writer")
def test_group_waits_for_a_busy_database_within_its_leases(
    group_commit: GroupCommit, clock: FakeClock, group_of: MakeGroup, impatient: None
) -> None:
    group = group_of(3)
    for holder in group:
        group_commit.add(uploaded(holder))
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        group_commit.write()
        assert [holder.told for holder in group] == [UNTOLD] * 3
        group[0].lease_is_lost = True
        group_commit.write()
        other.execute("ROLLBACK")
    group_commit.write()
    assert isinstance(group[0].told, LeaseLost)
    assert group[0].row().transfer_status == State.UPLOADING
    assert [holder.told for holder in group[1:]] == [None, None]
    assert {holder.row().transfer_status for holder in group[1:]} == {State.CLEANUP_PENDING}


# --- its end ---


def test_no_thread_waits_for_a_closed_group_commit(group_commit: GroupCommit, group_of: MakeGroup) -> None:
    first, second = group_of(2)
    before, after = QueuedWrite(first, lambda: None), QueuedWrite(second, lambda: None)
    group_commit.add(before)
    group_commit.close()
    group_commit.add(after)
    for note in (before, after):
        with pytest.raises(LeaseLost):
            note.wait()


# --- what waits for the next group ---


def test_verified_upload_waits_a_moment_for_others(
    group_of: MakeGroup, group_commit: GroupCommit, clock: FakeClock
) -> None:
    asked: list[str] = []

    def claim(ending: Collection[Claim]) -> list[Claim]:
        asked.append(f"{len(ending)} end")
        return []

    one, other = group_of(2)
    group_commit.add(uploaded(one))
    clock.advance(GROUP_SECONDS / 2)
    group_commit.add(uploaded(other))
    group_commit.write(claim, patient=True)
    assert (one.told, other.told, asked) == (UNTOLD, UNTOLD, [])
    assert group_commit.is_waiting()
    clock.advance(2 * GROUP_SECONDS)
    group_commit.write(claim, patient=True)
    assert (one.told, other.told, asked) == (None, None, ["2 end"])
    assert not group_commit.is_waiting()


def test_impatient_writer_waits_for_no_other_upload(group_of: MakeGroup, group_commit: GroupCommit) -> None:
    (one,) = group_of(1)
    group_commit.add(uploaded(one))
    group_commit.write()
    assert one.told is None


def test_awaited_note_is_written_at_once_and_alone(group_of: MakeGroup, clock: FakeClock) -> None:
    woken: list[str] = []
    written: list[str] = []
    group_commit = GroupCommit(clock=clock, wake=lambda: woken.append("!"), settings=service_settings())
    one, other, third = group_of(3)
    group_commit.add(uploaded(one))
    group_commit.add(uploaded(other))
    assert len(woken) == 1
    group_commit.add(QueuedWrite(third, lambda: written.append("note")))
    assert len(woken) == 2, "the writer may have gone back to sleep before the note came"
    group_commit.write(patient=True)
    assert (written, one.told, other.told) == (["note"], UNTOLD, UNTOLD)
    clock.advance(2 * GROUP_SECONDS)
    group_commit.write(patient=True)
    assert (one.told, other.told) == (None, None)


def test_record_does_not_wait_for_ever_because_others_come(
    group_of: MakeGroup, group_commit: GroupCommit, clock: FakeClock
) -> None:
    first, *others = group_of(6)
    group_commit.add(uploaded(first))
    for other in others:
        clock.advance(GROUP_SECONDS / 4)
        group_commit.add(uploaded(other))
        group_commit.write(patient=True)
    assert first.told is None
