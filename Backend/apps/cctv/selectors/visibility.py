"""What a user may see: the rows of each table, by role and by grants."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.cctv.models import (
    Camera,
    GCPVideoTransfer,
    OrphanedObject,
    PeriodicJob,
    PlaceEvent,
    Recording,
    Site,
    TransferBatch,
    WorkerProcess,
)
from apps.cctv.tables.moves import TransferQuerySet
from apps.users.models import User
from apps.users.permissions import Permission, may


def cameras_visible_to(user: User) -> QuerySet[Camera]:
    """All cameras for a user who may manage; for one who may only view, the private ones need a grant; else none."""
    cameras = Camera.objects.select_related("site")
    if may(user, Permission.MANAGE):
        return cameras
    if may(user, Permission.VIEW):
        return cameras.filter(_open_or_granted(user, ""))
    return cameras.none()


def recordings_visible_to(user: User) -> QuerySet[Recording]:
    """The recordings of the cameras that `user` may see."""
    recordings = Recording.objects.all()
    if may(user, Permission.MANAGE):
        return recordings
    if may(user, Permission.VIEW):
        return recordings.filter(_open_or_granted(user, "camera__"))
    return recordings.none()


def transfers_visible_to(user: User) -> TransferQuerySet:
    """The transfers of the recordings that `user` may see."""
    transfers = GCPVideoTransfer.objects.all()
    if may(user, Permission.MANAGE):
        return transfers
    if may(user, Permission.VIEW):
        return transfers.filter(_open_or_granted(user, "recording__camera__"))
    return transfers.none()


def orphans_visible_to(user: User) -> QuerySet[OrphanedObject]:
    """The orphaned objects of the transfers that `user` may see."""
    orphans = OrphanedObject.objects.all()
    if may(user, Permission.MANAGE):
        return orphans
    if may(user, Permission.VIEW):
        return orphans.filter(_open_or_granted(user, "transfer__recording__camera__"))
    return orphans.none()


def sees_all_cameras(user: User) -> bool:
    """Whether `user` may see every camera. Only then are texts shown that may name any of them."""
    if may(user, Permission.MANAGE):
        return True
    seen = cameras_visible_to(user).order_by().values("pk")
    return may(user, Permission.VIEW) and not Camera.objects.exclude(pk__in=seen).exists()


def sites_visible_to(user: User) -> QuerySet[Site]:
    """The sites of the cameras that `user` may see; all sites for a user who may manage."""
    sites = Site.objects.all()
    if may(user, Permission.MANAGE):
        return sites
    return sites.filter(pk__in=cameras_visible_to(user).order_by().values("site_id"))


def place_events_visible_to(user: User) -> QuerySet[PlaceEvent]:
    """All for a user who may manage; else those of the sites and cameras that `user` may see, without grants."""
    events = PlaceEvent.objects.all()
    if may(user, Permission.MANAGE):
        return events
    # An event of a deleted camera has no camera left that could say whether it was private.
    of_sites = Q(what__in=[PlaceEvent.What.SITE_CREATED, PlaceEvent.What.SITE_CHANGED])
    of_sites &= Q(site__in=sites_visible_to(user).order_by().values("pk"))
    of_cameras = Q(camera__in=cameras_visible_to(user).order_by().values("pk"), person="")
    return events.filter(of_sites | of_cameras)


def workers_visible_to(user: User) -> QuerySet[WorkerProcess]:
    """The workers of the sites that `user` may see, and those of no site."""
    workers = WorkerProcess.objects.all()
    if may(user, Permission.MANAGE):
        return workers
    return workers.filter(Q(site__isnull=True) | Q(site__in=sites_visible_to(user).order_by().values("pk")))


def jobs_visible_to(user: User) -> QuerySet[PeriodicJob]:
    """The jobs of the sites that `user` may see, and those of no site."""
    jobs = PeriodicJob.objects.all()
    if may(user, Permission.MANAGE):
        return jobs
    return jobs.filter(Q(site__isnull=True) | Q(site__in=sites_visible_to(user).order_by().values("pk")))


def batches_visible_to(user: User) -> QuerySet[TransferBatch]:
    """The batches with a transfer that `user` may see."""
    batches = TransferBatch.objects.all()
    if may(user, Permission.MANAGE):
        return batches
    return batches.filter(Exists(transfers_visible_to(user).filter(batch=OuterRef("pk"))))


def _open_or_granted(user: User, prefix: str) -> Q:
    """Of a camera below `prefix`: it is not private, or `user` has a grant for it."""
    # A sub-select of grants, not a join: a join would repeat a row for each of its grants.
    granted = Camera.objects.filter(grants__user=user).values("pk")
    return Q(**{f"{prefix}is_private": False}) | Q(**{f"{prefix}pk__in": granted})
