"""An answer's rows and counts are of one moment, whatever a writer commits between its queries, and the writer does not wait for it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from apps.cctv.models import Alarm, GCPVideoTransfer, Recording
from apps.cctv.selectors.snapshots import one_snapshot
from apps.users.models import Role
from apps.users.tokens import tokens_issue
from offload.states import State
from tests.integration.admin import scene
from tests.integration.db import rows

pytestmark = pytest.mark.django_db(transaction=True)
API = "/api/v0"
WRITER_SECONDS = 20
"""Far more than a write takes, and less than the 30 s for which SQLite waits for a lock."""


class WriterBetween:
    """After each query of the reader on the tables of the product, another connection commits a change."""

    def __init__(self, write: Callable[[], None]) -> None:
        self.writes = 0
        self._write = write
        self._failed: list[BaseException] = []

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith("SELECT") and re.search(r'FROM "cctv_', sql):
            thread = threading.Thread(target=self._run)
            thread.start()
            thread.join(WRITER_SECONDS)
            assert not thread.is_alive(), "the reader keeps a writer waiting"
            assert self._failed == []
            self.writes += 1
        return result

    def _run(self) -> None:
        try:
            self._write()
        except BaseException as error:  # noqa: BLE001 - told in the reader's thread
            self._failed.append(error)
        finally:
            connections.close_all()


def more_footage() -> None:
    """A recording and its transfer, held, in each state that counts; with an alarm."""
    for state in State:
        row = rows.transfer(state)
        Recording.objects.filter(pk=row.recording_id).update(hold_wanted=True)
        row.events.create(at=timezone.now(), actor="ada", move="request", to_status="pending", reason="requested")
    Alarm.objects.create(
        code="permission_denied",
        subject_kind="transfer",
        subject_id=str(row.pk),
        raised_at=timezone.now(),
        last_seen_at=timezone.now(),
    )


def read(address: str) -> tuple[Any, int]:
    client = Client()
    user = scene.person(Role.SUPERADMIN)
    client.force_login(user)
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {tokens_issue(user).access}"
    between = WriterBetween(more_footage)
    with connection.execute_wrapper(between):
        answer = client.get(address)
    assert answer.status_code == 200
    return answer, between.writes


def test_transfer_list_has_as_many_rows_as_it_counts() -> None:
    more_footage()
    answer, writes = read(f"{API}/recordings/gcp-transfers/?limit=1000")

    body = answer.json()
    statuses = [row["transfer_status"] for row in body["transfers"]]
    assert writes > 1
    assert body["total_count"] == len(statuses) == len(State)
    assert body["uploading_count"] == statuses.count("uploading")


def test_sums_and_cleanup_counts_are_of_one_moment() -> None:
    more_footage()
    body = read(f"{API}/recordings/stats/")[0].json()

    assert body["total_count"] == len(State)
    assert body["waiting_for_cleanup_bytes"] == 1000


def test_transfer_and_its_history_are_of_one_moment() -> None:
    more_footage()
    row = GCPVideoTransfer.objects.order_by("pk")[0]

    def one_more_event() -> None:
        row.events.create(at=timezone.now(), actor="ada", move="request", to_status="pending", reason="requested")

    client = Client()
    user = scene.person(Role.SUPERADMIN)
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {tokens_issue(user).access}"
    with connection.execute_wrapper(WriterBetween(one_more_event)):
        body = client.get(f"{API}/recordings/gcp-transfers/{row.pk}/").json()
    assert len(body["events"]) == 1


def test_all_of_the_front_page_is_of_one_moment(media_root: Any) -> None:
    more_footage()
    answer, writes = read("/admin/")

    text = answer.content.decode()
    dashboard = answer.context["dashboard"]
    assert writes > 5
    assert {count.count for count in dashboard.counts} == {1}
    assert len(dashboard.uploading) == len(dashboard.failed) == len(dashboard.alarms) == dashboard.alarm_count == 1
    badges = re.findall(r"notifications</span>.*?</a>", text, re.DOTALL)
    assert all(re.search(r">\s*1\s*<", badge) for badge in badges if ">" in badge.removeprefix("notifications</span>"))


def test_admin_page_has_as_many_rows_as_it_counts() -> None:
    more_footage()
    answer, writes = read("/admin/cctv/gcpvideotransfer/")

    found = answer.context["cl"]
    assert writes > 1
    assert found.result_count == len(found.result_list) == len(State)


def test_ended_session_is_told_so_without_a_fault() -> None:
    """Django ends the session of a changed password while it looks who asks: that is a write."""
    client = Client()
    user = scene.person(Role.ADMIN)
    client.force_login(user)
    user.set_password("another")
    user.save()

    assert client.get("/admin/").status_code == 302


def test_what_writes_afterwards_still_takes_the_lock_at_once() -> None:
    with one_snapshot():
        GCPVideoTransfer.objects.count()
    if connection.vendor == "sqlite":
        assert connection.transaction_mode == "IMMEDIATE"
    more_footage()
    assert GCPVideoTransfer.objects.count() == len(State)


def test_error_inside_leaves_the_connection_as_it_was() -> None:
    with pytest.raises(FieldError), one_snapshot():
        GCPVideoTransfer.objects.filter(no_such_column=1)

    assert not connection.in_atomic_block
    more_footage()
