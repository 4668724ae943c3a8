"""Closing a site for good: first what is not proven there, then the end. No file and no history is deleted (F25)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from apps.cctv.models import CameraGrant, GCPVideoTransfer, PlaceEvent, Site, WorkerProcess
from apps.cctv.selectors.alarms import open_alarms
from apps.cctv.selectors.unproven import Unproven, unproven_at
from apps.cctv.services import Conflict, NotFound
from apps.cctv.services.sites import place_event
from apps.cctv.tables.moves import MoveRefused
from offload.errors import Reason
from offload.reasons import MEANING
from offload.states import Move, State

log = structlog.get_logger("coldreel.site")

_ROWS_A_TRANSACTION = 1000


@dataclass(slots=True)
class ClosingReport:
    """What stands against closing a site, and what was ended. `is_closed` is False in a dry run and after a refusal."""

    site: str
    unproven: list[Unproven]
    is_closed: bool = False
    cameras_archived: int = 0
    grants_ended: int = 0
    transfers_cancelled: int = 0

    @property
    def unproven_count(self) -> int:
        return sum(one.count for one in self.unproven)


def site_close(
    *, name: str, although_unproven: int | None, dry_run: bool, lease_seconds: float, actor: str, now: datetime
) -> ClosingReport:
    """Close a site, or report what stands against it.

    1. Refuse while a worker of the site lives, or has a lease on one of its rows.
    2. Count what is not proven. While there is anything, the site stays open, unless `although_unproven` is exactly
       that count: a person has read the list as it is now.
    3. In the same transaction: mark the site as closed, archive its cameras, end their grants, the rows of its dead
       workers and its alarms. Each change of a place has its event. Its periodic jobs have no worker that runs them.
    4. Cancel the transfers that wait: no worker would ever come to them. They are `failed`, with the reason.

    From 3 on every process refuses the site's disk, by its marker, and its recordings are not requested any more.
    Killed after 3, the next call does the rest. Raises NotFound, and Conflict for 1.
    """
    site = Site.objects.filter(name=name).first()
    if site is None:
        raise NotFound(f"There is no site {name!r}.")
    report = ClosingReport(site.name, [])
    if site.closed_at is None:
        with transaction.atomic():
            locked = Site.objects.select_for_update().get(pk=site.pk)
            _demand_no_worker(locked, now - timedelta(seconds=lease_seconds), now)
            report.unproven = unproven_at(site.pk)
            count = report.unproven_count
            if dry_run or (count and count != although_unproven):
                return report
            _close(locked, report, actor=actor, now=now)
        log.info("site.closed", site=str(site.pk), unproven=count, actor=actor)
    report.is_closed = True
    if not dry_run:
        report.transfers_cancelled = _cancel_waiting(site.pk, actor=actor, now=now)
    return report


def _demand_no_worker(site: Site, silent_since: datetime, now: datetime) -> None:
    living = WorkerProcess.objects.filter(site=site, stopped_at__isnull=True, heartbeat_at__gt=silent_since)
    if names := ", ".join(str(worker) for worker in living):
        raise Conflict(f"Workers of {site.name} run ({names}): stop them first.")
    if GCPVideoTransfer.objects.filter(site=site, lease_expires_at__gt=now).exists():
        raise Conflict(f"A worker has leases at {site.name}: stop it, or wait until they have run out.")


def _close(site: Site, report: ClosingReport, *, actor: str, now: datetime) -> None:
    site.closed_at = now
    site.save(update_fields=["closed_at"])
    count = report.unproven_count
    detail = f"although not proven: {count}" if count else "all proven"
    place_event(PlaceEvent.What.SITE_CLOSED, site=site, actor=actor, now=now, detail=detail)
    for camera in site.cameras.select_for_update().filter(archived_at__isnull=True).order_by("pk"):
        camera.archived_at = now
        camera.save(update_fields=["archived_at"])
        place_event(PlaceEvent.What.CAMERA_ARCHIVED, site=site, camera=camera, actor=actor, now=now)
        report.cameras_archived += 1
    for grant in CameraGrant.objects.select_related("user", "camera").filter(camera__site=site).order_by("pk"):
        person = grant.user.get_username()
        place_event(PlaceEvent.What.GRANT_ENDED, site=site, camera=grant.camera, person=person, actor=actor, now=now)
        grant.delete()
        report.grants_ended += 1
    WorkerProcess.objects.filter(site=site, stopped_at__isnull=True).update(stopped_at=now)
    of_site = Q(subject_id=str(site.pk)) | Q(subject_id__endswith=f"/{site.pk}")
    open_alarms().filter(of_site).update(cleared_at=now)


def _cancel_waiting(site_id: UUID, *, actor: str, now: datetime) -> int:
    cancelled = 0
    waiting = GCPVideoTransfer.objects.filter(
        site_id=site_id, transfer_status__in=[State.PENDING, State.UPLOADING]
    ).order_by("pk")
    while ids := list(waiting.values_list("pk", flat=True)[:_ROWS_A_TRANSACTION]):
        with transaction.atomic():
            for transfer_id in ids:
                try:
                    GCPVideoTransfer.objects.move(
                        transfer_id,
                        Move.CANCEL,
                        actor=actor,
                        now=now,
                        reason=Reason.SITE_CLOSED,
                        changes={
                            "error_code": Reason.SITE_CLOSED,
                            "error_message": MEANING[Reason.SITE_CLOSED],
                            "next_attempt_at": None,
                            "session_uri": "",
                            "session_started_at": None,
                            "session_identity": "",
                        },
                    )
                except MoveRefused:  # cancelled by a person at this moment
                    continue
                cancelled += 1
    return cancelled
