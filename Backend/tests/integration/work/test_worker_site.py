"""Which site a worker starts for, by its marker, `--site` and `--office`; and what one does on another's disk (P11)."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from apps.cctv import wiring
from apps.cctv.models import Alarm, GCPVideoTransfer, PlaceEvent, Recording, Site, WorkerProcess
from apps.cctv.services import Conflict, NotFound
from apps.cctv.services.media_root import Marker, local_site, media_root_name_site
from apps.cctv.services.sites import DEFAULT_SITE_NAME, site_add
from apps.cctv.services.worker_site import WorkerSite, site_root, worker_site
from apps.cctv.worker import run_worker
from offload.source import MediaRoot
from offload.states import State
from offload.testing import MemoryStore
from offload.uploader import UploadSettings
from tests.conftest import INSTALLATION_ID, MARKER, MakeRecording
from tests.integration.db import rows
from tests.integration.work.conftest import MakeTransfer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]


@pytest.fixture
def root(media_root: Path) -> MediaRoot:
    return MediaRoot(media_root)


@pytest.fixture
def harbour(site: Site) -> Site:
    return Site.objects.create(name="Harbour")


def chosen(root: MediaRoot, name: str | None = None) -> WorkerSite:
    return worker_site(root=root, name=name, now=timezone.now())


def refused(root: MediaRoot, name: str | None = None) -> str:
    with pytest.raises(Conflict) as refusal:
        chosen(root, name)
    return refusal.value.detail


# --- the rules ---


def test_marker_decides_where_no_site_is_said(root: MediaRoot, harbour: Site) -> None:
    root.write_marker(str(Marker.of(harbour)))
    assert chosen(root) == WorkerSite(harbour)
    assert chosen(root, "Harbour") == WorkerSite(harbour)


def test_site_that_differs_from_the_marker_is_refused(root: MediaRoot, site: Site, harbour: Site) -> None:
    root.write_marker(str(Marker.of(harbour)))
    assert "names the site Harbour" in refused(root, "Depot")


def test_marker_of_another_installation_is_refused(root: MediaRoot, site: Site) -> None:
    root.write_marker(str(Marker.of(site)).replace(INSTALLATION_ID, "another"))
    assert "another installation" in refused(root)
    assert "another installation" in refused(root, "Depot")


def test_unmarked_root_of_one_new_site_starts(root: MediaRoot, site: Site) -> None:
    (root.path / MARKER).unlink()
    found = chosen(root)
    assert found.site == site
    assert "No folder is named yet" in found.notice


def test_unmarked_root_with_recordings_is_refused(root: MediaRoot, site: Site, make_recording: MakeRecording) -> None:
    make_recording()
    (root.path / MARKER).unlink()
    assert "not mounted" in refused(root)
    assert "not mounted" in refused(root, "Depot")


def test_unmarked_root_among_several_sites_is_refused(root: MediaRoot, harbour: Site) -> None:
    (root.path / MARKER).unlink()
    assert "--office" in refused(root)
    assert "mark_media_root --site" in refused(root, "Harbour")


def test_old_marker_among_several_sites_is_refused(root: MediaRoot, harbour: Site) -> None:
    assert "names no site" in refused(root)
    assert "names no site" in refused(root, "Harbour")


def test_unknown_site_is_not_made(root: MediaRoot) -> None:
    with pytest.raises(NotFound, match="add_site"):
        chosen(root, "Harbour")
    assert not Site.objects.exists()


def test_first_worker_of_all_makes_the_site(root: MediaRoot) -> None:
    (root.path / MARKER).unlink()
    assert chosen(root).site.name == DEFAULT_SITE_NAME


# --- an installation of an earlier release ---


def test_old_marker_of_one_site_is_named(root: MediaRoot, site: Site) -> None:
    assert chosen(root) == WorkerSite(site)
    assert Marker.parse(root.read_marker()) == Marker(INSTALLATION_ID, str(site.pk), "Depot")
    Site.objects.create(name="Harbour")
    assert chosen(root) == WorkerSite(site)


def test_named_marker_leaves_no_draft_behind(root: MediaRoot, site: Site) -> None:
    assert media_root_name_site(root)
    assert not media_root_name_site(root)
    assert [path.name for path in root.path.iterdir()] == [MARKER]
    assert (root.path / MARKER).stat().st_mode & 0o777 == 0o644


def test_old_marker_of_several_sites_is_left(root: MediaRoot, harbour: Site) -> None:
    text = root.read_marker()
    assert not media_root_name_site(root)
    assert root.read_marker() == text


def test_missing_marker_is_not_made_by_naming(root: MediaRoot, site: Site) -> None:
    (root.path / MARKER).unlink()
    assert not media_root_name_site(root)
    assert not (root.path / MARKER).exists()


def test_root_counts_as_mounted_for_its_site_only(root: MediaRoot, site: Site, harbour: Site) -> None:
    root.write_marker(str(Marker.of(site)))
    assert site_root(root, site).has_marker()
    assert not site_root(root, harbour).has_marker()


# --- a worker ---


def run(store: MemoryStore, root: MediaRoot, home: Path, site: Site | None, *, until_idle: bool) -> None:
    run_worker(
        store=store,
        root=root,
        home=home,
        settings=replace(wiring.service_settings(), timings=replace(wiring.timings(), poll_seconds=0.02)),
        upload_settings=UploadSettings(settle_seconds=0),
        uploads=2,
        site=site,
        until_idle=until_idle,
        periodic=False,
    )


def run_until_alarm(store: MemoryStore, root: MediaRoot, home: Path, site: Site) -> None:
    def stop() -> None:
        deadline = time.monotonic() + 60
        while not Alarm.objects.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        connections.close_all()
        os.kill(os.getpid(), signal.SIGTERM)

    person = threading.Thread(target=stop)
    person.start()
    run(store, root, home, site, until_idle=False)
    person.join()


@pytest.mark.django_db(transaction=True)
def test_worker_on_anothers_disk_uploads_nothing(
    store: MemoryStore, root: MediaRoot, tmp_path: Path, site: Site, make_transfer: MakeTransfer
) -> None:
    """The disk was swapped after the start. A file of that path lies there, and another one is missing."""
    there, missing = make_transfer("there.ts"), make_transfer("missing.ts")
    (root.path / "missing.ts").unlink()
    harbour = Site.objects.create(name="Harbour")
    root.write_marker(str(Marker.of(harbour)))
    GCPVideoTransfer.objects.update(next_attempt_at=timezone.now())
    run_until_alarm(store, root, tmp_path, site)
    for transfer in (there, missing):
        transfer.refresh_from_db()
        assert transfer.transfer_status in {State.PENDING, State.UPLOADING}
        assert transfer.retry_count == 0
    assert rows.told() == {("wrong_media_root", "media root at Depot")}
    assert not store.objects()


@pytest.mark.django_db(transaction=True)
def test_office_uploads_nothing_and_needs_no_disk(
    store: MemoryStore, tmp_path: Path, make_transfer: MakeTransfer
) -> None:
    transfer = make_transfer()
    run(store, MediaRoot(tmp_path / "nowhere"), tmp_path, None, until_idle=True)
    transfer.refresh_from_db()
    assert transfer.transfer_status == State.PENDING
    assert WorkerProcess.objects.get().site is None


# --- the commands ---


@pytest.mark.parametrize("command", ["run_worker", "serve"])
def test_command_refuses_another_site_with_status_1(
    command: str, root: MediaRoot, harbour: Site, settings: Any, tmp_path: Path
) -> None:
    settings.COLDREEL_HOME = tmp_path / "home"
    root.write_marker(str(Marker.of(harbour)))
    port = ["--port", "0"] if command == "serve" else []
    with pytest.raises(CommandError, match="names the site Harbour") as refusal:
        call_command(command, "--site", "Depot", *port)
    assert refusal.value.returncode == 1


def test_unknown_site_is_bad_usage(root: MediaRoot) -> None:
    with pytest.raises(CommandError, match="add_site") as refusal:
        call_command("run_worker", "--site", "Nowhere")
    assert refusal.value.returncode == 2


def test_site_and_office_exclude_each_other(root: MediaRoot, site: Site) -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("run_worker", "--site", "Depot", "--office")


# --- sites ---


def test_empty_default_site_is_renamed(root: MediaRoot) -> None:
    default = chosen(root).site
    added = site_add(name="Depot", time_zone="Europe/Berlin", actor="tester", now=timezone.now())
    assert (added.was_renamed, added.site.pk) == (True, default.pk)
    assert Site.objects.get().time_zone == "Europe/Berlin"
    assert [event.what for event in PlaceEvent.objects.all()] == ["site_changed", "site_created"]


def test_default_site_with_a_camera_keeps_its_name(root: MediaRoot) -> None:
    rows.camera("Gate", site=chosen(root).site)
    assert not site_add(name="Depot", time_zone=None, actor="tester", now=timezone.now()).was_renamed
    assert set(Site.objects.values_list("name", flat=True)) == {DEFAULT_SITE_NAME, "Depot"}


@pytest.mark.parametrize("name", ["Depot", " ", "a\nb", "x" * 101])
def test_name_that_cannot_be_is_status_1(name: str, root: MediaRoot, site: Site) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("add_site", name)
    assert refusal.value.returncode == 1
    assert Site.objects.count() == 1


def test_second_site_leaves_the_first_its_disk(root: MediaRoot, site: Site) -> None:
    """Its marker is of an earlier release, and would be refused from now on."""
    call_command("add_site", "Harbour")
    assert local_site(root).site_id == site.pk


def test_disk_of_another_site_changes_hands_on_purpose(root: MediaRoot, site: Site, harbour: Site) -> None:
    call_command("mark_media_root", "--site", "Depot")
    with pytest.raises(CommandError, match="belongs to the site 'Depot'") as refusal:
        call_command("mark_media_root", "--site", "Harbour")
    assert refusal.value.returncode == 1
    assert local_site(root).site_id == site.pk
    call_command("mark_media_root", "--site", "Harbour", "--take-over")
    assert local_site(root).site_id == harbour.pk
    assert "before: Depot" in PlaceEvent.objects.filter(site=harbour).first().detail


def test_disk_of_another_installation_is_refused(root: MediaRoot, site: Site) -> None:
    root.write_marker(str(Marker.of(site)).replace(INSTALLATION_ID, "another"))
    with pytest.raises(CommandError, match="another installation"):
        call_command("mark_media_root")
    call_command("mark_media_root", "--take-over")
    assert local_site(root).site_id == site.pk


def test_several_sites_must_be_told_apart(root: MediaRoot, harbour: Site) -> None:
    with pytest.raises(CommandError, match="--site"):
        call_command("mark_media_root")
    with pytest.raises(CommandError) as refusal:
        call_command("mark_media_root", "--site", "Nowhere")
    assert refusal.value.returncode == 2


def test_sites_are_listed_with_what_waits(
    root: MediaRoot, site: Site, harbour: Site, make_transfer: MakeTransfer, capsys: pytest.CaptureFixture[str]
) -> None:
    root.write_marker(str(Marker.of(site)))
    make_transfer()
    proven = make_transfer("two.ts", status=State.COMPLETED)
    WorkerProcess.objects.create(site=site, host="box", pid=1, installation_id="i")
    call_command("list_sites", "--json")
    depot, other = json.loads(capsys.readouterr().out)
    assert (depot["name"], depot["cameras"], depot["recordings"], depot["waiting"]) == ("Depot", 1, 2, 1)
    assert depot["newest_proven_at"] == Recording.objects.get(gcp_transfer=proven).started_at.isoformat()
    assert (depot["worker"], depot["host"], depot["media_root_is_here"]) == ("alive", "box", True)
    assert (other["name"], other["worker"], other["media_root_is_here"]) == ("Harbour", "not_known", False)
    call_command("list_sites")
    assert "The media root here is that of Depot." in capsys.readouterr().out
