"""The supervisor, in a process of its own, with children that are plain commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.acceptance.web_server import descendants, runs, until

BACKEND = Path(__file__).resolve().parents[3]
SCRIPT = """
import os, sys
from pathlib import Path
from config import supervisor
sleeper = supervisor.Child("sleeper", ["sleep", "600"], os.environ)
absent = supervisor.Child("absent", ["/there/is/no/such/command"], os.environ)
supervisor.Supervisor([sleeper, absent], say=lambda line: Path(sys.argv[1]).write_text(line)).run()
"""


def test_child_that_cannot_start_ends_no_other(tmp_path: Path) -> None:
    told = tmp_path / "told"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(told)], cwd=BACKEND)
    try:
        until(lambda: told.exists() and "cannot be started" in told.read_text(), "what it says")
        assert process.poll() is None
        (sleeper,) = descendants(process.pid)
        process.terminate()
        assert process.wait(30) == 0
        assert not runs(sleeper)
    finally:
        process.kill()
        process.wait()
