"""The file systems below the media root, and the trash folder on each.

A rename works within one mount of one file system only. So a recording goes through the trash folder of its own:
``.coldreel-trash`` in the topmost folder of that file system below the media root, which is a mount point, or a
subvolume of Btrfs. After a restart the trash folders are found again by Linux's list of mounts, and by a list in
the media root's own trash, which also knows subvolumes, and tells a disk that is not mounted from one whose
files are gone.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from offload.errors import Disposition, FileProblem, Reason
from offload.linux import MOUNTS, mount_points
from offload.source import TRASH_NAME, MediaRoot, translated

LIST_NAME = "places"
"""In the media root's own trash: a folder a line, as JSON, only ever appended to."""

Place = tuple[str, ...]
"""As `MediaRoot.place_of` says it: ``()`` for the media root's own file system."""

_MOST_LIST_BYTES = 1 << 20
_LIST_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Places:
    """Every method but `mounted` raises FileProblem."""

    def __init__(self, root: MediaRoot, *, mounts: Path = MOUNTS) -> None:
        self._root = root
        self._mounts = mounts
        self._remembered: set[Place] = {()}

    def all(self) -> list[Place]:
        """Every place that has a trash folder, or may have one; the media root's own comes first.

        Both lists are read: a subvolume of Btrfs is no mount, and a disk may be mounted that no file was taken from.
        """
        return list(dict.fromkeys([(), *self.mounted(), *self._listed()]))

    def mounted(self) -> list[Place]:
        """The mount points below the media root."""
        real = self._root.path.resolve()
        points = [point.relative_to(real).parts for point in mount_points(self._mounts) if real in point.parents]
        return [place for place in points if TRASH_NAME not in place]

    def absent(self) -> list[Place]:
        """Places that files were taken from, and whose trash folder cannot be opened: their disk is not mounted."""
        absent = []
        for place in self._listed():
            try:
                with self._root.folder((*place, TRASH_NAME)):
                    pass
            except FileProblem:
                absent.append(place)
        return absent

    def remember(self, place: Place) -> None:
        """Add the place to the list, durably, before the first file is renamed there.

        A mount point whose place cannot be written down is found by the list of mounts.
        """
        if place in self._remembered:
            return
        try:
            if place not in self._listed():
                self._append(place)
        except FileProblem:
            if place not in self.mounted():
                raise
        self._remembered.add(place)

    def demand_there(self, relative_path: str) -> None:
        """Raises FileProblem where the path is on a file system that is not mounted, or cannot be read, now."""
        for place in self.absent():
            if relative_path.startswith(f"{'/'.join(place)}/"):
                raise FileProblem(
                    f"the file system at {'/'.join(place)!r} is not mounted: its trash folder cannot be opened",
                    code=Reason.FILE_UNREADABLE,
                    disposition=Disposition.RETRY,
                )

    def _listed(self) -> list[Place]:
        """Empty where there is no list. One that cannot be read raises: taken for empty, it would hide a disk."""
        try:
            with self._root.folder((TRASH_NAME,)) as trash:
                lines = _read_list(trash).splitlines()
        except FileProblem as problem:
            if problem.code is Reason.FILE_MISSING:
                return []
            raise
        return [place for line in lines if (place := _place_of(line)) is not None]

    def _append(self, place: Place) -> None:
        with self._root.folder((TRASH_NAME,), create=True, mode=0o700) as trash, translated(LIST_NAME):
            fcntl.flock(trash, fcntl.LOCK_EX)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _LIST_FLAGS
            descriptor = os.open(LIST_NAME, flags, 0o600, dir_fd=trash)
            try:
                # A line break first: a crash may have cut the last line.
                os.write(descriptor, b"\n" + json.dumps("/".join(place)).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.fsync(trash)


def _read_list(trash: int) -> bytes:
    try:
        descriptor = os.open(LIST_NAME, os.O_RDONLY | _LIST_FLAGS, dir_fd=trash)
        try:
            return os.read(descriptor, _MOST_LIST_BYTES)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise FileProblem(
            f"the list of file systems that have a trash folder cannot be read: {os.strerror(error.errno or 0)}",
            code=Reason.FILE_UNREADABLE,
            disposition=Disposition.RETRY,
        ) from error


def _place_of(line: bytes) -> Place | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    parts = tuple(found.split("/")) if isinstance(found, str) else ()
    return None if not parts or {"", ".", "..", TRASH_NAME} & set(parts) else parts
