from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.cctv.models import Camera, Recording, Site
from apps.cctv.services import Conflict, NotFound, ServiceError
from apps.cctv.services.importing.report import ImportReport, shown
from apps.cctv.services.media_root import MediaRootUnusable
from offload.clock import SystemClock
from offload.errors import FileProblem, Reason
from tests.footage import make_clip, make_unfinished_clip
from tests.integration.importing.conftest import Import
from tests.threads import all_at_once

pytestmark = pytest.mark.django_db


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_files_of_a_recorder_become_recordings_of_their_cameras(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4", seconds=4)
    make_clip(media_root / "Yard/2026-11-22/12-30-00.mp4")

    report = run_import()

    assert (report.looked_at, report.registered, report.known, report.refused_count) == (2, 2, 0, 0)
    assert report.cameras_created == ["Gate", "Yard"]
    recording = Recording.objects.get(camera__name="Gate")
    found = (media_root / "Gate/2026-11-22/12-30-00.mp4").stat()
    assert (recording.local_path, recording.file_path, recording.name) == (
        "Gate/2026-11-22/12-30-00.mp4",
        "Gate/2026-11-22/12-30-00.mp4",
        "12-30-00.mp4",
    )
    assert (recording.file_size_bytes, recording.file_mtime_ns) == (found.st_size, found.st_mtime_ns)
    assert (recording.codec, recording.width_pixels, recording.height_pixels) == ("h264", 320, 240)
    assert (recording.started_at, recording.ended_at) == (utc("2026-11-22 12:30"), utc("2026-11-22 12:30:04"))
    assert (recording.status, recording.storage_type, recording.duration_seconds) == ("ready", "local", 4.0)
    assert report.registered_bytes == sum(Recording.objects.values_list("file_size_bytes", flat=True))


def test_second_run_registers_nothing_and_reads_nothing(media_root: Path, run_import: Import) -> None:
    clip = make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    run_import()
    before = clip.stat()
    clip.write_bytes(bytes(before.st_size))  # a second look into it would be refused
    os.utime(clip, ns=(before.st_mtime_ns, before.st_mtime_ns))

    report = run_import()

    assert (report.registered, report.known, report.refused_count) == (0, 1, 0)
    assert Recording.objects.count() == 1


def test_a_run_that_was_interrupted_goes_on(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    run_import()
    make_clip(media_root / "Gate/2026-11-22/12-31-00.mp4")

    report = run_import()

    assert (report.registered, report.known) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_register_each_file_once(media_root: Path, run_import: Import) -> None:
    for minute in range(40):
        make_clip(media_root / f"Gate/2026-11-22/12-{minute:02}-00.mp4", seconds=1)
    reports = all_at_once(3, run_import)

    assert Recording.objects.count() == 40
    assert Camera.objects.count() == 1
    assert sum(report.registered for report in reports) == 40
    assert sum(report.known for report in reports) == 80
    assert not any(report.refused_count for report in reports)


def test_another_file_under_a_known_path_is_another_recording(media_root: Path, run_import: Import) -> None:
    path = media_root / "Gate/2026-11-22/12-30-00.mp4"
    make_clip(path, age_seconds=7200)
    run_import()
    old = Recording.objects.get()
    make_clip(path, seconds=3, shade=9, age_seconds=3600)

    report = run_import()

    assert report.registered == 1
    assert [(one.path, one.recording_id) for one in report.replacements] == [(old.local_path, old.pk)]
    assert Recording.objects.filter(local_path=old.local_path).count() == 2
    assert run_import().replaced == 0


def test_another_file_replaces_no_uploaded_recording(media_root: Path, run_import: Import) -> None:
    path = media_root / "Gate/2026-11-22/12-30-00.mp4"
    make_clip(path, age_seconds=7200)
    run_import()
    Recording.objects.update(storage_type="gcp", file_path="recordings/x")
    make_clip(path, shade=9, age_seconds=3600)

    report = run_import()

    assert (report.registered, report.replaced) == (1, 0)


def test_another_size_under_the_very_same_time_is_refused(media_root: Path, run_import: Import) -> None:
    path = make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    before = path.stat()
    run_import()
    make_clip(path, seconds=3)
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))

    report = run_import()

    assert report.refused == {Reason.FILE_CHANGED: 1}
    assert Recording.objects.count() == 1


