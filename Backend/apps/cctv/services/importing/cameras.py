"""Sites and cameras of imported files: found by name, and made where that is allowed."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from apps.cctv.models import Camera, Site
from apps.cctv.services import Conflict, NotFound
from apps.cctv.services.cameras import camera_of_name
from apps.cctv.services.sites import DEFAULT_SITE_NAME, site_of_name, zone_of
from offload.errors import FileProblem, Reason

_MOST_LETTERS = 100  # the columns that keep names


class ImportCameras:
    """Looks each camera up once. With `create` missing ones are made, which `dry_run` does not save."""

    def __init__(self, *, site: str, time_zone: str, create: bool, dry_run: bool, actor: str, now: datetime) -> None:
        self.created: list[str] = []
        self._site = site
        self._time_zone = time_zone
        self._create = create
        self._dry_run = dry_run
        self._actor = actor
        self._now = now
        self._sites: dict[str, Site] = {}
        self._cameras: dict[tuple[str, str], Camera] = {}
        self._zones: dict[str, ZoneInfo] = {}

    def check_camera(self, name: str) -> None:
        """Find or make the camera that all files belong to, before any is read. Raises NotFound."""
        try:
            self.camera(name, None)
        except FileProblem as problem:
            raise NotFound(problem.detail) from problem

    def camera(self, name: str, site_name: str | None) -> Camera:
        """Raises FileProblem CAMERA_NOT_FOUND where there is none and none may be made."""
        named = self._site if site_name is None else site_name
        if named not in self._sites:
            self._sites[named] = self._found_site(named)
        site = self._sites[named]
        key = (site.name, name)
        if key not in self._cameras:
            # A site of a dry run is not saved, and has no cameras to ask for.
            found = None if site._state.adding else Camera.objects.filter(site=site, name=name).first()  # noqa: SLF001
            if found is None:
                self._check_may_create(name, "camera")
                self.created.append(name)
                if self._dry_run:
                    found = Camera(site=site, name=name)
                else:
                    found = camera_of_name(site=site, name=name, actor=self._actor, now=self._now)
            # The one site object of the whole import: otherwise each file would ask for the site of its camera.
            found.site = site
            self._cameras[key] = found
        return self._cameras[key]

    def zone(self, site: Site) -> ZoneInfo:
        """The time zone that paths of a site are read in. Raises ServiceError where the site's is none."""
        name = self._time_zone or site.time_zone
        if name not in self._zones:
            self._zones[name] = zone_of(name)
        return self._zones[name]

    def _found_site(self, name: str) -> Site:
        """The site of that name; without a name the only one. Where there is none it is made."""
        if not name:
            # Two are enough to know that there are several.
            sites = list(Site.objects.all()[:2])
            if len(sites) > 1:
                raise Conflict("There are several sites: say which one with --site.")
            if sites:
                return sites[0]
            name = DEFAULT_SITE_NAME
        found = Site.objects.filter(name=name).first()
        if found is not None:
            return found
        self._check_may_create(name, "site")
        time_zone = self._time_zone or "UTC"
        if self._dry_run:
            return Site(name=name, time_zone=time_zone)
        return site_of_name(name=name, time_zone=time_zone, actor=self._actor, now=self._now)

    def _check_may_create(self, name: str, what: str) -> None:
        if not name.strip() or not name.isprintable() or len(name) > _MOST_LETTERS:
            raise FileProblem(f"{name!r} is no name of a {what}", code=Reason.CAMERA_NOT_FOUND)
        if not self._create:
            raise FileProblem(
                f"there is no {what} {name!r}: create it, or allow it with --create-cameras",
                code=Reason.CAMERA_NOT_FOUND,
            )
