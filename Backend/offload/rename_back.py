"""Give a file in the trash its old name again, replacing nothing, and so that a death at any instruction is mended.

1. A rename that replaces nothing (`renameat2`, RENAME_NOREPLACE), where kernel and file system have it.
2. Else a hard link, then the unlink of the name in the trash (NFS, NTFS by FUSE).
3. Else a placeholder (exFAT and FAT by FUSE, some network shares): a note of what is begun is written into the
   trash, an empty file is made at the old name, which fails where anything is, and the file is renamed over it. A
   call that finds the note of an earlier one takes the empty file there for its placeholder once it is a minute old.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from offload.errors import Disposition, FileProblem, Reason

Rename = Callable[[str, int, str, int], bool]
"""As `offload.linux.rename_without_replacing`."""

PLACEHOLDER_SECONDS = 60
"""An empty file that is younger may be a recorder's, made and opened by that name a moment ago."""

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_NOTE_BYTES = 65536


def rename_back(trash: int, key: str, origin: int, name: str, relative_path: str, *, rename: Rename) -> None:
    """Move `key` in the folder `trash` to `name` in the folder `origin`; `relative_path` is that place in messages.

    The three ways of the module's docstring, in this order: a file system that has no such rename or no links says so.

    Raises FileProblem DUPLICATE where another file lies there, BUSY where that is not certain yet; OSError.
    """
    ours = os.stat(key, dir_fd=trash, follow_symlinks=False)
    there = _look(origin, name)
    same = there is not None and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
    if same and ours.st_nlink > 1:  # inode numbers that a driver makes up are not always unique
        os.unlink(key, dir_fd=trash)  # an earlier call died between link and unlink
        return
    duplicate = FileProblem(f"another file lies at {relative_path!r}", code=Reason.DUPLICATE)
    try:
        if rename(key, trash, name, origin) or _link(trash, key, origin, name):
            return
        placeholder = _make_placeholder(trash, key, origin, name, relative_path)
    except FileExistsError as error:
        found = _own_placeholder(trash, key, origin, name, relative_path)
        if found is None:
            raise duplicate from error
        placeholder = found
    # Between this look and the rename lies one system call: the rename replaces what has the name.
    if not _is_still(placeholder, _look(origin, name)):
        raise duplicate
    os.rename(key, name, src_dir_fd=trash, dst_dir_fd=origin)
    os.fsync(origin)
    forget_note(trash, key)


def has_note(trash: int, key: str) -> bool:
    """Whether a placeholder may lie at the old name of `key`."""
    return _look(trash, _note_of(key)) is not None


def forget_note(trash: int, key: str) -> None:
    """Before a file is taken: a put-back that was begun for an earlier one does not concern it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_note_of(key), dir_fd=trash)


def _look(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _link(trash: int, key: str, origin: int, name: str) -> bool:
    """False where there are no hard links. Unlike a rename, a link never replaces what is there."""
    try:
        os.link(key, name, src_dir_fd=trash, dst_dir_fd=origin, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            return False
        raise
    os.fsync(origin)
    os.unlink(key, dir_fd=trash)
    return True


# --- The placeholder ---


def _note_of(key: str) -> str:
    return f"{key}.back"


def _write_note(trash: int, key: str, relative_path: str) -> int:
    """Durably. What time it is by the file system's own clock, which stamps the placeholder as well."""
    descriptor = os.open(_note_of(key), _MAKE, 0o600, dir_fd=trash)
    try:
        os.write(descriptor, relative_path.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.fsync(trash)
    return os.stat(_note_of(key), dir_fd=trash, follow_symlinks=False).st_mtime_ns


def _noted(trash: int, key: str) -> bytes:
    try:
        descriptor = os.open(_note_of(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=trash)
    except FileNotFoundError:
        return b""
    try:
        return os.read(descriptor, _MOST_NOTE_BYTES)
    finally:
        os.close(descriptor)


def _make_placeholder(trash: int, key: str, origin: int, name: str, relative_path: str) -> os.stat_result:
    """Raises FileExistsError, as a rename and a link do before they say that the file system knows none."""
    if _look(origin, name) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    _write_note(trash, key, relative_path)
    try:
        descriptor = os.open(name, _MAKE | os.O_EXCL, 0o600, dir_fd=origin)
    except FileExistsError:
        forget_note(trash, key)  # it was written for a placeholder that was never made
        raise
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _own_placeholder(trash: int, key: str, origin: int, name: str, relative_path: str) -> os.stat_result | None:
    """The placeholder that a call left when it died; None where the file there is not ours. Raises FileProblem BUSY."""
    if _noted(trash, key) != relative_path.encode():
        return None
    found = _look(origin, name)
    if found is None or not _is_still(found, found):
        forget_note(trash, key)  # another file has the name now: no empty file that comes later is ours
        return None
    now_ns = _write_note(trash, key, relative_path)
    if now_ns - found.st_mtime_ns < PLACEHOLDER_SECONDS * 1_000_000_000:
        raise FileProblem(
            f"an empty file lies at {relative_path!r}, probably left by an attempt to put the recording back",
            code=Reason.BUSY,
            disposition=Disposition.RETRY,
        )
    return found


def _is_still(one: os.stat_result, found: os.stat_result | None) -> bool:
    """Whether what was `found` is the regular file `one`, and nothing was written to it."""
    return found is not None and (found.st_ino, found.st_size) == (one.st_ino, 0) and stat.S_ISREG(found.st_mode)
