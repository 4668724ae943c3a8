"""The command as operators run it: real processes, a real store, an exit status for scripts."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gcs_emulator.process import EmulatorProcess

pytestmark = pytest.mark.acceptance

BACKEND = Path(__file__).resolve().parents[3]
BUCKET = "coldreel-cleanup"
FILES = 20
POINTS = [
    ("call", "Trash._verified"),
    ("call", "_open_receipt"),
    ("return", "_open_receipt"),
    ("return", "_last_look"),
    ("return", "Trash.unlink"),
    ("return", "CleanupAttempt.mark_cleaned"),
    ("return", "_close"),
]
"""Renamed; before and after the receipt; before and after the unlink; in the last transaction and after it."""


class Station:
    """One installation in a folder of its own: home, database, media root, bucket."""

    def __init__(self, folder: Path, emulator: EmulatorProcess, **settings: str) -> None:
        self.folder = folder
        self.media = folder / "media"
        self.emulator = emulator
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COLDREEL", "GCP", "DJANGO", "DATABASE", "MEDIA"))
        }
        self.env = {
            **plain,
            "COLDREEL_ENV_FILE": os.devnull,
            "COLDREEL_HOME": str(folder),
            "MEDIA_ROOT": str(self.media),
            "GCP_STORAGE_USE_GCS": "True",
            "GCP_STORAGE_BUCKET_NAME": BUCKET,
            "GCP_STORAGE_PROJECT_ID": "coldreel",
            "STORAGE_EMULATOR_HOST": emulator.url,
            "GCP_CLEANUP_DELAY_HOURS": "0",
            "COLDREEL_LEASE_SECONDS": "2",
            "COLDREEL_HEARTBEAT_SECONDS": "0.5",
            "COLDREEL_LEASE_MARGIN_SECONDS": "0.5",
            **settings,
        }

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=BACKEND, env={**self.env, **env}, capture_output=True, text=True, timeout=120
        )

    def clean(self, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("manage.py", "cleanup_gcp_transfers", *options, **env)

    def signalled(
        self, signal_name: str, event: str, function: str, *options: str, **env: str
    ) -> subprocess.CompletedProcess[str]:
        launcher = ("-m", "tests.integration.cleanup.signal_at", signal_name, event, function)
        return self.run(*launcher, "cleanup_gcp_transfers", *options, **env)

    def rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "coldreel.sqlite3", timeout=30)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def status(self, transfer_id: str) -> str:
        sql = "SELECT transfer_status FROM cctv_gcpvideotransfer WHERE id = ?"
        return str(self.rows(sql, uuid.UUID(transfer_id).hex)[0][0])

    def trash(self) -> list[str]:
        return sorted(path.name for path in (self.media / ".coldreel-trash").glob("*"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Station, list[dict[str, str]]]]:
    """A station with its files, for the tests of this module to use up."""
    folder = tmp_path_factory.mktemp("station")
    with EmulatorProcess(folder / "bucket", buckets=[BUCKET]) as emulator:
        station = Station(folder, emulator)
        for words in (
            ("manage.py", "migrate", "--verbosity", "0"),
            ("-m", "tests.integration.cleanup.fill", str(FILES)),
        ):
            done = station.run(*words)
            assert done.returncode == 0, done.stderr
        yield station, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def station(template: tuple[Station, list[dict[str, str]]]) -> Station:
    return template[0]


@pytest.fixture
def waiting(template: tuple[Station, list[dict[str, str]]]) -> list[dict[str, str]]:
    station, files = template
    return [file for file in files if station.status(file["id"]) == "cleanup_pending"]


def test_dry_run_tells_and_leaves_everything(station: Station, waiting: list[dict[str, str]]) -> None:
    done = station.clean("--dry-run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "cleaned  000.mp4  2.0 kB"
    assert lines[-6:] == [
        "Dry run: nothing was changed.",
        f"Would clean:     {FILES} of {FILES}",
        f"Would free:      {FILES * 2}.0 kB ({FILES * 2000} bytes)",
        "Already missing: 0",
        "Skipped:         0",
        "Failures:        0",
    ]
    assert len(list(station.media.glob("*.mp4"))) == FILES


def test_json_is_one_document_on_standard_output(station: Station, waiting: list[dict[str, str]]) -> None:
    done = station.clean("--json", "--dry-run", "--batch-size", "3")
    found = json.loads(done.stdout)
    assert found["dry_run"] is True
    assert found["cleaned"] == len(found["files"]) == FILES
    assert found["files"][0]["outcome"] == "cleaned"
    assert "cleanup.summary" in done.stderr


def test_unmounted_media_root_ends_with_1_and_a_document(station: Station) -> None:
    done = station.clean("--json", MEDIA_ROOT="/nonexistent/media")
    assert done.returncode == 1
    assert json.loads(done.stdout)["stopped"] == "media_root_not_mounted"
    assert "CommandError: The cleanup stopped. The marker file of the media root is missing." in done.stderr


def test_failed_file_ends_with_3_and_the_others_go(station: Station, waiting: list[dict[str, str]]) -> None:
    bad, good = waiting[0], waiting[1]
    name = station.rows("SELECT gcp_storage_path FROM cctv_gcpvideotransfer WHERE id = ?", uuid.UUID(bad["id"]).hex)
    station.emulator.delete_object(BUCKET, name[0][0])
    done = station.clean("--transfer-id", bad["id"])
    assert done.returncode == 3
    assert f"FAILED (object_missing)  {bad['path']}" in done.stdout
    assert (station.media / bad["path"]).is_file()
    assert station.clean("--transfer-id", good["id"]).returncode == 0
    assert not (station.media / good["path"]).exists()


def test_bucket_without_a_setting_ends_with_3_named(station: Station, waiting: list[dict[str, str]]) -> None:
    done = station.clean("--json", GCP_STORAGE_BUCKET_NAME="another-bucket")
    found = json.loads(done.stdout)
    assert found["skipped"] == {"bucket_setting_changed": len(waiting)}
    assert found["left_for_a_person"] == len(waiting)
    assert done.returncode == 3
    assert "GCP_STORAGE_FORMER_BUCKETS" in done.stderr
    done = station.clean("--dry-run", GCP_STORAGE_BUCKET_NAME="another-bucket", GCP_STORAGE_FORMER_BUCKETS=BUCKET)
    assert done.returncode == 0, done.stderr


def test_changed_file_ends_with_3_and_waits_for_a_person(station: Station, waiting: list[dict[str, str]]) -> None:
    with (station.media / waiting[0]["path"]).open("ab") as file:
        file.write(b"more")
    done = station.clean("--transfer-id", waiting[0]["id"])
    assert done.returncode == 3
    assert "local_changed" in done.stderr
    assert station.status(waiting[0]["id"]) == "completed"


def test_cleaned_file_that_is_asked_for_again_is_skipped(station: Station, waiting: list[dict[str, str]]) -> None:
    station.clean("--transfer-id", waiting[0]["id"])
    done = station.clean("--transfer-id", waiting[0]["id"], "--force")
    assert done.returncode == 0
    assert "skipped (wrong_state)" in done.stdout


def test_terminal_gets_a_progress_bar_and_no_log_lines(station: Station, waiting: list[dict[str, str]]) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "manage.py", "cleanup_gcp_transfers", "--dry-run"]
    env = {**station.env, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=BACKEND, env=env, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:  # the terminal's other end is closed
        pass
    finally:
        os.close(ours)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "━".encode() in seen
    assert f"Would clean:     {len(waiting)} of {len(waiting)}".encode() in seen
    assert b"cleanup.file" not in errors


def test_interrupt_finishes_the_file_and_ends_with_130(station: Station, waiting: list[dict[str, str]]) -> None:
    done = station.signalled("SIGINT", "call", "Trash.unlink", "--json")
    assert done.returncode == 130, done.stderr
    found = json.loads(done.stdout)
    assert (found["interrupted"], found["cleaned"]) == (True, 1)
    assert station.trash() == []


def test_terminate_finishes_the_file_and_ends_with_143(station: Station, waiting: list[dict[str, str]]) -> None:
    done = station.signalled("SIGTERM", "call", "Trash.unlink", "--json")
    assert done.returncode == 143, done.stderr
    assert json.loads(done.stdout)["cleaned"] == 1
    assert station.trash() == []


def test_lease_of_a_killed_command_is_free_at_once(station: Station, waiting: list[dict[str, str]]) -> None:
    """It would run for ten minutes more, and no worker is there to sweep."""
    long = {"COLDREEL_LEASE_SECONDS": "600", "COLDREEL_HEARTBEAT_SECONDS": "10"}
    file = waiting[0]
    done = station.signalled("SIGKILL", "return", "_open_receipt", "--transfer-id", file["id"], **long)
    assert done.returncode == -9, done.stderr
    locks = list((station.folder / "owners").glob("*.lock"))
    assert len(locks) == 1
    done = station.clean("--json", "--transfer-id", file["id"], **long)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cleaned"] == 1
    assert list((station.folder / "owners").iterdir()) == []


def test_killed_at_any_step_the_next_run_finishes(station: Station, waiting: list[dict[str, str]]) -> None:
    killed = waiting[: len(POINTS)]
    for (event, function), file in zip(POINTS, killed, strict=True):
        done = station.signalled("SIGKILL", event, function, "--transfer-id", file["id"])
        assert done.returncode == -9, (function, done.stdout, done.stderr)
        gone = not (station.media / file["path"]).exists() and file["id"] not in station.trash()
        receipts = station.rows(
            "SELECT outcome FROM cctv_deletionreceipt WHERE transfer_id = ?", uuid.UUID(file["id"]).hex
        )
        assert not gone or receipts, function
    # The last lease of the dead runs out by itself.
    done = subprocess.CompletedProcess([], -1, "", "")
    for _ in range(10):
        done = station.clean("--json")
        if not json.loads(done.stdout)["skipped"]:
            break
    assert done.returncode == 0, done.stdout
    for file in killed:
        assert station.status(file["id"]) == "cleanup_completed"
        assert not (station.media / file["path"]).exists()
    assert station.trash() == []
    sql = "SELECT COUNT(*) FROM cctv_deletionreceipt WHERE closed_at IS NULL OR outcome != 'deleted'"
    assert station.rows(sql) == [(0,)]


def test_two_processes_at_once_clean_each_file_once(tmp_path: Path, template: Any) -> None:
    station = Station(tmp_path, template[0].emulator)
    for words in (("manage.py", "migrate", "--verbosity", "0"), ("-m", "tests.integration.cleanup.fill", "30")):
        done = station.run(*words)
        assert done.returncode == 0, done.stderr
    command = [sys.executable, "manage.py", "cleanup_gcp_transfers", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(command, cwd=BACKEND, env=station.env, **pipes) for _ in range(2)]
    found = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(each["cleaned"] for each in found) == 30
    assert sum(each["freed_bytes"] for each in found) == 60_000
    assert station.rows("SELECT COUNT(*) FROM cctv_deletionreceipt WHERE outcome = 'deleted'") == [(30,)]
