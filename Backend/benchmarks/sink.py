"""The fast bucket: `sink/gcs_sink.cpp`, started on a free loopback port."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.data import Dataset
from benchmarks.native import BenchError, Tools, make_certificates

BUCKET = "bench"
PLAIN, TLS, THIN = "plain", "tls", "thin"
LINES = (PLAIN, TLS, THIN)
THIN_FLAGS = ("--latency-ms", "80", "--max-mbps", "50")
START_SECONDS = 10


class Sink:
    """A bucket process, from `with` to the end of its block. `line` is one of LINES."""

    def __init__(self, tools: Tools, *, line: str) -> None:
        self._port = free_port()
        flags: list[str] = list(THIN_FLAGS) if line == THIN else []
        self.ca_file: Path | None = None
        self._context: ssl.SSLContext | None = None
        if line == TLS:
            self.ca_file, certificate, key = make_certificates(tools.home)
            self._context = ssl.create_default_context(cafile=str(self.ca_file))
            flags = ["--tls", str(certificate), str(key)]
        self.url = f"{'https' if line == TLS else 'http'}://127.0.0.1:{self._port}"
        self._command = [str(tools.sink), "--port", str(self._port), *flags]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # A session of its own: Ctrl-C reaches the benchmark alone, which ends it.
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.stats()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        self._end()
        raise BenchError("the bucket did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            # Nothing to save: the bucket drops the bytes.
            self._process.kill()
            self._process.wait()

    def reset(self) -> None:
        """Delete all objects, sessions and figures."""
        self._get("/reset", method="POST")

    def cut(self, *, after_bytes: int) -> None:
        """Reset every open connection once, as soon as `after_bytes` more bytes of files have arrived."""
        self._get(f"/cut?after={after_bytes}", method="POST")

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get("/stats"))
        return found

    def objects(self) -> dict[str, tuple[int, str]]:
        """Size and CRC32C (base64) by the object's name; the bucket computed both from what arrived."""
        rows = (row.split("\t") for row in self._get("/dump").splitlines())
        return {name: (int(size), crc32c) for name, size, crc32c in rows}

    def what_is_wrong(self, dataset: Dataset) -> str:
        """A sentence on missing and wrong objects; empty where every file arrived with its size and CRC32C."""
        found = {name.rsplit("/", 1)[-1]: figures for name, figures in self.objects().items()}
        expected = {name: (dataset.file_bytes, crc32c) for name, crc32c in dataset.crc32c.items()}
        wrong = [name for name, figures in expected.items() if found.get(name) != figures]
        return f"{len(wrong)} of {len(expected)} objects missing or wrong" if wrong else ""

    def _get(self, path: str, *, method: str = "GET") -> str:
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=10, context=self._context) as answer:
            return str(answer.read().decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
