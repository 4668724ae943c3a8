"""What the benchmark sees of a database and of processes from outside."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.application.databases import SqliteDatabases, verified_and_failed
from benchmarks.application.procfs import cpu_seconds_of_session, peak_bytes
from benchmarks.measure import running

PATIENCE_SECONDS = 30


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE cctv_workerprocess (x)")


def test_writing_commits_are_counted_once_and_reads_never(tmp_path: Path) -> None:
    databases = SqliteDatabases(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    with (
        databases.fresh("one", lambda url: make_database(Path(url.removeprefix("sqlite:///"))), folder) as url,
        databases.observe(url) as observer,
        closing(sqlite3.connect(folder / "coldreel.sqlite3", isolation_level=None)) as product,
    ):
        before = observer.commit_count().commits
        for number in range(7):
            product.execute("INSERT INTO cctv_workerprocess VALUES (?)", [number])
            product.execute("SELECT * FROM cctv_workerprocess").fetchall()
        product.execute("BEGIN")
        product.execute("INSERT INTO cctv_workerprocess VALUES (8)")
        product.execute("ROLLBACK")
        product.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        product.executescript("BEGIN; INSERT INTO cctv_workerprocess VALUES (1), (2); COMMIT")

        assert observer.commit_count().commits - before == 8
        assert observer.rows("SELECT count(*) FROM cctv_workerprocess") == [(9,)]


def test_each_run_begins_with_a_copy_of_the_seed(tmp_path: Path) -> None:
    databases = SqliteDatabases(tmp_path)
    seeded: list[str] = []

    def seed(url: str) -> None:
        seeded.append(url)
        make_database(Path(url.removeprefix("sqlite:///")))

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with (
            databases.fresh("one", seed, tmp_path / name) as url,
            databases.observe(url) as observer,
            closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as product,
        ):
            assert observer.rows("SELECT count(*) FROM cctv_workerprocess") == [(0,)]
            product.execute("INSERT INTO cctv_workerprocess VALUES (1)")
    assert len(seeded) == 1


@pytest.mark.parametrize(
    ("counts", "found"),
    [({}, (0, 0)), ({"completed": 1, "cleanup_pending": 2, "uploading": 3}, (3, 0)), ({"failed": 4}, (0, 4))],
)
def test_rows_are_verified_in_three_states(counts: dict[str, int], found: tuple[int, int]) -> None:
    assert verified_and_failed(counts) == found


def test_processor_time_of_a_whole_session_is_seen() -> None:
    program = "import os, time\nos.fork()\nwhile time.process_time() < 0.2: pass\ntime.sleep(60)"
    with running([sys.executable, "-c", program], environment=os.environ, output=subprocess.DEVNULL) as process:
        # More than either of the two has used.
        assert wait_for(lambda: cpu_seconds_of_session(process.pid) >= 0.3)
        assert peak_bytes(process.pid) > 2**20


def test_no_child_is_left_after_an_error(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    with pytest.raises(KeyboardInterrupt):
        leave_by_an_error(pid_file)

    assert wait_for(lambda: not is_running(int(pid_file.read_text())))


def leave_by_an_error(pid_file: Path) -> None:
    """With a process inside whose own child has written its id."""
    command = ["/bin/sh", "-c", f"sleep 600 & echo $! > {pid_file}; exec sleep 600"]
    with running(command, environment=os.environ, output=subprocess.DEVNULL):
        assert wait_for(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
        raise KeyboardInterrupt


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened()
