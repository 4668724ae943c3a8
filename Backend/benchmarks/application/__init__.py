"""The whole application: rows created through the API, a real worker, real processes.

The clock starts when the request is accepted (its 200 has arrived) and stops when the last row is verified,
as the database says. Every row is then compared with what the bucket holds.
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

from benchmarks.application.databases import ROWS, STATUSES, WORKERS, Databases, Look, verified_and_failed
from benchmarks.application.procfs import cpu_seconds_of_session, peak_bytes
from benchmarks.application.seed import PASSWORD, USER
from benchmarks.clients import BACKEND, Field
from benchmarks.data import Dataset
from benchmarks.figures import Run
from benchmarks.measure import running
from benchmarks.native import BenchError
from benchmarks.sink import BUCKET, Sink, free_port
from offload.source import MARKER_NAME

AT_ONCE = 16
"""As everybody on the thin line. On a quick one the worker begins fewer by itself."""
LOOK_SECONDS = 0.01
START_SECONDS = 60
PATIENCE_SECONDS = 600
QUIET_SECONDS = 0.5
QUIET_CPU_SECONDS = 0.02
_OURS = ("GCP_", "COLDREEL_", "DJANGO_", "DATABASE_URL", "MEDIA_ROOT", "CORS_", "STORAGE_EMULATOR_HOST")


@dataclass(frozen=True, slots=True)
class Application:
    """A contestant. `databases` is where its rows live; without one, `missing` says why."""

    name: str
    databases: Databases | None
    missing: str = ""

    def at_once(self, dataset: Dataset, line: str) -> int:
        del dataset, line
        return AT_ONCE

    def why_not(self, line: str) -> str:
        del line
        return self.missing

    def run(self, place: Field) -> Run:
        place.sink.reset()
        runs = place.tools.home / "runs"
        runs.mkdir(exist_ok=True)
        try:
            return self._run(place, runs)
        except (BenchError, OSError, sqlite3.Error, psycopg.Error) as error:
            return Run(0.0, 0.0, 0, problem=str(error))

    def _run(self, place: Field, runs: Path) -> Run:
        assert self.databases is not None
        # Below our home, because hard links do not leave a file system.
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=runs)))
            media = _link_media(home, place.dataset)
            seed = _Seed(home, media)
            url = stack.enter_context(self.databases.fresh(place.dataset.name, seed, home))
            look = stack.enter_context(self.databases.look(url))
            settings = _settings(home, media, url, place.sink)
            return _measured(place, look, home, settings)


def _measured(place: Field, look: Look, home: Path, settings: dict[str, str]) -> Run:
    port = free_port()
    with (
        _started(["run_web", "--host", "127.0.0.1", "--port", str(port)], settings, home / "web.log") as web,
        _started(["run_worker"], settings, home / "worker.log") as worker,
    ):
        token = _token_when_up(port, web, home)
        _wait_for_an_idle_worker(worker, look, home)
        tally = look.tally()
        cpu, web_cpu = cpu_seconds_of_session(worker.pid), cpu_seconds_of_session(web.pid)
        asked_at = time.monotonic()
        answer = _post(port, "recordings/transfer-to-gcp/", {"batch_size": AT_ONCE}, token)
        began = time.monotonic()
        problem = _wait_until_verified(look, place.dataset, answer, worker)
        wall = time.monotonic() - began
        cpu, web_cpu = cpu_seconds_of_session(worker.pid) - cpu, cpu_seconds_of_session(web.pid) - web_cpu
        peak = peak_bytes(worker.pid) if worker.poll() is None else 0
        problem = problem or _what_is_wrong(look, place)
        stats = place.sink.stats()
    look.wait_until_alone()
    after = look.tally()
    extra = {"request_seconds": began - asked_at, "web_cpu_seconds": web_cpu, "commits": after.commits - tally.commits}
    if after.transactions is not None and tally.transactions is not None:
        extra["transactions"] = after.transactions - tally.transactions
    return Run(wall, cpu, peak, stats["conns"], tuple(stats["spoke"]), problem, extra)


class _Seed:
    """Fills a database by a process of its own, with this run's media root."""

    def __init__(self, home: Path, media: Path) -> None:
        self._home = home
        self._media = media

    def __call__(self, url: str) -> None:
        settings = _outer() | {
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
    """All else is as it is by default."""
    return _outer() | {
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


def _outer() -> dict[str, str]:
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
    """One of `manage.py`'s commands."""
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


def _wait_for_an_idle_worker(worker: subprocess.Popen[bytes], look: Look, home: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    before = 0.0
    while time.monotonic() < deadline and worker.poll() is None:
        now = cpu_seconds_of_session(worker.pid)
        if look.rows(WORKERS) != [(0,)] and now - before <= QUIET_CPU_SECONDS:
            return
        before = now
        time.sleep(QUIET_SECONDS)
    raise BenchError(f"the worker did not start: {_tail(home / 'worker.log')}")


def _wait_until_verified(look: Look, dataset: Dataset, answer: dict[str, Any], worker: subprocess.Popen[bytes]) -> str:
    """Empty, or why it will not come to that."""
    if answer["initiated_transfers"] != dataset.count:
        return f"{answer['initiated_transfers']} of {dataset.count} transfers were started"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        verified, failed = verified_and_failed(dict(look.rows(STATUSES)))
        if verified == dataset.count:
            return ""
        if failed or worker.poll() is not None:
            return f"{failed} transfers failed, the worker {'runs' if worker.poll() is None else 'ended'}"
        time.sleep(LOOK_SECONDS)
    return f"not done after {PATIENCE_SECONDS} s"


def _what_is_wrong(look: Look, place: Field) -> str:
    """Every row against the object that it names, and every object against its file."""
    objects = place.sink.objects()
    wrong = [path for path, size, crc32c in look.rows(ROWS) if objects.get(path) != (size, crc32c)]
    if wrong:
        return f"{len(wrong)} rows differ from their objects"
    return place.sink.what_is_wrong(place.dataset)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip().replace("\n", " ")[-300:]
