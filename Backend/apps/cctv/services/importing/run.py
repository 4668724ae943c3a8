"""The import: makes a recording of each file that a recorder wrote below the media root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from django.db import transaction

from apps.cctv.models import Recording
from apps.cctv.services.importing.cameras import ImportCameras
from apps.cctv.services.importing.local_time import utc_of
from apps.cctv.services.importing.path_template import PathMatch, PathTemplate, looks_like_a_time
from apps.cctv.services.importing.report import EXAMPLES, ImportReport, Reading, TimeFrom
from apps.cctv.services.media_root import media_root_check
from apps.cctv.services.sites import zone_of
from apps.cctv.tables.moves import SYSTEM
from offload.clock import Clock
from offload.errors import FileChanged, FileProblem, Reason
from offload.media import MediaFacts, read_media_facts
from offload.source import MediaRoot, SourceIdentity, check_settled
from offload.walk import Found, walk

log = structlog.get_logger("coldreel.import")

PAGE_FILES = 500
"""How many files are looked up and written together: half of what one transaction may hold."""

CLOCK_SLACK = timedelta(days=1)
"""A creation time in a container that is later than the last write of the file by more is a wrong clock's."""

BESIDE_VIDEOS = frozenset(
    {
        *(".thumb", ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"),
        *(".json", ".xml", ".txt", ".log", ".csv", ".ini", ".nfo", ".yaml", ".yml", ".htm", ".html", ".m3u8"),
        *(".db", ".db-shm", ".db-wal", ".sqlite", ".sqlite3", ".idx", ".md5", ".sha256", ".srt", ".vtt", ".ass"),
        *(".tmp", ".part", ".partial", ".bak", ".lock", ".pid"),
    }
)
"""Endings of files that recorders keep beside their videos, or have not finished; compared in lower case."""

_MOST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What to register: every file below `folder` (relative to the media root, ``""`` for all of it).

    `template` is matched with paths below `folder`; `camera` names the camera of all files where it does not.
    `site` and `time_zone` are names, empty for the only site and its own zone. With `every_type` files
    that recorders keep beside their videos are not passed over. `time_from_file` says that names hold no time of a
    start. `settle_seconds`: a file that was written to more recently is left to a later import.
    `actor` is who runs it, for the history of sites and cameras that it makes.
    """

    folder: str = ""
    template: PathTemplate | None = None
    camera: str = ""
    site: str = ""
    time_zone: str = ""
    create_cameras: bool = False
    dry_run: bool = False
    settle_seconds: float
    every_type: bool = False
    time_from_file: bool = False
    actor: str = SYSTEM


def recordings_import(
    *,
    request: ImportRequest,
    root: MediaRoot,
    clock: Clock,
    on_file: Callable[[ImportReport], None] = lambda _: None,
    on_reading: Callable[[Reading], None] = lambda _: None,
    examples_per_reason: int | None = EXAMPLES,
) -> ImportReport:
    """Register the files that are not registered yet; the report says how many, and which were refused and why.

    1. Check the request: the time zone, the marker of the media root (written by the first import of all), the folder,
       and the camera where one is given for all files.
    2. Walk the folder without following links, and take its files in pages of `PAGE_FILES`.
    3. Pass over a file by the ending of its name; refuse what is no regular file.
    4. Look the paths of the page up. A file with the mtime and size of a registered one is known; any other file is a
       new recording, also under a known path, since recorders reuse names.
    5. For each new file: find camera and time in the path, open it, check that it is settled, read what its container
       says, and check that it did not change meanwhile.
    6. Write the new recordings of the page in one transaction. What another process registered meanwhile is left out.

    It can be repeated, interrupted and run twice at once: a file is registered once. `on_file` is called after each
    file, `on_reading` with what was read of each new one. `examples_per_reason` limits the refusals that are kept, None
    keeps all. Raises ServiceError (no such site, camera or time zone; media root not mounted) and FileProblem (no such
    folder); pages that were written before that stay.
    """
    report = ImportReport(dry_run=request.dry_run, examples_per_reason=examples_per_reason)
    _Import(request, root, clock, report, on_file=on_file, on_reading=on_reading).run()
    log.info(
        "recordings_imported",
        folder=request.folder,
        dry_run=request.dry_run,
        registered=report.registered,
        known=report.known,
        later=report.later,
        passed_over=report.passed_over.total(),
        time_unread=report.time_unread,
        refused=report.refused_count,
    )
    return report


def recordings_register(*, recordings: Sequence[Recording]) -> set[UUID]:
    """Insert those whose file is not registered yet, in one transaction; the ids of the inserted ones.

    Another process may register the same files at the same time: path and mtime are unique, so one of the two wins.
    """
    with transaction.atomic():
        Recording.objects.bulk_create(recordings, ignore_conflicts=True)
        own = Recording.objects.filter(pk__in=[recording.pk for recording in recordings])
        return set(own.values_list("pk", flat=True))


class _Earlier(NamedTuple):
    """A recording that was registered under a path before."""

    recording_id: UUID
    mtime_ns: int | None
    size_bytes: int
    storage_type: str


class _Import:
    """One call of `recordings_import`."""

    def __init__(
        self,
        request: ImportRequest,
        root: MediaRoot,
        clock: Clock,
        report: ImportReport,
        *,
        on_file: Callable[[ImportReport], None],
        on_reading: Callable[[Reading], None],
    ) -> None:
        self._request = request
        self._root = root
        self._clock = clock
        self._report = report
        self._on_file = on_file
        self._on_reading = on_reading
        self._cameras = ImportCameras(
            site=request.site,
            time_zone=request.time_zone,
            create=request.create_cameras,
            dry_run=request.dry_run,
            actor=request.actor,
            now=clock.now(),
        )

    def run(self) -> None:
        if self._request.time_zone:
            zone_of(self._request.time_zone)
        media_root_check(root=self._root, may_mark=not self._request.dry_run)
        found = walk(self._root, self._root.relative(self._request.folder) if self._request.folder else "")
        if self._request.camera:
            self._cameras.check_camera(self._request.camera)
        files = iter(found)
        while page := list(islice(files, PAGE_FILES)):
            # 3. Outside of any transaction, which the reading of a page would keep open for minutes.
            present = [(found.relative_path, identity) for found in page if (identity := self._identity(found))]
            # 4. With one query for the page, the oldest recording of a path first.
            earlier: dict[str, list[_Earlier]] = {}
            rows = Recording.objects.filter(local_path__in=[path for path, _ in present]).order_by("created_at")
            columns = rows.values_list("local_path", "id", "file_mtime_ns", "file_size_bytes", "storage_type")
            for path, recording_id, mtime_ns, size_bytes, storage_type in columns:
                earlier.setdefault(path, []).append(_Earlier(recording_id, mtime_ns, size_bytes, storage_type))
            new: list[Recording] = []
            for path, identity in present:
                same_time = [row for row in earlier.get(path, []) if row.mtime_ns == identity.mtime_ns]
                if any(row.size_bytes == identity.size_bytes for row in same_time):
                    self._report.known += 1
                elif same_time:
                    detail = "another file than the one registered under this name, with the same modification time"
                    self._report.note_problem(path, FileChanged(detail))
                else:
                    try:
                        # 5. Any other time: a recorder may use a name again, so this is a new recording.
                        new.append(self._recording_of(path))
                    except FileProblem as problem:
                        self._report.note_problem(path, problem)
                self._count()
            # 6. Before the next page is read: an interrupted import keeps all pages but the last.
            self._write(new, earlier)
        self._report.cameras_created = self._cameras.created

    def _identity(self, found: Found) -> SourceIdentity | None:
        """None, and in the report, where the file is passed over by its type or is no regular file."""
        problem = found.problem
        if problem is None:
            if not self._request.every_type and (ending := ending_beside_videos(found.relative_path)):
                self._report.passed_over[ending] += 1
                self._count()
                return None
            try:
                identity = self._root.stat(found.relative_path)
            except FileProblem as error:
                problem = error
            else:
                # The column has 64 bits.
                if 0 <= identity.mtime_ns <= _MOST_NS:
                    return identity
                problem = FileProblem("its modification time cannot be stored", code=Reason.FILE_UNREADABLE)
        self._report.note_problem(found.relative_path, problem)
        self._count()
        return None

    def _count(self) -> None:
        self._report.looked_at += 1
        self._on_file(self._report)

    def _recording_of(self, path: str) -> Recording:
        request = self._request
        below = path.removeprefix(f"{request.folder}/") if request.folder else path
        if request.template is None:
            match: PathMatch | None = PathMatch(unread=looks_like_a_time(below))
        else:
            match = request.template.match(below)
        if match is None:
            raise FileProblem(f"{path!r} does not match the template", code=Reason.PATH_NOT_MATCHED)
        if match.unclear:
            raise FileProblem(f"{path!r}: {match.unclear}", code=Reason.TIME_UNCLEAR)
        camera = self._cameras.camera(match.camera or request.camera, match.site)
        file_name = path.rpartition("/")[2]
        with self._root.open(path) as source:
            check_settled(
                source.identity,
                time=source.time(self._clock, may_write=not request.dry_run),
                settle_seconds=request.settle_seconds,
            )
            facts = read_media_facts(source, file_name)
            # The container was read while a recorder may have written: what it says must be of one file.
            if source.identity_now() != source.identity:
                raise FileProblem(f"{path!r} changed while it was looked at", code=Reason.FILE_NOT_SETTLED)
            identity = source.identity
        zone = self._cameras.zone(camera.site)
        started_at, time_from = _started_at(match, facts, identity, zone)
        if match.unread and not request.time_from_file:
            self._report.note_unread_time(path, match.unread)
        self._on_reading(
            Reading(path, camera.site.name, camera.name, started_at.astimezone(zone), started_at, time_from)
        )
        duration = facts.duration_seconds
        return Recording(
            camera=camera,
            name=file_name,
            status=Recording.Status.READY,
            started_at=started_at,
            ended_at=None if duration is None else started_at + timedelta(seconds=duration),
            duration_seconds=duration,
            codec=facts.codec,
            width_pixels=facts.width_pixels,
            height_pixels=facts.height_pixels,
            file_size_bytes=identity.size_bytes,
            file_mtime_ns=identity.mtime_ns,
            local_path=path,
            file_path=path,
            storage_type=Recording.StorageType.LOCAL,
            created_at=self._clock.now(),
        )

    def _write(self, new: list[Recording], earlier: dict[str, list[_Earlier]]) -> None:
        if not new:
            return
        registered = {row.pk for row in new} if self._request.dry_run else recordings_register(recordings=new)
        for row in new:
            # Another process registered the same file since this page was looked up.
            if row.pk not in registered:
                self._report.known += 1
                continue
            self._report.registered += 1
            self._report.registered_bytes += row.file_size_bytes
            for former in earlier.get(row.local_path, []):
                if former.storage_type == Recording.StorageType.LOCAL:
                    self._report.note_replaced(row.local_path, former.recording_id)


def _started_at(
    match: PathMatch, facts: MediaFacts, identity: SourceIdentity, zone: ZoneInfo
) -> tuple[datetime, TimeFrom]:
    """When the recording began: the time in the path, else in the container, else the last write less the duration.

    Raises FileProblem TIME_UNCLEAR where the path tells the end and nothing tells the duration.
    """
    written_at = datetime.fromtimestamp(identity.mtime_ns / 1e9, tz=UTC)
    own = facts.started_at if facts.started_at and facts.started_at <= written_at + CLOCK_SLACK else None
    lasts = timedelta(seconds=facts.duration_seconds or 0)
    by_file = own or written_at - lasts
    if match.start is None and match.local_start is None:
        return by_file, TimeFrom.FILE if own else TimeFrom.LAST_WRITE
    if not match.is_end:
        lasts = timedelta()
    elif facts.duration_seconds is None:
        raise FileProblem("its name tells its end, and nothing tells its duration", code=Reason.TIME_UNCLEAR)
    told = match.start
    if told is None and match.local_start is not None:
        told = utc_of(match.local_start, zone, evidence=by_file + lasts)
    return (told or by_file) - lasts, TimeFrom.NAME


def ending_beside_videos(path: str) -> str:
    """The ending of the name where it is in `BESIDE_VIDEOS`; empty for every other name."""
    ending = path[path.rfind(".") :].lower() if "." in path.rpartition("/")[2] else ""
    return ending if ending in BESIDE_VIDEOS else ""