def test_refused_file_has_its_reason_and_stops_nothing(media_root: Path, tmp_path: Path, run_import: Import) -> None:
    folder = media_root / "Gate" / "2026-11-22"
    make_clip(folder / "12-00-00.mp4")
    make_clip(folder / "12-01-00.mp4", age_seconds=1)
    make_unfinished_clip(folder / "12-02-00.mp4")
    (folder / "12-03-00.mp4").touch()
    os.utime(folder / "12-03-00.mp4", (1, 1))
    outside = make_clip(tmp_path / "outside.mp4")
    (folder / "12-04-00.mp4").symlink_to(outside)
    os.mkfifo(folder / "12-05-00.mp4")
    make_clip(folder / "notes.avi")
    make_clip(folder / "notes.txt")
    make_clip(Path(os.fsdecode(os.fsencode(folder) + b"/12-06-\xff.mp4")))
    make_clip(media_root / ".coldreel-trash" / "12-07-00.mp4")
    make_clip(folder / ".12-08-00.mp4.part")
    make_clip(tmp_path / "elsewhere" / "2026-11-22" / "12-09-00.mp4")
    (media_root / "Linked").symlink_to(tmp_path / "elsewhere")

    report = run_import()

    assert report.registered == 1
    assert report.refused == {
        Reason.FILE_NOT_PLAYABLE: 1,
        Reason.FILE_EMPTY: 1,
        Reason.FILE_IS_LINK: 2,
        Reason.FILE_NOT_REGULAR: 1,
        Reason.PATH_NOT_MATCHED: 1,
        Reason.NAME_NOT_UTF8: 1,
    }
    assert (report.later, report.passed_over) == (1, {".txt": 1})
    assert report.looked_at == 10
    assert Recording.objects.get().name == "12-00-00.mp4"
    assert "no index" in report.refusals[Reason.FILE_NOT_PLAYABLE][0].detail


def test_file_still_written_is_taken_once_settled(media_root: Path, run_import: Import) -> None:
    path = make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4", age_seconds=5)

    report = run_import(settle_seconds=3600)
    assert (report.later, report.refused_count, report.is_whole) == (1, 0, True)

    os.utime(path, (time.time() - 7200,) * 2)
    assert run_import(settle_seconds=3600).registered == 1


def test_file_changing_while_read_is_left_for_later(media_root: Path, run_import: Import) -> None:
    path = make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")

    class Disturbing(SystemClock):
        """Asked at the start, and whether the file has settled once it is open: then it is written to."""

        asked = 0

        def now(self) -> datetime:
            self.asked += 1
            if self.asked == 2:
                with path.open("ab") as file:
                    file.write(b"more")
            return super().now()

    report = run_import(clock=Disturbing())

    assert (report.later, report.refused_count) == (1, 0)
    assert not Recording.objects.exists()


