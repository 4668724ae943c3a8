"""Data sets: files of random bytes, made once, with the CRC32C that the bucket must find."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import google_crc32c

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Dataset:
    """`count` files of `file_bytes` each below `folder`. `crc32c` gives the checksum (base64) by the file's name."""

    name: str
    count: int
    file_bytes: int
    folder: Path = Path()
    crc32c: Mapping[str, str] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        return self.count * self.file_bytes

    @property
    def title(self) -> str:
        return f"{self.count} x {self.file_bytes // MIB} MiB"

    def quick(self) -> Dataset:
        """About an eighth of the data, for `--quick`."""
        if self.count == 1:
            return replace(self, name=f"{self.name}-quick", file_bytes=self.file_bytes // 8)
        return replace(self, name=f"{self.name}-quick", count=max(4, self.count // 8))


DATASETS = [
    Dataset("segments", 24, 64 * MIB),
    Dataset("snippets", 400, 2 * MIB),
    Dataset("long", 1, 2048 * MIB),
]
THIN_LINE = Dataset("thin", 16, 8 * MIB)


def make_files(home: Path, dataset: Dataset, say: Callable[[str], None]) -> Dataset:
    """Make the files below `home` unless an earlier run did; return the data set with its folder and checksums."""
    folder = home / "data" / dataset.name
    folder.mkdir(parents=True, exist_ok=True)
    index = folder.parent / f"{dataset.name}.json"
    if not index.exists():
        say(f"making {dataset.title} of random bytes …")
        found = {}
        for number in range(dataset.count):
            name = f"clip-{number:04d}.bin"
            found[name] = _write(folder / name, dataset.file_bytes)
        # Last: a run that was stopped while it made the files makes them again.
        index.write_text(json.dumps(found))
    return replace(dataset, folder=folder, crc32c=json.loads(index.read_text()))


def _write(path: Path, size: int) -> str:
    checksum = google_crc32c.Checksum()
    # One block again and again: the bucket neither compresses nor compares.
    block = os.urandom(min(size, 32 * MIB))
    with path.open("wb") as file:
        while file.tell() < size:
            piece = block[: size - file.tell()]
            checksum.update(piece)
            file.write(piece)
    return base64.b64encode(checksum.digest()).decode()
