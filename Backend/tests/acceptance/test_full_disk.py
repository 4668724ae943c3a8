"""A recorder fills the disk that the database and the recordings share; the installation recovers by itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.acceptance.installation import BACKEND, MIB, SMALL_CHUNKS, TWENTIETH, Clip, Installation
from tests.small_disk import SmallDisk

DISK_BYTES = 96 * MIB
RESERVE_BYTES = 8 * MIB
CLIP_BYTES = 5 * MIB
GONE = {"cleanup_completed"}


@pytest.fixture(params=["tmpfs", "ext4"])
def small_installation(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """Home, database and recordings on one small disk; the logs and the bucket elsewhere."""
    settings = TWENTIETH | SMALL_CHUNKS | {"COLDREEL_RESERVE_BYTES": str(RESERVE_BYTES), "GCP_CLEANUP_DELAY_HOURS": "0"}
    with SmallDisk(tmp_path / "home", size_bytes=DISK_BYTES, kind=request.param):
        installation = Installation(tmp_path, settings=settings)
        installation.logs = tmp_path / "logs"
        installation.logs.mkdir()
        with installation:
            yield installation
            installation.check_no_key_was_told()


@contextmanager
def recorder(installation: Installation, *, greedy: bool) -> Iterator[None]:
    """A recorder in a process of its own that has filled the disk."""
    command = [
        sys.executable,
        "-m",
        "tests.acceptance.recorder",
        str(installation.media),
        *(["--greedy"] if greedy else []),
    ]
    with subprocess.Popen(command, cwd=BACKEND, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
        try:
            yield
        finally:
            process.kill()
            process.wait()
            if greedy:  # it took everything; this test's own questions to the database need some room
                for path in installation.media.glob("recorded-*"):
                    path.unlink()


def free_bytes(installation: Installation) -> int:
    found = os.statvfs(installation.home)
    return found.f_bavail * found.f_frsize


def reserve_bytes(installation: Installation) -> int:
    path = installation.home / "reserve"
    return path.stat().st_size if path.exists() else 0


def uploaded_beside_a_worker_that_cleaned_up_before(installation: Installation) -> list[Clip]:
    """Due for cleanup now, though by the timetable the next one is tomorrow."""
    cleaned = "SELECT last_finished_at FROM cctv_periodicjob WHERE name = 'cleanup' AND last_finished_at IS NOT NULL"
    installation.until(lambda: installation.select(cleaned), "the worker's first cleanup")
    installation.until(lambda: reserve_bytes(installation) == RESERVE_BYTES, "the reserve")
    clips = installation.add([CLIP_BYTES + number for number in range(8)], batch_size=20)
    installation.until(lambda: set(installation.statuses()) == {"cleanup_pending"}, "the uploads")
    return clips


def check_cleaned_up(installation: Installation, clips: list[Clip]) -> None:
    assert [installation.receipts(clip) for clip in clips] == [["deleted"]] * len(clips)
    assert [clip.name for clip in clips if (installation.media / clip.name).exists()] == []
    assert [len(installation.objects_of(clip)) for clip in clips] == [1] * len(clips)
    assert installation.trash() == []


@pytest.mark.parametrize("greedy", [False, True], ids=["a recorder that stops", "a recorder that takes all"])
def test_worker_frees_a_full_disk_before_the_next_cleanup(small_installation: Installation, greedy: bool) -> None:
    worker = small_installation.worker()
    clips = uploaded_beside_a_worker_that_cleaned_up_before(small_installation)

    with recorder(small_installation, greedy=greedy):
        small_installation.until(lambda: set(small_installation.statuses()) == GONE, "the cleanup of a full disk")

    check_cleaned_up(small_installation, clips)
    # A heartbeat of these short timings waits a quarter of a second for its turn, and may miss it for other reasons.
    traces = [line for line in worker.lines() if "trace=" in line and "heartbeat_missed" not in line]
    assert traces == []
    assert len([line for line in worker.lines() if "disk.full" in line]) <= 10
    if not greedy:
        small_installation.until(lambda: reserve_bytes(small_installation) == RESERVE_BYTES, "a new reserve")
        closed = "SELECT id FROM cctv_alarm WHERE code = 'home_disk_low' AND cleared_at IS NOT NULL"
        small_installation.until(lambda: small_installation.select(closed), "the end of the alarm")
        (later,) = small_installation.add([CLIP_BYTES])
        small_installation.until(
            lambda: small_installation.row(later)["transfer_status"] == "cleanup_pending", "a later upload"
        )


def test_worker_started_on_a_full_disk_frees_it(small_installation: Installation) -> None:
    first = small_installation.worker()
    clips = uploaded_beside_a_worker_that_cleaned_up_before(small_installation)
    first.kill()

    with recorder(small_installation, greedy=False):
        small_installation.worker()
        small_installation.until(lambda: set(small_installation.statuses()) == GONE, "the cleanup of a full disk")

    check_cleaned_up(small_installation, clips)


def test_command_frees_a_full_disk_without_a_worker(small_installation: Installation) -> None:
    first = small_installation.worker()
    clips = uploaded_beside_a_worker_that_cleaned_up_before(small_installation)
    first.kill()

    with recorder(small_installation, greedy=True):
        command = small_installation.start_afresh("cleanup_gcp_transfers", "--force")
        assert command.wait() == 0, command.tail()

    check_cleaned_up(small_installation, clips)
    assert any(line.split() == ["Files", "cleaned:", "8", "of", "8"] for line in command.lines())


def test_signing_in_on_a_full_disk_uses_the_reserve(small_installation: Installation) -> None:
    worker = small_installation.worker()
    small_installation.until(lambda: reserve_bytes(small_installation) == RESERVE_BYTES, "the reserve")
    worker.kill()
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = small_installation.start_afresh("serve", "--no-worker", "--port", str(port))
    address = f"http://127.0.0.1:{port}/api/v0/token/"
    small_installation.until(lambda: answer_of(address, "wrong")[0] == 401, "the web server")

    with recorder(small_installation, greedy=False):
        answers = [answer_of(address, "correct horse battery staple")]
        while answers[-1][0] != 200 and len(answers) < 20:
            answers.append(answer_of(address, "correct horse battery staple"))

    assert answers[-1][0] == 200, (answers, server.tail())
    assert {status for status, _ in answers} <= {200, 503}
    assert all("The disk is full" in detail for status, detail in answers if status == 503)


def answer_of(address: str, password: str) -> tuple[int, str]:
    body = json.dumps({"username": "operator", "password": password}).encode()
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
