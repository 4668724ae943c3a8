"""The marker file of a media root proves that the disk of the recordings is mounted (F16) and names its site (P11)."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import structlog

from apps.cctv.installation import InstallationUnknown, installation_id
from apps.cctv.models import PlaceEvent, Recording, SeenMediaRoot, Site
from apps.cctv.services import Conflict, ServiceError
from apps.cctv.services.sites import place_event
from apps.cctv.tables.alarms import uuid_or_none
from offload.errors import FileProblem, Reason
from offload.source import MARKER_NAME, MediaRoot

log = structlog.get_logger("coldreel.media_root")

MARKER_TEXT = (
    "This folder is Coldreel's media root: recordings are read, uploaded and cleaned up below it.\n"
    "Without this file Coldreel takes the disk for not mounted and deletes nothing. Leave it here.\n"
)


class MediaRootUnusable(ServiceError):
    """MEDIA_ROOT is missing, not mounted, or cannot be written to."""


class Marking(StrEnum):
    """What `media_root_mark` did."""

    MARKED = "marked"
    ALREADY = "already"


@dataclass(frozen=True, slots=True)
class MarkReport:
    """What `media_root_mark` did, and in which folder."""

    marking: Marking
    path: str


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker file says. Its ids are empty in one that an earlier release wrote, or a person."""

    installation: str = ""
    site: str = ""
    site_name: str = ""

    @classmethod
    def of(cls, site: Site) -> Marker:
        """Raises InstallationUnknown."""
        return cls(installation_id(), str(site.pk), " ".join(site.name.split()))

    @classmethod
    def parse(cls, text: str) -> Marker:
        found: dict[str, str] = {}
        for line in text.splitlines():
            name, _, value = line.partition(": ")
            found.setdefault(name, value.strip())  # the site's name comes last, so it can say nothing else
        return cls(*(found.get(name, "") for name in _LINES))

    @property
    def has_ids(self) -> bool:
        return bool(self.installation or self.site)

    def __str__(self) -> str:
        values = (self.installation, self.site, self.site_name)
        lines = (f"{name}: {value}\n" for name, value in zip(_LINES, values, strict=True) if self.has_ids)
        return MARKER_TEXT + "".join(lines)


_LINES = ("installation", "site", "site name")


@dataclass(frozen=True, slots=True)
class LocalSite:
    """The site whose disk this process sees; None where it sees none that it may touch: `problem` and `reason` say why.

    `problem` is a sentence for people. `reason` is MEDIA_ROOT_NOT_MOUNTED where there is no marker, OTHER_INSTALLATION
    where the id of this installation is not known, None where only a site is missing, since there is none yet, else
    WRONG_MEDIA_ROOT. `marker` is the text that was read.
    """

    site_id: UUID | None
    problem: str = ""
    reason: Reason | None = None
    marker: str = ""


def local_site(root: MediaRoot) -> LocalSite:
    """Which site the media root belongs to, as its marker says at this moment (P11).

    1. Read the marker, without following a link.
    2. A marker without ids counts for the only site there is. Where there are several it is refused.
    3. Otherwise the installation has to be this one, and the site one of its sites.
    """
    place = f"MEDIA_ROOT={str(root.path)!r}"
    try:
        text = root.read_marker()
    except FileProblem as problem:
        why = f"has no marker file {MARKER_NAME}" if problem.code is Reason.FILE_MISSING else problem.detail
        return LocalSite(None, f"{place} is not mounted: {why}.", Reason.MEDIA_ROOT_NOT_MOUNTED)
    if not Marker.parse(text).has_ids and not Site.objects.exists():
        return LocalSite(
            None, "There is no site yet. The first import makes one, or `manage.py add_site NAME`.", marker=text
        )
    try:
        return LocalSite(_site_of(Marker.parse(text), f"The marker of {place}"), marker=text)
    except Conflict as refusal:
        return LocalSite(None, refusal.detail, Reason.WRONG_MEDIA_ROOT, text)
    except InstallationUnknown as unknown:
        return LocalSite(None, unknown.detail, Reason.OTHER_INSTALLATION, text)


