"""The marker file of a media root: it proves that the disk of the recordings is mounted (F16)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

import structlog

from apps.cctv.models import Recording, SeenMediaRoot
from apps.cctv.services import Conflict, ServiceError
from offload.errors import FileProblem
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


def media_root_mark(*, root: MediaRoot, although_empty: bool) -> MarkReport:
    """Write the marker, unless it is there.

    Raises MediaRootUnusable where the folder is missing or read-only. Raises Conflict where it is empty although
    recordings should lie in it, as an unmounted disk looks, unless `although_empty`.
    """
    _demand_folder(root)
    if root.has_marker():
        media_root_seen(root)
        return MarkReport(Marking.ALREADY, str(root.path))
    if not although_empty:
        with os.scandir(root.path) as entries:
            # A freshly made ext4 has lost+found in it.
            is_empty = all(entry.name.startswith(".") or entry.name == "lost+found" for entry in entries)
        if is_empty and Recording.objects.filter(storage_type=Recording.StorageType.LOCAL).exists():
            raise Conflict(
                f"MEDIA_ROOT={str(root.path)!r} is empty although recordings should lie in it: its disk is probably "
                "not mounted. If it is meant to be empty, say so with --yes."
            )
    _write_marker(root)
    return MarkReport(Marking.MARKED, str(root.path))


def media_root_check(*, root: MediaRoot, may_mark: bool) -> None:
    """Let an import begin, or raise MediaRootUnusable where the marker is missing although it should be there.

    Writes the marker on first use, while there are no recordings. A dry run passes `may_mark=False` and writes nothing.
    """
    _demand_folder(root)
    if root.has_marker():
        if may_mark:
            media_root_seen(root)
        return
    if media_root_expected(root):
        raise MediaRootUnusable(
            f"MEDIA_ROOT={str(root.path)!r} has no marker file {MARKER_NAME} although it had one, or recordings are "
            "known: is the disk mounted? If this is the right folder, run `manage.py mark_media_root`."
        )
    if may_mark:
        _write_marker(root)


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


def _write_marker(root: MediaRoot) -> None:
    try:
        root.write_marker(MARKER_TEXT)
    except FileProblem as problem:
        raise MediaRootUnusable(f"MEDIA_ROOT={str(root.path)!r} cannot be written to: {problem.detail}") from problem
    media_root_seen(root)
    log.info("media_root_marked", path=str(root.path))
