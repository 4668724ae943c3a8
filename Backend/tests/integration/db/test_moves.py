"""`TransferQuerySet.move` and the guard of every change, on the database that the suite runs with."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection
from django.db.models import Q

from apps.cctv.leasing.recovery import expire_leases
from apps.cctv.models import GCPVideoTransfer, TransferEvent
from apps.cctv.tables.moves import Lease, MoveRefused, RowGuard
from offload.errors import LeaseLost, Reason
from offload.states import MOVES, UPLOADED, Move, State
from tests.integration.db import rows

T = GCPVideoTransfer.objects
AFTER = {
    State.PENDING: {"next_attempt_at": rows.NOW},
    State.UPLOADING: {"lease_owner": rows.OWNER, "lease_expires_at": rows.NOW + timedelta(seconds=40)},
    State.FAILED: {"error_code": "cancelled"},
    State.CLEANUP_PENDING: {"cleanup_scheduled_at": rows.NOW},
    State.CLEANUP_COMPLETED: {"cleanup_completed_at": rows.NOW},
}
PROOF = {"object_generation": 11, "object_crc32c": "AAAAAA==", "upload_completed_at": rows.NOW}
ALLOWED = [(move, source) for move, rule in MOVES.items() for source in sorted(rule.sources)]
FORBIDDEN = [(move, source) for move, rule in MOVES.items() for source in State if source not in rule.sources]


def make(move: Move, row: GCPVideoTransfer, lease: Lease | None = None, **more: object) -> None:
    target = MOVES[move].target
    changes = {**AFTER.get(target, {}), **(PROOF if target in UPLOADED else {})}
    T.move(
        row.pk, move, actor="ada", now=rows.NOW, reason=Reason.REQUESTED, detail="why", lease=lease, changes=changes, **more
    )  # fmt: skip


def everything(row: GCPVideoTransfer) -> tuple[object, object]:
    return T.filter(pk=row.pk).values().get(), list(TransferEvent.objects.filter(transfer=row).values())


@pytest.mark.django_db
@pytest.mark.parametrize(("move", "source"), ALLOWED)
def test_each_move_leads_where_the_table_says(move: Move, source: State) -> None:
    row = rows.transfer(source)
    make(move, row, rows.lease(row) if MOVES[move].needs_lease else None)
    row.refresh_from_db()
    assert row.transfer_status == MOVES[move].target
    event = row.events.get()
    assert (event.move, event.from_status, event.to_status) == (move, source, MOVES[move].target)
    assert (event.actor, event.at, event.reason, event.detail) == ("ada", rows.NOW, "requested", "why")


@pytest.mark.django_db
@pytest.mark.parametrize(("move", "source"), FORBIDDEN)
def test_a_move_from_any_other_state_changes_nothing(move: Move, source: State) -> None:
    row = rows.transfer(source)
    lease = rows.lease(row) if MOVES[move].needs_lease else None
    before = everything(row)
    with pytest.raises(LeaseLost if lease else MoveRefused):
        make(move, row, lease)
    assert everything(row) == before


@pytest.mark.django_db
@pytest.mark.parametrize("move", [move for move, rule in MOVES.items() if rule.needs_lease])
def test_move_that_needs_a_lease_is_refused_without_one(move: Move) -> None:
    row = rows.transfer(min(MOVES[move].sources))
    before = everything(row)
    with pytest.raises(LeaseLost):
        make(move, row)
    assert everything(row) == before


@pytest.mark.django_db
@pytest.mark.parametrize("lost", ["number", "owner", "expired", "released"])
def test_worker_that_lost_its_lease_changes_nothing(lost: str) -> None:
    row = rows.transfer(State.UPLOADING)
    lease = rows.lease(row)
    later = {
        "number": {"lease_number": row.lease_number + 1},
        "owner": {"lease_owner": rows.uuid.UUID(int=8)},
        "expired": {"lease_expires_at": rows.NOW},
        "released": {
            "lease_owner": None,
            "lease_expires_at": None,
            "transfer_status": "pending",
            **AFTER[State.PENDING],
        },
    }[lost]
    T.filter(pk=row.pk).update(**later)
    before = everything(row)
    for move in (Move.COMPLETE, Move.COMPLETE_SCHEDULED, Move.PUT_BACK, Move.FAIL):
        with pytest.raises(LeaseLost):
            make(move, row, lease)
    assert everything(row) == before


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["one row", "many rows"])
@pytest.mark.parametrize("lost", ["nothing", "number", "owner", "expiry", "status", "row"])
def test_guard_asks_the_same_in_both_of_its_forms(form: str, lost: str) -> None:
    row, other = rows.transfer(State.UPLOADING), rows.transfer(State.FAILED)
    own = rows.lease(row)
    lease, now, status = {
        "nothing": (own, rows.NOW, State.UPLOADING),
        "number": (replace(own, number=own.number - 1), rows.NOW, State.UPLOADING),
        "owner": (replace(own, owner_id=uuid.UUID(int=8)), rows.NOW, State.UPLOADING),
        "expiry": (own, own.expires_at, State.UPLOADING),
        "status": (own, rows.NOW, State.PENDING),
        "row": (replace(own, transfer_id=other.pk), rows.NOW, State.UPLOADING),
    }[lost]
    guard = RowGuard.of_lease(lease, now, ("transfer_status", "=", status))
    changes = {"bytes_uploaded": 5}
    changed = T.change(guard, **changes) if form == "one row" else T.change_many([(guard, changes)], same={}) == 1
    assert changed is (lost == "nothing")
    assert T.filter(bytes_uploaded=5).exists() is changed


@pytest.mark.django_db
def test_guard_with_a_joined_condition_is_for_one_row() -> None:
    row = rows.transfer(State.CLEANUP_PENDING)
    guard = RowGuard.of_row(row.pk, only_if=Q(recording__hold_wanted=False))
    with pytest.raises(ValueError, match="only_if"):
        T.change_many([(guard, {"bytes_uploaded": 5})], same={})
    assert not T.filter(bytes_uploaded=5).exists()
    assert T.change(guard, bytes_uploaded=5)


@pytest.mark.django_db
def test_lease_ends_with_the_move_that_it_made() -> None:
    row = rows.transfer(State.UPLOADING)
    make(Move.COMPLETE, row, rows.lease(row))
    row.refresh_from_db()
    assert (row.lease_owner, row.lease_expires_at) == (None, None)


@pytest.mark.django_db
def test_condition_that_does_not_hold_refuses_the_move() -> None:
    row = rows.transfer(State.CLEANUP_PENDING, of=rows.recording(hold_wanted=True))
    before = everything(row)
    with pytest.raises(MoveRefused):
        make(Move.FINISH_CLEANUP, row, rows.lease(row), only_if=Q(recording__hold_wanted=False))
    assert everything(row)[1] == before[1]
    assert T.get(pk=row.pk).transfer_status == State.CLEANUP_PENDING


@pytest.mark.django_db
def test_a_transfer_that_is_gone_cannot_move() -> None:
    row = GCPVideoTransfer(pk=rows.uuid.uuid4())
    with pytest.raises(MoveRefused, match="gone"):
        make(Move.RETRY, row)


@pytest.mark.django_db(transaction=True)
def test_move_whose_event_cannot_be_written_is_not_made() -> None:
    row = rows.transfer(State.FAILED)
    before = everything(row)
    with pytest.raises(IntegrityError):
        T.move(row.pk, Move.RETRY, actor=None, now=rows.NOW, reason=Reason.RETRIED, changes=AFTER[State.PENDING])  # type: ignore[arg-type]
    assert everything(row) == before


@pytest.mark.django_db(transaction=True)
def test_two_threads_racing_for_one_move_have_one_winner() -> None:
    contenders, rounds = 2, 12
    ids = [rows.transfer(State.FAILED).pk for _ in range(rounds)]
    start = threading.Barrier(contenders, timeout=30)
    outcomes: list[tuple[rows.uuid.UUID, str]] = []

    def contend(name: str) -> None:
        for transfer_id in ids:
            start.wait()
            try:
                T.move(
                    transfer_id, Move.RETRY, actor=name, now=rows.NOW, reason=Reason.RETRIED, changes=AFTER[State.PENDING]
                )  # fmt: skip
            except MoveRefused:
                outcomes.append((transfer_id, "refused"))
            else:
                outcomes.append((transfer_id, name))
        connection.close()

    threads = [threading.Thread(target=contend, args=(f"worker {n}",)) for n in range(contenders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for transfer_id in ids:
        winners = [name for key, name in outcomes if key == transfer_id and name != "refused"]
        assert len(winners) == 1
        assert [event.actor for event in TransferEvent.objects.filter(transfer_id=transfer_id)] == winners
    assert len(outcomes) == contenders * rounds


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no rows")
@pytest.mark.parametrize("change", ["moved together", "leases that ran out"])
def test_rows_are_locked_in_the_order_of_their_keys(change: str) -> None:
    """Two transactions that lock many rows in different orders would deadlock. The rows lie in the table the other way round."""
    past = rows.NOW - timedelta(days=1)
    ids = [uuid.UUID(int=number) for number in range(9, 0, -1)]
    for pk in ids:
        rows.transfer(State.CLEANUP_PENDING, id=pk, lease_owner=rows.OWNER, lease_expires_at=past)
    waiting = threading.Event()

    def change_all() -> None:
        waiting.set()
        if change == "moved together":
            T.move_many(ids, Move.UNSCHEDULE_CLEANUP, actor="ada", now=rows.NOW, reason=Reason.CLEANUP_OFF)
        else:
            expire_leases(now=rows.NOW)
        connection.close()

    with psycopg.connect(**_parameters()) as first, psycopg.connect(**_parameters()) as look:
        first.execute("SELECT 1 FROM cctv_gcpvideotransfer WHERE id = %s FOR UPDATE", [min(ids)])
        thread = threading.Thread(target=change_all)
        thread.start()
        while not _waits_for_a_lock(look):
            assert thread.is_alive()
        look.execute("SELECT 1 FROM cctv_gcpvideotransfer WHERE id = %s FOR UPDATE NOWAIT", [max(ids)])
        look.rollback()
        first.rollback()
        thread.join(timeout=60)
    assert not T.filter(lease_owner__isnull=False).exists()


def _parameters() -> dict[str, Any]:
    found = {name: value for name, value in connection.get_connection_params().items() if name in {"dbname", "host"}}
    return found | {"user": connection.settings_dict["USER"], "autocommit": False}


def _waits_for_a_lock(look: psycopg.Connection[Any]) -> bool:
    found = look.execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    look.rollback()
    return found is not None


@pytest.mark.django_db
def test_counts_by_status_and_bytes_waiting_equal_the_rows() -> None:
    for state in [*State, State.CLEANUP_PENDING]:
        rows.transfer(state)
    assert T.all().status_counts() == {state.value: 2 if state is State.CLEANUP_PENDING else 1 for state in State}
    assert T.all().waiting_for_cleanup_bytes() == 2000
    assert T.none().waiting_for_cleanup_bytes() == 0


@pytest.mark.django_db
def test_a_held_recording_is_never_due_for_cleanup() -> None:
    held = rows.transfer(State.CLEANUP_PENDING, of=rows.recording(hold_wanted=True))
    free = rows.transfer(State.CLEANUP_PENDING)
    later = rows.NOW + timedelta(days=2)
    assert (held.reason_to_keep(later), free.reason_to_keep(later)) == (Reason.HELD, None)
