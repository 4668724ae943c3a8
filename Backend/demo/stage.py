"""The demo's processes and folders: a bucket on loopback, the web server and a worker."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

BACKEND = Path(__file__).resolve().parents[1]
BUCKET = "coldreel-demo"
MBYTES_PER_SECOND = 20
"""About the speed of a good uplink; loopback would be too fast to watch."""
START_SECONDS = 60
STOP_SECONDS = 20


class StageError(Exception):
    """A process of the demo did not start or ended too early."""


class Stage:
    """The processes and files of the tour, all below a home of its own: no real recording is touched.

    Use it as a context manager: at the end of the block its processes are stopped.
    """

    def __init__(self, home: Path, *, port: int) -> None:
        self.home = home
        self.media = home / "media"
        self.logs = home / "logs"
        self.web_url = f"http://127.0.0.1:{port}"
        self.bucket_url = ""
        self.password = secrets.token_urlsafe(9)
        self._port = port
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._refuse_a_taken_port()
        self._clear_last_run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(list(self._processes.values())):
            _end(process)

    def start_bucket(self) -> None:
        """Start the emulator on a free port; `bucket_url` is its address afterwards."""
        port_file = self.home / "bucket-port"
        self._start(
            "bucket",
            [
                *("-m", "gcs_emulator", "--host", "127.0.0.1", "--port", "0", "--port-file", str(port_file)),
                *("--data", str(self.home / "bucket"), "--bucket", BUCKET),
                *("--mbytes-per-second", str(MBYTES_PER_SECOND)),
            ],
        )
        self.wait_until(lambda: port_file.exists() and port_file.read_text().strip() != "", "the bucket")
        self.bucket_url = f"http://127.0.0.1:{port_file.read_text().strip()}"

    def start_server(self) -> None:
        """Start the web server and the worker, as `make run` does."""
        self._start("server", ["manage.py", "serve", "--host", "127.0.0.1", "--port", str(self._port)])

    def manage(self, *arguments: str, extra: dict[str, str] | None = None) -> str:
        """Run a command of Coldreel and return what it printed. Raises StageError with its last lines."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=BACKEND,
            env=self.environment() | (extra or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StageError(f"manage.py {arguments[0]} ended with {done.returncode}:\n{done.stderr.strip()[-2000:]}")
        return done.stdout

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return inherited | {
            # A developer's own settings file may name a real bucket.
            "COLDREEL_ENV_FILE": os.devnull,
            "COLDREEL_HOME": str(self.home),
            "MEDIA_ROOT": str(self.media),
            "GCP_STORAGE_USE_GCS": "True",
            "GCP_STORAGE_BUCKET_NAME": BUCKET,
            "GCP_STORAGE_PROJECT_ID": "demo",
            "STORAGE_EMULATOR_HOST": self.bucket_url,
            "COLDREEL_PROGRESS_SECONDS": "0.5",
            "PYTHONUNBUFFERED": "1",
        }

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait for `what`. Raises StageError after a minute, or when a process of the demo ended."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            self.check_alive()
            if time.monotonic() > deadline:
                raise StageError(f"{what} did not start within {START_SECONDS} s; see {self.logs}")
            time.sleep(0.1)

    def check_alive(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                tail = (self.logs / f"{name}.log").read_text(errors="replace")[-2000:]
                raise StageError(f"the {name} ended with status {process.returncode}:\n{tail}")

    def serve_until_interrupted(self) -> None:
        try:
            while True:
                self.check_alive()
                time.sleep(0.5)
        except KeyboardInterrupt:
            print("\nStopping …")

    def _start(self, name: str, arguments: list[str]) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("wb") as log:
            # A session of its own: Ctrl-C reaches the demo only, which then stops its processes in order.
            self._processes[name] = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=BACKEND,
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _refuse_a_taken_port(self) -> None:
        """Fail before half a minute of work, not after it; another demo may use the port."""
        with socket.socket() as probe:
            # As the server does: a port whose last connection ended a minute ago counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self._port))
            except OSError as error:
                raise StageError(f"port {self._port} is in use. PORT=8001 chooses another port.") from error

    def _clear_last_run(self) -> None:
        """Delete the bucket and the database of the last demo; its clips are used again."""
        self.home.mkdir(parents=True, exist_ok=True)
        for entry in self.home.iterdir():
            if entry == self.media:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


_OURS = ("GCP_", "COLDREEL_", "DJANGO_", "DATABASE_URL", "MEDIA_ROOT", "CORS_", "STORAGE_EMULATOR_HOST")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM (finish the chunk), again (end now), then SIGKILL, each after STOP_SECONDS."""
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