def media_root_name_site(root: MediaRoot) -> bool:
    """Write the ids into a marker that has none, where there is only one site that it can mean. True where it was done.

    So an installation of an earlier release goes on without a person's touch. A disk that is read-only keeps its old
    marker, which counts as long as there is only one site. So does an installation whose id is not known.
    """
    site = only_site()
    try:
        text = root.read_marker()
        if site is None or Marker.parse(text).has_ids:
            return False
        root.write_marker(str(Marker.of(site)), instead_of=text)
    except FileProblem as problem:
        if problem.code not in {Reason.FILE_MISSING, Reason.MEDIA_ROOT_NOT_MOUNTED}:
            log.warning("media_root_not_named", path=str(root.path), detail=problem.detail)
        return False
    except InstallationUnknown:
        return False
    log.info("media_root_named", path=str(root.path), site=str(site.pk))
    return True


def only_site() -> Site | None:
    """The site where there is only one."""
    sites = list(Site.objects.all()[:2])
    return sites[0] if len(sites) == 1 else None


def _site_of(marker: Marker, said: str) -> UUID:
    """Raises Conflict where it is no site of this installation, or may be several, and InstallationUnknown."""
    if not marker.has_ids:
        if (only := only_site()) is not None:
            return _open(only.pk, only.closed_at, said)
        raise Conflict(
            f"{said} names no site, and there are several. Run `manage.py mark_media_root --site NAME` with the "
            "site whose recordings lie there."
        )
    if marker.installation != installation_id():
        raise Conflict(
            f"{said} names the site {marker.site_name!r} of another installation ({marker.installation}). Mount the "
            "disk of this one. If the disk now belongs here, run `manage.py mark_media_root --site NAME --take-over`."
        )
    site_id = uuid_or_none(marker.site)
    found = Site.objects.filter(pk=site_id).values_list("pk", "closed_at").first() if site_id else None
    if found is None:
        raise Conflict(
            f"{said} names the site {marker.site_name!r} ({marker.site}), which this database does not know. Mount "
            "the right disk, or run `manage.py mark_media_root --site NAME --take-over`."
        )
    return _open(*found, said)


def _open(site_id: UUID, closed_at: datetime | None, said: str) -> UUID:
    """The site's id. Raises Conflict where it was closed: what lies on its disk is no longer Coldreel's to touch."""
    if closed_at is None:
        return site_id
    raise Conflict(
        f"{said} names a site that was closed on {closed_at:%Y-%m-%d}. If the disk is another site's now, run "
        "`manage.py mark_media_root --site NAME --take-over`."
    )


def media_root_mark(
    *, root: MediaRoot, site: Site, although_empty: bool, take_over: bool = False, actor: str, now: datetime
) -> MarkReport:
    """Write the marker with the ids of this installation and that site, unless it has them.

    It is a change of the site, so its history tells of it. Raises MediaRootUnusable where the folder is missing or
    read-only, InstallationUnknown, and Conflict:

    - where it is empty although recordings of the site should lie in it, as an unmounted disk looks, unless
      `although_empty`;
    - where its marker names another site or installation, unless `take_over`;
    - where the site was closed.
    """
    _demand_folder(root)
    if site.closed_at is not None:
        raise Conflict(f"The site {site} was closed on {site.closed_at:%Y-%m-%d}: no disk is its any more.")
    own = Marker.of(site)
    text = _marker_text(root)
    if text is not None:
        found = Marker.parse(text)
        if found == own:
            media_root_seen(root)
            return MarkReport(Marking.ALREADY, str(root.path))
        if found.has_ids and found.installation != own.installation and not take_over:
            raise Conflict(
                f"MEDIA_ROOT={str(root.path)!r} belongs to the site {found.site_name!r} of another installation "
                f"({found.installation}), which then would find its disk no more. {_TAKE_OVER}"
            )
        if found.has_ids and found.site != own.site and not take_over:
            raise Conflict(
                f"MEDIA_ROOT={str(root.path)!r} belongs to the site {found.site_name!r}: its recordings would count as "
                f"those of another site, or as missing. {_TAKE_OVER}"
            )
    elif not although_empty:
        with os.scandir(root.path) as entries:
            # A freshly made ext4 has lost+found in it.
            is_empty = all(entry.name.startswith(".") or entry.name == "lost+found" for entry in entries)
        if is_empty and Recording.objects.filter(site=site, storage_type=Recording.StorageType.LOCAL).exists():
            raise Conflict(
                f"MEDIA_ROOT={str(root.path)!r} is empty although recordings should lie in it: its disk is probably "
                "not mounted. If it is meant to be empty, say so with --yes."
            )
    _write_marker(root, str(own), instead_of=text)
    before = "" if text is None else f", before: {Marker.parse(text).site_name or 'no site named'}"
    detail = f"media root marked: {root.path} on {socket.gethostname()}{before}"
    place_event(PlaceEvent.What.SITE_CHANGED, site=site, actor=actor, now=now, detail=detail)
    return MarkReport(Marking.MARKED, str(root.path))


