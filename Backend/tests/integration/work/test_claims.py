"""Claims: what is taken next, and never more of a batch at once than it says."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from apps.cctv.leasing.claims import BatchQueue
from apps.cctv.leasing.leases import Claim
from apps.cctv.models import Camera, GCPVideoTransfer, Recording, Site, TransferBatch
from apps.cctv.tables.moves import Lease
from offload.errors import LeaseLost, Reason
from offload.states import Move, State
from tests.database_calls import DatabaseCalls
from tests.integration.db import rows
from tests.integration.db.rows import NOW
from tests.threads import all_at_once

pytestmark = pytest.mark.django_db


def claim(**arguments: Any) -> Claim | None:
    return rows.claim(**{"owner_id": uuid.uuid4(), **arguments})


def batch_of(size: int, *, minutes: float = 0) -> TransferBatch:
    return TransferBatch.objects.create(batch_size=size, created_at=NOW + timedelta(minutes=minutes))


def test_claim_moves_the_transfer_and_tells_its_lease() -> None:
    transfer = rows.transfer()
    owner = uuid.uuid4()

    found = claim(owner_id=owner, actor="box:7")

    assert found is not None
    row = GCPVideoTransfer.objects.get(pk=transfer.pk)
    assert found.transfer == row
    assert (row.transfer_status, row.next_attempt_at) == (State.UPLOADING, None)
    assert (found.lease.number, found.lease.owner_id) == (row.lease_number, row.lease_owner) == (1, owner)
    assert found.lease.expires_at == row.lease_expires_at
    event = row.events.get()
    assert (event.reason, event.actor) == ("claimed", "box:7")


def test_nothing_due_is_no_claim() -> None:
    rows.transfer(next_attempt_at=NOW + timedelta(days=4000))
    rows.transfer(State.FAILED)
    assert claim() is None


def test_batch_is_never_claimed_beyond_its_size() -> None:
    batch = batch_of(2)
    for _ in range(3):
        rows.transfer(batch=batch)
    assert [claim() is not None for _ in range(3)] == [True, True, False]


def test_full_batch_makes_way_for_the_next() -> None:
    full, later = batch_of(1), batch_of(1, minutes=1)
    rows.transfer(State.UPLOADING, batch=full, lease_expires_at=NOW + timedelta(days=4000))
    rows.transfer(batch=full)
    wanted = rows.transfer(batch=later)
    found = claim()
    assert found is not None
    assert found.transfer.pk == wanted.pk


def test_oldest_batch_goes_first() -> None:
    second = rows.transfer(batch=batch_of(1, minutes=1))
    first = rows.transfer(batch=batch_of(1))
    claims = [claim(), claim()]
    assert [found and found.transfer.pk for found in claims] == [first.pk, second.pk]


def test_upload_whose_lease_ran_out_takes_no_room() -> None:
    batch = batch_of(1)
    late = rows.transfer(State.UPLOADING, batch=batch, lease_expires_at=NOW - timedelta(seconds=1), session_uri="s")
    rows.transfer(batch=batch)

    found = claim()

    assert found is not None
    assert found.transfer.pk == late.pk
    assert found.lease.number == 2
    assert list(late.events.values_list("reason", flat=True)) == ["lease_expired", "claimed"]
    assert GCPVideoTransfer.objects.filter(batch=batch, transfer_status=State.UPLOADING).count() == 1


def test_half_uploaded_file_goes_before_those_not_begun() -> None:
    batch = batch_of(1, minutes=-1)  # PostgreSQL goes by its own clock: nothing here may lie ahead of it
    rows.transfer(batch=batch, next_attempt_at=batch.created_at)
    half = rows.transfer(batch=batch, session_uri="s", next_attempt_at=NOW)
    found = claim()
    assert found is not None
    assert found.transfer.pk == half.pk


def test_worker_of_a_site_takes_that_sites_transfers_only() -> None:
    other = Site.objects.create(name="Harbour")
    rows.transfer(of=rows.recording(camera=rows.camera("Quay", site=other)))
    here = Site.objects.create(name="Depot")
    assert claim(site_id=here.pk) is None
    found = claim(site_id=other.pk)
    assert found is not None
    assert found.transfer.site_id == other.pk


def test_claim_of_a_cancelled_transfer_takes_nothing() -> None:
    rows.transfer(State.FAILED, next_attempt_at=NOW)
    assert claim() is None


@pytest.mark.django_db(transaction=True)
def test_three_claiming_workers_never_exceed_the_batch() -> None:
    batch = batch_of(4)
    for _ in range(30):
        rows.transfer(batch=batch)
    claimed: list[Claim] = []
    most = 0

    def claim_many() -> None:
        nonlocal most
        for _ in range(30):
            found = claim()
            if found is not None:
                claimed.append(found)
            uploading = GCPVideoTransfer.objects.filter(transfer_status=State.UPLOADING).count()
            most = max(most, uploading)

    all_at_once(3, claim_many)

    assert len(claimed) == most == 4
    assert len({found.transfer.pk for found in claimed}) == 4


# --- several at once ---


def queue() -> BatchQueue:
    return BatchQueue(owner_id=rows.OWNER, site_id=None, lease_seconds=40, actor="box:7")


def test_all_that_fit_are_claimed_with_one_commit() -> None:
    first, second = batch_of(3), batch_of(4, minutes=-1)
    for batch in (first, second):
        for _ in range(5):
            rows.transfer(batch=batch)
    with DatabaseCalls().watching() as calls:
        claims = queue().claim_due(6, now=NOW)
    assert [claim.transfer.batch_id for claim in claims] == [second.pk] * 4 + [first.pk] * 2
    assert len({claim.transfer.pk for claim in claims}) == 6
    assert len([call for call in calls.queries() if call.sql.startswith(("UPDATE", "INSERT"))]) == 4
    for claim in claims:
        row = GCPVideoTransfer.objects.get(pk=claim.transfer.pk)
        assert (row.transfer_status, row.lease_number, row.lease_owner) == (State.UPLOADING, 1, rows.OWNER)
        assert row.lease_expires_at == claim.lease.expires_at
        assert row.events.get().move == "claim"


def test_half_uploaded_files_go_first() -> None:
    batch = batch_of(3, minutes=-1)
    for _ in range(3):
        rows.transfer(batch=batch, next_attempt_at=batch.created_at)
    half = rows.transfer(batch=batch, session_uri="s", next_attempt_at=NOW)
    claims = queue().claim_due(3, now=NOW)
    assert claims[0].transfer.pk == half.pk
    assert len({claim.transfer.pk for claim in claims}) == 3


def test_full_batch_has_room_when_an_upload_ended() -> None:
    batch = batch_of(1)
    for _ in range(2):
        rows.transfer(batch=batch)
    own = queue()
    (first,) = own.claim_due(5, now=NOW)
    assert own.claim_due(5, now=NOW) == []
    GCPVideoTransfer.objects.filter(pk=first.transfer.pk).update(
        transfer_status=State.FAILED, error_code="x", lease_owner=None, lease_expires_at=None
    )
    assert len(own.claim_due(5, now=NOW, freed={batch.pk})) == 1


def test_batch_with_room_left_is_taken_from_again() -> None:
    batch = batch_of(3)
    for _ in range(3):
        rows.transfer(batch=batch)
    own = queue()
    assert [len(own.claim_due(most, now=NOW)) for most in (1, 1, 5)] == [1, 1, 1]


def test_half_uploaded_file_is_not_claimed_twice() -> None:
    batch = batch_of(5, minutes=-1)
    half = rows.transfer(batch=batch, session_uri="s", next_attempt_at=NOW)
    other = rows.transfer(batch=batch, next_attempt_at=NOW - timedelta(minutes=1))
    assert [claim.transfer.pk for claim in queue().claim_due(5, now=NOW)] == [half.pk, other.pk]


def test_queue_of_a_site_claims_only_its_own() -> None:
    batch = batch_of(5)
    yard = rows.camera("Yard", site=Site.objects.create(name="Yard"))
    there = rows.transfer(batch=batch, of=rows.recording("yard.mp4", camera=yard))
    rows.transfer(batch=batch)
    own = BatchQueue(owner_id=rows.OWNER, site_id=yard.site_id, lease_seconds=40, actor="box:7")
    assert [claim.transfer.pk for claim in own.claim_due(5, now=NOW)] == [there.pk]


@pytest.mark.parametrize("found", [{"lease_number": 4}, {"status": State.FAILED}])
def test_claim_of_a_changed_row_changes_nothing(found: dict[str, Any]) -> None:
    good, changed = rows.transfer(), rows.transfer(**found)
    until = NOW + timedelta(seconds=40)
    leases = [Lease(one.pk, 1, rows.OWNER, until) for one in (good, changed)]
    before = list(GCPVideoTransfer.objects.order_by("pk").values())
    with pytest.raises(LeaseLost), transaction.atomic():
        GCPVideoTransfer.objects.claim_locked(leases, actor="box:7", now=NOW)
    assert list(GCPVideoTransfer.objects.order_by("pk").values()) == before


def test_later_batch_is_seen_at_the_next_look() -> None:
    busy = batch_of(1)
    rows.transfer(batch=busy)
    rows.transfer(batch=busy)
    own = queue()
    assert len(own.claim_due(5, now=NOW)) == 1
    rows.transfer(batch=batch_of(1))
    own.look_again()
    assert len(own.claim_due(5, now=NOW)) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's row locks")
def test_row_being_cancelled_is_passed_over() -> None:
    batch = batch_of(3)
    cancelled, *others = [rows.transfer(batch=batch) for _ in range(3)]
    locked, done = threading.Event(), threading.Event()

    def person() -> None:
        with transaction.atomic():
            GCPVideoTransfer.objects.move(
                cancelled.pk,
                Move.CANCEL,
                actor="admin",
                now=NOW,
                reason=Reason.CANCELLED,
                changes={"error_code": "cancelled", "next_attempt_at": None},
            )
            locked.set()
            done.wait(30)
        connections.close_all()

    thread = threading.Thread(target=person)
    thread.start()
    locked.wait(30)
    claims = queue().claim_due(3, now=NOW)
    done.set()
    thread.join()
    assert {claim.transfer.pk for claim in claims} == {one.pk for one in others}
    assert GCPVideoTransfer.objects.get(pk=cancelled.pk).transfer_status == State.FAILED


# --- many waiting ---


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plan")
def test_claim_uses_an_index_and_sorts_nothing() -> None:
    """With 100,000 waiting rows a sort or a scan would cost each claim a tenth of a second."""
    batch = batch_of(20)
    rows.transfer(batch=batch)
    with CaptureQueriesContext(connection) as asked:
        assert len(queue().claim_due(5, now=NOW)) == 1
    due = [query["sql"] for query in asked.captured_queries if "ORDER BY" in query["sql"] and "LIMIT 5" in query["sql"]]
    assert len(due) == 2, "half-uploaded files, and the others"
    for sql in due:
        with connection.cursor() as cursor:
            plan = str(cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall())
        assert "transfer_batch_due" in plan
        assert "TEMP B-TREE" not in plan


def test_batch_deleted_after_the_look_hinders_no_other() -> None:
    gone, other = batch_of(2, minutes=-1), batch_of(2)
    for batch in (gone, gone, other):
        rows.transfer(batch=batch)
    own = queue()
    assert len(own.claim_due(1, now=NOW)) == 1
    GCPVideoTransfer.objects.filter(batch=gone).update(batch=other)
    TransferBatch.objects.filter(pk=gone.pk).delete()
    assert len(own.claim_due(1, now=NOW)) == 1


def test_claim_among_thousands_reads_a_handful_of_rows(django_assert_max_num_queries: Any) -> None:
    site = Site.objects.create(name="Depot")
    camera = Camera.objects.create(site=site, name="Gate")
    batch = batch_of(20)
    found = Recording.objects.bulk_create(
        Recording(camera=camera, name=f"{n}.ts", started_at=NOW, local_path=f"{n}.ts", file_mtime_ns=1, file_path="")
        for n in range(3000)
    )
    GCPVideoTransfer.objects.bulk_create(
        GCPVideoTransfer(
            recording=one, batch=batch, site=site, gcp_bucket="footage", created_at=NOW, next_attempt_at=NOW
        )
        for one in found
    )
    with django_assert_max_num_queries(16):
        assert claim() is not None
