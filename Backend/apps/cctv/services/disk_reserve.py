"""The disk reserve: a file in COLDREEL_HOME that is given up when its disk is full, so that the database can write.

Without it a full disk is a deadlock: cleanup frees the disk, cleanup needs the database, the database needs the disk.
The file is given up a quarter at a time, because a recorder that fills the disk takes what is given up as well. The
last quarter is for cleanup alone, since only cleanup makes room.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog
from django.db import DatabaseError, connection

from apps.cctv import installation
from config.private_files import give_to_owner_of, sqlite_file

log = structlog.get_logger("coldreel.disk")

T = TypeVar("T")

FILE_NAME = "reserve"
QUARTERS = 4
FULL_BYTES = 2**20
"""A disk counts as full where less than this can be written: SQLite needs some pages for its write-ahead log."""
GENERAL_PAUSE_SECONDS = 30.0
"""The pause between two quarters that are not for cleanup: a recorder takes each within seconds."""

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PERHAPS_FULL = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
"""SQLite's errors where it cannot make or extend the files beside its database."""
_POSTGRESQL_DISK_FULL = "53100"
_LOW_MOST_BYTES = 2**30
_LOW_PART = 20
_CERTAINLY_ENOUGH_BYTES = 2**26
_WRITE_BYTES = 2**20
_FOR_OTHERS_BYTES = 2**18
"""The part of a quarter that is left for a new folder, SQLite's shared memory and the file system's own needs."""
_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h."""
_BLOCK_BYTES = 512
"""The unit of `st_blocks`, whatever the file system's own is: stat(2)."""
_TELL_AGAIN_SECONDS = 60.0


