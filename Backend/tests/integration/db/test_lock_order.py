"""Code that locks many rows locks them in the order of their keys, so that two transactions never deadlock.

On SQLite one writer at a time is all there is; PostgreSQL ends one of two transactions that wait for each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection, connections, transaction

from apps.cctv.leasing.recovery import expire_leases
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.transfers import transfer_request
from apps.cctv.wiring import service_settings
from offload.errors import Reason
from offload.source import MediaRoot
from offload.states import Move, State
from tests.conftest import MakeRecording
from tests.integration.db import rows

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's row locks"),
]


def lock(pk: UUID) -> None:
    list(GCPVideoTransfer.objects.filter(pk=pk).select_for_update().values_list("pk"))


def wait_for_a_waiter(while_running: threading.Thread) -> None:
    """Until another connection waits for a lock, or the thread has ended without."""
    until = time.monotonic() + 30
    while while_running.is_alive() and time.monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone():
                return
        time.sleep(0.01)


def beside_one_who_locks_in_order(ids: Sequence[UUID], work: Callable[[], object]) -> list[object]:
    """What `work` gave, begun while the first of `ids` was locked; then the others are locked as well."""
    gave: list[object] = []

    def other() -> None:
        try:
            gave.append(work())
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            gave.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=other)
    with transaction.atomic():
        lock(ids[0])
        thread.start()
        wait_for_a_waiter(thread)
        for pk in ids[1:]:
            lock(pk)
    thread.join(30)
    return gave


def in_order(*made: GCPVideoTransfer) -> list[UUID]:
    return sorted(one.pk for one in made)


def newest_last(state: State, **columns: object) -> list[UUID]:
    """Three transfers, the one with the greatest key asked for last: the table's own order is the other way round."""
    ids = in_order(*(rows.transfer(state, **columns) for _ in range(3)))
    for number, pk in enumerate(ids):
        GCPVideoTransfer.objects.filter(pk=pk).update(created_at=rows.NOW + timedelta(seconds=number))
    return ids


def test_rows_moved_together_are_locked_in_key_order() -> None:
    ids = newest_last(State.FAILED)

    def move() -> set[UUID]:
        return GCPVideoTransfer.objects.move_many(
            ids, Move.RETRY, actor="ada", now=rows.NOW, reason=Reason.RETRIED, changes={"next_attempt_at": rows.NOW}
        )

    assert beside_one_who_locks_in_order(ids, move) == [set(ids)]


def test_leases_ending_together_are_locked_in_key_order() -> None:
    past = rows.NOW - timedelta(days=1)
    ids = [UUID(int=number) for number in (1, 2, 3)]
    for pk in reversed(ids):  # as they lie in the table
        rows.transfer(State.CLEANUP_PENDING, id=pk, lease_owner=rows.OWNER, lease_expires_at=past)
    assert beside_one_who_locks_in_order(ids, lambda: expire_leases(now=rows.NOW)) == [3]


def test_failed_rows_asked_again_are_locked_in_key_order(
    make_recording: MakeRecording, media_root: Path, bucket: str
) -> None:
    """One has another file by now, and is started again by a statement of its own."""
    recordings = [make_recording(f"{number}.mp4") for number in range(3)]
    made = [rows.transfer(State.FAILED, of=one, gcp_bucket=bucket) for one in recordings]
    ids = in_order(*made)
    GCPVideoTransfer.objects.filter(pk=ids[0]).update(file_size_bytes=7)
    user = rows.user()

    def ask() -> int:
        report = transfer_request(
            recording_ids=[one.pk for one in recordings],
            batch_size=2,
            user=user,
            now=rows.NOW,
            root=MediaRoot(media_root),
            settings=service_settings(),
        )
        return report.initiated_transfers

    assert beside_one_who_locks_in_order(ids, ask) == [3]
