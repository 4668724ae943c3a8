"""Which site a worker works for, and a media root that knows whether its disk is that site's (P11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apps.cctv.models import Recording, Site
from apps.cctv.services import Conflict, NotFound
from apps.cctv.services.media_root import Marker, local_site, media_root_name_site, only_site
from apps.cctv.services.sites import site_default
from apps.cctv.tables.moves import SYSTEM
from offload.errors import Reason
from offload.source import MediaRoot


@dataclass(frozen=True, slots=True)
class WorkerSite:
    """The site of a worker, and what its log says at the start; empty where there is nothing to say."""

    site: Site
    notice: str = ""


def worker_site(*, root: MediaRoot, name: str | None, now: datetime) -> WorkerSite:
    """The site of a worker whose media root this is; `name` is what `--site` says, None where it is left out.

    1. Where there is no site yet, the default one is made. Raises NotFound where there is none of that name.
    2. An old marker, which names no site, is given the name of the only site there is.
    3. The marker names the site. Raises Conflict where it names another one than `name`, or may not be trusted.
    4. Without a marker it is the only site there is, while that has no recordings. Otherwise the disk is not mounted,
       or which site it belongs to is not known: raises Conflict.

    Raises InstallationUnknown.
    """
    if name is None:
        if not Site.objects.exists():
            site_default(actor=SYSTEM, now=now)
        named = None
    else:
        named = Site.objects.filter(name=name).first()
        if named is None:
            raise NotFound(f"There is no site {name!r}. Make it with `manage.py add_site`.")
    media_root_name_site(root)
    here = local_site(root)
    if here.site_id is not None:
        site = Site.objects.get(pk=here.site_id)
        if named not in {None, site}:
            raise Conflict(
                f"--site {name}: the marker of MEDIA_ROOT={str(root.path)!r} names the site {site}. Leave --site out, "
                "or set MEDIA_ROOT to the disk of the other site."
            )
        return WorkerSite(site)
    if here.reason is not Reason.MEDIA_ROOT_NOT_MOUNTED:
        raise Conflict(here.problem)
    only = only_site()
    if only is None:
        raise Conflict(
            f"{here.problem} There are several sites, so which one this is must be said once: mount its disk, then run "
            "`manage.py mark_media_root --site NAME`. A machine without a disk of recordings runs with --office."
        )
    if only.closed_at is not None:
        raise Conflict(f"The only site, {only}, was closed on {only.closed_at:%Y-%m-%d}: there is nothing to work for.")
    if Recording.objects.filter(site=only).exists():
        raise Conflict(
            f"{here.problem} Mount its disk. If this is the right folder, run `manage.py mark_media_root --site "
            f"{only.name!r}`. A machine without a disk of recordings runs with --office."
        )
    return WorkerSite(
        only,
        f"No folder is named yet: MEDIA_ROOT={str(root.path)!r} has no marker. The first import writes it, or "
        "`manage.py mark_media_root`.",
    )


def site_root(root: MediaRoot, site: Site) -> MediaRoot:
    """The same folder, which counts as mounted only while its marker names this site. Asks the database only now.

    An old marker counts for the site that is the only one now. Raises InstallationUnknown.
    """
    own = Marker.of(site)
    takes_old = only_site() == site

    def is_ours(text: str) -> bool:
        found = Marker.parse(text)
        return (found.installation, found.site) == (own.installation, own.site) or (takes_old and not found.has_ids)

    return MediaRoot(root.path, is_ours=is_ours)
