"""gcp-storage-emulator, the only other pure Python one, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType

START_SECONDS = 60


class OtherEmulator:
    def __init__(self, folder: Path, bucket: str) -> None:
        self._folder = folder
        self._bucket = bucket

    def __enter__(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--default-bucket", self._bucket, "--in-memory", "--quiet"]
        self._log = (self._folder / "gcp-storage-emulator.log").open("wb")
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=self._log, stderr=self._log)
        self._wait(port)
        return f"http://127.0.0.1:{port}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _wait(self, port: int) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
            except OSError:
                time.sleep(0.05)
            else:
                return
            finally:
                connection.close()
        raise TimeoutError("gcp-storage-emulator did not start")
