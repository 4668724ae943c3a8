"""The overview's numbers and codes, apart from any page: what alerts and metrics read."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from apps.cctv.models import PeriodicJob, WorkerProcess
from apps.cctv.selectors.overview import DiskSpace, Overview, Worry, WorryCode, overview_of
from apps.cctv.tables.work import JobKind
from apps.users.models import User
from offload.states import State
from tests.integration.db import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def overview(media_root: Path, now: datetime) -> Any:
    def of(user: User, **facts: Any) -> Overview:
        given = {"now": now, "media_root": media_root, "lease_seconds": 40.0, "uploads_are_on": True}
        return overview_of(user, **{**given, **facts})

    return of


def job(kind: JobKind, now: datetime, **columns: Any) -> None:
    PeriodicJob.objects.ensure(kind, None, next_run_at=now, last_finished_at=now, **columns)


def test_each_worry_is_a_code_with_its_number(overview: Any, admin_user: User, now: datetime, tmp_path: Path) -> None:
    for state in (State.PENDING, State.UPLOADING, State.FAILED):
        rows.transfer(state)
    rows.recording("never-asked-for.mp4")
    job(JobKind.LOOK, now, unknown_files=7, last_ok=True)
    found = overview(admin_user, media_root=tmp_path / "gone", uploads_are_on=False)
    assert found.worries() == [
        Worry(WorryCode.NO_WORKER, 2),
        Worry(WorryCode.NO_MEDIA_ROOT),
        Worry(WorryCode.FAILED_TRANSFERS, 1),
        Worry(WorryCode.UNREQUESTED_RECORDINGS, 1),
        Worry(WorryCode.UPLOADS_OFF),
        Worry(WorryCode.UNKNOWN_FILES, 7),
    ]


def test_worker_is_alive_for_the_length_of_a_lease(overview: Any, admin_user: User, now: datetime) -> None:
    sign = now - timedelta(seconds=30)
    WorkerProcess.objects.create(host="nvr", pid=1, installation_id="one", heartbeat_at=sign)
    assert overview(admin_user, lease_seconds=40.0).worries() == []
    assert overview(admin_user, lease_seconds=20.0).worries() == [Worry(WorryCode.NO_WORKER)]


@pytest.mark.parametrize(("free_bytes", "is_tight"), [(49, True), (51, False), (0, True), (1000, False)])
def test_disk_is_tight_with_less_than_a_twentieth_free(free_bytes: int, is_tight: bool) -> None:
    assert DiskSpace(free_bytes, 1000).is_tight is is_tight


def test_results_of_jobs_are_for_those_who_see_every_camera(
    overview: Any, admin_user: User, dev_user: User, now: datetime
) -> None:
    rows.camera("Vault", is_private=True)
    job(JobKind.CLEANUP, now, last_result="failed: Vault/12-00.mp4")
    job(JobKind.LOOK, now, last_result="0 of 9 files are no recording", last_ok=True)
    shown, hidden = overview(admin_user), overview(dev_user)
    assert shown.last_cleanup.last_result == "failed: Vault/12-00.mp4"
    assert hidden.last_cleanup.last_result == ""
    assert {row.last_result for row in (*hidden.jobs, *hidden.looks)} == {""}
