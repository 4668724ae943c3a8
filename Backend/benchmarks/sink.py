"""The fast bucket: built from `sink/gcs_sink.cpp`, started on a free loopback port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.data import Dataset

SOURCE = Path(__file__).parent / "sink" / "gcs_sink.cpp"
BUCKET = "bench"
THIN = ["--latency-ms", "80", "--max-mbps", "50"]


class SinkError(Exception):
    """The bucket could not be built or started."""


def build_sink(home: Path) -> Path:
    """Compile it where it is older than its source. Raises SinkError naming what is missing."""
    binary = home / "gcs_sink"
    if binary.exists() and binary.stat().st_mtime > SOURCE.stat().st_mtime:
        return binary
    if not shutil.which("g++"):
        raise SinkError("g++ is missing: apt-get install g++ libssl-dev")
    command = ["g++", "-O3", "-march=native", "-DWITH_TLS", "-o", str(binary), str(SOURCE)]
    done = subprocess.run([*command, "-lpthread", "-lssl", "-lcrypto"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SinkError(f"the bucket could not be built (apt-get install g++ libssl-dev): {done.stderr[-500:]}")
    return binary


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    certificate, key = folder / "sink.crt", folder / "sink.key"
    if not certificate.exists():
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "3650", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


class Sink:
    """A running bucket. `line` is plain, tls or thin."""

    def __init__(self, binary: Path, *, line: str) -> None:
        self._port = _free_port()
        self._flags: list[str] = THIN if line == "thin" else []
        self.ca_file: Path | None = None
        if line == "tls":
            self.ca_file, key = make_certificate(binary.parent)
            self._flags = ["--tls", str(self.ca_file), str(key)]
        self.url = f"{'https' if line == 'tls' else 'http'}://127.0.0.1:{self._port}"
        self._command = [str(binary), "--port", str(self._port), *self._flags]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self._get("/stats")
            except OSError:
                time.sleep(0.05)
            else:
                return self
        raise SinkError("the bucket did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def reset(self) -> None:
        self._get("/reset", method="POST")

    def what_is_wrong(self, dataset: Dataset) -> str:
        """Empty where every file is there with its size and CRC32C, as the bucket computed it."""
        found = {}
        for row in self._get("/dump").splitlines():
            name, size, crc32c = row.split("\t")
            found[name.rsplit("/", 1)[-1]] = (int(size), crc32c)
        wanted = {name: (dataset.file_bytes, crc32c) for name, crc32c in (dataset.crc32c or {}).items()}
        wrong = [name for name, figures in wanted.items() if found.get(name) != figures]
        return f"{len(wrong)} of {len(wanted)} objects missing or wrong" if wrong else ""

    def _get(self, path: str, *, method: str = "GET") -> str:
        context = None
        if self.ca_file is not None:
            import ssl

            context = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return str(answer.read().decode())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
