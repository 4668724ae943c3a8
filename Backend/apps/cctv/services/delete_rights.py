"""The right to delete files: checked when files of a folder are uploaded, a waiting period before cleanup needs it."""

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
    """The path of the newest local recording of each camera, of 50 cameras at most."""
    cameras = (Camera.objects.all() if site is None else Camera.objects.filter(site=site)).order_by("pk")
    rows = Recording.objects.exclude(gcp_transfer__transfer_status=State.CLEANUP_COMPLETED).order_by("-started_at")
    paths = rows.values_list("local_path", flat=True)
    # A query a camera: the index of camera and start answers it from its newest entry.
    found = (paths.filter(camera=camera).first() for camera in cameras[:MOST_CAMERAS])
    return [path for path in found if path is not None]


def missing_right(root: MediaRoot, paths: Iterable[str]) -> str:
    """Why a cleanup could not delete one of those files; empty where it could delete all. Writes nothing."""
    for path in paths:
        try:
            demand_right(root, path)
            demand_trash(root, path)
        except FileProblem as problem:
            if problem.code is Reason.NO_RIGHT_TO_DELETE:
                return problem.detail
    return ""


class DeleteRightsWatch:
    """Collects missing rights while files are uploaded. Asks the disk once in ten minutes for each folder.

    The upload threads call `look`, which never asks the database. Another thread calls `take` and raises the alarms.
    """

    def __init__(self, root: MediaRoot, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at: dict[str, float] = {}
        self._missing: dict[UUID, str] = {}

    def look(self, site_id: UUID, relative_path: str) -> None:
        """Check the folder of that file, unless it was checked in the last ten minutes."""
        folder = relative_path.rpartition("/")[0]
        now = self._monotonic()
        with self._lock:
            if now - self._looked_at.get(folder, now - LOOK_AGAIN_SECONDS) < LOOK_AGAIN_SECONDS:
                return
            if len(self._looked_at) >= _MOST_FOLDERS:
                # Bounds the memory. The price is that some folders are checked again sooner.
                self._looked_at.clear()
            self._looked_at[folder] = now
        # Not under the lock: a disk that answers slowly would hold up the other upload threads.
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
    """Raise one alarm for each site, for any number of its folders; none where cleanup is switched off."""
    for site_id, detail in missing.items() if cleanup_local else ():
        alarm_raise(code=Reason.NO_RIGHT_TO_DELETE, subject=_subject(site_id), detail=detail, now=now)


def delete_rights_recheck(root: MediaRoot, now: datetime, *, site_id: UUID | None) -> None:
    """Clear the alarm of each site whose newest recordings may be deleted now. `site_id` limits it to one site."""
    told = open_alarms().filter(code=Reason.NO_RIGHT_TO_DELETE, subject_kind=SubjectKind.RIGHT_TO_DELETE)
    sites = Site.objects.filter(pk__in=[alarm.subject.site_id for alarm in told])
    for site in sites if site_id is None else sites.filter(pk=site_id):
        if not missing_right(root, sample_paths(site)):
            alarm_clear(code=Reason.NO_RIGHT_TO_DELETE, subject=_subject(site.pk), now=now)


def _subject(site_id: UUID) -> Subject:
    return Subject.of_site(SubjectKind.RIGHT_TO_DELETE, site_id)
