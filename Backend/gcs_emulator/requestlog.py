"""The log of requests, in memory and on disk across a kill. It holds no session's id, which is a key."""

from __future__ import annotations

import json
import threading
from collections import deque
from pathlib import Path

from gcs_emulator.answers import Resource

KEPT_REQUESTS = 200_000


class RequestLog:
    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._path = folder / "requests.jsonl"
        self._entries: deque[Resource] = deque(maxlen=KEPT_REQUESTS)
        if self._path.exists():
            lines = self._path.read_bytes().splitlines(keepends=True)
            # A kill may have cut the last line.
            self._entries.extend(json.loads(line) for line in lines if line.endswith(b"}\n"))
        # Unbuffered: an entry survives a kill right after it.
        self._file = self._path.open("ab", buffering=0)
        self._next = 1 + (int(self._entries[-1]["number"]) if self._entries else 0)

    def note(self, entry: Resource) -> None:
        with self._lock:
            entry["number"] = self._next
            self._next += 1
            self._entries.append(entry)
            self._file.write(json.dumps(entry).encode() + b"\n")

    def show(self) -> list[Resource]:
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._file.truncate(0)
