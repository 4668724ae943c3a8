"""The trash folders below the media root: the only place in the product that unlinks recordings.

A file due for deletion is first renamed to ``.coldreel-trash/<transfer id>``, where no other program renames anything:
what is verified there cannot be swapped before it goes. A program that has the file open can still write to it, so a
writer is looked for, and the file compared, as the last thing before the unlink. Each file system below the media root
has a trash folder of its own (`offload.places`). Every step is fsynced before it returns, so that a crash leaves the
file under one name or the other, or, while it is put back, under both.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from offload.delete_rights import needing_right
from offload.errors import FileChanged, FileProblem, Reason
from offload.linux import MOUNTS, rename_without_replacing
from offload.places import Place, Places
from offload.rename_back import Rename, forget_note, has_note, rename_back
from offload.source import (
    TRASH_NAME,
    MediaRoot,
    Source,
    SourceIdentity,
    demand_no_writer,
    identity_in,
    open_in,
    translated,
)


class Trash:
    """Recordings on their way off the disk; `key` is the transfer's id, a UUID as text.

    Every method raises FileProblem; none follows a link or overwrites a file.
    """

    def __init__(self, root: MediaRoot, *, rename: Rename = rename_without_replacing, mounts: Path = MOUNTS) -> None:
        self.places = Places(root, mounts=mounts)
        self.rename = rename
        self._root = root
        self._taken: dict[str, Place] = {}

    def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
        """Rename a recording into the trash and return its identity there (a rename changes ctime).

        Raises FileChanged, with the file back in its place, where it is not the `expected` one in
        device, inode, size and mtime; FileProblem BUSY where the key is taken.
        """
        _checked(key)
        folders, name = self._root.split(relative_path)
        place = self._root.place_of(folders)
        with needing_right():
            self.places.remember(place)
        with needing_right(), self._root.folder(folders) as origin, self._locked(place, create=True) as trash:
            if self._place_of(key) is not None:
                raise FileProblem(f"the trash already contains {key}", code=Reason.BUSY)
            _demand(identity_in(origin, name, relative_path), expected, relative_path)
            with translated(relative_path):
                forget_note(trash, key)
                os.rename(name, key, src_dir_fd=origin, dst_dir_fd=trash)
                os.fsync(trash)
                os.fsync(origin)
        self._taken[key] = place
        return self._verified(relative_path, place, key, expected)

    def find(self, key: str) -> SourceIdentity | None:
        """The identity of what lies under `key`; None where nothing does, as far as the disks are mounted."""
        _checked(key)
        place = self._place_of(key)
        return None if place is None else self._stat(place, key)

    def keys(self) -> list[str]:
        """Every key in use on the disks that can be read, sorted.

        What is not named by a UUID was not put there by `take`.
        """
        found: set[str] = set()
        for place in self.places.all():
            try:
                with self._folder(place) as trash, translated(TRASH_NAME):
                    found.update(name for name in os.listdir(trash) if _is_key(name))  # noqa: PTH208 - a descriptor
            except FileProblem as problem:
                _raise_for_root(place, problem)
        return sorted(found)

    def path_of(self, key: str) -> str:
        """Where that file lies, relative to the media root. Raises FileProblem FILE_MISSING where there is none."""
        return _shown(self._demand_place_of(key), key)

    def open(self, key: str) -> Source:
        """Open what lies under `key`. The caller closes it."""
        place = self._demand_place_of(key)
        with self._folder(place) as trash:
            descriptor, identity = open_in(trash, key, _shown(place, key))
        return Source(
            descriptor,
            identity,
            _shown(place, key),
            lambda: self._stat(place, key),
            clocks=self._root.clocks,
            own_folder=lambda: self._folder(place),
        )

    def is_going_back(self, key: str) -> bool:
        """Whether a call of `put_back` died before it was done, and may have left an empty file at the old name."""
        place = self._demand_place_of(key)
        with self._folder(place) as trash, translated(_shown(place, key)):
            return has_note(trash, key)

    def put_back(self, key: str, relative_path: str) -> None:
        """Move a file back to its place, whose folders are made again where they are gone.

        Raises FileProblem DUPLICATE where another file lies there; it stays, and so does ours. BUSY where an empty
        file does that may be left from an earlier call. After a crash in between, the second call finishes the first.
        """
        place = self._demand_place_of(key)
        folders, name = self._root.split(relative_path)
        with (
            self._locked(place) as trash,
            self._root.folder(folders, create=True) as origin,
            translated(relative_path),
        ):
            rename_back(trash, key, origin, name, relative_path, rename=self.rename)
            os.fsync(origin)
            os.fsync(trash)

    def unlink(self, key: str, *, expected: SourceIdentity) -> None:
        """Delete what lies under `key`, durably, if it is still the `expected` file, its ctime too.

        Raises FileChanged where it is not, FileProblem FILE_IN_USE where the file system tells that it is open for
        writing, and FILE_MISSING where nothing is there.
        """
        place = self._demand_place_of(key)
        shown = _shown(place, key)
        with self._folder(place) as trash:
            descriptor, _ = open_in(trash, key, shown)
            try:
                demand_no_writer(descriptor, shown)
            finally:
                os.close(descriptor)
            with translated(shown):
                # The last statement before the unlink: nothing but these two system calls lies between.
                if identity_in(trash, key, shown) != expected:
                    raise FileChanged(f"{shown!r} was touched since it was compared", code=Reason.LOCAL_CHANGED)
                os.unlink(key, dir_fd=trash)
                os.fsync(trash)
        self._taken.pop(key, None)

    def _verified(self, relative_path: str, place: Place, key: str, expected: SourceIdentity) -> SourceIdentity:
        """What the rename really took: the file may have been swapped just before it."""
        try:
            taken = self._stat(place, key)
            _demand(taken, expected, relative_path)
        except FileProblem:
            self.put_back(key, relative_path)
            raise
        return taken

    def _place_of(self, key: str) -> Place | None:
        """The place whose trash has the key: the one that this object took it to, else any."""
        known = self._taken.get(key)
        if known is not None and self._has(known, key):  # two lists of places need not be read for it
            return known
        return next((place for place in self.places.all() if self._has(place, key)), None)

    def _has(self, place: Place, key: str) -> bool:
        try:
            with self._folder(place) as trash, translated(key):
                os.stat(key, dir_fd=trash, follow_symlinks=False)
        except FileProblem as problem:
            _raise_for_root(place, problem)
            return False
        return True

    def _demand_place_of(self, key: str) -> Place:
        _checked(key)
        place = self._place_of(key)
        if place is None:
            raise FileProblem(f"the trash has no {key}", code=Reason.FILE_MISSING)
        return place

    def _stat(self, place: Place, key: str) -> SourceIdentity:
        with self._folder(place) as trash:
            return identity_in(trash, key, _shown(place, key))

    def _folder(self, place: Place, *, create: bool = False) -> contextlib.AbstractContextManager[int]:
        return self._root.folder((*place, TRASH_NAME), create=create, mode=0o700)

    @contextlib.contextmanager
    def _locked(self, place: Place, *, create: bool = False) -> Iterator[int]:
        """The trash folder, locked: a rename replaces what has the name, so looking and renaming are one."""
        with self._folder(place, create=create) as trash:
            with translated(TRASH_NAME):
                fcntl.flock(trash, fcntl.LOCK_EX)
            yield trash


def _is_key(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _checked(key: str) -> None:
    if not _is_key(key):
        raise FileProblem(f"{key!r} is no transfer's id", code=Reason.FILE_OUTSIDE_MEDIA_ROOT)


def _shown(place: Place, key: str) -> str:
    return "/".join((*place, TRASH_NAME, key))


def _raise_for_root(place: Place, problem: FileProblem) -> None:
    """A disk that is away or fails does not hide the others. That of the media root itself must be there."""
    if not place and problem.code is not Reason.FILE_MISSING:
        raise problem


def _demand(found: SourceIdentity, expected: SourceIdentity, shown: str) -> None:
    if not found.same_content_as(expected):
        raise FileChanged(f"{shown!r} is not the file that was verified", code=Reason.LOCAL_CHANGED)
