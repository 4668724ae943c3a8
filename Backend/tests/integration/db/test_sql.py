"""Rows read past Django's compiler are what Django would have read."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import Model

from apps.cctv.models import Alarm, Camera, GCPVideoTransfer, Recording, Site, TransferBatch
from apps.cctv.tables.sql import Condition, Lock, as_q, load_many, select_many
from offload.states import State
from tests.integration.db import rows
from tests.integration.db.rows import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def in_all_statuses() -> list[GCPVideoTransfer]:
    return [rows.transfer(status, next_attempt_at=NOW) for status in State]


@pytest.mark.parametrize("model", [Recording, GCPVideoTransfer, TransferBatch, Camera, Site])
def test_loaded_row_is_django_s_own(model: type[Model], in_all_statuses: list[GCPVideoTransfer]) -> None:
    names = [field.attname for field in model._meta.local_concrete_fields]
    expected = {one.pk: one for one in model._default_manager.all()}
    found = load_many(model, [("id", "IN", list(expected))])
    assert expected
    assert {one.pk for one in found} == set(expected)
    for one in found:
        assert [(name, getattr(one, name)) for name in names] == [
            (name, getattr(expected[one.pk], name)) for name in names
        ]
        assert not one._state.adding


@pytest.mark.parametrize(
    ("where", "lookups"),
    [
        ([("transfer_status", "=", State.PENDING)], {"transfer_status": State.PENDING}),
        ([("error_code", "<>", "")], {"error_code__gt": ""}),
        ([("next_attempt_at", "<=", NOW)], {"next_attempt_at__lte": NOW}),
        ([("next_attempt_at", ">", NOW)], {"next_attempt_at__gt": NOW}),
        ([("lease_owner", "IS", None)], {"lease_owner": None}),
        (
            [("transfer_status", "IN", [State.FAILED, State.UPLOADING]), ("lease_owner", "=", rows.OWNER)],
            {"transfer_status__in": [State.FAILED, State.UPLOADING], "lease_owner": rows.OWNER},
        ),
        (
            [("transfer_status", "NOT IN", [State.FAILED, State.PENDING])],
            {"transfer_status__in": sorted(set(State) - {State.FAILED, State.PENDING})},
        ),
    ],
)
def test_condition_means_what_django_s_does(
    where: list[Condition], lookups: dict[str, Any], in_all_statuses: list[GCPVideoTransfer]
) -> None:
    late = rows.transfer(next_attempt_at=NOW + timedelta(seconds=1))
    found = {pk for (pk,) in select_many(GCPVideoTransfer, ("id",), where)}
    expected = set(GCPVideoTransfer.objects.filter(**lookups).values_list("pk", flat=True))
    assert found == expected
    assert set(GCPVideoTransfer.objects.filter(as_q(where)).values_list("pk", flat=True)) == expected
    assert 0 < len(expected) < len(in_all_statuses) + len([late])


def test_empty_list_matches_no_row(in_all_statuses: list[GCPVideoTransfer]) -> None:
    assert select_many(GCPVideoTransfer, ("id",), [("id", "IN", [])]) == []
    assert len(select_many(GCPVideoTransfer, ("id",), [("id", "NOT IN", [])])) == len(in_all_statuses)


def test_first_rows_of_an_order_are_found() -> None:
    _, first, second = (rows.transfer(next_attempt_at=NOW + timedelta(seconds=n)) for n in (9, 1, 5))
    found = select_many(
        GCPVideoTransfer, ("id",), [("transfer_status", "=", State.PENDING)], order_by="next_attempt_at", most=2
    )
    assert [pk for (pk,) in found] == [first.pk, second.pk]


@pytest.mark.parametrize("lock", list(Lock))
def test_lock_does_not_change_what_is_found(lock: Lock) -> None:
    site = rows.camera().site
    Alarm.objects.create(
        code="disk_full", subject_kind="media_root", subject_id=str(site.pk), raised_at=NOW, last_seen_at=NOW
    )
    with transaction.atomic():
        found = select_many(Alarm, ("subject_id", "raised_at", "cleared_at"), [("code", "=", "disk_full")], lock=lock)
    assert found == [(str(site.pk), NOW, None)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's row locks")
@pytest.mark.parametrize(("lock", "left"), [(Lock.NONE, True), (Lock.WAIT, False), (Lock.SKIP_LOCKED, False)])
def test_locked_row_is_passed_over_until_it_is_free(lock: Lock, left: bool) -> None:
    one = rows.transfer()
    seen: list[int] = []

    def other() -> None:
        with transaction.atomic():
            seen.append(len(load_many(GCPVideoTransfer, [("id", "=", one.pk)], lock=Lock.SKIP_LOCKED)))
        connections.close_all()

    with transaction.atomic():
        load_many(GCPVideoTransfer, [("id", "=", one.pk)], lock=lock)
        while_locked = threading.Thread(target=other)
        while_locked.start()
        while_locked.join(30)
    afterwards = threading.Thread(target=other)
    afterwards.start()
    afterwards.join(30)
    assert seen == [int(left), 1]
