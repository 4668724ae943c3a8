"""An old database with a row in every table, an empty new one, and the command between them as an operator calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.postgres import ServerMissing, ThrowawayPostgres

BACKEND = Path(__file__).resolve().parents[3]
MANAGE = str(BACKEND / "manage.py")
MORE_ROWS = 3000
"""Three batches of recordings and transfers, nine of events."""


def variables(home: Path, url: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("COLDREEL_", "GCP_"))},
        "COLDREEL_ENV_FILE": os.devnull,
        "COLDREEL_HOME": str(home),
        "COLDREEL_RESERVE_BYTES": "0",
        "FILL_ROWS": str(MORE_ROWS),
        "DATABASE_URL": url,
        "GCP_STORAGE_USE_GCS": "True",
        "GCP_STORAGE_BUCKET_NAME": "footage",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9",  # no bucket is spoken to
    }


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Move:
    """A home with an old database, and the address of an empty new one."""

    home: Path
    new: str

    @property
    def file(self) -> Path:
        return self.home / "coldreel.sqlite3"

    @property
    def old(self) -> str:
        return f"sqlite:///{self.file}"

    def popen(self, *arguments: str, url: str | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, MANAGE, *arguments],
            env=variables(self.home, url or self.old),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=BACKEND,
        )

    def run(self, *arguments: str, url: str | None = None) -> Done:
        process = self.popen(*arguments, url=url)
        out, err = process.communicate(timeout=240)
        return Done(process.returncode, out, err)

    def move(self, *arguments: str) -> Done:
        return self.run("move_database", "--to", self.new, *arguments)

    def rows(self, url: str) -> list[dict[str, Any]]:
        """Everything in that database, as Django's own serialiser writes it."""
        done = self.run("dumpdata", "--all", url=url)
        assert done.status == 0, done.err
        return sorted(json.loads(done.out), key=lambda row: (row["model"], str(row["pk"])))


@pytest.fixture(scope="session")
def cluster() -> Iterator[ThrowawayPostgres]:
    try:
        cluster = ThrowawayPostgres()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a database that has a row in every table. Copied for each test."""
    home = tmp_path_factory.mktemp("filled")
    environment = variables(home, f"sqlite:///{home / 'coldreel.sqlite3'}")
    subprocess.run([sys.executable, "-m", "tests.integration.moving.fill"], env=environment, check=True, cwd=BACKEND)
    return home


def fresh_move(cluster: ThrowawayPostgres, filled: Path, folder: Path) -> Move:
    home = folder / "home"
    shutil.copytree(filled, home)
    name = f"moved_{uuid4().hex[:12]}"
    with psycopg.connect(cluster.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    return Move(home, cluster.url.removesuffix("/postgres") + f"/{name}")


@pytest.fixture
def move(cluster: ThrowawayPostgres, filled: Path, tmp_path: Path) -> Move:
    return fresh_move(cluster, filled, tmp_path)
