"""The right to delete: asked at the first upload of a folder, not when its cleanup fails a day later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from apps.cctv.models import Camera, Recording, Site
from apps.cctv.selectors.alarms import open_alarms
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.tables.alarms import Subject, SubjectKind
from offload.delete_rights import demand_right, demand_trash
from offload.errors import FileProblem, Reason
from offload.source import MediaRoot
from offload.states import State

MOST_CAMERAS = 50
LOOK_AGAIN_SECONDS = 600.0
_MOST_FOLDERS = 10_000


def sample_paths(site: Site | None = None) -> list[str]:
    """The newest recording of each camera that still has a local file; of 50 cameras at most."""
    cameras = (Camera.objects.all() if site is None else Camera.objects.filter(site=site)).order_by("pk")
    rows = Recording.objects.exclude(gcp_transfer__transfer_status=State.CLEANUP_COMPLETED).order_by("-started_at")
    paths = rows.values_list("local_path", flat=True)
    found = (paths.filter(camera=camera).first() for camera in cameras[:MOST_CAMERAS])
    return [path for path in found if path is not None]


def missing_right(root: MediaRoot, paths: Iterable[str]) -> str:
    """What keeps a cleanup from deleting one of those files; empty where nothing does. Writes nothing."""
    for path in paths:
        try:
            demand_right(root, path)
            demand_trash(root, path)
        except FileProblem as problem:
            if problem.code is Reason.NO_RIGHT_TO_DELETE:
                return problem.detail
    return ""


class DeleteRightsWatch:
    """`look` is for the uploads' threads, and asks the disk once in ten minutes for each folder; the database never."""

    def __init__(self, root: MediaRoot, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at: dict[str, float] = {}
        self._missing: dict[UUID, str] = {}

    def look(self, site_id: UUID, relative_path: str) -> None:
        folder = relative_path.rpartition("/")[0]
        now = self._monotonic()
        with self._lock:
            if now - self._looked_at.get(folder, now - LOOK_AGAIN_SECONDS) < LOOK_AGAIN_SECONDS:
                return
            if len(self._looked_at) >= _MOST_FOLDERS:
                self._looked_at.clear()
            self._looked_at[folder] = now
        detail = missing_right(self._root, [relative_path])
        if detail:
            with self._lock:
                self._missing[site_id] = detail

    def take(self) -> dict[UUID, str]:
        """What was missing since the last call, by site."""
        with self._lock:
            missing, self._missing = self._missing, {}
        return missing


def delete_rights_alarm(missing: Mapping[UUID, str], now: datetime, *, cleanup_local: bool) -> None:
    """One alarm a site, however many folders and files it is about; none where local files are to stay."""
    for site_id, detail in missing.items() if cleanup_local else ():
        alarm_raise(code=Reason.NO_RIGHT_TO_DELETE, subject=_subject(site_id), detail=detail, now=now)


def delete_rights_recheck(root: MediaRoot, now: datetime, *, site_id: UUID | None) -> None:
    """Where the newest recordings of a site may be deleted now, whoever mended it."""
    told = open_alarms().filter(code=Reason.NO_RIGHT_TO_DELETE, subject_kind=SubjectKind.RIGHT_TO_DELETE)
    sites = Site.objects.filter(pk__in=[alarm.subject.site_id for alarm in told])
    for site in sites if site_id is None else sites.filter(pk=site_id):
        if not missing_right(root, sample_paths(site)):
            alarm_clear(code=Reason.NO_RIGHT_TO_DELETE, subject=_subject(site.pk), now=now)


def _subject(site_id: UUID) -> Subject:
    return Subject.of_site(SubjectKind.RIGHT_TO_DELETE, site_id)
