"""The three queries that operators have in their scripts, word for word (contract: "Model GCPVideoTransfer")."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from offload.states import State
from tests.integration.db import rows

pytestmark = pytest.mark.django_db

DISTRIBUTION = "SELECT transfer_status, COUNT(*) FROM cctv_gcpvideotransfer GROUP BY transfer_status;"
DUE = {
    "postgresql": """SELECT COUNT(*) FROM cctv_gcpvideotransfer
WHERE transfer_status = 'cleanup_pending' AND cleanup_scheduled_at <= NOW();""",
    "sqlite": """SELECT COUNT(*) FROM cctv_gcpvideotransfer
WHERE transfer_status = 'cleanup_pending' AND cleanup_scheduled_at <= DATETIME('now');""",
}
SPACE = """SELECT SUM(file_size_bytes) FROM cctv_gcpvideotransfer
WHERE transfer_status = 'cleanup_pending';"""


def ask(query: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


@pytest.fixture
def _transfers() -> None:
    hour = timedelta(hours=1)
    for state in set(State) - {State.CLEANUP_PENDING}:
        rows.transfer(state)
    for scheduled_at in (timezone.now() - hour, timezone.now() + hour, timezone.now() + 24 * hour):
        rows.transfer(State.CLEANUP_PENDING, cleanup_scheduled_at=scheduled_at)


@pytest.mark.usefixtures("_transfers")
def test_status_distribution_is_told() -> None:
    assert dict(ask(DISTRIBUTION)) == {state.value: 3 if state is State.CLEANUP_PENDING else 1 for state in State}


@pytest.mark.usefixtures("_transfers")
def test_transfers_due_for_cleanup_are_counted() -> None:
    assert ask(DUE[connection.vendor]) == [(1,)]


@pytest.mark.usefixtures("_transfers")
def test_space_waiting_for_cleanup_is_summed() -> None:
    assert [(int(str(total)),) for (total,) in ask(SPACE)] == [(3000,)]
