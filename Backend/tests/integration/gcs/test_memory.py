"""What a store costs: a worker with twenty uploads has 150 MiB, Django included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BACKEND = Path(__file__).resolve().parents[3]
HEAVY = ("google.cloud.storage", "google.auth", "requests", "grpc", "opentelemetry", "structlog", "ssl")


def test_twenty_uploads_leave_room_for_the_worker(emulator, bucket) -> None:
    command = [sys.executable, "-m", "tests.integration.gcs.upload_many", emulator.url, bucket, "20", "16"]
    done = subprocess.run(command, cwd=BACKEND, capture_output=True, text=True, timeout=240, check=True)
    assert len(emulator.objects(bucket)) == 20
    assert int(done.stdout) < 110


def test_store_that_only_sends_loads_no_heavy_library() -> None:
    code = f"import sys, offload.gcs, offload.uploader; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=BACKEND, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