class Reserve:
    """The file ``<home>/reserve`` of `size_bytes`; no file where that is 0. No method raises OSError."""

    def __init__(self, home: Path, size_bytes: int, *, now: Callable[[], float] = time.time) -> None:
        """`now` is in seconds since the epoch, as the file's mtime is."""
        self._home = home
        self._path = home / FILE_NAME
        self.size_bytes = size_bytes
        self._now = now

    @classmethod
    def of_installation(cls) -> Reserve:
        return cls(installation.home(), installation.reserve_bytes())

    def kept_bytes(self) -> int:
        """How many bytes the file takes of the disk now."""
        try:
            return _allocated_bytes(self._path.stat())
        except OSError:
            return 0

    def free_bytes(self) -> int | None:
        """How many bytes this user may still write to the home's disk; None where the system does not say."""
        return free_bytes(self._home)

    def give_up(self, *, for_cleanup: bool) -> int:
        """Give a quarter of the file to the disk. Returns its bytes; 0 where nothing was given up."""
        try:
            found = self._path.stat()
            quarter = max(self.size_bytes // QUARTERS, 1)
            # Rounded to whole quarters of the size that is set now: the file may be of an earlier setting.
            left = max(0, (found.st_size - 1) // quarter) * quarter
            # The mtime is when the file was last cut, by whichever process.
            lately = found.st_size < self.size_bytes and 0 <= self._now() - found.st_mtime < GENERAL_PAUSE_SECONDS
            if not for_cleanup and (left == 0 or lately):
                return 0
            os.truncate(self._path, left)
            _hand_to_database(found.st_size - left - _FOR_OTHERS_BYTES)
            if left == 0:
                self._path.unlink()
        except OSError:
            return 0
        log.warning("disk.reserve_given_up", size_bytes=found.st_size - left, left_bytes=left, for_cleanup=for_cleanup)
        return found.st_size - left

    def refill(self) -> bool:
        """Make the file, or its missing part, where `size_bytes` stay free beside it. True where it is whole."""
        missing_bytes, free = self.size_bytes - self.kept_bytes(), self.free_bytes()
        # Without that room the reserve itself would fill the disk, and be given up at once.
        if missing_bytes > 0 and (free is None or free - missing_bytes < self.size_bytes):
            return False
        try:
            if self.size_bytes == 0:
                self._path.unlink(missing_ok=True)
            elif missing_bytes != 0 or self._path.stat().st_size != self.size_bytes:
                self._make()
                log.info("disk.reserve_made", size_bytes=self.kept_bytes())
        except OSError as error:
            log.warning("disk.reserve_not_made", error=os.strerror(error.errno or 0))
            return False
        return True

    def _make(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another process makes it at this moment
                return
            # A command that root runs must not leave a file that the worker's user cannot give up.
            give_to_owner_of(self._home, descriptor)
            before = os.fstat(descriptor).st_size
            try:
                os.ftruncate(descriptor, min(before, self.size_bytes))
                os.posix_fallocate(descriptor, 0, self.size_bytes)
                if _allocated_bytes(os.fstat(descriptor)) < self.size_bytes:
                    # ZFS only promises the space. Random bytes, because its compression would make others smaller.
                    for offset in range(0, self.size_bytes, _WRITE_BYTES):
                        os.pwrite(descriptor, os.urandom(min(_WRITE_BYTES, self.size_bytes - offset)), offset)
                os.fsync(descriptor)
            except OSError:
                # An allocation that failed half way has taken what room there was: it goes back to the disk.
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)


def free_bytes(folder: Path) -> int | None:
    """How many bytes this user may still write to the disk of `folder`; None where the system does not say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    # Root may write the blocks that ext4 keeps for it as well.
    return found.f_frsize * (found.f_bfree if os.geteuid() == 0 else found.f_bavail)


def is_disk_full(folder: Path) -> bool:
    """Whether less than `FULL_BYTES` can be written to the disk of `folder`; False where the system does not say.

    Not all that statvfs calls free can be written: ext4 keeps up to 4096 blocks for itself. So a write is tried.
    """
    free = free_bytes(folder)
    if free is None:
        return False
    if not FULL_BYTES <= free < _CERTAINLY_ENOUGH_BYTES:
        return free < FULL_BYTES
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, FULL_BYTES)
    except OSError as error:
        return error.errno in _DISK_FULL
    return False


def low_mark_bytes(folder: Path, reserve_bytes: int) -> int:
    """Below so many free bytes an alarm is due: a twentieth of the disk, 1 GiB at most, twice the reserve at least."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return max(2 * reserve_bytes, FULL_BYTES, min(_LOW_MOST_BYTES, found.f_blocks * found.f_frsize // _LOW_PART))


def _allocated_bytes(found: os.stat_result) -> int:
    return min(found.st_size, found.st_blocks * _BLOCK_BYTES)


def _hand_to_database(size_bytes: int) -> None:
    """Allocate those bytes behind the end of SQLite's write-ahead log, before a recorder takes them.

    Only the log is opened. Closing the database's own file would end the locks that this process has on it.
    """
    database = sqlite_file(connection.settings_dict)
    if database is None or size_bytes <= 0:
        return
    with suppress(AttributeError, OSError):  # only Linux has fallocate(2)
        log_file = os.open(f"{database}-wal", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # fallocate(2) itself, since os.posix_fallocate would change the size of the log.
            libc = ctypes.CDLL(None, use_errno=True)
            libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
            libc.fallocate(log_file, _KEEP_SIZE, os.fstat(log_file).st_size, size_bytes)
        finally:
            os.close(log_file)


# --- Errors of a full disk -----------------------------------------------------------------------------


def is_disk_full_error(error: BaseException) -> bool:
    """Whether a full disk caused the error or one that led to it: of a file, of SQLite, or of PostgreSQL's server."""
    for one in _causes(error):
        if isinstance(one, OSError):
            is_full = one.errno in _DISK_FULL
        elif isinstance(one, sqlite3.Error):
            code = getattr(one, "sqlite_errorcode", 0) & 0xFF  # the primary code: https://sqlite.org/rescode.html
            database = sqlite_file(connection.settings_dict)
            perhaps = code in _PERHAPS_FULL and database is not None and is_disk_full(database.parent)
            is_full = code == sqlite3.SQLITE_FULL or perhaps
        else:
            is_full = getattr(one, "sqlstate", None) == _POSTGRESQL_DISK_FULL
        if is_full:
            return True
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


# --- Making room --------------------------------------------------------------------------------------


def make_room(error: BaseException, *, for_cleanup: bool = False) -> bool:
    """After an error of a full disk, give up a quarter of the reserve. Returns True where another try may succeed."""
    if not is_disk_full_error(error):
        return False
    reserve = Reserve.of_installation()
    # statvfs knows nothing of a user's quota, so it may show room that this user cannot write to.
    over_quota = any(isinstance(one, OSError) and one.errno == errno.EDQUOT for one in _causes(error))
    if not over_quota and not is_disk_full(installation.home()):
        return True  # there is room again, or another disk is full, as the next try will show
    return reserve.give_up(for_cleanup=for_cleanup) > 0


def retry_making_room(work: Callable[[], T], *, before_again: Callable[[], object] = lambda: None) -> T:
    """Do a part of a cleanup. Where the disk is full, give up the reserve for it, a quarter at a time, and try again.

    `work` is called again from its beginning, after `before_again`. Raises what `work` raises.
    """
    for _ in range(QUARTERS):
        try:
            return work()
        except (DatabaseError, OSError) as error:
            if connection.in_atomic_block or not make_room(error, for_cleanup=True):
                raise
            # Closing SQLite's last connection would remove the write-ahead log, and with it the room just allocated.
            if connection.vendor != "sqlite":
                connection.close()
            before_again()
    return work()


class OncePer:
    """True for each name once in `seconds`."""

    def __init__(self, seconds: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str) -> bool:
        with self._lock:
            now = self._monotonic()
            if now - self._said.get(name, -self._seconds) < self._seconds:
                return False
            self._said[name] = now
            return True


_once_per_minute = OncePer(_TELL_AGAIN_SECONDS)


def log_disk_full(event: str, error: BaseException, **fields: object) -> bool:
    """Where a full disk caused `error`: make room, and log one line a minute for each event in place of a trace.

    Returns False, and does nothing, where the error has another cause.
    """
    if not is_disk_full_error(error):
        return False
    make_room(error)
    if _once_per_minute(event):
        log.error("disk.full", at=event, free_bytes=Reserve.of_installation().free_bytes(), **fields)
    return True
