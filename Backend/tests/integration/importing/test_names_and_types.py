"""What a live recorder leaves beside its videos, and how it writes times into their names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from apps.cctv.models import Camera, Recording, Site
from apps.cctv.services.importing.report import ImportReport
from apps.cctv.units import human_size
from offload.errors import Reason
from tests.footage import make_clip, make_unfinished_clip
from tests.integration.importing.conftest import TEMPLATE, Import, Outcome

pytestmark = pytest.mark.django_db

Command = Callable[..., Outcome]
KEPT = (".thumb", ".jpg", ".JPG", ".jpeg", ".png", ".json", ".db", ".tmp", ".xml", ".txt", ".log", ".idx")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- later, and passed over ---


def test_file_removed_by_its_recorder_is_no_refusal(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    second = make_clip(media_root / "Gate/2026-11-22/12-31-00.mp4")

    def take_away(report: ImportReport) -> None:
        if report.looked_at == 1:
            second.unlink()

    report = run_import(on_file=take_away)

    assert (report.registered, report.later, report.is_whole) == (1, 1, True)


def test_other_files_of_a_recorder_are_passed_over_counted(media_root: Path, run_import: Import) -> None:
    folder = media_root / "Gate/2026-11-22"
    make_clip(folder / "12-30-00.mp4")
    for number, ending in enumerate(KEPT):
        (folder / f"12-30-{number:02}{ending}").write_bytes(b"x")

    report = run_import()

    assert (report.registered, report.refused_count, report.is_whole) == (1, 0, True)
    assert report.passed_over == {**{ending: 1 for ending in KEPT if ending != ".JPG"}, ".jpg": 2}
    everything = run_import(every_type=True)
    assert (everything.refused, everything.passed_over) == ({Reason.PATH_NOT_MATCHED: len(KEPT)}, {})


def test_ending_of_a_folder_is_not_its_files(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "cam.log" / "2026-11-22" / "12-30-00.mp4")

    assert run_import().registered == 1


def test_import_beside_a_live_recorder_is_status_0(media_root: Path, command: Command) -> None:
    folder = media_root / "Gate/2026-11-22"
    size = human_size(make_clip(folder / "12-30-00.mp4").stat().st_size)
    make_clip(folder / "12-31-00.mp4", age_seconds=0)
    for name in ("12-30-00.thumb", "12-30-00.jpg", "12-31-00.mp4.tmp", "index.db"):
        (folder / name).write_bytes(b"x")

    outcome = command("import_recordings", media_root, "--template", TEMPLATE, "--create-cameras")

    assert outcome.status == 0
    assert "Passed over by their type: .db 1, .jpg 1, .thumb 1, .tmp 1" in outcome.out
    assert outcome.out.strip().splitlines()[-1] == (
        f"1 recording registered ({size}), 0 known already, 1 later (still written to), 4 passed over, 0 refused"
    )
    as_json = command("import_recordings", media_root, "--template", TEMPLATE, "--json").json
    assert (as_json["later"], as_json["passed_over"], as_json["refused"]) == (
        1,
        {".db": 1, ".jpg": 1, ".thumb": 1, ".tmp": 1},
        0,
    )


def test_refused_file_is_status_3_whatever_is_passed_over(media_root: Path, command: Command) -> None:
    make_unfinished_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    (media_root / "Gate/2026-11-22/12-30-00.jpg").write_bytes(b"x")

    assert command("import_recordings", media_root, "--template", TEMPLATE, "--create-cameras").status == 3


# --- times in names ---


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{camera}/{any}.mp4", "1795350605.mp4"),
        ("{camera}/{any}.mp4", "1795350605123.mp4"),
        ("{camera}/{any}.mp4", "26-11-22_12-30-05.mp4"),
        ("{camera}/{any}.mp4", "261122123005.mp4"),
        ("{camera}/{any}.mp4", "20261122T123005.mp4"),
        ("{camera}/{date}_{any}.mp4", "2026-11-22_123005.mp4"),
        ("", "2026-11-22_12-30-05.mp4"),
    ],
)
def test_time_outside_the_template_is_taken_from_the_file(
    media_root: Path, camera: Camera, run_import: Import, template: str, name: str
) -> None:
    path = make_clip(media_root / "Gate" / name, started_at=utc("2026-11-20 08:00"))
    os.utime(path, (utc("2026-11-20 09:00").timestamp(),) * 2)

    report = run_import(template=template, camera="" if template else "Gate")

    assert (report.registered, report.time_unread, report.is_whole) == (1, 1, False)
    assert report.time_unread_examples[0].path == f"Gate/{name}"
    assert Recording.objects.get().started_at == utc("2026-11-20 08:00")


@pytest.mark.parametrize("name", ["clip-000123", "192.168.10.20", "10.20.30.40", "a-12-2026", "1234567", "v2.0.1"])
def test_name_that_holds_no_time_is_nothing_to_tell(media_root: Path, run_import: Import, name: str) -> None:
    make_clip(media_root / "Gate" / f"{name}.mp4")

    assert run_import(template="{camera}/{any}.mp4").is_whole


def test_names_whose_times_are_ignored_tell_nothing(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22.mp4")

    assert run_import(template="{camera}/{any}.mp4", time_from_file=True).is_whole


def test_unread_time_is_status_3_with_advice(media_root: Path, command: Command) -> None:
    make_clip(media_root / "Gate/1795350605.mp4")

    outcome = command("import_recordings", media_root, "--template", "{camera}/{any}.mp4", "--create-cameras")

    assert outcome.status == 3
    assert "Time not read, time_unread: 1" in outcome.out
    assert "  Gate/1795350605.mp4: '1795350605' looks like a time" in outcome.out
    assert "--time-from-file" in outcome.out


def test_unread_half_of_a_day_is_refused(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/02-00-00 PM.mp4")

    report = run_import(template="{camera}/{date}/{time}{any}")

    assert report.refused == {Reason.TIME_UNCLEAR: 1}
    assert "{ampm}" in report.refusals[Reason.TIME_UNCLEAR][0].detail
    assert run_import(template="{camera}/{date}/{time} {ampm}.mp4").registered == 1
    assert Recording.objects.get().started_at == utc("2026-11-22 14:00")


def test_epochs_need_no_time_zone(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/1795350605.mp4")
    make_clip(media_root / "Yard/1795350605123.mp4")

    for template in ("{camera}/{epoch}.mp4", "{camera}/{epoch_ms}.mp4"):
        run_import(template=template, time_zone="Asia/Tokyo")

    assert dict(Recording.objects.values_list("camera__name", "started_at")) == {
        "Gate": utc("2026-11-22 12:30:05"),
        "Yard": utc("2026-11-22 12:30:05.123"),
    }


def test_name_that_holds_the_end_is_the_end(media_root: Path, run_import: Import) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-07.mp4", seconds=7)

    run_import(template="{camera}/{end}{date}/{time}.mp4")

    recording = Recording.objects.get()
    assert (recording.started_at, recording.ended_at) == (utc("2026-11-22 12:30"), utc("2026-11-22 12:30:07"))


def test_end_in_the_repeated_hour_is_told_by_the_file(media_root: Path, run_import: Import) -> None:
    for name, written in (("first", "2026-10-25 00:30:02"), ("second", "2026-10-25 01:30:02")):
        path = make_clip(media_root / name / "2026-10-25/02-30-02.mp4", seconds=2)
        os.utime(path, (utc(written).timestamp(),) * 2)

    run_import(template="{camera}/{end}{date}/{time}.mp4", time_zone="Europe/Berlin")

    assert dict(Recording.objects.values_list("camera__name", "started_at")) == {
        "first": utc("2026-10-25 00:30"),
        "second": utc("2026-10-25 01:30"),
    }


def test_end_of_a_recording_without_length_is_refused(media_root: Path, run_import: Import) -> None:
    path = media_root / "Gate/1795350605.h264"
    path.parent.mkdir()
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(320, 240, "yuv420p")))
        container.mux(stream.encode(None))
    os.utime(path, (time.time() - 3600,) * 2)

    assert run_import(template="{camera}/{end}{epoch}.h264").refused == {Reason.TIME_UNCLEAR: 1}


def test_dry_run_tells_camera_and_times_of_each_file(media_root: Path, command: Command) -> None:
    Site.objects.create(name="Berlin", time_zone="Europe/Berlin")
    make_clip(media_root / "Gate/2026-07-01/12-30-00.mp4")
    make_clip(media_root / "Yard/2026-11-22/12-30-00.mp4")
    make_unfinished_clip(media_root / "Yard/2026-11-22/12-31-00.mp4")

    outcome = command("import_recordings", media_root, "--template", TEMPLATE, "--create-cameras", "--dry-run")

    assert outcome.out.splitlines()[:2] == [
        "Gate/2026-07-01/12-30-00.mp4: Berlin, Gate, 2026-07-01 12:30:00 CEST, 2026-07-01 10:30:00 UTC, from the name",
        "Yard/2026-11-22/12-30-00.mp4: Berlin, Yard, 2026-11-22 12:30:00 CET, 2026-11-22 11:30:00 UTC, from the name",
    ]
    assert not Recording.objects.exists()
    as_json = command(
        "import_recordings", media_root, "--template", TEMPLATE, "--create-cameras", "--dry-run", "--json"
    ).json
    assert as_json["readings"][0] == {
        "path": "Gate/2026-07-01/12-30-00.mp4",
        "site": "Berlin",
        "camera": "Gate",
        "local": "2026-07-01T12:30:00+02:00",
        "utc": "2026-07-01T10:30:00+00:00",
        "time_from": "name",
    }


def test_real_run_does_not_tell_each_file(media_root: Path, command: Command) -> None:
    make_clip(media_root / "Gate/2026-07-01/12-30-00.mp4")

    outcome = command("import_recordings", media_root, "--template", TEMPLATE, "--create-cameras")

    assert "from the name" not in outcome.out
