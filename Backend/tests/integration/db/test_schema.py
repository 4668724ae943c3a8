"""A program whose tables are not there: it says which migration is missing, and claims nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from apps.cctv.leasing.claims import BatchQueue
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.schema import LOOK_SECONDS, SchemaMissing, missing_migrations, require_schema
from apps.cctv.wiring import service_settings
from apps.cctv.worker import run_worker
from apps.cctv.worker.lookout import Lookout
from offload.clock import SystemClock
from offload.source import MediaRoot
from offload.testing import FakeClock, MemoryStore
from offload.uploader import UploadSettings
from tests.integration.db import rows
from tests.worker_tools import worker_tools

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bucket")]

Migration = MigrationRecorder.Migration


@pytest.fixture
def newest() -> Iterator[str]:
    """The newest migration of the core; it is recorded as applied again afterwards."""
    name = Migration.objects.filter(app="cctv").latest("name").name
    yield f"cctv.{name}"
    Migration.objects.get_or_create(app="cctv", name=name)


def forget(name: str) -> None:
    app, _, migration = name.partition(".")
    Migration.objects.filter(app=app, name=migration).delete()


def test_every_migration_of_the_program_is_there() -> None:
    assert missing_migrations() == []
    require_schema()


def test_missing_migration_is_named(newest: str) -> None:
    forget(newest)
    assert missing_migrations() == [newest]
    with pytest.raises(SchemaMissing, match=newest):
        require_schema()


def test_database_ahead_of_the_program_is_usable() -> None:
    ahead = Migration.objects.create(app="cctv", name="9999_of_the_next_release")
    try:
        require_schema()
    finally:
        ahead.delete()


@pytest.mark.parametrize("command", ["run_worker", "run_web", "import_recordings", "cleanup_gcp_transfers"])
def test_command_without_its_tables_ends_with_one(newest: str, command: str) -> None:
    forget(newest)
    with pytest.raises(CommandError, match=f"lacks the migration {newest}") as refusal:
        call_command(command, *(["folder"] if command == "import_recordings" else []))
    assert refusal.value.returncode == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="on SQLite `serve` migrates")
def test_serve_on_postgres_migrates_nothing(newest: str, tmp_path: Path, settings: Any) -> None:
    settings.COLDREEL_HOME = tmp_path
    forget(newest)
    with pytest.raises(CommandError, match=f"lacks the migration {newest}"):
        call_command("serve", "--port", "0")
    assert missing_migrations() == [newest]


def test_running_worker_stops_claiming_until_they_are_back(
    newest: str, media_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock(rows.NOW)
    tools = worker_tools(MemoryStore(buckets=("footage",), clock=clock), media_root, clock)
    queue = BatchQueue(owner_id=rows.OWNER, site_id=None, lease_seconds=40, actor="box:7")
    lookout = Lookout(tools, queue, None, site_id=None)
    lookout.look_if_due(has_room=True)
    assert lookout.has_its_tables
    forget(newest)
    clock.advance(LOOK_SECONDS)
    lookout.look_if_due(has_room=True)
    assert not lookout.has_its_tables
    assert newest in caplog.text
    app, _, migration = newest.partition(".")
    Migration.objects.create(app=app, name=migration)
    clock.advance(LOOK_SECONDS)
    lookout.look_if_due(has_room=True)
    assert lookout.has_its_tables


def test_worker_without_its_tables_claims_nothing(newest: str, media_root: Path, tmp_path: Path) -> None:
    site = rows.transfer(rows.State.PENDING).site
    forget(newest)
    looked = threading.Event()

    def stop() -> None:
        looked.wait(1.5)
        connections.close_all()
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop)
    stopping.start()
    clock = SystemClock()
    timings = replace(service_settings().timings, poll_seconds=0.05)
    run_worker(
        store=MemoryStore(buckets=("footage",), clock=clock), root=MediaRoot(media_root), home=tmp_path, uploads=2, site=site,
        settings=replace(service_settings(), timings=timings), upload_settings=UploadSettings(), clock=clock,
    )  # fmt: skip
    stopping.join()
    transfer = GCPVideoTransfer.objects.get()
    assert (transfer.transfer_status, transfer.lease_number) == ("pending", 0)
