"""`python -m benchmarks.database`: how much time and how many commits the database costs an upload.

One request through the HTTP API, one real worker process that was idle before, the fast bucket on
loopback. The table shows the time from the accepted request to the last verified row, commits and queries a
file, and the share of the wall time that the worker's threads spent in database calls.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.data import DATASETS, Dataset, make_files
from benchmarks.native import Tools, build_tools, check_compiler
from benchmarks.sink import PLAIN, Sink

BACKEND = Path(__file__).resolve().parent.parent
PASSWORD = "benchmark only"
PATIENCE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run cost. `database_seconds` may exceed the wall time: it is the sum over all threads."""

    wall_seconds: float
    request_seconds: float
    worker_cpu_seconds: float
    files: int
    commits: int
    queries: int
    connects: int
    database_seconds: float
    database_cpu_seconds: float


def main() -> int:
    arguments = _arguments()
    if arguments.worker:
        return _counting_worker(arguments.worker)
    home = Path(os.environ.get("COLDREEL_HOME", tempfile.gettempdir())) / "bench"
    home.mkdir(parents=True, exist_ok=True)
    check_compiler()
    tools = build_tools(home, home / "peers")
    sets = [one for one in DATASETS if arguments.only in one.name]
    _head(arguments.postgres)
    with _database(arguments.postgres) as url:
        for dataset in [make_files(home, one.quick() if arguments.quick else one, _say) for one in sets]:
            runs = [_measured_run(dataset, tools, url, arguments.batch_size) for _ in range(arguments.runs)]
            _row(dataset, runs)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database", description=__doc__)
    parser.add_argument("--only", default="", help="data sets whose names contain this: snippets, segments, long")
    parser.add_argument("--quick", action="store_true", help="an eighth of the data")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--postgres", action="store_true", help="on a throwaway PostgreSQL")
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def _database(postgres: bool) -> Iterator[str | None]:
    from tests.postgres import ThrowawayPostgres

    with ThrowawayPostgres() if postgres else nullcontext() as cluster:
        yield cluster.url if cluster else None


# --- One run: a child makes the request, another works -----------------------------------------------


def _measured_run(dataset: Dataset, tools: Tools, url: str | None, batch_size: int) -> RunFigures:
    with tempfile.TemporaryDirectory(prefix="coldreel-bench-", dir=dataset.folder.parent) as folder:
        with Sink(tools, line=PLAIN) as sink:
            # A child for each run: Django is set up once a process, with one database.
            child = os.fork()
            if not child:
                status = 1
                try:
                    figures = _run(dataset, Path(folder), sink, url, batch_size)
                    (Path(folder) / "figures.json").write_text(json.dumps(asdict(figures)))
                    status = 0
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(status)
            if os.waitpid(child, 0)[1]:
                raise RuntimeError("the run failed")
            wrong = sink.what_is_wrong(dataset)
        if wrong:
            raise RuntimeError(wrong)
        return RunFigures(**json.loads((Path(folder) / "figures.json").read_text()))


def _run(dataset: Dataset, folder: Path, sink: Sink, url: str | None, batch_size: int) -> RunFigures:
    home = folder / "home"
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings",
        COLDREEL_HOME=str(home),
        DATABASE_URL=url or f"sqlite:///{home / 'benchmark.sqlite3'}",
        GCP_STORAGE_USE_GCS="True",
        GCP_STORAGE_BUCKET_NAME="bench",
        STORAGE_EMULATOR_HOST=sink.url,
        COLDREEL_INSTALLATION_ID="11111111-2222-4333-8444-555555555555",
        COLDREEL_LOG_LEVEL="WARNING",
        COLDREEL_SETTLE_SECONDS="0",
    )
    os.environ.pop("MEDIA_ROOT", None)
    home.mkdir(parents=True)
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("flush", verbosity=0, interactive=False)
    _make_recordings(dataset)
    token = _token()
    with _worker(folder) as worker:
        request_seconds, began, ended = _ask_and_wait(token, batch_size)
        cpu_seconds = _cpu_seconds(worker.pid) - worker.cpu_before
    calls = [call for call in json.loads((folder / "calls.json").read_text()) if began <= call["began"] <= ended]
    kinds = Counter(call["kind"] for call in calls)
    return RunFigures(
        wall_seconds=ended - began,
        request_seconds=request_seconds,
        worker_cpu_seconds=cpu_seconds,
        files=dataset.count,
        commits=sum(1 for call in calls if call["kind"] == "commit" and call["writes"]),
        queries=kinds["query"],
        connects=kinds["connect"],
        database_seconds=sum(call["seconds"] for call in calls),
        database_cpu_seconds=sum(call["cpu_seconds"] for call in calls),
    )


