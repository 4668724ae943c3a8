"""The disks of this machine: COLDREEL_HOME with the reserve and the private files, and the media root."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from apps.cctv.doctor.finding import Finding, ok, problem, warning
from apps.cctv.services.disk_reserve import Reserve, is_disk_full
from apps.cctv.services.media_root import media_root_expected
from apps.cctv.units import human_size
from config.private_files import OTHERS, home_mode, own_paths
from offload.errors import FileProblem
from offload.linux import stamps_by_our_clock
from offload.places import Places
from offload.source import MARKER_NAME, MediaRoot

FILES_LEAST = 100
HOME_LEAST_BYTES = 2**30
LITTLE_SHARE = 0.10
HARDLY_ANY_SHARE = 0.02


def home_findings(*, home: Path, media_root: Path) -> Iterator[Finding]:
    if not _is_usable(home):
        yield problem(
            "home",
            f"COLDREEL_HOME={str(home)!r} is no folder that can be written to.",
            "Create it for the user that Coldreel runs as, or set COLDREEL_HOME.",
        )
        return
    free_bytes = shutil.disk_usage(home).free
    # The same device number means the same file system (stat(2)).
    shared = media_root.is_dir() and home.stat().st_dev == media_root.stat().st_dev
    also = " Recordings are on the same disk, so the recorder fills it too." if shared else ""
    if is_disk_full(home):
        yield problem(
            "home",
            f"The disk of COLDREEL_HOME is full: the database cannot be written.{also}",
            "Make some MiB of room on it. A running worker cleans up what is due before anything else.",
        )
    elif free_bytes < HOME_LEAST_BYTES:
        yield warning(
            "home",
            f"COLDREEL_HOME has {human_size(free_bytes)} left; the database needs room to write.{also}",
            "Make room on its disk.",
        )
    else:
        yield ok("home", f"COLDREEL_HOME={str(home)!r} can be written to, {human_size(free_bytes)} are free.{also}")
    found = os.statvfs(home)
    # Some file systems have no fixed number of inodes and report 0 of 0 (btrfs).
    if found.f_files and found.f_favail < FILES_LEAST:
        yield warning(
            "home",
            f"The disk of COLDREEL_HOME has room for only {found.f_favail} more files (inodes).",
            "Remove small files from it.",
        )


def reserve_findings(*, home: Path, size_bytes: int, database: Path | None) -> Iterator[Finding]:
    """The reserve: a file that is given up when the disk is full, so that cleanup can still write to the database.

    `size_bytes` is what it should be, 0 for none; `database` is SQLite's file, None on PostgreSQL.
    """
    if not home.is_dir():
        return
    kept_bytes = Reserve(home, size_bytes).kept_bytes()
    if not size_bytes:
        yield warning(
            "reserve",
            "There is none (COLDREEL_RESERVE_BYTES=0): a full disk can take no row, so nothing is cleaned up.",
            "Remove the setting, or keep recordings off the disk of COLDREEL_HOME.",
        )
    elif kept_bytes < size_bytes:
        yield warning(
            "reserve",
            f"{human_size(kept_bytes)} of {human_size(size_bytes)} are kept in reserve for a full disk.",
            f"A running worker adds the rest once {human_size(2 * size_bytes)} are free.",
        )
    elif database is not None and database.exists() and database.stat().st_dev != home.stat().st_dev:
        yield warning(
            "reserve",
            f"The database {database} is on another disk than COLDREEL_HOME, so the reserve does not help it.",
            "Keep an SQLite database in COLDREEL_HOME.",
        )
    else:
        yield ok("reserve", f"{human_size(size_bytes)} are kept in reserve for a full disk.")


def private_findings(*, home: Path, media_root: Path, database: Path | None) -> Iterator[Finding]:
    """Whether other users of this machine can read what Coldreel keeps: password hashes, session keys, the secret key.

    `database` is SQLite's file, None on PostgreSQL.
    """
    if not home.is_dir():
        return
    mode, wanted = stat.S_IMODE(home.stat().st_mode), home_mode(home, media_root)
    if wanted is not None and mode & ~wanted & OTHERS:
        yield problem(
            "private files",
            f"COLDREEL_HOME={str(home)!r} has the mode {mode:04o}: other users of this machine can list what is in it.",
            f"Run `chmod {wanted:o} {home}` as its owner.",
        )
    elif wanted is not None and wanted & OTHERS:
        yield warning(
            "private files",
            f"MEDIA_ROOT is below COLDREEL_HOME={str(home)!r} and other users record there, so they may enter it.",
            "They can read nothing else in it. A MEDIA_ROOT outside COLDREEL_HOME keeps them out altogether.",
        )
    # What is in a home that other users cannot enter is closed to them whatever its own mode.
    closed = not home.stat().st_mode & 0o011
    seen = [
        path
        for path in own_paths(home, database)
        if not (closed and path.is_relative_to(home)) and path.stat().st_mode & OTHERS
    ]
    for path in seen:
        yield problem(
            "private files",
            f"{path} can be read by other users of this machine.",
            f"Run `chmod {'700' if path.is_dir() else '600'} {path}` as its owner. Each start of Coldreel does so for "
            "what its own user owns.",
        )
    if not seen and mode & ~(wanted or OTHERS) & OTHERS == 0:
        yield ok("private files", "Database, keys and logs can be read by their owner alone.")


def media_root_findings(*, root: MediaRoot, database_usable: bool) -> Iterator[Finding]:
    """Whether recordings can be read and freed there, and how much room is left."""
    place = f"MEDIA_ROOT={str(root.path)!r}"
    if not root.path.is_dir():
        yield problem(
            "media root",
            f"{place} is no folder.",
            "Mount its disk, create it, or set MEDIA_ROOT.",
        )
        return
    unmarked = f"{place} has no marker file {MARKER_NAME}"
    if root.has_marker():
        yield ok("media root", f"{place} is marked as the right disk.")
    elif not database_usable:
        # Only the database knows whether there were recordings, so that the marker is missed.
        yield warning("media root", f"{unmarked}.", "Run doctor again once the database can be used.")
    elif not media_root_expected(root):
        yield warning("media root", f"{unmarked} yet.", "The first `manage.py import_recordings` writes it.")
    else:
        yield problem(
            "media root",
            f"{unmarked}: its disk is probably not mounted.",
            "Mount it. If this is the right folder, run `manage.py mark_media_root`.",
        )
    if not _is_usable(root.path):
        yield problem(
            "media root",
            f"{place} cannot be written to: cleanup cannot free it.",
            "Give the user that Coldreel runs as the right to write, and check that it is not mounted read-only.",
        )
    usage = shutil.disk_usage(root.path)
    yield space_finding(free_bytes=usage.free, total_bytes=usage.total)


def space_finding(*, free_bytes: int, total_bytes: int) -> Finding:
    """How much room the recorder has left on the disk of the media root."""
    share = free_bytes / total_bytes if total_bytes else 0.0
    said = f"{human_size(free_bytes)} of {human_size(total_bytes)} are free ({share:.0%})."
    if share < HARDLY_ANY_SHARE:
        return problem(
            "free space",
            said,
            "The recorder will soon overwrite footage or stop. Upload, then shorten GCP_CLEANUP_DELAY_HOURS.",
        )
    if share < LITTLE_SHARE:
        return warning("free space", said, "Check that uploads keep up, then shorten GCP_CLEANUP_DELAY_HOURS.")
    return ok("free space", said)


def file_system_findings(*, root: MediaRoot, mounts: Path) -> Iterator[Finding]:
    """Other file systems mounted below the media root: each needs a trash folder of its own, to free its files.

    `mounts` is Linux's list of mounts; elsewhere it is missing and only the media root itself is looked at.
    """
    if not root.path.is_dir():
        return
    places = Places(root, mounts=mounts)
    # The server of a network file system stamps its files, and is asked for its time by a small file in the trash.
    for folder in [root.path, *(root.path.joinpath(*place) for place in places.mounted())]:
        if not folder.is_dir() or _is_usable(folder):
            continue
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            is_ours = stamps_by_our_clock(descriptor)
        finally:
            os.close(descriptor)
        if not is_ours:
            yield warning(
                "file clock",
                f"{folder} cannot be written to, so its clock cannot be asked: a new file there is uploaded once "
                "it was seen unchanged, or after five minutes.",
                "Make it writable, or make sure that the clock of its server is right.",
            )
    for place in places.mounted():
        shown = str(root.path.joinpath(*place))
        if _is_usable(Path(shown)):
            yield ok("file system", f"{shown} is another file system, and has a trash folder of its own.")
        else:
            yield problem(
                "file system",
                f"{shown} is another file system and cannot be written to: its recordings are uploaded, never freed.",
                "Give the user that Coldreel runs as the right to write, and check that it is not mounted read-only.",
            )
    try:
        absent = places.absent()
    except FileProblem as error:
        yield problem("file system", f"Whether a disk is missing is not known: {error.detail}.", "Make it readable.")
        return
    for place in absent:
        yield problem(
            "file system",
            f"{root.path.joinpath(*place)} is not mounted: recordings were taken from a disk there.",
            "Mount it. Until then nothing of it is cleaned up.",
        )


def _is_usable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)
