"""A worker's database is away, or locked, for longer than a periodic job waits for it: the job runs again."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.installation import BACKEND, PATIENCE_SECONDS, TWENTIETH
from tests.postgres import ServerMissing, ThrowawayPostgres

DATABASE = "coldreel"


def until(happened: Callable[[], object], what: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < give_up_at, f"waited in vain for {what}"
        time.sleep(0.02)


def environment(home: Path, url: str) -> dict[str, str]:
    """No bucket is spoken to: nothing is due but the jobs themselves."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("COLDREEL_", "GCP_"))},
        **TWENTIETH,
        "COLDREEL_ENV_FILE": os.devnull,
        "COLDREEL_HOME": str(home),
        "DATABASE_URL": url,
        "GCP_STORAGE_USE_GCS": "True",
        "GCP_STORAGE_BUCKET_NAME": "footage",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9",
    }


@contextmanager
def worker(home: Path, url: str) -> Iterator[Path]:
    """A worker on a migrated database: its log."""
    home.mkdir()
    variables = environment(home, url)
    program = [sys.executable, str(BACKEND / "manage.py")]
    subprocess.run([*program, "migrate", "--verbosity=0"], check=True, env=variables)
    log = home / "worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*program, "run_worker"], env=variables, stdout=out, stderr=out)
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def cluster() -> Iterator[ThrowawayPostgres]:
    try:
        cluster = ThrowawayPostgres()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with cluster:
        yield cluster


def test_sweep_runs_again_after_its_database_was_away(cluster: ThrowawayPostgres, tmp_path: Path) -> None:
    """The other connections of the worker stay: its heartbeat must not renew the lease of a job that does not run."""
    url = cluster.url.removesuffix("/postgres") + f"/{DATABASE}"
    with psycopg.connect(cluster.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE}")

        def sweeps_waiting() -> list[int]:
            query = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
            return [pid for (pid,) in admin.execute(query, [DATABASE])]

        with worker(tmp_path / "home", url) as log, psycopg.connect(url, autocommit=True) as look:

            def sweeps_ended() -> int:
                found = look.execute(
                    "SELECT lease_number FROM cctv_periodicjob WHERE name = 'sweep' AND last_finished_at IS NOT NULL"
                    " AND lease_owner IS NULL"
                ).fetchone()
                return int(found[0]) if found else 0

            until(sweeps_ended, "the first sweep")
            with psycopg.connect(url) as blocker:
                blocker.execute("LOCK TABLE cctv_alarm IN ACCESS EXCLUSIVE MODE")
                until(sweeps_waiting, "a sweep in the middle")
                admin.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false")
                for pid in sweeps_waiting():
                    admin.execute("SELECT pg_terminate_backend(%s)", [pid])
                until(lambda: "periodic.missed" in log.read_text(), "an end that could not be written")
            admin.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS true")
            before = sweeps_ended()
            until(lambda: sweeps_ended() > before + 1, "further sweeps")


def test_sweep_runs_again_after_a_long_write_lock(tmp_path: Path) -> None:
    """Another process holds SQLite's write lock while the sweep runs, longer than the sweep waits for it."""
    home = tmp_path / "home"
    database = home / "database.sqlite3"
    with worker(home, f"sqlite:///{database}?timeout=0.3") as log, closing(_opened(database)) as look:

        def sweep() -> tuple[int, bool]:
            found = look.execute(
                "SELECT lease_number, lease_owner IS NOT NULL FROM cctv_periodicjob"
                " WHERE name = 'sweep' AND last_finished_at IS NOT NULL"
            ).fetchone()
            return (int(found[0]), bool(found[1])) if found else (0, False)

        until(lambda: sweep()[0], "the first sweep")
        with closing(_opened(database)) as other:

            def caught_in_the_middle() -> bool:
                other.execute("BEGIN IMMEDIATE")
                if sweep()[1]:
                    return True
                other.execute("ROLLBACK")
                return False

            until(caught_in_the_middle, "a sweep in the middle")
            until(lambda: "periodic.missed" in log.read_text(), "an end that could not be written")
            other.execute("ROLLBACK")
        before = sweep()[0]
        until(lambda: sweep()[0] > before + 1, "further sweeps")


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=30, isolation_level=None)
