from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection, transaction

from apps.cctv.models import Camera, Recording, Site
from apps.cctv.units import human_size
from tests.footage import make_clip, make_unfinished_clip
from tests.integration.importing.conftest import TEMPLATE, Outcome
from tests.terminal import manage_on_terminal
from tests.threads import all_at_once

pytestmark = pytest.mark.django_db

Command = Callable[..., Outcome]
BACKEND = Path(__file__).resolve().parents[3]


def last_line(outcome: Outcome) -> str:
    return outcome.out.strip().splitlines()[-1]


def test_all_registered_is_status_0_with_a_count(media_root: Path, command: Command) -> None:
    clip = make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    size = human_size(clip.stat().st_size)

    outcome = command("import_recordings", media_root, "--template", TEMPLATE, "--create-cameras")

    assert outcome.status == 0
    assert last_line(outcome) == f"1 recording registered ({size}), 0 known already, 0 refused"
    assert "Cameras created: Gate" in outcome.out
    again = command("import_recordings", media_root, "--template", TEMPLATE)
    assert (again.status, last_line(again)) == (0, "0 recordings registered (0 B), 1 known already, 0 refused")


def test_some_refused_is_status_3_and_says_why(media_root: Path, command: Command) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    make_unfinished_clip(media_root / "Gate/2026-11-22/12-31-00.mp4")
    for number in range(25):
        (media_root / f"Gate/{number:02}\n.doc").touch()

    outcome = command("import_recordings", media_root, "--template", TEMPLATE, "--create-cameras")

    assert outcome.status == 3
    assert "Refused, path_not_matched: 25 (The path does not match" in outcome.out
    assert "  Gate/00\\n.doc: " in outcome.out
    assert "… and 5 more; --json has them all" in outcome.out
    assert "Refused, file_not_playable: 1" in outcome.out
    assert last_line(outcome).endswith("0 known already, 26 refused")


def test_json_tells_every_refused_file_and_nothing_else(media_root: Path, command: Command) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")
    for number in range(25):
        (media_root / f"{number:02}.doc").touch()
    (media_root / os.fsdecode(b"\xff\n.doc")).touch()

    outcome = command("import_recordings", media_root, "--template", TEMPLATE, "--create-cameras", "--json")

    assert outcome.status == 3
    report = outcome.json
    assert {name: report[name] for name in ("looked_at", "registered", "known", "refused", "cameras_created")} == {
        "looked_at": 27,
        "registered": 1,
        "known": 0,
        "refused": 26,
        "cameras_created": ["Gate"],
    }
    assert [(reason["code"], reason["count"], len(reason["files"])) for reason in report["reasons"]] == [
        ("path_not_matched", 25, 25),
        ("name_not_utf8", 1, 1),
    ]
    assert report["reasons"][1]["files"][0]["path"] == "\\xff\\n.doc"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--template", "{kamera}.mp4"], "{kamera} is no placeholder"),
        ([], "give --camera, or {camera} in --template"),
        (["--template", "{date}.mp4"], "give --camera, or {camera} in --template"),
        (["--template", TEMPLATE, "--camera", "Gate"], "give --camera, or {camera} in --template"),
        (["--camera", "Gate", "--time-zone", "Mars/Olympus"], "expected an IANA name like Europe/Berlin"),
        (["--camera", "Gate", "--settle-seconds", "-1"], "expected a number from 0 to 86400"),
    ],
)
def test_bad_usage_is_status_2_and_says_what_is_expected(
    media_root: Path, command: Command, arguments: list[str], said: str
) -> None:
    outcome = command("import_recordings", media_root, *arguments)

    assert outcome.status == 2
    assert said in outcome.out


def test_a_folder_outside_is_refused_naming_media_root(media_root: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "outside").mkdir()
    for folder in (tmp_path / "outside", "../outside", media_root / ".." / "outside", "/"):
        outcome = command("import_recordings", folder, "--camera", "Gate")
        assert outcome.status == 2
        assert f"is not inside MEDIA_ROOT='{media_root}'" in outcome.out


