"""Sites: create and change them, the rules for what may be saved, and the history of sites, cameras and grants."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import structlog
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model

from apps.cctv.models import Camera, PlaceEvent, Site
from apps.cctv.services import Conflict, NotFound, NotPermitted, ServiceError
from apps.users.models import User
from apps.users.permissions import Permission, may
from offload.timetable import parse

log = structlog.get_logger("coldreel.site")

DEFAULT_SITE_NAME = "Main site"


def site_create(
    *,
    name: str,
    time_zone: str,
    bandwidth_limit: str = "",
    disk_high_water_percent: int | None = None,
    user: User,
    now: datetime,
) -> Site:
    """A new site. Raises NotPermitted, Conflict where the name is taken, ServiceError where a value is not valid."""
    demand_may_manage(user)
    site = Site(name=name, disk_high_water_percent=disk_high_water_percent, created_at=now)
    site.time_zone, site.bandwidth_limit = time_zone_check(time_zone), bandwidth_limit_check(bandwidth_limit)
    with transaction.atomic():
        _save(site)
        place_event(PlaceEvent.What.SITE_CREATED, site=site, actor=user.get_username(), now=now)
    return site


def site_update(
    *,
    site_id: UUID,
    name: str,
    time_zone: str,
    bandwidth_limit: str,
    disk_high_water_percent: int | None,
    user: User,
    now: datetime,
) -> Site:
    """Change a site. Where nothing differs, nothing is written.

    Raises NotPermitted, NotFound, Conflict where the name is taken, ServiceError where a value is not valid.
    """
    demand_may_manage(user)
    time_zone, bandwidth_limit = time_zone_check(time_zone), bandwidth_limit_check(bandwidth_limit)
    with transaction.atomic():
        site = Site.objects.select_for_update().filter(pk=site_id).first()
        if site is None:
            raise NotFound("There is no such site.")
        changes = change(
            site,
            name=name,
            time_zone=time_zone,
            bandwidth_limit=bandwidth_limit,
            disk_high_water_percent=disk_high_water_percent,
        )
        if changes:
            _save(site)
            place_event(PlaceEvent.What.SITE_CHANGED, site=site, actor=user.get_username(), now=now, detail=changes)
    return site


def site_of_name(*, name: str, time_zone: str, actor: str, now: datetime) -> Site:
    """The site of that name, made where there is none. Raises ServiceError for an unknown time zone."""
    with transaction.atomic():
        # Two imports may make the same site at this moment. The unique name lets one in, which appends the event.
        site, is_new = Site.objects.get_or_create(
            name=name, defaults={"time_zone": time_zone_check(time_zone), "created_at": now}
        )
        if is_new:
            place_event(PlaceEvent.What.SITE_CREATED, site=site, actor=actor, now=now)
    return site


def site_default(*, actor: str, now: datetime) -> Site:
    """The only site, made if there is none yet. Raises Conflict where there are several."""
    sites = list(Site.objects.all()[:2])
    if len(sites) > 1:
        raise Conflict("There are several sites: name one of them.")
    return sites[0] if sites else site_of_name(name=DEFAULT_SITE_NAME, time_zone="UTC", actor=actor, now=now)


def _save(site: Site) -> None:
    # SQLite enforces neither the length of a name nor the range of a number.
    try:
        site.clean_fields()
    except ValidationError as error:
        raise ServiceError(" ".join(error.messages)) from error
    try:
        # A savepoint: after an IntegrityError PostgreSQL refuses the rest of a transaction.
        with transaction.atomic():
            site.save()
    except IntegrityError as error:
        raise Conflict(f"There is a site {site.name} already.") from error


# --- Rules ------------------------------------------------------------------------------------------
def zone_of(name: str) -> ZoneInfo:
    """The time zone that a name stands for. Raises ServiceError where it stands for none.

    It also reads what the system has beside the IANA names, since a database may have such a name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _no_time_zone(name) from error


def time_zone_check(name: str) -> str:
    """A name that may be saved: an IANA time zone. Raises ServiceError."""
    if name not in available_timezones():
        raise _no_time_zone(name)
    return name


def _no_time_zone(name: str) -> ServiceError:
    return ServiceError(f"{name!r} is no time zone: expected an IANA name like Europe/Berlin or UTC.")


def bandwidth_limit_check(text: str) -> str:
    """A timetable that may be saved, without spaces at its ends; empty is no limit. Raises ServiceError."""
    text = text.strip()
    try:
        parse(text)
    except ValueError as error:
        raise ServiceError(str(error)) from error
    return text


def demand_may_manage(user: User) -> None:
    """Raises NotPermitted where the role of `user` may not manage sites and cameras."""
    if not may(user, Permission.MANAGE):
        raise NotPermitted(f"The role {user.role} may not {Permission.MANAGE.value}.")


# --- History ----------------------------------------------------------------------------------------
def change(row: Model, **columns: object) -> str:
    """Set columns of `row`, without saving it, and tell what differs: `name: Gate → Door`, or nothing."""
    changes = []
    for name, new in columns.items():
        old = getattr(row, name)
        if old != new:
            changes.append(f"{name.replace('_', ' ')}: {_shown(old)} → {_shown(new)}")
            setattr(row, name, new)
    return "; ".join(changes)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in {None, ""} else str(value)


def place_event(
    what: PlaceEvent.What,
    *,
    site: Site,
    actor: str,
    now: datetime,
    camera: Camera | None = None,
    person: str = "",
    detail: str = "",
) -> None:
    """Append to the history, in the transaction of the change itself, and to the log."""
    place: Site | Camera = camera or site
    PlaceEvent.objects.create(
        at=now, actor=actor, what=what, site=site, camera=camera, name=place.name, person=person, detail=detail
    )
    log.info(what.value, site=str(site.pk), camera=camera and str(camera.pk), actor=actor)
