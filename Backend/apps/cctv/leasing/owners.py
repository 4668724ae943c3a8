"""Owners of leases: processes that are alive while their lock file is locked.

A lock ends with its process, however that ends: the kernel sees to it. What a dead owner held is freed at once.
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

from apps.cctv.installation import installation_id
from apps.cctv.leasing.leases import end_other_leases, lease_clock, put_back_uploads
from apps.cctv.leasing.wakeup import OWNERS_FOLDER, make_wake_pipe, wake_now, wake_pipe_path
from apps.cctv.models import GCPVideoTransfer, PeriodicJob, Site, WorkerProcess
from offload.clock import Clock
from offload.errors import Reason
from offload.states import State

log = structlog.get_logger("coldreel.worker")


def free_leases_of_dead_owners(*, home: Path, now: datetime) -> int:
    """Free at once what owners of this home held when they died; how many leases that were.

    An owner is alive while its lock file is locked, so this never touches a worker that merely sleeps.
    """
    freed = 0
    for path in sorted((home / OWNERS_FOLDER).glob("*.lock")):
        try:
            lock = _lock_of_the_dead(path)
        except OSError as error:  # another user's, for one: its leases run out by themselves
            log.info("owner.lock_passed_over", lock=path.name, reason=os.strerror(error.errno or 0))
            continue
        if lock is not None:
            try:
                freed += _free(UUID(path.stem), Reason.OWNER_DIED, lease_clock(now))
                _remove(path)
            finally:
                os.close(lock)
    return freed


def unreadable_locks(home: Path) -> list[str]:
    """The names of the lock files that this process may not look at, because another user made them."""
    return [path.name for path in sorted((home / OWNERS_FOLDER).glob("*.lock")) if _is_denied(path)]


def _is_denied(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _remove(lock_path: Path) -> None:
    """The lock file last: where it is gone, the wake pipe is gone too."""
    wake_pipe_path(lock_path).unlink(missing_ok=True)
    lock_path.unlink(missing_ok=True)


def _lock_of_the_dead(path: Path) -> int | None:
    """The file's lock, which nobody holds while its owner lives. Raises OSError where it cannot be looked at."""
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


def _free(owner_id: UUID, reason: Reason, now: datetime) -> int:
    owned = GCPVideoTransfer.objects.filter(lease_owner=owner_id)
    freed = put_back_uploads(owned.filter(transfer_status=State.UPLOADING), reason, now) + end_other_leases(owned)
    PeriodicJob.objects.filter(lease_owner=owner_id).update(lease_owner=None, lease_expires_at=None)
    WorkerProcess.objects.filter(pk=owner_id, stopped_at__isnull=True).update(stopped_at=now)
    return freed


# --- Owners -------------------------------------------------------------------------------------------

_open_locks: set[int] = set()


def _leave_locks_to_the_parent() -> None:
    """A forked child that kept the descriptor would keep its dead parent's lock."""
    while _open_locks:
        os.close(_open_locks.pop())


os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


class Owner:
    """A process that may hold leases: a row, and a lock file that the kernel frees when it dies.

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
        """Lock first, then the row. Raises InstallationUnknown where this machine must not work."""
        owner_id = uuid4()
        host, pid = socket.gethostname(), os.getpid()
        installation = installation_id()
        path, lock = _locked_file(home / OWNERS_FOLDER, owner_id)
        owner = cls(owner_id, path, lock, f"{host}:{pid}")
        WorkerProcess.objects.create(
            id=owner_id,
            site=site,
            host=host,
            pid=pid,
            installation_id=installation,
            started_at=now,
            heartbeat_at=now,
        )
        return owner

    def stop(self, now: datetime) -> None:
        """Give back what is still held, for the others to take; end the row and the lock."""
        _free(self.id, Reason.LEASE_RETURNED, lease_clock(now))
        _remove(self._path)
        _open_locks.discard(self._lock)
        os.close(self._lock)
        if self.wake_pipe is not None:
            os.close(self.wake_pipe)
        wake_now(self._path.parent.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(timezone.now())


@contextlib.contextmanager
def command_owner(home: Path, clock: Clock) -> Iterator[UUID]:
    """An owner that is no worker, for as long as a command runs: killed, its leases are free for the next to come.

    Where the home does not let a lock be made, its leases run out by themselves.
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
        _free(owner_id, Reason.LEASE_RETURNED, lease_clock(clock.now()))
        _remove(path)
    finally:  # after an error the file stays, by which the next one finds and frees what was held
        _open_locks.discard(lock)
        os.close(lock)


def _locked_file(folder: Path, owner_id: UUID) -> tuple[Path, int]:
    """Locked under another name first: whoever looks for dead owners never meets an unlocked live one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft, path = folder / f"{owner_id}.new", folder / f"{owner_id}.lock"
    lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    _open_locks.add(lock)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    draft.rename(path)
    return path, lock
