"""Finds footage that was never imported: files below the media root that are no recording (P12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from apps.cctv.models import PeriodicJob, Recording
from apps.cctv.services.importing.run import ending_beside_videos
from apps.cctv.tables.work import JobKind
from offload.clock import Clock
from offload.errors import FileProblem, Reason
from offload.source import MediaRoot
from offload.walk import Found, walk

YOUNG = timedelta(hours=1)
"""A file younger than this may wait for the next import, which cron or a person starts."""

MOST_FILES = 200_000
MOST_SECONDS = 60.0
SAMPLE = 5
_PAGE = 500


@dataclass(slots=True)
class FootageScan:
    """How many files were found, by what they are.

    `unknown` are the files that are no recording and older than `YOUNG`, by folder. `oldest_at` is when the oldest of
    them was last written. `passed_over` are files of other kinds. `is_whole` is False where a bound, a stop, or a
    folder or file that cannot be read kept the scan from looking at everything.
    """

    looked_at: int = 0
    registered: int = 0
    young: int = 0
    passed_over: int = 0
    unreadable: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    sample: list[str] = field(default_factory=list)
    oldest_at: datetime | None = None
    was_cut_short: bool = False

    @property
    def unknown_count(self) -> int:
        return self.unknown.total()

    @property
    def is_whole(self) -> bool:
        return not self.was_cut_short and not self.unreadable

    def __str__(self) -> str:
        """Without names, since people read it who may not see every camera."""
        words = [f"{self.unknown_count} of {self.looked_at} files are no recording"]
        words += [f"{self.young} younger than an hour may still be imported"] if self.young else []
        words += [] if self.is_whole else ["not all of the disk was looked at"]
        return "; ".join(words)


def footage_scan(
    *,
    root: MediaRoot,
    clock: Clock,
    should_stop: Callable[[], bool] = lambda: False,
    most_files: int = MOST_FILES,
    most_seconds: float = MOST_SECONDS,
) -> FootageScan:
    """Look at every file below the media root, within the bounds. Raises FileProblem where there is no media root."""
    scan, now, until = FootageScan(), clock.now(), clock.monotonic() + most_seconds
    for page in _pages(walk(root)):
        known = _known([found.relative_path for found in page])
        for found in page:
            # Checked for each file: a disk that is slow to answer makes even one page long.
            if scan.looked_at >= most_files or clock.monotonic() >= until or should_stop():
                scan.was_cut_short = True
                return scan
            _count(scan, found, root, known, now)
    return scan


def footage_scan_note(scan: FootageScan, *, site_id: UUID | None, now: datetime, next_in_seconds: float) -> None:
    """Note what a scan found in the row of the periodic job, where the overview reads it."""
    next_run_at = now + timedelta(seconds=next_in_seconds)
    PeriodicJob.objects.ensure(JobKind.LOOK, site_id, next_run_at=next_run_at)
    PeriodicJob.objects.of(JobKind.LOOK, site_id).update(
        next_run_at=next_run_at,
        last_started_at=now,
        last_finished_at=now,
        last_result=str(scan),
        last_ok=scan.is_whole,
        unknown_files=scan.unknown_count,
    )


def _pages(found: Iterable[Found]) -> Iterator[list[Found]]:
    files = iter(found)
    while page := list(islice(files, _PAGE)):
        yield page


def _known(paths: list[str]) -> set[tuple[str, int | None]]:
    """Paths with the mtime that they were registered with: a new file under a known path is another recording."""
    # A name that is no UTF-8 is in no database.
    text = [path for path in paths if path.encode(errors="replace").decode() == path]
    return set(Recording.objects.filter(local_path__in=text).values_list("local_path", "file_mtime_ns"))


def _count(scan: FootageScan, found: Found, root: MediaRoot, known: set[tuple[str, int | None]], now: datetime) -> None:
    scan.looked_at += 1
    path = found.relative_path
    if found.problem is not None:
        scan.unreadable += 1
        return
    if ending_beside_videos(path):
        scan.passed_over += 1
        return
    try:
        identity = root.stat(path)
    except FileProblem as problem:
        if problem.code is Reason.NAME_NOT_UTF8:
            _count_unknown(scan, path, now)  # an import refuses it until it is renamed
        elif problem.code is Reason.FILE_UNREADABLE:
            scan.unreadable += 1
        elif problem.code is not Reason.FILE_MISSING:  # gone since the walk found it
            scan.passed_over += 1  # a link, a pipe, a device
        return
    if (path, identity.mtime_ns) in known or (path, None) in known:
        scan.registered += 1
        return
    # A time in the future comes from a recorder's wrong clock. The kernel's own time of change tells the age then.
    now_ns = int(now.timestamp() * 1e9)
    touched_ns = identity.mtime_ns if identity.mtime_ns <= now_ns else identity.ctime_ns
    if now_ns - touched_ns < YOUNG.total_seconds() * 1e9:
        scan.young += 1
        return
    _count_unknown(scan, path, datetime.fromtimestamp(touched_ns / 1e9, tz=UTC))


def _count_unknown(scan: FootageScan, path: str, touched_at: datetime) -> None:
    scan.unknown[path.rpartition("/")[0]] += 1
    if len(scan.sample) < SAMPLE:
        scan.sample.append(path)
    scan.oldest_at = min(scan.oldest_at or touched_at, touched_at)
