"""Measures the whole application: rows created through the API, a real web server, a real worker.

The clock starts when the request is accepted (its 200 has arrived) and stops when the database says that the
last row is verified. Every row is then compared with the object in the bucket.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.application.databases import ROWS, STATUSES, WORKERS, Databases, Observer, verified_and_failed
from benchmarks.application.procfs import cpu_seconds_of_session, peak_bytes
from benchmarks.application.seed import PASSWORD, USER
from benchmarks.clients import BACKEND, Course
from benchmarks.data import Dataset
from benchmarks.figures import Run
from benchmarks.measure import running
from benchmarks.native import BenchError
from benchmarks.sink import BUCKET, Sink, free_port
from offload.source import MARKER_NAME

AT_ONCE = 16
"""As all clients on the thin line. On a quick line the worker starts fewer by itself."""
LOOK_SECONDS = 0.01
START_SECONDS = 60
PATIENCE_SECONDS = 600
QUIET_SECONDS = 0.5
QUIET_CPU_SECONDS = 0.02
_OURS = ("GCP_", "COLDREEL_", "DJANGO_", "DATABASE_URL", "MEDIA_ROOT", "CORS_", "STORAGE_EMULATOR_HOST")


@dataclass(frozen=True, slots=True)
class Application:
    """A contestant. Its rows are in `databases`; where that is None, `missing` says why."""

    name: str
    databases: Databases | None
    missing: str = ""

    def at_once(self, dataset: Dataset, line: str) -> int:
        del dataset, line
        return AT_ONCE

    def why_not(self, line: str) -> str:
        del line
        return self.missing

    def run(self, course: Course) -> Run:
        course.sink.reset()
        runs = course.tools.home / "runs"
        runs.mkdir(exist_ok=True)
        try:
            return self._run(course, runs)
        except (BenchError, OSError, sqlite3.Error, psycopg.Error) as error:
            # A run that failed is reported below the table; the others go on.
            return Run(0.0, 0.0, 0, problem=str(error))

    def _run(self, course: Course, runs: Path) -> Run:
        assert self.databases is not None
        # Below our home, because a hard link cannot point to another file system.
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=runs)))
            media = _link_media(home, course.dataset)
            seed = _Seed(home, media)
            url = stack.enter_context(self.databases.fresh(course.dataset.name, seed, home))
            observer = stack.enter_context(self.databases.observe(url))
            settings = _settings(home, media, url, course.sink)
            return _measured(course, observer, home, settings)


def _measured(course: Course, observer: Observer, home: Path, settings: dict[str, str]) -> Run:
    port = free_port()
    with (
        _started(["run_web", "--host", "127.0.0.1", "--port", str(port)], settings, home / "web.log") as web,
        _started(["run_worker"], settings, home / "worker.log") as worker,
    ):
        token = _token_when_up(port, web, home)
        _wait_for_idle_worker(worker, observer, home)
        commit_count = observer.commit_count()
        cpu, web_cpu = cpu_seconds_of_session(worker.pid), cpu_seconds_of_session(web.pid)
        asked_at = time.monotonic()
        answer = _post(port, "recordings/transfer-to-gcp/", {"batch_size": AT_ONCE}, token)
        began = time.monotonic()
        problem = _wait_until_verified(observer, course.dataset, answer, worker)
        wall = time.monotonic() - began
        cpu, web_cpu = cpu_seconds_of_session(worker.pid) - cpu, cpu_seconds_of_session(web.pid) - web_cpu
        peak = peak_bytes(worker.pid) if worker.poll() is None else 0
        problem = problem or _what_is_wrong(observer, course)
        stats = course.sink.stats()
    observer.wait_until_alone()
    after = observer.commit_count()
    extra = {
        "request_seconds": began - asked_at,
        "web_cpu_seconds": web_cpu,
        "commits": after.commits - commit_count.commits,
    }
    if after.transactions is not None and commit_count.transactions is not None:
        extra["transactions"] = after.transactions - commit_count.transactions
    return Run(wall, cpu, peak, stats["conns"], tuple(stats["spoke"]), problem, extra)


class _Seed:
    """Fills a database in a process of its own, with the files of this run's media root."""

    def __init__(self, home: Path, media: Path) -> None:
        self._home = home
        self._media = media

    def __call__(self, url: str) -> None:
        settings = _inherited_environment() | {
            "COLDREEL_ENV_FILE": os.devnull,
            "COLDREEL_HOME": str(self._home),
            "MEDIA_ROOT": str(self._media),
            "DATABASE_URL": url,
        }
        command = [sys.executable, "-m", "benchmarks.application.seed"]
        done = subprocess.run(command, env=settings, cwd=BACKEND, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the application's database could not be made: {done.stderr.strip()[-300:]}")


def _settings(home: Path, media: Path, url: str, sink: Sink) -> dict[str, str]:
    """The environment of the product's processes; every other setting has its default."""
    return _inherited_environment() | {
        "COLDREEL_ENV_FILE": os.devnull,
        "COLDREEL_HOME": str(home),
        "MEDIA_ROOT": str(media),
        "DATABASE_URL": url,
        "GCP_STORAGE_USE_GCS": "True",
        "GCP_STORAGE_BUCKET_NAME": BUCKET,
        "STORAGE_EMULATOR_HOST": sink.url,
        "COLDREEL_CA_FILE": str(sink.ca_file or ""),
        "COLDREEL_SETTLE_SECONDS": "0",
        "COLDREEL_WORKER_UPLOADS": str(AT_ONCE),
    }


def _inherited_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


def _link_media(home: Path, dataset: Dataset) -> Path:
    media = home / "media"
    media.mkdir()
    (media / MARKER_NAME).write_text("benchmark\n")
    for path in dataset.folder.iterdir():
        os.link(path, media / path.name)
    return media


@contextmanager
def _started(command: list[str], settings: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of `manage.py` until the end of the block."""
    manage = [sys.executable, str(BACKEND / "manage.py"), *command]
    with log.open("wb") as out, running(manage, environment=settings, output=out, folder=BACKEND) as process:
        yield process


def _token_when_up(port: int, web: subprocess.Popen[bytes], home: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and web.poll() is None:
        try:
            return str(_post(port, "token/", {"username": USER, "password": PASSWORD})["access"])
        except OSError:
            time.sleep(0.1)
    raise BenchError(f"the web server did not start: {_tail(home / 'web.log')}")


def _post(port: int, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v0/{path}", data=json.dumps(body).encode(), headers=headers
    )
    with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def _wait_for_idle_worker(worker: subprocess.Popen[bytes], observer: Observer, home: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    before = 0.0
    while time.monotonic() < deadline and worker.poll() is None:
        now = cpu_seconds_of_session(worker.pid)
        if observer.rows(WORKERS) != [(0,)] and now - before <= QUIET_CPU_SECONDS:
            return
        before = now
        time.sleep(QUIET_SECONDS)
    raise BenchError(f"the worker did not start: {_tail(home / 'worker.log')}")


def _wait_until_verified(
    observer: Observer, dataset: Dataset, answer: dict[str, Any], worker: subprocess.Popen[bytes]
) -> str:
    """Wait until every row is verified; return an empty text, or why that will not happen."""
    if answer["initiated_transfers"] != dataset.count:
        return f"{answer['initiated_transfers']} of {dataset.count} transfers were started"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        verified, failed = verified_and_failed(dict(observer.rows(STATUSES)))
        if verified == dataset.count:
            return ""
        if failed or worker.poll() is not None:
            return f"{failed} transfers failed, the worker {'runs' if worker.poll() is None else 'ended'}"
        time.sleep(LOOK_SECONDS)
    return f"not done after {PATIENCE_SECONDS} s"


def _what_is_wrong(observer: Observer, course: Course) -> str:
    """Compare every row with its object, and every object with its file; empty where all are right."""
    objects = course.sink.objects()
    wrong = [path for path, size, crc32c in observer.rows(ROWS) if objects.get(path) != (size, crc32c)]
    if wrong:
        return f"{len(wrong)} rows differ from their objects"
    return course.sink.what_is_wrong(course.dataset)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip().replace("\n", " ")[-300:]