def test_folder_may_be_relative_absolute_or_a_link(
    media_root: Path, tmp_path: Path, camera: Camera, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(media_root / "nvr" / "a.mp4")
    (tmp_path / "link").symlink_to(media_root)
    monkeypatch.chdir(media_root / "nvr")
    for folder in (".", "../nvr", "nvr", tmp_path / "link" / "nvr", media_root):
        outcome = command("import_recordings", folder, "--camera", "Gate")
        assert outcome.status == 0
        assert "1 " in last_line(outcome)
    assert Recording.objects.get().local_path == "nvr/a.mp4"


def test_what_keeps_it_from_running_is_status_1(media_root: Path, site: Site, command: Command) -> None:
    (media_root / "real").mkdir()
    (media_root / "linked").symlink_to(media_root / "real")
    for folder, option, said in (
        (media_root / "nowhere", "--create-cameras", "nowhere"),
        (media_root / "linked" / "deeper", "--create-cameras", "is a link"),
        (media_root, "--dry-run", "there is no camera 'Gate'"),
    ):
        outcome = command("import_recordings", folder, "--camera", "Gate", option)
        assert outcome.status == 1
        assert said in outcome.out
    assert not Camera.objects.exists()


def test_missing_marker_is_status_1_and_asks_for_the_disk(media_root: Path, camera: Camera, command: Command) -> None:
    make_clip(media_root / "a.mp4")
    assert command("import_recordings", media_root, "--camera", "Gate").status == 0
    (media_root / ".coldreel-media-root").unlink()

    outcome = command("import_recordings", media_root, "--camera", "Gate")

    assert outcome.status == 1
    assert "is the disk mounted" in outcome.out
    assert "mark_media_root" in outcome.out


def test_dry_run_says_that_it_only_would(media_root: Path, command: Command) -> None:
    make_clip(media_root / "Gate/2026-11-22/12-30-00.mp4")

    outcome = command("import_recordings", media_root, "--template", TEMPLATE, "--create-cameras", "--dry-run")

    assert outcome.status == 0
    assert last_line(outcome).startswith("Would be: 1 recording registered")
    assert not Recording.objects.exists()


def test_a_long_run_says_how_far_it_is(media_root: Path, camera: Camera, command: Command) -> None:
    for number in range(1001):
        (media_root / f"{number}.mp4").touch()

    outcome = command("import_recordings", media_root, "--camera", "Gate")

    assert outcome.out.count("files looked at") == 1
    assert "1000 files looked at" in outcome.out


def test_database_without_tables_is_status_1_with_advice(media_root: Path, command: Command) -> None:
    make_clip(media_root / "a.mp4")
    before = transaction.savepoint()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cctv_recording RENAME TO cctv_gone")

    outcome = command("import_recordings", media_root, "--camera", "Gate", "--create-cameras")

    transaction.savepoint_rollback(before)
    assert outcome.status == 1
    assert "manage.py migrate" in outcome.out


def test_the_media_root_is_marked_once(media_root: Path, command: Command) -> None:
    (media_root / ".coldreel-media-root").unlink()

    first = command("mark_media_root")
    second = command("mark_media_root")

    assert (first.status, first.out) == (0, f"{media_root} is marked now.\n")
    assert (second.status, second.out) == (0, f"{media_root} was marked already.\n")


def test_a_missing_media_root_is_not_marked(media_root: Path, settings: object, command: Command) -> None:
    settings.MEDIA_ROOT = media_root / "nowhere"

    outcome = command("mark_media_root")

    assert outcome.status == 1
    assert "is no folder" in outcome.out


def test_empty_known_media_root_is_marked_when_asked_twice(
    media_root: Path, make_recording: Callable[..., Recording], command: Command
) -> None:
    make_recording(write_file=False)
    (media_root / ".coldreel-media-root").unlink()
    (media_root / "lost+found").mkdir()

    refused = command("mark_media_root")
    assert refused.status == 1
    assert "not mounted" in refused.out
    assert "--yes" in refused.out
    assert not (media_root / ".coldreel-media-root").exists()

    assert command("mark_media_root", "--yes").status == 0
    assert (media_root / ".coldreel-media-root").is_file()


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of real processes with a database and a media root of their own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GCP_", "COLDREEL_", "DJANGO_"))},
        "COLDREEL_ENV_FILE": os.devnull,
        "COLDREEL_HOME": str(tmp_path / "home"),
        "MEDIA_ROOT": str(tmp_path / "footage"),
        "DATABASE_URL": "",
        "PYTHONWARNINGS": "",
    }
    (tmp_path / "home").mkdir()
    (tmp_path / "footage").mkdir()
    manage(environment, "migrate", "--no-input", "--verbosity", "0")
    return environment


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BACKEND,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.acceptance
def test_two_processes_at_once_register_each_file_once(tmp_path: Path, shell: dict[str, str]) -> None:
    for minute in range(30):
        make_clip(tmp_path / f"footage/Gate/2026-11-22/12-{minute:02}-00.mp4", seconds=1)
    command = ("import_recordings", shell["MEDIA_ROOT"], "--template", TEMPLATE, "--create-cameras", "--json")
    results = all_at_once(2, lambda: manage(shell, *command))

    reports = [Outcome(result.returncode, result.stdout).json for result in results]
    assert [result.returncode for result in results] == [0, 0]
    assert sum(report["registered"] for report in reports) == 30
    assert sum(report["known"] for report in reports) == 30


@pytest.mark.acceptance
def test_terminal_gets_a_bar_and_then_the_summary(tmp_path: Path, shell: dict[str, str]) -> None:
    make_clip(tmp_path / "footage/a.mp4")
    environment = {**shell, "TERM": "xterm", "COLUMNS": "100"}
    command = ("import_recordings", shell["MEDIA_ROOT"], "--camera", "Gate", "--create-cameras")
    status, shown, errors = manage_on_terminal(environment, *command)

    assert status == 0, errors
    assert b"Looking at files" in shown
    assert b"1 recording registered" in shown