def _make_recordings(dataset: Dataset) -> None:
    from django.conf import settings

    from apps.cctv.models import Camera, Recording, Site
    from apps.users.models import User

    User.objects.create_superuser("bench", password=PASSWORD)
    root: Path = settings.MEDIA_ROOT
    root.mkdir(parents=True)
    (root / ".coldreel-media-root").write_text("benchmark\n")
    camera = Camera.objects.create(site=Site.objects.create(name="Benchmark"), name="Gate")
    recordings = []
    for path in sorted(dataset.folder.iterdir()):
        target = root / path.name
        os.link(path, target)
        found = target.stat()
        recordings.append(
            Recording(
                camera=camera,
                name=path.name,
                local_path=path.name,
                file_path=path.name,
                file_size_bytes=found.st_size,
                file_mtime_ns=found.st_mtime_ns,
                started_at=datetime.now(tz=UTC) - timedelta(hours=2),
            )
        )
    Recording.objects.bulk_create(recordings)


def _token() -> str:
    answer = _client().post(
        "/api/v0/token/", {"username": "bench", "password": PASSWORD}, content_type="application/json"
    )
    return str(answer.json()["access"])


def _client() -> Any:
    from django.test import Client

    return Client(headers={"host": "localhost"})


def _ask_and_wait(token: str, batch_size: int) -> tuple[float, float, float]:
    """Seconds of the request; then, by the monotonic clock, when it was answered and when the last row was verified."""
    from apps.cctv.models import GCPVideoTransfer

    asked = time.monotonic()
    answer = _client().post(
        "/api/v0/recordings/transfer-to-gcp/",
        {"batch_size": batch_size},
        content_type="application/json",
        headers={"authorization": f"Bearer {token}"},
    )
    began = time.monotonic()
    if answer.status_code != 200 or answer.json()["failed_initiations"]:
        raise RuntimeError(answer.content.decode())
    under_way = GCPVideoTransfer.objects.filter(transfer_status__in=["pending", "uploading"])
    while under_way.exists():
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise RuntimeError(f"the uploads did not end within {PATIENCE_SECONDS} s")
        time.sleep(0.01)
    ended = time.monotonic()
    if GCPVideoTransfer.objects.exclude(transfer_status="cleanup_pending").exists():
        raise RuntimeError("not every recording was uploaded")
    return began - asked, began, ended


# --- The worker ------------------------------------------------------------------------------------------


class _Worker:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.cpu_before = _cpu_seconds(pid)


@contextmanager
def _worker(folder: Path) -> Iterator[_Worker]:
    """Start a worker and wait until it is idle; it is stopped at the end of the block."""
    from apps.cctv.models import PeriodicJob

    command = [sys.executable, "-m", "benchmarks.database", "--worker", str(folder / "calls.json")]
    with (folder / "worker.log").open("wb") as log:
        environment = {**os.environ, "COLDREEL_LOG_LEVEL": "INFO"}
        process = subprocess.Popen(command, cwd=BACKEND, stdout=log, stderr=log, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while PeriodicJob.objects.filter(last_finished_at__isnull=False).count() < 2:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "worker.log").read_text()[-2000:])
            time.sleep(0.1)
        # Its first rounds are over, but threads of them may still end.
        time.sleep(0.5)
        yield _Worker(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_SECONDS)


def _counting_worker(report: str) -> int:
    """Run a worker in this process; at its end write every database call as JSON to the file `report`."""
    import django
    from django.core.management import call_command

    django.setup()
    from tests.database_calls import DatabaseCalls

    calls = DatabaseCalls()
    with calls.watching():
        call_command("run_worker")
    Path(report).write_text(json.dumps([asdict(call) for call in calls.calls]))
    return 0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- The table -------------------------------------------------------------------------------------------


def _head(postgres: bool) -> None:
    print(f"# What the database costs, {'PostgreSQL' if postgres else 'SQLite'}, medians\n")
    print(
        "| data | wall s | request s | worker's CPU s | commits a file | queries a file | connections "
        "| database s | share of the wall | its CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)


def _row(dataset: Dataset, runs: list[RunFigures]) -> None:
    def median(figure: str) -> float:
        return statistics.median(getattr(run, figure) for run in runs)

    files, wall = runs[0].files, median("wall_seconds")
    print(
        f"| {dataset.title} | {wall:.2f} | {median('request_seconds'):.2f} | {median('worker_cpu_seconds'):.2f} "
        f"| {median('commits') / files:.2f} | {median('queries') / files:.1f} | {median('connects'):.0f} "
        f"| {median('database_seconds'):.2f} | {median('database_seconds') / wall:.0%} "
        f"| {median('database_cpu_seconds'):.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
