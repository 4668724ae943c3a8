"""Writes files that survive ``kill -9``: under another name, then renamed. They need not survive power loss."""

from __future__ import annotations

import json
import os
from pathlib import Path

from gcs_emulator.answers import Resource


def write_json(path: Path, value: Resource) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)


def read_json(path: Path) -> Resource:
    found: Resource = json.loads(path.read_text(encoding="utf-8"))
    return found


def write_all(descriptor: int, piece: bytes, offset_bytes: int) -> None:
    """Write the whole piece; `os.pwrite` may write less than asked."""
    view = memoryview(piece)
    while view:
        written = os.pwrite(descriptor, view, offset_bytes)
        view, offset_bytes = view[written:], offset_bytes + written
