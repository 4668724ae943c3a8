"""Cameras: create, change, archive, delete; and who may see a private one."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from apps.cctv.models import Camera, CameraGrant, Site
from apps.cctv.services import Conflict, NotFound
from apps.users.models import User

log = structlog.get_logger("coldreel.camera")

DEFAULT_SITE_NAME = "Main site"


def site_default(*, now: datetime) -> Site:
    """The only site, made if there is none yet. Raises Conflict where there are several."""
    sites = list(Site.objects.all()[:2])
    if len(sites) > 1:
        raise Conflict("There are several sites: say which one.")
    if sites:
        return sites[0]
    return Site.objects.get_or_create(name=DEFAULT_SITE_NAME, defaults={"created_at": now})[0]


def camera_create(*, name: str, user: User, now: datetime, site_id: UUID | None = None, is_private: bool) -> Camera:
    """A new camera, of the only site where `site_id` is None. Raises NotFound, Conflict."""
    site = site_default(now=now) if site_id is None else _site(site_id)
    try:
        with transaction.atomic():
            camera = Camera.objects.create(site=site, name=name, is_private=is_private, created_at=now)
    except IntegrityError as error:
        raise _name_taken(name, site) from error
    return _logged("camera_created", camera, user)


def camera_update(*, camera_id: UUID, name: str, is_private: bool, user: User, site_id: UUID | None = None) -> Camera:
    """Change a camera. Its site only while it has no recordings: their files lie there. Raises NotFound, Conflict."""
    with transaction.atomic():
        camera = _locked(camera_id)
        if site_id is not None and site_id != camera.site_id:
            if camera.recordings.exists():
                raise Conflict("The camera has recordings at its site.")
            camera.site = _site(site_id)
        camera.name, camera.is_private = name, is_private
        try:
            with transaction.atomic():
                camera.save(update_fields=["name", "is_private", "site"])
        except IntegrityError as error:
            raise _name_taken(name, camera.site) from error
    return _logged("camera_changed", camera, user)


def camera_archive(*, camera_id: UUID, user: User, now: datetime) -> Camera:
    """Put a camera away; its recordings and transfers stay. Archived already is fine. Raises NotFound."""
    with transaction.atomic():
        camera = _locked(camera_id)
        if camera.archived_at is None:
            camera.archived_at = now
            camera.save(update_fields=["archived_at"])
    return _logged("camera_archived", camera, user)


def camera_unarchive(*, camera_id: UUID, user: User) -> Camera:
    """Take a camera back into use. Raises NotFound."""
    with transaction.atomic():
        camera = _locked(camera_id)
        camera.archived_at = None
        camera.save(update_fields=["archived_at"])
    return _logged("camera_unarchived", camera, user)


def camera_delete(*, camera_id: UUID, user: User) -> None:
    """Delete a camera that never recorded, with its grants. Raises NotFound, Conflict."""
    refusal = Conflict("The camera has recordings: archive it instead.")
    with transaction.atomic():
        camera = _locked(camera_id)
        if camera.recordings.exists():
            raise refusal
        CameraGrant.objects.filter(camera=camera).delete()
        try:
            Camera.objects.filter(pk=camera_id).delete()
        except ProtectedError as error:
            raise refusal from error
    log.info("camera_deleted", camera=str(camera_id), actor=user.get_username())


def _locked(camera_id: UUID) -> Camera:
    camera = Camera.objects.select_related("site").select_for_update(of=("self",)).filter(pk=camera_id).first()
    if camera is None:
        raise NotFound("There is no such camera.")
    return camera


def _site(site_id: UUID) -> Site:
    site = Site.objects.filter(pk=site_id).first()
    if site is None:
        raise NotFound("There is no such site.")
    return site


def _name_taken(name: str, site: Site) -> Conflict:
    return Conflict(f"The site {site.name} has a camera {name} already.")


def _logged(event: str, camera: Camera, user: User) -> Camera:
    log.info(event, camera=str(camera.pk), site=str(camera.site_id), actor=user.get_username())
    return camera
