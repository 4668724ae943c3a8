"""Owners of leases: processes that are alive while their lock file is locked.

The kernel unlocks a file when the process that locked it ends, however that ends. So a dead owner is known at once, and
`leasing.recovery` frees its leases.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

import structlog
from django.utils import timezone

from apps.cctv.installation import installation_id, machine_id
from apps.cctv.leasing.leases import lease_clock, release_all
from apps.cctv.leasing.wakeup import OWNERS_FOLDER, make_wake_pipe, wake_now, wake_pipe_path
from apps.cctv.models import Site, WorkerProcess
from offload.clock import Clock
from offload.errors import Reason

log = structlog.get_logger("coldreel.worker")

_open_locks: set[int] = set()
"""Descriptors of the lock files of this process's own owners."""


def _leave_locks_to_the_parent() -> None:
    """A forked child that kept the descriptor would keep its dead parent's lock."""
    while _open_locks:
        os.close(_open_locks.pop())


os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


class Owner:
    """A worker that may have leases: a row, and a lock file that the kernel unlocks when the process dies.

    `wake_pipe` is a descriptor that is readable once something may be due; None where the file system has no pipes.
    """

    def __init__(self, owner_id: UUID, path: Path, lock: int, name: str) -> None:
        self.id = owner_id
        self.name = name
        self.wake_pipe = make_wake_pipe(wake_pipe_path(path))
        self._path = path
        self._lock = lock

    @classmethod
    def start(cls, home: Path, site: Site | None, now: datetime) -> Owner:
        """Make and lock the file, then make the row. Raises InstallationUnknown where the id is missing or invalid."""
        owner_id = uuid4()
        host, pid = socket.gethostname(), os.getpid()
        installation = installation_id()
        path, lock = _locked_file(home / OWNERS_FOLDER, owner_id)
        owner = cls(owner_id, path, lock, f"{host}:{pid}")
        # After the lock: `doctor` calls a worker dead whose lock file is not locked.
        WorkerProcess.objects.create(
            id=owner_id,
            site=site,
            host=host,
            machine_id=machine_id(),
            pid=pid,
            installation_id=installation,
            started_at=now,
            heartbeat_at=now,
        )
        return owner

    def stop(self, now: datetime) -> None:
        """Give back what it still has, end its row, remove its lock, and wake the others to claim what is free."""
        release_all(self.id, Reason.LEASE_RETURNED, lease_clock(now))
        remove_lock_files(self._path)
        _open_locks.discard(self._lock)
        os.close(self._lock)
        if self.wake_pipe is not None:
            os.close(self.wake_pipe)
        wake_now(self._path.parent.parent)  # after the release: what it gave back may be claimed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(timezone.now())


@contextlib.contextmanager
def command_owner(home: Path, clock: Clock) -> Iterator[UUID]:
    """An owner that is no worker, for as long as a command runs. If it is killed, the next recovery frees its leases.

    Where no lock file can be made in the home, its leases run out by themselves.
    """
    owner_id = uuid4()
    try:
        path, lock = _locked_file(home / OWNERS_FOLDER, owner_id)
    except OSError as error:
        log.warning("owner.no_lock", reason=os.strerror(error.errno or 0))
        yield owner_id
        return
    try:
        yield owner_id
        release_all(owner_id, Reason.LEASE_RETURNED, lease_clock(clock.now()))
        remove_lock_files(path)
    finally:  # after an error the file stays: by it the next recovery finds the leases to free
        _open_locks.discard(lock)
        os.close(lock)


def _locked_file(folder: Path, owner_id: UUID) -> tuple[Path, int]:
    """Make a lock file and lock it; its path and the descriptor that has the lock."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft, path = folder / f"{owner_id}.new", folder / f"{owner_id}.lock"
    lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    _open_locks.add(lock)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Renamed once it is locked: an unlocked file of that name would be taken for a dead owner's.
    draft.rename(path)
    return path, lock


def lock_paths(home: Path) -> list[Path]:
    """The lock files of all owners of that home, living and dead."""
    return sorted((home / OWNERS_FOLDER).glob("*.lock"))


def lock_of_dead_owner(path: Path) -> int | None:
    """A descriptor that has the file's lock, or None while its owner lives and where the file is gone.

    Raises OSError where the file may not be opened or locked.
    """
    try:
        lock = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock


def unreadable_locks(home: Path) -> list[str]:
    """The names of the lock files that this process may not open, because another user made them."""
    denied = []
    for path in lock_paths(home):
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except PermissionError:
            denied.append(path.name)
        except OSError:  # gone by now, for example
            continue
    return denied


def remove_lock_files(lock_path: Path) -> None:
    """Remove the wake pipe first, then the lock file: recovery finds a pipe by its lock file."""
    wake_pipe_path(lock_path).unlink(missing_ok=True)
    lock_path.unlink(missing_ok=True)
