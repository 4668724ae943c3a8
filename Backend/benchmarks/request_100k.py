"""Measures how long one request for 100,000 local recordings takes, and how much memory it needs.

    python benchmarks/request_100k.py [--recordings N] [--failed] [--ids]

Works on a database and a media root of its own below a temporary folder. The recordings' files are hard
links to small files: the time goes into reading the rows, one `lstat` a file, and storing transfers
and events. `--failed` lets every transfer fail first and measures the request that starts them again;
`--ids` names each recording.
The promise is less than 30 seconds and 300 MiB on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

LIMIT_SECONDS = 30
LIMIT_MIB = 300
FILES_PER_FOLDER = 1000
PASSWORD = "benchmark only"

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def configure(home: Path) -> None:
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings",
        COLDREEL_HOME=str(home),
        DATABASE_URL=f"sqlite:///{home / 'benchmark.sqlite3'}",
        GCP_STORAGE_USE_GCS="True",
        GCP_STORAGE_BUCKET_NAME="benchmark",
    )
    os.environ.pop("MEDIA_ROOT", None)
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def make_recordings(count: int) -> None:
    from django.conf import settings

    from apps.cctv.models import Camera, Recording, Site

    root: Path = settings.MEDIA_ROOT
    root.mkdir(parents=True)
    camera = Camera.objects.create(site=Site.objects.create(name="Benchmark"), name="Gate")
    now = datetime.now(tz=UTC)
    for start in range(0, count, FILES_PER_FOLDER):
        folder = f"gate/{start // FILES_PER_FOLDER:04}"
        (root / folder).mkdir(parents=True)
        first = root / folder / "first"  # one a folder: ext4 allows 65,000 links to a file
        first.write_bytes(b"x" * 4096)
        names = [f"{folder}/{number:06}.mp4" for number in range(start, min(count, start + FILES_PER_FOLDER))]
        for name in names:
            os.link(first, root / name)
        Recording.objects.bulk_create(
            Recording(camera=camera, name=Path(name).name, local_path=name, file_path=name, started_at=now)
            for name in names
        )


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def request(ids: list[str] | None = None) -> tuple[float, float, dict[str, object]]:
    """Make one POST through URL routing, token, service and rendering, as a web worker serves it.

    Returns the seconds, the processor seconds and the answer.
    """
    from django.test import Client

    client = Client(headers={"host": "localhost"})
    token = client.post(
        "/api/v0/token/", {"username": "bench", "password": PASSWORD}, content_type="application/json"
    ).json()["access"]
    began, began_cpu = time.perf_counter(), time.process_time()
    answer = client.post(
        "/api/v0/recordings/transfer-to-gcp/",
        {"recording_ids": ids},
        content_type="application/json",
        headers={"authorization": f"Bearer {token}"},
    )
    return time.perf_counter() - began, time.process_time() - began_cpu, json.loads(answer.content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=100_000)
    parser.add_argument("--failed", action="store_true", help="measure starting failed transfers again")
    parser.add_argument("--ids", action="store_true", help="name each recording in the request")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coldreel-bench-") as folder:
        configure(Path(folder))
        from apps.cctv.models import GCPVideoTransfer, Recording
        from apps.users.models import User

        User.objects.create_superuser("bench", password=PASSWORD)
        make_recordings(options.recordings)
        if options.failed:
            request()
            GCPVideoTransfer.objects.update(transfer_status="failed", error_code="cancelled")
        ids = [str(pk) for pk in Recording.objects.values_list("pk", flat=True)] if options.ids else None
        before_mib = peak_mib()
        seconds, cpu_seconds, answer = request(ids)
        print(f"initiated      {answer['initiated_transfers']}")
        print(f"seconds        {seconds:.1f}  (limit {LIMIT_SECONDS}; {cpu_seconds:.1f} of the processor)")
        print(f"peak MiB       {peak_mib():.0f}  (limit {LIMIT_MIB}; {before_mib:.0f} before the request)")
        again_seconds, _, answer = request()
        print(f"asked again    {again_seconds:.1f} s, {answer['initiated_transfers']} initiated")
    return 0 if seconds < LIMIT_SECONDS and peak_mib() < LIMIT_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