def test_file_swapped_for_a_link_is_refused(media_root: Path, tmp_path: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    second = make_clip(media_root / "Gate/2026-11-22/12-31-00.mp4")
    outside = make_clip(tmp_path / "outside" / "2026-11-22" / "12-31-00.mp4")

    def swap(report: ImportReport) -> None:
        if report.looked_at == 1:
            second.unlink()
            second.symlink_to(outside)

    report = run_import(on_file=swap)

    assert (report.registered, report.refused) == (1, {Reason.FILE_IS_LINK: 1})


def test_folder_swapped_for_a_link_is_refused(media_root: Path, tmp_path: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    make_clip(media_root / "Yard/2026-11-22/12-30-00.mp4")
    make_clip(tmp_path / "outside" / "2026-11-22" / "12-30-00.mp4")

    def swap(report: ImportReport) -> None:
        if report.looked_at == 1:
            (media_root / "Yard").rename(tmp_path / "away")
            (media_root / "Yard").symlink_to(tmp_path / "outside")

    report = run_import(on_file=swap)

    assert (report.registered, report.refused) == (1, {Reason.FILE_IS_LINK: 1})


@pytest.mark.parametrize(
    "name",
    [
        "new\nline.mp4",
        "quo'te\" `id` $(id).mp4",
        "ünïcode 🎥 שלום.mp4",
        "é" * 125 + "x.mp4",
        "-rf.mp4",
        "a" * 251 + ".mp4",
    ],
)
def test_names_of_every_kind_are_registered_as_they_are(media_root: Path, run_import: Import, name: str) -> None:
    make_clip(media_root / "Gate" / name)

    report = run_import(template="{camera}/{any}")

    assert report.registered == 1
    assert Recording.objects.get().local_path == f"Gate/{name}"
    assert (media_root / Recording.objects.get().local_path).is_file()


def test_start_is_read_in_the_sites_time_zone(media_root: Path, run_import: Import) -> None:
    Site.objects.create(name="Berlin", time_zone="Europe/Berlin")
    make_clip(media_root / "Gate/2026-07-01/12-30-00.mp4", started_at=utc("2026-01-01 00:00"))

    run_import()
    assert Recording.objects.get().started_at == utc("2026-07-01 10:30")


def test_time_zone_that_is_given_goes_before_the_sites(media_root: Path, run_import: Import) -> None:
    Site.objects.create(name="Berlin", time_zone="Europe/Berlin")
    make_clip(media_root / "Gate/2026-07-01/12-30-00.mp4")

    run_import(time_zone="America/New_York")
    assert Recording.objects.get().started_at == utc("2026-07-01 16:30")


def test_repeated_hour_is_told_by_the_files_own_time(media_root: Path, run_import: Import) -> None:
    for name, written in (("first", "2026-10-25 00:30:02"), ("second", "2026-10-25 01:30:02")):
        path = make_clip(media_root / name / "2026-10-25/02-30-00.mp4", seconds=2)
        os.utime(path, (utc(written).timestamp(),) * 2)

    run_import(time_zone="Europe/Berlin")

    assert dict(Recording.objects.values_list("camera__name", "started_at")) == {
        "first": utc("2026-10-25 00:30"),
        "second": utc("2026-10-25 01:30"),
    }


def test_start_comes_from_container_then_from_last_write(media_root: Path, run_import: Import) -> None:
    told = make_clip(media_root / "Gate/told.mp4", started_at=utc("2026-11-20 08:00"))
    untold = make_clip(media_root / "Gate/untold.mp4", seconds=3)
    wrong = make_clip(media_root / "Gate/wrong.mp4", seconds=3, started_at=utc("2030-01-01 00:00"))
    for path in (told, untold, wrong):
        os.utime(path, (utc("2026-11-20 09:00:03").timestamp(),) * 2)

    run_import(template="{camera}/{any}.mp4")

    assert dict(Recording.objects.values_list("name", "started_at")) == {
        "told.mp4": utc("2026-11-20 08:00"),
        "untold.mp4": utc("2026-11-20 09:00"),
        "wrong.mp4": utc("2026-11-20 09:00"),
    }


def test_all_files_may_be_of_one_camera(media_root: Path, camera: Camera, run_import: Import) -> None:
    make_clip(media_root / "nvr/ch01/a.mp4")
    make_clip(media_root / "other/b.mp4")

    report = run_import(template="", camera="Gate", folder="nvr", create_cameras=False)

    assert report.registered == 1
    assert Recording.objects.get().camera == camera


def test_camera_that_may_not_be_created_refuses_its_files(media_root: Path, camera: Camera, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    make_clip(media_root / "Roof/2026-11-22/12-30-00.mp4")

    report = run_import(create_cameras=False)

    assert (report.registered, report.refused) == (1, {Reason.CAMERA_NOT_FOUND: 1})
    assert Camera.objects.count() == 1


def test_folder_that_makes_no_camera_name_creates_none(media_root: Path, run_import: Import) -> None:
    for name in ("new\nline", "x" * 101, " "):
        make_clip(media_root / name / "2026-11-22/12-30-00.mp4")

    assert run_import().refused == {Reason.CAMERA_NOT_FOUND: 3}
    assert not Camera.objects.exists()


def test_sites_come_from_the_path_where_it_tells_them(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "North/Gate/2026-11-22/12-30-00.mp4")
    make_clip(media_root / "South/Gate/2026-11-22/12-30-00.mp4")

    run_import(template="{site}/{camera}/{date}/{time}.mp4", time_zone="Europe/Berlin")

    assert sorted(Camera.objects.values_list("site__name", "site__time_zone", "name")) == [
        ("North", "Europe/Berlin", "Gate"),
        ("South", "Europe/Berlin", "Gate"),
    ]


def test_among_several_sites_one_has_to_be_named(media_root: Path, run_import: Import) -> None:
    Site.objects.create(name="North")
    south = Site.objects.create(name="South")
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")

    with pytest.raises(Conflict, match="--site"):
        run_import()
    run_import(site="South")

    assert Camera.objects.get().site == south


def test_missing_camera_site_or_time_zone_stops_the_run(media_root: Path, site: Site, run_import: Import) -> None:
    with pytest.raises(NotFound, match="no camera 'Roof'"):
        run_import(template="", camera="Roof", create_cameras=False)
    with pytest.raises(NotFound, match="no site 'Moon'"):
        run_import(template="", camera="Roof", site="Moon", create_cameras=False)
    with pytest.raises(ServiceError, match="Europe/Berlin"):
        run_import(time_zone="Berlin")


def test_dry_run_tells_the_same_and_writes_nothing(media_root: Path, run_import: Import) -> None:
    (media_root / ".coldreel-media-root").unlink()
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    make_unfinished_clip(media_root / "Gate/2026-11-22/12-31-00.mp4")

    dry = run_import(dry_run=True)

    assert (dry.registered, dry.refused_count, dry.cameras_created) == (1, 1, ["Gate"])
    assert not Recording.objects.exists()
    assert not Camera.objects.exists()
    assert not Site.objects.exists()
    assert not (media_root / ".coldreel-media-root").exists()
    wet = run_import()
    assert (wet.registered, wet.refused, wet.cameras_created) == (dry.registered, dry.refused, dry.cameras_created)


def test_first_import_marks_the_media_root(media_root: Path, run_import: Import) -> None:
    (media_root / ".coldreel-media-root").unlink()

    run_import()

    assert (media_root / ".coldreel-media-root").is_file()


def test_a_missing_marker_stops_every_later_import(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    run_import()
    (media_root / ".coldreel-media-root").unlink()
    make_clip(media_root / "Gate/2026-11-22/12-31-00.mp4")

    with pytest.raises(MediaRootUnusable, match="is the disk mounted"):
        run_import()

    assert Recording.objects.count() == 1
    assert not (media_root / ".coldreel-media-root").exists()


@pytest.mark.parametrize("folder", [".coldreel-trash", "../elsewhere", "nowhere"])
def test_trash_and_what_lies_elsewhere_is_never_imported(media_root: Path, run_import: Import, folder: str) -> None:
    make_clip(media_root / ".coldreel-trash" / "a.mp4")
    make_clip(media_root.parent / "elsewhere" / "a.mp4")

    with pytest.raises(FileProblem):
        run_import(folder=folder, template="", camera="Gate")

    assert not Recording.objects.exists()


def test_pages_are_small_transactions_and_few_queries(media_root: Path, run_import: Import) -> None:
    for number in range(1100):
        make_clip(media_root / f"Gate/{number:04}.mp4", seconds=1)

    with CaptureQueriesContext(connection) as queries:
        report = run_import(template="{camera}/{any}.mp4")

    assert report.registered == 1100
    assert len(queries) < 90
    statements = "\n".join(query["sql"][:60] for query in queries)
    transactions = [part for part in statements.split("RELEASE SAVEPOINT") if 'INTO "cctv_recording"' in part]
    assert len(transactions) == 3


def test_few_refusals_are_kept_and_all_counted(media_root: Path, run_import: Import) -> None:
    for number in range(30):
        (media_root / f"{number:02}.doc").touch()

    report = run_import()

    assert report.refused == {Reason.PATH_NOT_MATCHED: 30}
    assert [refusal.path for refusal in report.refusals[Reason.PATH_NOT_MATCHED]] == [f"{n:02}.doc" for n in range(20)]


def test_hostile_names_are_shown_on_one_line_and_harmlessly() -> None:
    assert shown("a\nb\x1b[2Jc\u202e.mp4") == "a\\nb\\x1b[2Jc\\u202e.mp4"
    assert shown(os.fsdecode(b"\xff.mp4")) == "\\xff.mp4"
    assert shown("Größe 🎥.mp4") == "Größe 🎥.mp4"


def test_recording_that_ended_before_registration_has_its_end(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4", seconds=7)
    run_import()

    recording = Recording.objects.get()
    assert recording.ended_at == recording.started_at + timedelta(seconds=7)
