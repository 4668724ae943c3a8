"""Footage that waits for a person is looked for and told: never imported, or imported and never asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from apps.cctv.doctor.finding import Finding, Level
from apps.cctv.doctor.footage import footage_findings, request_findings
from apps.cctv.doctor.workers import worker_findings
from apps.cctv.models import PeriodicJob, Recording, WorkerProcess
from apps.cctv.services.unimported_footage import FootageScan, footage_scan, footage_scan_note
from apps.cctv.wiring import service_settings
from offload.clock import SystemClock
from offload.source import MediaRoot
from offload.states import State
from tests.conftest import MakeRecording
from tests.footage import make_clip
from tests.integration.db import rows

pytestmark = pytest.mark.django_db

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def finding(media_root: Path) -> Callable[[], Finding]:
    def look() -> Finding:
        (found,) = footage_findings(root=MediaRoot(media_root), clock=SystemClock())
        return found

    return look


@pytest.fixture
def worker_is_alive(tmp_path: Path) -> Path:
    WorkerProcess.objects.create(host="elsewhere", pid=1, installation_id="i")
    return tmp_path


@pytest.fixture
def look(media_root: Path) -> Callable[..., FootageScan]:
    return lambda **bounds: footage_scan(root=MediaRoot(media_root), clock=SystemClock(), **bounds)


def test_disk_with_all_files_registered_counts_as_examined(
    finding: Callable[[], Finding], make_recording: MakeRecording, media_root: Path
) -> None:
    make_recording("Gate/one.mp4")
    (media_root / "Gate" / "one.jpg").touch()
    found = finding()
    assert found.level is Level.OK
    assert found.detail == (
        "Looked at all 2 files below MEDIA_ROOT: 1 registered, 1 passed over by their type, none that was never imported."
    )


@pytest.mark.parametrize(("age_seconds", "level"), [(2 * HOUR, Level.WARNING), (2 * DAY, Level.PROBLEM)])
def test_files_never_imported_are_told_by_folder(
    finding: Callable[[], Finding], media_root: Path, make_recording: MakeRecording, age_seconds: float, level: Level
) -> None:
    make_recording("Gate/known.mp4")
    for number in range(7):
        make_clip(media_root / f"Gate/{number}.mp4", age_seconds=age_seconds)
    make_clip(media_root / "Yard/2026/a\n.mp4", age_seconds=age_seconds)
    found = finding()
    assert found.level is level
    assert "8 of 9, in Gate 7, Yard/2026 1" in found.detail
    assert "for example Gate/0.mp4, Gate/1.mp4" in found.detail
    assert "import_recordings" in found.advice


def test_young_file_is_no_warning_but_is_told(finding: Callable[[], Finding], media_root: Path) -> None:
    make_clip(media_root / "Gate/new.mp4", age_seconds=60)
    found = finding()
    assert found.level is Level.OK
    assert "Younger than an hour, and perhaps still to be imported: 1." in found.detail


def test_another_file_under_a_known_path_was_never_imported(
    look: Callable[..., FootageScan], make_recording: MakeRecording, media_root: Path
) -> None:
    make_recording("Gate/one.mp4")
    os.utime(media_root / "Gate/one.mp4", (time.time() - 2 * HOUR,) * 2)
    assert look().unknown == {"Gate": 1}


def test_name_that_is_no_text_was_never_imported(look: Callable[..., FootageScan], media_root: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(media_root) + b"/\xff.mp4"))
    path.touch()
    assert look().unknown_count == 1


def test_file_of_a_fast_clock_is_judged_by_the_kernel(look: Callable[..., FootageScan], media_root: Path) -> None:
    make_clip(media_root / "Gate/ahead.mp4", age_seconds=-10 * DAY)
    assert (look().young, look().unknown_count) == (1, 0)


@pytest.mark.parametrize("bounds", [{"most_files": 2}, {"most_seconds": 0.0}, {"should_stop": lambda: True}])
def test_a_look_that_was_cut_short_says_so(
    look: Callable[..., FootageScan], media_root: Path, bounds: dict[str, object]
) -> None:
    for number in range(4):
        make_clip(media_root / f"{number}.jpg")
    found = look(**bounds)
    assert not found.is_whole
    assert str(found).endswith("not all of the disk was looked at")


def test_unreadable_folder_does_not_count_as_examined() -> None:
    assert not FootageScan(unreadable=1).is_whole


def test_missing_media_root_does_not_count_as_examined(tmp_path: Path) -> None:
    (found,) = footage_findings(root=MediaRoot(tmp_path / "nowhere"), clock=SystemClock())
    assert found.level is Level.WARNING
    assert "was not looked at" in found.detail


def test_what_a_look_found_is_noted_without_names(look: Callable[..., FootageScan], media_root: Path) -> None:
    make_clip(media_root / "Secret/one.mp4", age_seconds=2 * HOUR)
    footage_scan_note(look(), site_id=None, now=timezone.now(), next_in_seconds=3600)
    noted = PeriodicJob.objects.get(name="look")
    assert noted.last_result == "1 of 1 files are no recording"
    assert (noted.kind, noted.site, noted.last_ok, noted.unknown_files) == ("look", None, True, 1)


@pytest.mark.parametrize(("hours", "level"), [(2, Level.WARNING), (25, Level.PROBLEM)])
def test_recordings_that_were_never_asked_for_are_counted(hours: float, level: Level) -> None:
    now = timezone.now()
    rows.recording("one.mp4", created_at=now - timedelta(hours=hours), file_size_bytes=2**30)
    rows.recording("two.mp4", created_at=now)
    rows.transfer(State.PENDING, of=rows.recording("asked.mp4", created_at=now - timedelta(days=9)))
    rows.recording("damaged.mp4", status=Recording.Status.DAMAGED, created_at=now - timedelta(days=9))
    (found,) = request_findings(now=now)
    assert found.level is level
    assert "Recordings that wait for a request: 2, 1.0 GiB" in found.detail


def test_nothing_is_said_where_every_recording_was_asked_for() -> None:
    rows.transfer(State.PENDING)
    assert list(request_findings(now=timezone.now())) == []


def test_look_of_an_hour_ago_is_not_late(worker_is_alive: Path) -> None:
    now = timezone.now()
    footage_scan_note(FootageScan(), site_id=None, now=now - timedelta(minutes=90), next_in_seconds=3600)
    assert [found.level for found in worker_findings(home=worker_is_alive, now=now, settings=service_settings())] == [
        Level.OK
    ]
    footage_scan_note(FootageScan(), site_id=None, now=now - timedelta(hours=3), next_in_seconds=3600)
    assert Level.WARNING in [
        found.level for found in worker_findings(home=worker_is_alive, now=now, settings=service_settings())
    ]
