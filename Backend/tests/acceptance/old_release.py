"""An earlier release's code beside this one, on the same home, database and bucket: for upgrade tests.

It runs in an interpreter of its own with its own `Backend/` folder, and with the libraries of this release.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.installation import BACKEND, Installation

FIRST = "dcdc47d"
"""The first release point. It needs libraries that are not installed any more."""
LAST = "67beeba"
"""The last commit before sites had ids of their own. The next release's tag takes its place."""

REQUEST = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
import django
django.setup()
from django.conf import settings
from django.test import Client
from apps.cctv.models import Camera, Recording, Site
from apps.users.models import User

names, held, batch_size = json.loads(sys.argv[1])
password = "correct horse battery staple"
if not User.objects.exists():
    User.objects.create_superuser(username="operator", password=password)
site, _ = Site.objects.get_or_create(name="Depot")
camera, _ = Camera.objects.get_or_create(site=site, name="Gate")
made = []
for name in names:
    found = (Path(settings.MEDIA_ROOT) / name).stat()
    made.append(Recording.objects.create(camera=camera, name=name, started_at=datetime.now(tz=UTC),
        file_size_bytes=found.st_size, file_mtime_ns=found.st_mtime_ns, local_path=name, file_path=name,
        hold_wanted=name in held))
client = Client(SERVER_NAME="localhost")
token = client.post("/api/v0/token/", {"username": "operator", "password": password}, "application/json").json()
answer = client.post("/api/v0/recordings/transfer-to-gcp/",
    {"recording_ids": [str(one.pk) for one in made], "batch_size": batch_size}, "application/json",
    headers={"Authorization": f"Bearer {token['access']}"})
assert answer.json()["initiated_transfers"] == len(made), answer.content
print(json.dumps({one.name: str(one.pk) for one in made}))
"""
"""Registers files and asks for their transfer, by what no release renames: the API, and columns of a recording."""


def checked_out(commit: str, folder: Path) -> Path:
    """The `Backend/` folder of that commit. Skips the test where the history is not there, or its libraries are not."""
    archive = subprocess.run(["git", "archive", commit, "Backend"], cwd=BACKEND.parent, capture_output=True)
    if archive.returncode:
        pytest.skip(f"the history has no commit {commit}: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    environment = {**os.environ, "COLDREEL_HOME": str(folder / "home"), "COLDREEL_ENV_FILE": os.devnull}
    check = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=folder / "Backend", env=environment, capture_output=True, text=True
    )
    if missing := [line for line in check.stderr.splitlines() if line.startswith("ModuleNotFoundError")]:
        pytest.skip(f"commit {commit} needs a library of its time: {missing[0]}")
    return folder / "Backend"


class Release:
    """The commands of the code in one `Backend/` folder, on one installation and one database."""

    def __init__(self, backend: Path, installation: Installation, url: str) -> None:
        self.backend = backend
        self.installation = installation
        self.environment = {
            **installation.environment(),
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPATH": str(backend),
        }

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=self.backend,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def request(self, names: Sequence[str], *, held: Sequence[str] = (), batch_size: int = 2) -> dict[str, str]:
        """Register those files and ask for their transfer; the id of each recording by its name."""
        done = subprocess.run(
            [sys.executable, "-c", REQUEST, json.dumps([names, held, batch_size])],
            cwd=self.backend, env=self.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def killed_worker(self, when: Callable[[], Any]) -> None:
        """Start a worker and kill it as soon as `when` returns something true."""
        log = self.installation.logs / f"killed-{self.backend.parent.name}.log"
        with log.open("ab") as out:
            worker = subprocess.Popen(
                [sys.executable, "manage.py", "run_worker"],
                cwd=self.backend,
                env=self.environment,
                stdout=out,
                stderr=out,
            )
        try:
            self.installation.until(lambda: when() or worker.poll() is not None, "the moment to kill it")
            assert worker.poll() is None, log.read_text()
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait()


def select(url: str, query: str) -> list[tuple[Any, ...]]:
    """Rows of the database, from outside the product."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)) as database:
            return database.execute(query).fetchall()
    with psycopg.connect(url) as database:
        return database.execute(query).fetchall()


def make_files(installation: Installation, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        path = installation.media / name
        path.write_bytes(os.urandom(size))
        os.utime(path, (path.stat().st_mtime - 3600,) * 2)
