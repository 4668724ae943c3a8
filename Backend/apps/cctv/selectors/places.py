"""Cameras and sites to show."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from apps.cctv.models import Camera, Site
from apps.cctv.selectors.visibility import cameras_visible_to, sites_visible_to
from apps.users.models import Role, User


def camera_list(*, user: User, archived: bool | None = None) -> list[Camera]:
    """In order of names; `archived` None means both kinds."""
    cameras = cameras_visible_to(user).order_by("name", "pk")
    if archived is not None:
        cameras = cameras.filter(archived_at__isnull=not archived)
    return list(cameras)


def camera_detail(*, user: User, camera_id: UUID) -> Camera | None:
    return cameras_visible_to(user).filter(pk=camera_id).first()


def site_list(user: User) -> list[Site]:
    return list(sites_visible_to(user).order_by("name"))


def people_for_grants() -> QuerySet[User]:
    """Whom a grant lets see a private camera: active users of the role dev. The others see all cameras, or none."""
    return User.objects.filter(role=Role.DEV, is_active=True).order_by("username")
