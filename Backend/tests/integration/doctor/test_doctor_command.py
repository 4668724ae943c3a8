"""The command as a person and a script meet it, with a real emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from gcs_emulator.process import EmulatorProcess
from tests.terminal import manage_on_terminal

pytestmark = pytest.mark.acceptance

BACKEND = Path(__file__).resolve().parents[3]
BUCKET = "coldreel-doctor"

Result = tuple[int, str]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("bucket"), buckets=[BUCKET]) as process:
        yield process


@pytest.fixture
def configured(emulator: EmulatorProcess, media_root: Path, tmp_path: Path, settings: Any, db: None) -> Iterator[None]:
    """This process's settings name the emulator; whatever a test does to it is undone."""
    settings.COLDREEL_HOME = tmp_path / "home"
    settings.COLDREEL_HOME.mkdir()
    settings.GCP_STORAGE_USE_GCS = True
    settings.GCP_STORAGE_BUCKET_NAME = BUCKET
    settings.STORAGE_EMULATOR_HOST = emulator.url
    yield
    emulator.set_clock(0)
    emulator.set_bucket(BUCKET, deniedPermissions=[])


@pytest.fixture
def place(tmp_path: Path, emulator: EmulatorProcess) -> dict[str, str]:
    """The environment of a real process, in a fresh installation whose database has no tables yet."""
    (tmp_path / "home" / "media").mkdir(parents=True)
    foreign = ("GCP_", "COLDREEL_", "DJANGO_", "STORAGE_", "DATABASE_", "MEDIA_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "COLDREEL_ENV_FILE": os.devnull,
        "COLDREEL_HOME": str(tmp_path / "home"),
        "GCP_STORAGE_USE_GCS": "True",
        "GCP_STORAGE_BUCKET_NAME": BUCKET,
        "STORAGE_EMULATOR_HOST": emulator.url,
        "COLUMNS": "100",
    }


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BACKEND,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def found(output: str) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in json.loads(output)["findings"]}


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> Result:
    """Exit status and standard output."""
    try:
        call_command("doctor", *arguments)
    except SystemExit as error:
        return int(error.code or 0), capsys.readouterr().out
    return 0, capsys.readouterr().out


Capture = pytest.CaptureFixture[str]


def test_fresh_migrated_installation_has_warnings_and_no_problem(place: dict[str, str]) -> None:
    early = manage(place, "doctor", "--json")
    assert early.returncode == 1
    assert "manage.py migrate" in found(early.stdout)["database"]["advice"]

    manage(place, "migrate", "--no-input", "--verbosity", "0").check_returncode()
    result = manage(place, "doctor", "--json")

    report = json.loads(result.stdout)
    assert [finding for finding in report["findings"] if finding["level"] == "problem"] == []
    assert result.returncode == 0
    assert result.stderr == ""
    assert (report["status"], report["counts"]["problem"]) == ("warning", 0)
    levels = {check: finding["level"] for check, finding in found(result.stdout).items()}
    assert {levels[check] for check in ("database", "bucket", "permissions", "clock", "home")} == {"ok"}
    assert {levels[check] for check in ("emulator", "worker", "media root")} == {"warning"}


def test_missing_rights_are_named_and_end_with_status_1(
    configured: None, emulator: EmulatorProcess, capsys: Capture
) -> None:
    emulator.set_bucket(BUCKET, deniedPermissions=["storage.objects.update"])

    status, output = doctor(capsys)

    assert status == 1
    assert "problem  permissions: storage.objects.update is missing." in output
    assert f"Grant storage.objects.update on {BUCKET}" in output
    assert output.strip().splitlines()[-1].startswith("Problems: 1, ")


def test_clock_off_by_an_hour_ends_with_status_1(configured: None, emulator: EmulatorProcess, capsys: Capture) -> None:
    emulator.set_clock(3600)

    status, output = doctor(capsys, "--json")

    assert status == 1
    assert found(output)["clock"]["level"] == "problem"


def test_bucket_that_does_not_exist_ends_with_status_1(configured: None, settings: Any, capsys: Capture) -> None:
    settings.GCP_STORAGE_BUCKET_NAME = "coldreel-nowhere"

    status, output = doctor(capsys, "--json")

    assert status == 1
    assert found(output)["bucket"]["level"] == "problem"


def test_silent_bucket_is_told_and_the_rest_examined(configured: None, settings: Any, capsys: Capture) -> None:
    settings.STORAGE_EMULATOR_HOST = "http://127.0.0.1:9"

    status, output = doctor(capsys, "--json")

    assert status == 1
    assert found(output)["bucket"]["detail"].startswith("line_down")
    assert found(output)["database"]["level"] == "ok"


def test_no_bucket_configured_ends_with_status_0(configured: None, settings: Any, capsys: Capture) -> None:
    settings.GCP_STORAGE_USE_GCS = False

    status, output = doctor(capsys, "--json")

    assert status == 0
    assert "not configured" in found(output)["settings"]["detail"]


def test_key_that_is_none_is_told_and_never_shown(
    configured: None, settings: Any, tmp_path: Path, capsys: Capture
) -> None:
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account", "private_key": "very secret"}')
    settings.GCP_STORAGE_CREDENTIALS_PATH = str(key)
    settings.STORAGE_EMULATOR_HOST = ""

    status, output = doctor(capsys, "--json")

    assert status == 1
    assert found(output)["bucket"]["level"] == "problem"
    assert "very secret" not in output


def test_absent_database_server_is_told_without_its_password(place: dict[str, str]) -> None:
    result = manage(
        {**place, "DATABASE_URL": "postgresql://someone:topsecret@127.0.0.1:9/coldreel"}, "doctor", "--json"
    )

    assert result.returncode == 1
    assert found(result.stdout)["database"]["level"] == "problem"
    assert "topsecret" not in result.stdout + result.stderr


def test_bad_usage_ends_with_status_2(place: dict[str, str]) -> None:
    assert manage(place, "doctor", "--nonsense").returncode == 2


def test_a_terminal_gets_a_table(place: dict[str, str]) -> None:
    status, shown, errors = manage_on_terminal({**place, "TERM": "xterm-256color"}, "doctor")

    assert status == 1, errors
    assert b"\x1b[" in shown
    assert "→".encode() in shown
    assert b"Problems: 1, " in shown
