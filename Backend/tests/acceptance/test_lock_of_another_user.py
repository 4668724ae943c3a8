"""Root once ran a worker: what it left in the home keeps the service's own worker from nothing."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.installation import BACKEND
from tests.acceptance.test_lost_database import environment, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def home() -> Iterator[Path]:
    """The home of the user `nobody`, who may not look into pytest's own folders."""
    home = Path(tempfile.mkdtemp(prefix="coldreel-home-"))
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def python() -> str:
    """An interpreter that the user `nobody` may run with the libraries of this one, which may lie in root's own home."""
    program = f"import sys; sys.path += {_libraries()!r}; import django, pycurl, psycopg"
    for candidate in (sys.executable, shutil.which("python3", path="/usr/bin")):
        with suppress(OSError):
            if candidate and subprocess.run([candidate, "-c", program], **AS_NOBODY, check=False).returncode == 0:
                return candidate
    pytest.skip("the user nobody may run no interpreter with the product's libraries")


AS_NOBODY: dict[str, Any] = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": [], "cwd": "/"}


def _libraries() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]


def as_nobody(python: str, home: Path, *command: str, log: Path) -> subprocess.Popen[bytes]:
    variables = environment(home, f"sqlite:///{home / 'coldreel.sqlite3'}")
    with log.open("ab") as out:
        return subprocess.Popen(
            [python, str(BACKEND / "manage.py"), *command],
            env=variables | {"PYTHONPATH": os.pathsep.join(_libraries()), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=out, stderr=out, **AS_NOBODY,
        )  # fmt: skip


def test_worker_passes_over_another_users_lock_once_told(python: str, home: Path, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert as_nobody(python, home, "migrate", "--verbosity=0", log=log).wait() == 0, log.read_text()
    owners = home / "owners"
    owners.mkdir(exist_ok=True)
    os.chown(owners, NOBODY.pw_uid, NOBODY.pw_gid)
    roots = owners / f"{uuid4()}.lock"
    roots.touch(mode=0o600)

    process = as_nobody(python, home, "run_worker", log=log)
    try:
        with closing(sqlite3.connect(home / "coldreel.sqlite3", timeout=30, isolation_level=None)) as look:

            def sweeps_well_ended() -> int:
                query = (
                    "SELECT lease_number FROM cctv_periodicjob WHERE name = 'sweep' AND last_result NOT LIKE 'fail%'"
                )
                found = look.execute(f"{query} AND last_finished_at IS NOT NULL").fetchone()
                return int(found[0]) if found else 0

            def alarms() -> list[tuple[str, bool]]:
                query = "SELECT detail, cleared_at IS NULL FROM cctv_alarm WHERE code = 'owner_of_another_user'"
                return [(detail, bool(is_open)) for detail, is_open in look.execute(query)]

            until(lambda: sweeps_well_ended() >= 2 or process.poll() is not None, "two sweeps")
            assert process.poll() is None, log.read_text()
            ((detail, is_open),) = alarms()
            assert is_open
            assert roots.name in detail
            assert roots.exists()

            roots.unlink()
            until(lambda: [is_open for _, is_open in alarms()] == [False], "the end of the alarm")
    finally:
        process.kill()
        process.wait()
