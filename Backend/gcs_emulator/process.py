"""`EmulatorProcess`: starts the emulator as a process of its own and speaks to its `/_emulator/` calls."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

START_SECONDS = 60.0
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent


class EmulatorProcess:
    """`with EmulatorProcess(folder, buckets=["b"]) as emulator: emulator.url`. It stops at the end of the block.

    After `kill` (SIGKILL), `restart` serves the same data on the same port.
    """

    def __init__(
        self,
        data: Path,
        *,
        buckets: Sequence[str] = (),
        tls: tuple[Path, Path] | None = None,
        ca_file: Path | None = None,
        mbytes_per_second: float = 0,
        page_objects: int = 1000,
        signer_key: Path | None = None,
        port: int = 0,
        port_file: Path | None = None,
    ) -> None:
        self.data = data
        self._ca_file = ca_file
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self._arguments = ["--data", str(data), "--mbytes-per-second", str(mbytes_per_second)]
        self._arguments += ["--page-objects", str(page_objects)]
        for bucket in buckets:
            self._arguments += ["--bucket", bucket]
        if tls:
            self._arguments += ["--tls", str(tls[0]), str(tls[1])]
        if port_file:
            self._arguments += ["--port-file", str(port_file)]
        if signer_key:
            self._arguments += ["--signer-key", str(signer_key)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the emulator does not run")
        return self._process.pid

    def start(self) -> None:
        """Returns once it listens."""
        command = [sys.executable, "-m", "gcs_emulator", "--port", str(self._port), *self._arguments]
        self._process = subprocess.Popen(command, cwd=PACKAGE_FOLDER, stdout=subprocess.PIPE)
        self.url = self._announced()
        # Kept for `restart`: clients remember the address.
        self._port = urlsplit(self.url).port or 0

    def _announced(self) -> str:
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError("the emulator does not run")
        # readline alone would wait for ever for a process that hangs at its start.
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline().decode() if ready else ""
        if not line.startswith("listening on "):
            self.kill()
            raise RuntimeError(f"the emulator did not start: {line!r}")
        return line.removeprefix("listening on ").strip()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: the process ends without closing anything."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections are accepted by the kernel and never answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Kill it if it runs, and start it with the same data on the same port."""
        self.kill()
        self.start()

    # --- /_emulator/ ---

    def call(self, method: str, path: str, value: object = None, *, body: bytes | None = None) -> Any:
        """Make one request and return its JSON. Raises RuntimeError on an error status."""
        parts = urlsplit(self.url)
        connection = self._connection(parts.hostname or "", parts.port or 0)
        try:
            connection.request(method, path, body=body if value is None else json.dumps(value).encode())
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:  # noqa: PLR2004
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text) if text else None

    def _connection(self, host: str, port: int) -> HTTPConnection:
        if self.url.startswith("https:"):
            context = create_default_context(cafile=str(self._ca_file) if self._ca_file else None)
            return HTTPSConnection(host, port, timeout=START_SECONDS, context=context)
        return HTTPConnection(host, port, timeout=START_SECONDS)

    def fault(self, action: str, **fields: Any) -> None:
        """`fault("status", kind="chunk", status=503, times=2)`; the fields are those of `faults.Fault`."""
        self.call("POST", "/_emulator/faults", {"action": action, **fields})

    def faults(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/_emulator/faults")["faults"]
        return found

    def clear_faults(self) -> None:
        self.call("DELETE", "/_emulator/faults")

    def requests(self, **match: Any) -> list[dict[str, Any]]:
        """The request log, oldest first; `requests(kind="chunk", status=308)` selects."""
        entries = self.call("GET", "/_emulator/requests")["requests"]
        return [one for one in entries if all(one.get(key) == value for key, value in match.items())]

    def clear_requests(self) -> None:
        self.call("DELETE", "/_emulator/requests")

    def wait_for_request(self, *, seconds: float = START_SECONDS, **match: Any) -> dict[str, Any]:
        """Wait for the first logged request that fits, and return it. Raises TimeoutError."""
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at:
            if found := self.requests(**match):
                return found[0]
            time.sleep(0.02)
        raise TimeoutError(f"no request {match} within {seconds} s")

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", "/_emulator/stats")
        return found

    def objects(self, bucket: str | None = None) -> list[dict[str, Any]]:
        query = f"?bucket={quote(bucket)}" if bucket else ""
        found: list[dict[str, Any]] = self.call("GET", f"/_emulator/objects{query}")["objects"]
        return found

    def put_object(self, bucket: str, name: str, content: bytes) -> dict[str, Any]:
        """Put a new generation under the name, as another client of the bucket may."""
        found: dict[str, Any] = self.call("PUT", _object_path(bucket, name), body=content)
        return found

    def patch_object(self, bucket: str, name: str, **fields: Any) -> dict[str, Any]:
        """Set any field of the resource without a check; `flip_byte_at=n` turns a stored byte over instead."""
        found: dict[str, Any] = self.call("PATCH", _object_path(bucket, name), fields)
        return found

    def delete_object(self, bucket: str, name: str) -> None:
        self.call("DELETE", _object_path(bucket, name))

    def set_clock(self, offset_seconds: float) -> None:
        self.call("POST", "/_emulator/clock", {"offset_seconds": offset_seconds})

    def set_rate(self, mbytes_per_second: float) -> None:
        self.call("POST", "/_emulator/rate", {"mbytes_per_second": mbytes_per_second})

    def set_bucket(self, bucket: str, **settings: Any) -> dict[str, Any]:
        """`set_bucket("b", deniedPermissions=["storage.objects.delete"])`, or any setting of the JSON API."""
        found: dict[str, Any] = self.call("PATCH", f"/_emulator/buckets/{quote(bucket)}", settings)
        return found

    def create_bucket(self, name: str, **settings: Any) -> None:
        self.call("POST", "/storage/v1/b?project=emulated", {"name": name, **settings})

    def expire_sessions(self, status: int = 410) -> int:
        """End every open session; return how many there were."""
        return int(self.call("POST", "/_emulator/sessions/expire", {"status": status})["expired"])


def _object_path(bucket: str, name: str) -> str:
    return f"/_emulator/objects/{quote(bucket, safe='')}/{quote(name, safe='')}"
