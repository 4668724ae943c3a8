"""The guided tour as a newcomer starts it, with less footage: all of it verified, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

BACKEND = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.acceptance


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(home: Path, port: int, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo", "--megabytes", "12", *arguments],
        cwd=BACKEND,
        env={**os.environ, "COLDREEL_HOME": str(home), "PORT": str(port), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(home: Path) -> list[str]:
    """Command lines of processes whose environment names that home."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(home) in (entry / "environ").read_text(errors="replace"):
                found.append((entry / "cmdline").read_text(errors="replace").replace("\0", " "))
        except OSError:
            continue
    return found


def test_demo_verifies_every_recording_and_leaves_no_process_behind(tmp_path: Path) -> None:
    demo = start(tmp_path, free_port(), "--once")
    said, _ = demo.communicate(timeout=240)

    assert demo.returncode == 0, said
    assert "24 of 24 objects have the size and the CRC32C checksum of their file" in said
    assert "Would clean:     24 of 24" in said
    assert len(list((tmp_path / "demo" / "media").rglob("*.mp4"))) == 24
    assert processes_of(tmp_path) == []

    again = start(tmp_path, free_port())  # and its window is closed while it works
    deadline = time.monotonic() + 120
    while not any("run_worker" in line for line in processes_of(tmp_path)):
        assert again.poll() is None, again.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    again.send_signal(signal.SIGHUP)
    said, _ = again.communicate(timeout=120)

    assert again.returncode in {0, 130}, said
    assert processes_of(tmp_path) == []


def test_demo_says_at_once_that_its_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        demo = start(tmp_path, taken.getsockname()[1], "--once")
        said, _ = demo.communicate(timeout=60)

    assert demo.returncode == 1
    assert "PORT=8001 chooses another port" in said
    assert "Making footage" not in said
