"""Step 7 of a run, disk pressure: how far a site's disk is above its high-water mark."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apps.cctv.models import Site
from apps.cctv.services.cleanup.due_rows import bytes_in_quarantine


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """As `df` counts: what is reserved for root is neither used nor free."""

    used_bytes: int
    free_bytes: int


DiskReader = Callable[[Path], DiskUsage]


def disk_usage(path: Path) -> DiskUsage:
    """Of the file system that `path` is on. Raises OSError."""
    found = shutil.disk_usage(path)
    return DiskUsage(found.used, found.free)


def bytes_above_mark(site: Site, usage: DiskUsage) -> int:
    """How many bytes have to go until the disk is at the site's mark; bytes in the trash count as gone."""
    if site.disk_high_water_percent is None:
        return 0
    size_bytes = usage.used_bytes + usage.free_bytes
    allowed_bytes = size_bytes * site.disk_high_water_percent // 100
    return max(0, usage.used_bytes - bytes_in_quarantine(site.pk) - allowed_bytes)
