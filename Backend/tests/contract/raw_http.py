"""Plain HTTP against the emulator, for requests that a correct store never sends."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

from gcs_emulator.process import EmulatorProcess
from tests.contract.benches import BUCKET, crc_of


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return str(self.json["error"]["errors"][0]["reason"])


class RawHttp:
    """One request a call, each on a connection of its own."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self._emulator = emulator

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        at = urlsplit(self._emulator.url)
        connection = HTTPConnection(at.hostname or "", at.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def start(self, name: str = "clip.mp4", *, query: str = "", declared: int | None = None, **resource: Any) -> str:
        """A session's path with its query."""
        headers = {} if declared is None else {"X-Upload-Content-Length": str(declared)}
        reply = self(
            "POST",
            f"/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable{query}",
            json.dumps({"name": name, **resource}).encode(),
            headers,
        )
        assert reply.status == 200, reply
        at = urlsplit(reply.headers["location"])
        return f"{at.path}?{at.query}"

    def chunk(self, session: str, content_range: str, data: bytes = b"", **headers: str) -> Reply:
        return self("PUT", session, data, {"Content-Range": f"bytes {content_range}", **headers})

    def put(self, name: str, data: bytes) -> Any:
        """A whole object by a media upload."""
        reply = self("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(name, safe='')}", data)
        assert reply.status == 200, reply
        return reply.json

    def object(self, name: str, query: str = "", method: str = "GET", body: bytes | None = None) -> Reply:
        return self(method, f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}{query}", body)

    def open_chunk(self, session: str, content_range: str, length_bytes: int) -> socket.socket:
        """A connection on which a chunk has begun; the caller sends its bytes."""
        at = urlsplit(self._emulator.url)
        line = socket.create_connection((at.hostname, at.port), timeout=30)
        head = f"PUT {session} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Length: {length_bytes}\r\n"
        line.sendall(f"{head}Content-Range: bytes {content_range}\r\n\r\n".encode())
        return line


def goog_hash(data: bytes) -> str:
    return "crc32c=" + base64.b64encode(crc_of(data).to_bytes(4, "big")).decode()
