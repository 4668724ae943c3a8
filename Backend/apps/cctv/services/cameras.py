"""Cameras: create, change, archive and delete them, and say who may see a private one. Each change leaves an event."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from apps.cctv.models import Camera, CameraGrant, PlaceEvent, Site
from apps.cctv.selectors.places import people_for_grants
from apps.cctv.services import Conflict, NotFound
from apps.cctv.services.sites import change, demand_may_manage, place_event, site_default
from apps.users.models import User

What = PlaceEvent.What


def camera_create(*, name: str, user: User, now: datetime, site_id: UUID | None = None, is_private: bool) -> Camera:
    """A new camera, of the only site where `site_id` is None. Raises NotPermitted, NotFound, Conflict."""
    demand_may_manage(user)
    with transaction.atomic():
        site = site_default(actor=user.get_username(), now=now) if site_id is None else _site(site_id)
        camera = Camera(site=site, name=name, is_private=is_private, created_at=now)
        _save(camera)
        place_event(What.CAMERA_CREATED, site=site, camera=camera, actor=user.get_username(), now=now)
    return camera


def camera_of_name(*, site: Site, name: str, actor: str, now: datetime) -> Camera:
    """The camera of that name at a site, made where there is none."""
    with transaction.atomic():
        camera, is_new = Camera.objects.get_or_create(site=site, name=name, defaults={"created_at": now})
        if is_new:
            place_event(What.CAMERA_CREATED, site=site, camera=camera, actor=actor, now=now)
    return camera


def camera_update(
    *, camera_id: UUID, name: str, is_private: bool, user: User, now: datetime, site_id: UUID | None = None
) -> Camera:
    """Change a camera; its site only while it has no recordings, whose files lie at that site.

    Where nothing differs, nothing is written. Raises NotPermitted, NotFound, Conflict.
    """
    demand_may_manage(user)
    with transaction.atomic():
        camera = _locked(camera_id)
        site = camera.site if site_id is None else _site(site_id)
        if site != camera.site and camera.recordings.exists():
            raise Conflict("The camera has recordings at its site.")
        changes = change(camera, name=name, is_private=is_private, site=site)
        if changes:
            _save(camera)
            place_event(
                What.CAMERA_CHANGED, site=site, camera=camera, actor=user.get_username(), now=now, detail=changes
            )
    return camera


def camera_archive(*, camera_id: UUID, user: User, now: datetime) -> Camera:
    """Archive a camera; its recordings and transfers stay. Archived already is fine. Raises NotPermitted, NotFound."""
    return _set_archived(camera_id, now, what=What.CAMERA_ARCHIVED, user=user, now=now)


def camera_unarchive(*, camera_id: UUID, user: User, now: datetime) -> Camera:
    """Take a camera back into use. In use already is fine. Raises NotPermitted, NotFound."""
    return _set_archived(camera_id, None, what=What.CAMERA_UNARCHIVED, user=user, now=now)


def camera_delete(*, camera_id: UUID, user: User, now: datetime) -> None:
    """Delete a camera that has no recordings, with its grants. Raises NotPermitted, NotFound, Conflict."""
    demand_may_manage(user)
    refusal = Conflict("The camera has recordings: archive it instead.")
    with transaction.atomic():
        camera = _locked(camera_id)
        if camera.recordings.exists():
            raise refusal
        for person_id in camera.grants.values_list("user", flat=True):
            grant_end(camera_id=camera_id, person_id=person_id, user=user, now=now)
        place_event(What.CAMERA_DELETED, site=camera.site, camera=camera, actor=user.get_username(), now=now)
        # The history stays, with the camera's name; nothing is deleted or emptied by a cascade (P4).
        PlaceEvent.objects.filter(camera=camera).update(camera=None)
        try:  # an import may register a recording between the look above and this
            Camera.objects.filter(pk=camera_id).delete()
        except ProtectedError as error:
            raise refusal from error


def grant_give(*, camera_id: UUID, person_id: int, user: User, now: datetime) -> CameraGrant:
    """Let a person of the role dev see a private camera. Given already is fine.

    Raises NotPermitted, NotFound, and Conflict where the person is no active user of the role dev.
    """
    demand_may_manage(user)
    with transaction.atomic():
        camera, actor = _locked(camera_id), user.get_username()
        person = people_for_grants().filter(pk=person_id).first()
        if person is None:
            raise Conflict("A grant is for an active user of the role dev.")
        grant, is_new = CameraGrant.objects.get_or_create(
            camera=camera, user=person, defaults={"granted_by": user, "created_at": now}
        )
        if is_new:
            name = person.get_username()
            place_event(What.GRANT_GIVEN, site=camera.site, camera=camera, person=name, actor=actor, now=now)
    return grant


def grant_end(*, camera_id: UUID, person_id: int, user: User, now: datetime) -> None:
    """End a grant. Ended already is fine. Raises NotPermitted, NotFound where there is no such camera."""
    demand_may_manage(user)
    with transaction.atomic():
        camera, actor = _locked(camera_id), user.get_username()
        grant = camera.grants.select_related("user").filter(user=person_id).first()
        if grant is not None:
            grant.delete()
            name = grant.user.get_username()
            place_event(What.GRANT_ENDED, site=camera.site, camera=camera, person=name, actor=actor, now=now)


def _set_archived(
    camera_id: UUID, archived_at: datetime | None, *, what: PlaceEvent.What, user: User, now: datetime
) -> Camera:
    demand_may_manage(user)
    with transaction.atomic():
        camera = _locked(camera_id)
        if (camera.archived_at is None) != (archived_at is None):
            camera.archived_at = archived_at
            camera.save(update_fields=["archived_at"])
            place_event(what, site=camera.site, camera=camera, actor=user.get_username(), now=now)
    return camera


def _save(camera: Camera) -> None:
    try:
        # A savepoint: after an IntegrityError PostgreSQL refuses the rest of a transaction.
        with transaction.atomic():
            camera.save()
    except IntegrityError as error:
        raise Conflict(f"The site {camera.site.name} has a camera {camera.name} already.") from error


def _locked(camera_id: UUID) -> Camera:
    # The row of the site is not locked: changes to its other cameras need not wait.
    camera = Camera.objects.select_related("site").select_for_update(of=("self",)).filter(pk=camera_id).first()
    if camera is None:
        raise NotFound("There is no such camera.")
    return camera


def _site(site_id: UUID) -> Site:
    site = Site.objects.filter(pk=site_id).first()
    if site is None:
        raise NotFound("There is no such site.")
    return site