_TAKE_OVER = "If the disk is to change hands, say so with --take-over."


def media_root_check(*, root: MediaRoot, may_mark: bool) -> None:
    """Let an import begin, or raise MediaRootUnusable where the marker is missing although it should be there.

    Writes the marker on first use, while there are no recordings and no more than one site: with several, a person says
    which one it is. A dry run passes `may_mark=False` and writes nothing.
    """
    _demand_folder(root)
    if root.has_marker():
        if may_mark:
            media_root_seen(root)
        return
    if media_root_expected(root):
        raise MediaRootUnusable(
            f"MEDIA_ROOT={str(root.path)!r} has no marker file {MARKER_NAME} although it had one, or recordings are "
            "known: is the disk mounted? If this is the right folder, run `manage.py mark_media_root --site NAME`."
        )
    site = only_site()
    if site is None and Site.objects.exists():
        raise MediaRootUnusable(
            f"MEDIA_ROOT={str(root.path)!r} has no marker file {MARKER_NAME}, and there are several sites: say which "
            "one it belongs to by `manage.py mark_media_root --site NAME`."
        )
    if may_mark:
        # Before there is a site the marker names none: `media_root_name_site` names it after the import.
        _write_marker(root, MARKER_TEXT if site is None else str(Marker.of(site)))


def media_root_seen(root: MediaRoot) -> None:
    """Note that the marker was there: from now on a missing marker raises an alarm."""
    if not _was_seen(root):
        # Another process may note it at this moment. One row is enough.
        SeenMediaRoot.objects.bulk_create([SeenMediaRoot(path=str(root.path))], ignore_conflicts=True)


def media_root_expected(root: MediaRoot) -> bool:
    """Whether a missing marker means a missing disk: the folder had a marker, or there are recordings.

    A new installation has neither, so its empty folder raises no alarm.
    """
    return _was_seen(root) or Recording.objects.exists()


def _demand_folder(root: MediaRoot) -> None:
    if not root.path.is_dir():
        raise MediaRootUnusable(
            f"MEDIA_ROOT={str(root.path)!r} is no folder: create it, mount its disk, or set MEDIA_ROOT."
        )


def _was_seen(root: MediaRoot) -> bool:
    return SeenMediaRoot.objects.filter(path=str(root.path)).exists()


def _marker_text(root: MediaRoot) -> str | None:
    """None where there is no marker. Raises MediaRootUnusable where it cannot be read."""
    try:
        return root.read_marker()
    except FileProblem as problem:
        if problem.code is Reason.FILE_MISSING:
            return None
        raise MediaRootUnusable(f"The marker of MEDIA_ROOT={str(root.path)!r}: {problem.detail}") from problem


def _write_marker(root: MediaRoot, text: str, *, instead_of: str | None = None) -> None:
    try:
        root.write_marker(text, instead_of=instead_of)
    except FileProblem as problem:
        raise MediaRootUnusable(f"MEDIA_ROOT={str(root.path)!r} cannot be written to: {problem.detail}") from problem
    media_root_seen(root)
    log.info("media_root_marked", path=str(root.path))
