"""Open a settled recording below the media root, and detect change. (Implementation: see the design.)"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Which file this is and whether it was touched. Times in nanoseconds since the epoch."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    def encode(self) -> str:
        """The one column the database keeps: ``device:inode:size:mtime:ctime``."""
        return f"{self.device}:{self.inode}:{self.size_bytes}:{self.mtime_ns}:{self.ctime_ns}"

    @classmethod
    def decode(cls, text: str) -> SourceIdentity:
        """Inverse of `encode`. Raises ValueError where `text` is none."""
        device, inode, size_bytes, mtime_ns, ctime_ns = (int(part) for part in text.split(":"))
        return cls(device, inode, size_bytes, mtime_ns, ctime_ns)
