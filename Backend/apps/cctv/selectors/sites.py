"""How each site is doing: its footage, what waits, and whether a worker of it was seen lately."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from apps.cctv.models import Camera, Recording, Site, WorkerProcess
from apps.cctv.selectors.tally import recording_tally, transfer_tally
from offload.states import UPLOADED, State


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """`waiting` are transfers that are not in the bucket yet and have not failed.

    `newest_proven_at` is when the newest recording began that is verified in the bucket. `host` and `last_seen_at` are
    of the worker process of the site that gave the last sign of life. `worker_is_alive` is False where that is not
    known: a worker that is not seen may be dead, or cut off.
    """

    site: Site
    cameras: int
    recordings: int
    waiting: int
    newest_proven_at: datetime | None
    host: str
    last_seen_at: datetime | None
    worker_is_alive: bool


def site_states(*, now: datetime, lease_seconds: float) -> list[SiteState]:
    """Every site, in order of names. A worker is alive that gave a sign of life within `lease_seconds`."""
    cameras = dict(Camera.objects.values_list("pk", "site_id"))
    recordings: Counter[UUID] = Counter()
    for (camera_id, *_), found in recording_tally(None).items():
        recordings[cameras[camera_id]] += found.count
    waiting: Counter[UUID] = Counter()
    for (camera_id, status), found in transfer_tally(None).items():
        if status in {State.PENDING, State.UPLOADING}:
            waiting[cameras[camera_id]] += found.count
    count_of_cameras = Counter(cameras.values())
    states = []
    for site in Site.objects.order_by("name"):
        last = WorkerProcess.objects.filter(site=site).order_by("-heartbeat_at").first()
        alive_since = now - timedelta(seconds=lease_seconds)
        alive = WorkerProcess.objects.filter(site=site, stopped_at__isnull=True, heartbeat_at__gte=alive_since)
        states.append(
            SiteState(
                site=site,
                cameras=count_of_cameras[site.pk],
                recordings=recordings[site.pk],
                waiting=waiting[site.pk],
                newest_proven_at=_newest_proven(camera for camera, of in cameras.items() if of == site.pk),
                host=last.host if last else "",
                last_seen_at=last.heartbeat_at if last else None,
                worker_is_alive=alive.exists(),
            )
        )
    return states


def _newest_proven(camera_ids: Iterable[UUID]) -> datetime | None:
    proven = Recording.objects.filter(gcp_transfer__transfer_status__in=UPLOADED).order_by("-started_at")
    times = proven.values_list("started_at", flat=True)
    # A query a camera: the index of camera and start answers it from its newest entry.
    found = (times.filter(camera=camera_id).first() for camera_id in camera_ids)
    return max((at for at in found if at is not None), default=None)
