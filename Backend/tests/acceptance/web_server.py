"""`manage.py serve` as an operator starts it, and plain sockets to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

BACKEND = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 90.0
"""Reached only where something is wrong."""


def until(holds: Callable[[], bool], what: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + patience_seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether Coldreel's web server answers on that port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v0/openapi.json", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # an error status is one as well (HTTPError)
        return False


def descendants(pid: int) -> list[int]:
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it may just have ended
            for child in map(int, tasks.read_text().split()):
                found += [child, *descendants(child)]
    return found


def runs(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def outer_environment() -> dict[str, str]:
    ours = ("COLDREEL_", "GCP_", "DJANGO_", "DATABASE_URL", "MEDIA_ROOT", "HOST", "PORT", "STORAGE_EMULATOR_HOST")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class WebServer:
    """`with WebServer(folder) as server`: on a free port, its home below `folder`. `settings` are environment variables."""

    def __init__(
        self, folder: Path, *arguments: str, settings: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.home = folder / "home"
        self.port = free_port()
        self.log = folder / "serve.log"
        self.command = [sys.executable, str(BACKEND / "manage.py"), "serve", "--port", str(self.port), *arguments]
        # No file with settings: a developer's own must not get into a test.
        self.environment = {
            **outer_environment(),
            "COLDREEL_HOME": str(self.home),
            "COLDREEL_ENV_FILE": os.devnull,
            **(settings or {}),
        }
        self._cwd = cwd
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log, start_new_session=True, cwd=self._cwd
            )
        try:
            until(lambda: self.answers() or self.process.poll() is not None, "the web server")
            assert self.process.poll() is None, self.log_text()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the server and all processes that it started."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        return answers(self.port)

    def status_of(self, path: str, *, timeout_seconds: float = 5, headers: Mapping[str, str] | None = None) -> int:
        request = urllib.request.Request(self.url + path, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return int(refusal.code)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def exchange(self, *parts: bytes) -> bytes:
        """Send `parts` as far as the server reads them; return all that it sends until it closes."""
        with self.connect() as connection:
            with suppress(ConnectionError):  # it may have answered and closed before the last byte
                for part in parts:
                    connection.sendall(part)
            answer = b""
            with suppress(ConnectionResetError):
                while piece := connection.recv(65_536):
                    answer += piece
            return answer

    def web_process(self) -> int:
        """The id of the process that answers requests."""
        (found,) = [pid for pid in descendants(self.process.pid) if _is_web(pid)]
        return found

    def peak_bytes(self) -> int:
        """The most memory that the web server ever had resident."""
        status = Path(f"/proc/{self.web_process()}/status").read_text()
        (line,) = [one for one in status.splitlines() if one.startswith("VmHWM")]
        return int(line.split()[1]) * 1024


def _is_web(pid: int) -> bool:
    with suppress(OSError):
        return b"run_web" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
