"""CRC32C and MD5 in the form of object resources: base64 of the big-endian bytes.

Source: https://cloud.google.com/storage/docs/json_api/v1/objects
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import google_crc32c

PIECE_BYTES = 1024 * 1024


def extend(crc: int, piece: bytes) -> int:
    return int(google_crc32c.extend(crc, piece))


def crc_of_file(path: Path, length_bytes: int) -> int:
    crc, left = 0, length_bytes
    with path.open("rb", buffering=0) as file:
        while left > 0 and (piece := file.read(min(left, PIECE_BYTES))):
            crc, left = extend(crc, piece), left - len(piece)
    return crc


def md5_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()


def encode_crc(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


def parse_goog_hash(header: str | None) -> dict[str, str]:
    """Parse ``crc32c=AAAA==,md5=BBBB==``. Source: https://cloud.google.com/storage/docs/xml-api/reference-headers."""
    pairs = (part.strip().split("=", 1) for part in (header or "").split(",") if "=" in part)
    return {key.lower(): value for key, value in pairs}
