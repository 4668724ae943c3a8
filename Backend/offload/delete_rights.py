"""Whether this user may delete the recordings of a folder: what cleanup needs, asked before it is needed.

A file is deleted by a rename into the trash folder, which takes the right to write to the file's folder, and in a
folder with the sticky bit the ownership of the file or of the folder: https://man7.org/linux/man-pages/man2/rename.2.html
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator

from offload.errors import Disposition, FileProblem, Reason
from offload.source import TRASH_NAME, MediaRoot, file_problem, translated

PROBE_PREFIX = ".coldreel-probe-"

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextlib.contextmanager
def needing_right() -> Iterator[None]:
    """Turns a FileProblem of the block into NO_RIGHT_TO_DELETE, where a missing right is its cause."""
    try:
        yield
    except FileProblem as problem:
        cause = problem.__cause__
        if problem.code is not Reason.FILE_UNREADABLE or not isinstance(cause, OSError) or cause.errno not in _REFUSED:
            raise
        raise _no_right(problem.detail) from cause


def demand_right(root: MediaRoot, relative_path: str) -> None:
    """Check the file's folder by modes and owners alone, writing nothing.

    Raises FileProblem NO_RIGHT_TO_DELETE, or what `root` raises.
    """
    folders, name = root.split(relative_path)
    shown = "/".join(folders) or "."
    with needing_right(), root.folder(folders) as folder:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
            raise _no_right(f"{shown!r}: the user {os.geteuid()} may not write to it")
        found = os.fstat(folder)
        if found.st_mode & stat.S_ISVTX and os.geteuid() not in {0, found.st_uid}:
            with translated(relative_path):
                owner = os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid
            if owner != os.geteuid():
                raise _no_right(f"{shown!r} has the sticky bit: only the owner {owner} may delete {name!r}")


def demand_trash(root: MediaRoot, relative_path: str) -> None:
    """The same check of the trash folder, or of the folder in which it would be made."""
    folders, _ = root.split(relative_path)
    place = root.place_of(folders)
    with needing_right():
        try:
            with root.folder((*place, TRASH_NAME)) as trash:
                allowed = os.access(".", os.W_OK | os.X_OK, dir_fd=trash, effective_ids=True)
        except FileProblem as problem:
            if problem.code is not Reason.FILE_MISSING:
                raise
            with root.folder(place) as above:
                allowed = os.access(".", os.W_OK | os.X_OK, dir_fd=above, effective_ids=True)
    if not allowed:
        shown = "/".join((*place, TRASH_NAME))
        raise _no_right(f"{shown!r}: the user {os.geteuid()} may not write to it, or make it")


def rehearse_deletion(root: MediaRoot, relative_path: str) -> None:
    """Do what cleanup does, with an empty file of our own beside the recording: make, rename to the trash, remove.

    The recording is not touched. Nothing is left, also where a step fails. Raises FileProblem.
    """
    folders, _ = root.split(relative_path)
    place = root.place_of(folders)
    name = f"{PROBE_PREFIX}{uuid.uuid4()}"
    with needing_right(), root.folder(folders) as origin:
        ours = _made(origin, name, relative_path)
        try:
            with _trash_of(root, place) as trash, translated(TRASH_NAME):
                os.rename(name, name, src_dir_fd=origin, dst_dir_fd=trash)
                _remove(trash, name, ours)
        finally:
            _remove(origin, name, ours)
    demand_right(root, relative_path)


@contextlib.contextmanager
def _trash_of(root: MediaRoot, place: tuple[str, ...]) -> Iterator[int]:
    """The trash folder; one that had to be made is removed again, since it would belong to this user."""
    with root.folder(place) as above:
        made = False
        with translated(TRASH_NAME), contextlib.suppress(FileExistsError):
            os.mkdir(TRASH_NAME, 0o700, dir_fd=above)
            made = True
        try:
            with root.folder((*place, TRASH_NAME)) as trash:
                yield trash
        finally:
            if made:
                with contextlib.suppress(OSError):  # not empty: a cleanup has put a file into it meanwhile
                    os.rmdir(TRASH_NAME, dir_fd=above)


def _made(folder: int, name: str, shown: str) -> tuple[int, int]:
    """Device and inode of a new empty file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    except OSError as error:
        raise file_problem(error, shown.rpartition("/")[0] or ".") from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return found.st_dev, found.st_ino


def _remove(folder: int, name: str, ours: tuple[int, int]) -> None:
    """Delete our own empty file, if it is still there and still empty."""
    with contextlib.suppress(OSError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (found.st_dev, found.st_ino) == ours and found.st_size == 0:
            os.unlink(name, dir_fd=folder)


def _no_right(detail: str) -> FileProblem:
    return FileProblem(detail, code=Reason.NO_RIGHT_TO_DELETE, disposition=Disposition.RETRY)
