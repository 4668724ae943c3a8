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


BEFORE_SITES, WITH_SITES = "0027_transfer_camera", "0028_recording_site"


def recordings_of_two_sites(apps: Apps) -> dict[Any, Any]:
    """The id of each recording, and of the site that its camera belongs to."""
    expected = {}
    for name in ("Depot", "Harbour"):
        site = apps.get_model("cctv", "Site").objects.create(name=name)
        for camera_name in ("Gate", "Hall"):
            camera = apps.get_model("cctv", "Camera").objects.create(site=site, name=camera_name)
            path = f"{name}/{camera_name}.mp4"
            recordings = apps.get_model("cctv", "Recording")
            columns = {"name": path, "started_at": rows.NOW, "file_path": path, "local_path": path, "file_mtime_ns": 1}
            if hasattr(recordings, "site"):
                columns["site"] = site
            made = recordings.objects.create(camera=camera, **columns)
            expected[made.pk] = site.pk
    return expected


def test_recordings_of_before_get_their_cameras_site(to: Callable[[str | None], Apps]) -> None:
    expected = recordings_of_two_sites(to(BEFORE_SITES))
    recordings = to(WITH_SITES).get_model("cctv", "Recording").objects
    assert dict(recordings.values_list("pk", "site_id")) == expected
    # Back, and forwards again: the sites are found anew.
    to(BEFORE_SITES)
    assert dict(to(WITH_SITES).get_model("cctv", "Recording").objects.values_list("pk", "site_id")) == expected


def test_same_path_and_mtime_lie_at_two_sites(to: Callable[[str | None], Apps]) -> None:
    expected = recordings_of_two_sites(to(BEFORE_SITES))
    recordings = to(WITH_SITES).get_model("cctv", "Recording").objects
    site_ids = set(expected.values())
    for site_id in site_ids:
        recordings.filter(site=site_id, name__endswith="Gate.mp4").update(local_path="Gate.mp4")
    assert recordings.filter(local_path="Gate.mp4").count() == len(site_ids)
    with pytest.raises(IntegrityError), transaction.atomic():
        recordings.filter(site__in=site_ids).update(local_path="Gate.mp4")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite serves one machine, of one release")
def test_worker_of_the_release_before_still_registers_recordings(to: Callable[[str | None], Apps]) -> None:
    site = to(newest()).get_model("cctv", "Site").objects.create(name="Depot")
    gate = rows.camera(site=rows.Site.objects.get(pk=site.pk))
    before = MigrationExecutor(connection).loader.project_state([("cctv", BEFORE_SITES)]).apps
    made = before.get_model("cctv", "Recording").objects.create(
        camera_id=gate.pk, name="1.mp4", started_at=rows.NOW, file_path="1.mp4", local_path="1.mp4"
    )
    assert rows.Recording.objects.get(pk=made.pk).site_id == site.pk


def test_batch_of_two_sites_becomes_one_for_each(to: Callable[[str | None], Apps]) -> None:
    apps = to("0028_recording_site")
    user = rows.user()
    sites = recordings_of_two_sites(apps)
    batches, transfers = apps.get_model("cctv", "TransferBatch"), apps.get_model("cctv", "GCPVideoTransfer")
    mixed, empty = (batches.objects.create(batch_size=3, created_by_id=user.pk, created_at=rows.NOW) for _ in range(2))
    recordings = apps.get_model("cctv", "Recording").objects.all()
    for of in recordings:
        transfers.objects.create(
            recording=of, batch=mixed, site_id=of.site_id, camera_id=of.camera_id, next_attempt_at=rows.NOW
        )
    found = to("0029_batch_site").get_model("cctv", "TransferBatch").objects
    assert empty.pk in found.values_list("pk", flat=True)
    parts = list(found.filter(request_id=mixed.pk))
    assert {part.site_id for part in parts} == set(sites.values())
    assert mixed.pk in {part.pk for part in parts}
    assert {(part.batch_size, part.created_by_id, part.created_at) for part in parts} == {(3, user.pk, rows.NOW)}
    of_batch = dict(rows.GCPVideoTransfer.objects.values_list("recording", "batch__site"))
    assert of_batch == sites
    before = to("0028_recording_site").get_model("cctv", "GCPVideoTransfer").objects
    assert set(before.values_list("batch", flat=True)) == {mixed.pk}


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


def test_transfers_of_before_get_their_cameras(to: Callable[[str | None], Apps]) -> None:
    apps = to("0026_orphan_constraint")
    site = apps.get_model("cctv", "Site").objects.create(name="Depot")
    batch = apps.get_model("cctv", "TransferBatch").objects.create()
    expected = {}
    for name in ("Gate", "Hall", "Gate again"):
        camera = apps.get_model("cctv", "Camera").objects.create(site=site, name=name)
        recording = apps.get_model("cctv", "Recording").objects.create(
            camera=camera, name="1.mp4", started_at=rows.NOW, file_path=name, local_path=name
        )
        made = apps.get_model("cctv", "GCPVideoTransfer").objects.create(
            recording=recording, batch=batch, site=site, next_attempt_at=rows.NOW
        )
        expected[made.pk] = camera.pk
    found = to("0027_transfer_camera").get_model("cctv", "GCPVideoTransfer").objects
    assert dict(found.values_list("pk", "camera_id")) == expected
