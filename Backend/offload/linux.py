"""Linux calls on files that Python does not offer. Where the system lacks one, the answer is "cannot tell".

https://man7.org/linux/man-pages/man2/rename.2.html, statfs.2, fcntl.2 (F_SETLEASE, F_SETSIG),
https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import signal
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

_TELL_OF_WRITERS = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # Btrfs
        0x01021994,  # tmpfs
    }
)
"""`f_type` of file systems that this kernel alone writes to: their leases know every writer."""

_STAMP_BY_OUR_CLOCK = _TELL_OF_WRITERS | {
    0x794C7630,  # overlayfs, as in a container
    0x2FC12FC1,  # ZFS
    0xF2F52010,  # F2FS
    0xCA451A4E,  # bcachefs
}
"""Those whose files get their times from this kernel's clock, in fine steps unless the times show otherwise."""

_RENAME_NOREPLACE = 1
_MOUNT_POINT_FIELD = 4
_STATFS_BYTES = 256  # more than any libc's struct statfs; `f_type` is its first member, a long

_libc = ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(name: str, folder: int, new_name: str, new_folder: int) -> bool:
    """Move a file, atomically and over nothing. False where kernel, libc or file system cannot.

    Raises FileExistsError where something has the new name, and other OSErrors as `os.rename` does.
    """
    renameat2 = getattr(_libc, "renameat2", None)  # glibc has it since 2.28
    if renameat2 is None:
        return False
    if renameat2(folder, os.fsencode(name), new_folder, os.fsencode(new_name), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
        return False
    raise OSError(number, os.strerror(number))


def tells_of_writers(descriptor: int) -> bool:
    """Whether the file lies on a file system that knows every program that has it open."""
    return _file_system(descriptor) in _TELL_OF_WRITERS


def stamps_by_our_clock(descriptor: int) -> bool:
    """Whether the file lies on a file system that is known to take its times from this kernel's clock."""
    return _file_system(descriptor) in _STAMP_BY_OUR_CLOCK


def _file_system(descriptor: int) -> int:
    """Its `f_type`; 0 where that cannot be told."""
    fstatfs = getattr(_libc, "fstatfs", None)
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if fstatfs is None or fstatfs(descriptor, found) != 0:
        return 0
    return ctypes.c_long.from_buffer(found).value


def is_open_for_writing(descriptor: int) -> bool:
    """Whether any process has the file open for writing, or mapped so; `descriptor` is open for reading only.

    False also where that cannot be told: another file system, another user's file, a lease not granted.
    A read lease is asked for and given back at once: the kernel refuses it with EAGAIN while there is a writer.
    """
    if not tells_of_writers(descriptor):
        return False
    try:
        # A program that opens the file in this moment breaks the lease, of which the kernel tells by a signal.
        # SIGIO would end this process; SIGURG is ignored unless a handler is set, and needs no main thread.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def mount_of(folder: int) -> str:
    """The id of the mount that an open folder is on; empty where there is no /proc."""
    try:
        told = Path(f"/proc/self/fdinfo/{folder}").read_text(encoding="ascii")
    except OSError:
        return ""
    found = re.search(r"^mnt_id:\s*(\d+)$", told, re.MULTILINE)
    return found[1] if found else ""


def mount_points(mounts: Path = MOUNTS) -> list[Path]:
    """Every mount point of this process; none where there is no /proc."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = [line.split(" ") for line in lines]
    written = [line[_MOUNT_POINT_FIELD] for line in fields if len(line) > _MOUNT_POINT_FIELD]
    # Blanks and the like are written as three octal digits there.
    return [Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)) for point in written]
