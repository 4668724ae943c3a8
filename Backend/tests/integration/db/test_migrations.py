"""The migrations, step by step, forwards and backwards, with rows there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from tests.integration.db import rows

STEPS = [
    "0001_initial",
    "0002_camera_archive_private",
    "0003_cameragrant",
    "0004_recording",
    "0005_recording_media_facts",
    "0006_recording_hold",
    "0007_recording_storage_type",
    "0008_gcpvideotransfer",
    "0009_deletionreceipt",
    "0010_work",
]
Apps = Any
pytestmark = pytest.mark.django_db(transaction=True)


def step(name: str | None) -> Apps:
    """The app brought to that step, and its historical models."""
    executor = MigrationExecutor(connection)
    executor.migrate([("cctv", name)])
    return MigrationExecutor(connection).loader.project_state([("cctv", name)] if name else []).apps


def newest() -> str:
    return max(name for app, name in MigrationLoader(connection).disk_migrations if app == "cctv")


@pytest.fixture
def to() -> Iterator[Callable[[str | None], Apps]]:
    yield step
    with connection.cursor() as cursor:
        present = connection.introspection.table_names(cursor)
    if "cctv_recording" not in present:
        step(None)
    step(newest())


def tables() -> set[str]:
    with connection.cursor() as cursor:
        return {name for name in connection.introspection.table_names(cursor) if name.startswith("cctv_")}


def one_recording(apps: Apps, path: str) -> Any:
    site = apps.get_model("cctv", "Site").objects.get_or_create(name="Depot")[0]
    gate = apps.get_model("cctv", "Camera").objects.get_or_create(site=site, name="Gate")[0]
    return apps.get_model("cctv", "Recording").objects.create(
        camera=gate, name=path, started_at=rows.NOW, file_path=path
    )


def test_the_models_need_no_further_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_steps_are_the_ones_that_documents_name() -> None:
    on_disk = sorted(name for app, name in MigrationLoader(connection).disk_migrations if app == "cctv")
    assert on_disk[: len(STEPS)] == STEPS


def test_all_steps_run_backwards_to_nothing_and_forwards_again(to: Callable[[str | None], Apps]) -> None:
    before = tables()
    to(None)
    assert tables() == set()
    to(newest())
    assert tables() == before


def test_old_recordings_become_local_and_keep_their_path(
    to: Callable[[str | None], Apps],
) -> None:
    apps = to("0006_recording_hold")
    ids = [one_recording(apps, path).pk for path in ("Gate/1.mp4", "Gate/2.mp4", "Gate/naïve \n'quote'.mp4")]
    recording = to("0007_recording_storage_type").get_model("cctv", "Recording")
    found = list(recording.objects.filter(pk__in=ids).values_list("storage_type", "local_path", "file_path"))
    assert sorted(found) == [("local", path, path) for path in ("Gate/1.mp4", "Gate/2.mp4", "Gate/naïve \n'quote'.mp4")]


def test_reversed_migration_restores_the_local_path(to: Callable[[str | None], Apps]) -> None:
    apps = to("0007_recording_storage_type")
    row = one_recording(apps, "Gate/1.mp4")
    type(row).objects.filter(pk=row.pk).update(storage_type="gcp", local_path="Gate/1.mp4", file_path="recordings/x")
    recording = to("0006_recording_hold").get_model("cctv", "Recording")
    assert recording.objects.get(pk=row.pk).file_path == "Gate/1.mp4"


def test_the_storage_type_step_brings_its_constraint(to: Callable[[str | None], Apps]) -> None:
    row = one_recording(to("0007_recording_storage_type"), "Gate/1.mp4")
    with pytest.raises(IntegrityError), transaction.atomic():
        type(row).objects.filter(pk=row.pk).update(storage_type="tape")


def test_rows_of_every_step_survive_the_steps_after_it(to: Callable[[str | None], Apps]) -> None:
    apps = to("0001_initial")
    site = apps.get_model("cctv", "Site").objects.create(name="Depot")
    apps.get_model("cctv", "Camera").objects.create(site=site, name="Gate")
    apps = to("0004_recording")
    row = one_recording(apps, "Gate/1.mp4")
    to(newest())
    kept = rows.Recording.objects.get(pk=row.pk)
    assert (kept.camera.name, kept.camera.site.name, kept.storage_type) == ("Gate", "Depot", "local")
    assert (kept.file_size_bytes, kept.hold_wanted, kept.camera.is_private) == (0, False, False)
