"""Open a settled recording below the media root, and detect change.

Every component is opened by itself, relative to its folder and without following links, so a path that
is swapped between check and use leads nowhere else (P7). Only the root may be a link: it is the
operator's own setting. No OSError leaves this module.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from offload.clock import Clock
from offload.errors import Disposition, FileProblem, Reason
from offload.file_time import COARSEST_NS, SECOND_NS, TICK_NS, FileClocks, FileTime, OwnFolder
from offload.linux import is_open_for_writing, mount_of
from offload.page_cache import Footprint

MARKER_NAME = ".coldreel-media-root"
TRASH_NAME = ".coldreel-trash"
MARKER_MODE = 0o644
"""Whatever the umask: a service has to read what root wrote."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO without a writer would hang the worker.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_CODES = {
    errno.ENOENT: Reason.FILE_MISSING,
    errno.ENOTDIR: Reason.FILE_MISSING,
    errno.ENAMETOOLONG: Reason.FILE_MISSING,
    errno.ELOOP: Reason.FILE_IS_LINK,
    errno.ENXIO: Reason.FILE_NOT_REGULAR,
}


_NOT_TRUSTED = ":?"


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Which file this is, and whether it was changed. Times in nanoseconds since the epoch.

    `trusted` is False where a later change may have left every field as it is, since a file system keeps times in
    steps. Then only a fresh sum tells. Two identities are equal whatever their `trusted`.
    """

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    trusted: bool = field(default=True, compare=False)

    def encode(self) -> str:
        """The one column the database keeps: ``device:inode:size:mtime:ctime``, and ``:?`` where not trusted."""
        text = f"{self.device}:{self.inode}:{self.size_bytes}:{self.mtime_ns}:{self.ctime_ns}"
        return text if self.trusted else f"{text}{_NOT_TRUSTED}"

    @classmethod
    def decode(cls, text: str) -> SourceIdentity:
        """Inverse of `encode`. Raises ValueError where `text` is not of that form."""
        trusted = not text.endswith(_NOT_TRUSTED)
        parts = text.removesuffix(_NOT_TRUSTED).split(":")
        device, inode, size_bytes, mtime_ns, ctime_ns = (int(part) for part in parts)
        return cls(device, inode, size_bytes, mtime_ns, ctime_ns, trusted)

    @classmethod
    def of(cls, found: os.stat_result) -> SourceIdentity:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def as_taken_at(self, time: FileTime, *, slack_seconds: float) -> SourceIdentity:
        """The same, trusted only where any later change is bound to show: its times lie a step and a slack back."""
        apart_ns = self.step_ns(time) + TICK_NS + int(slack_seconds * SECOND_NS)
        trusted = time.known and time.now_ns - max(self.mtime_ns, self.ctime_ns) >= apart_ns
        return replace(self, trusted=trusted)

    def step_ns(self, time: FileTime) -> int:
        """How coarse its times are. ext4 with small inodes keeps whole seconds, which only the times show."""
        whole = self.mtime_ns % SECOND_NS == 0 and self.ctime_ns % SECOND_NS == 0
        return max(time.step_ns, COARSEST_NS if whole else 0)

    def same_content_as(self, other: SourceIdentity) -> bool:
        """Equal but for ctime, which a rename, a chmod or a hard link changes as well."""
        return (self.device, self.inode, self.size_bytes, self.mtime_ns) == (
            other.device,
            other.inode,
            other.size_bytes,
            other.mtime_ns,
        )


def file_problem(error: OSError, shown: str) -> FileProblem:
    """The FileProblem for an OSError at the file `shown`. A disk that fails may recover, so that is tried again."""
    code = _CODES.get(error.errno or 0, Reason.FILE_UNREADABLE)
    reason = os.strerror(error.errno) if error.errno else "input/output error"
    disposition = Disposition.RETRY if code is Reason.FILE_UNREADABLE else None
    return FileProblem(f"{shown!r}: {reason}", code=code, disposition=disposition)


@contextlib.contextmanager
def translated(shown: str) -> Iterator[None]:
    """Turns an OSError of the block into a FileProblem about `shown`."""
    try:
        yield
    except OSError as error:
        raise file_problem(error, shown) from error


def identity_in(folder: int, name: str, shown: str) -> SourceIdentity:
    """The identity of a regular file in an open folder; a link is not followed."""
    with translated(shown):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return _regular(found, shown)


def open_in(folder: int, name: str, shown: str) -> tuple[int, SourceIdentity]:
    """A descriptor and the identity of a regular file in an open folder."""
    identity_in(folder, name, shown)  # before opening it: to open a device may already act on it
    with translated(shown):
        descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
    try:
        with translated(shown):
            found = os.fstat(descriptor)
        return descriptor, _regular(found, shown)
    except FileProblem:
        os.close(descriptor)
        raise


def demand_no_writer(descriptor: int, shown: str) -> None:
    """Raises FileProblem FILE_IN_USE where the file system tells that the file is open for writing."""
    with translated(shown):
        if is_open_for_writing(descriptor):
            raise FileProblem(f"{shown!r} is open for writing", code=Reason.FILE_IN_USE, disposition=Disposition.RETRY)


def _regular(found: os.stat_result, shown: str) -> SourceIdentity:
    if stat.S_ISLNK(found.st_mode):
        raise FileProblem(f"{shown!r} is a link", code=Reason.FILE_IS_LINK)
    if not stat.S_ISREG(found.st_mode):
        raise FileProblem(f"{shown!r} is not a regular file", code=Reason.FILE_NOT_REGULAR)
    return SourceIdentity.of(found)


class Source:
    """An open recording. `identity` is that of the moment when it was opened."""

    def __init__(
        self,
        descriptor: int,
        identity: SourceIdentity,
        shown: str,
        identity_now: Callable[[], SourceIdentity],
        *,
        clocks: FileClocks,
        own_folder: OwnFolder,
    ) -> None:
        self.identity = identity
        self._clocks = clocks
        self._own_folder = own_folder
        self._descriptor = descriptor
        self._shown = shown
        self._identity_now = identity_now
        self._footprint = Footprint(descriptor, identity.size_bytes)
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):  # advice only
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def read_at(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Up to `length_bytes`; fewer, or ``b""``, only at the end of the file. Raises FileProblem."""
        try:
            return os.pread(self._descriptor, length_bytes, offset_bytes)
        except OSError as error:
            raise file_problem(error, self._shown) from error

    def stream_at(self, offset_bytes: int, length_bytes: int) -> bytes:
        """As `read_at`, for reading from front to back: the page cache is left as it was found."""
        self._footprint.reading(offset_bytes)
        return self.read_at(offset_bytes, length_bytes)

    def identity_now(self) -> SourceIdentity:
        """Of whatever lies under the path now. Raises FileProblem: it may be gone, or a link."""
        return self._identity_now()

    def identity_open(self) -> SourceIdentity:
        """Of the opened file as it is now, whatever its path leads to."""
        with translated(self._shown):
            return SourceIdentity.of(os.fstat(self._descriptor))

    def time(self, clock: Clock, *, may_write: bool = True) -> FileTime:
        """What time it is by the clock that stamps this file. Unless `may_write`, nothing is written to ask it."""
        return self._clocks.time_of(
            self._descriptor,
            device=self.identity.device,
            changed_ns=self.identity.ctime_ns,
            clock=clock,
            own_folder=self._own_folder if may_write else None,
        )

    def demand_no_writer(self) -> None:
        """Raises FileProblem FILE_IN_USE where the file system tells that the file is open for writing."""
        demand_no_writer(self._descriptor, self._shown)

    def close(self) -> None:
        if self._descriptor >= 0:
            self._footprint.leave()
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MediaRoot:
    """The only tree that recordings are read from and deleted in.

    A relative path has ``/`` between its components, none of which is ``..``. Every method raises
    FileProblem: FILE_OUTSIDE_MEDIA_ROOT, FILE_MISSING, FILE_IS_LINK, FILE_NOT_REGULAR,
    FILE_UNREADABLE (tried again), NAME_NOT_UTF8, MEDIA_ROOT_NOT_MOUNTED (waits).
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the root's own link
        self.clocks = FileClocks()

    def relative(self, path: str) -> str:
        """`path`, relative or absolute, as a path below the root. Looks at its text only, not at the disk."""
        return "/".join(self._parts(path))

    def open(self, relative_path: str) -> Source:
        """Open a regular file without following links. The caller closes it."""
        *folders, name = self._parts(relative_path)
        with self.folder(folders) as folder:
            descriptor, identity = open_in(folder, name, relative_path)
        return Source(
            descriptor,
            identity,
            relative_path,
            lambda: self.stat(relative_path),
            clocks=self.clocks,
            own_folder=lambda: self.folder((*self.place_of(folders), TRASH_NAME), create=True, mode=0o700),
        )

    def stat(self, relative_path: str) -> SourceIdentity:
        """The identity of a regular file, without opening it."""
        *folders, name = self._parts(relative_path)
        with self.folder(folders) as folder:
            return identity_in(folder, name, relative_path)

    def has_marker(self) -> bool:
        """Whether this is the media root and not the empty folder that it is mounted over."""
        try:
            with self.folder(()) as folder:
                identity_in(folder, MARKER_NAME, MARKER_NAME)
        except FileProblem:
            return False
        return True

    def write_marker(self, text: str) -> None:
        """Mark the folder as the media root, durably. `text` is for people who find the file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with self.folder(()) as folder, translated(MARKER_NAME):
            descriptor = os.open(MARKER_NAME, flags, 0o644, dir_fd=folder)
            with open(descriptor, "w", encoding="utf-8") as marker:  # noqa: PTH123 - a descriptor has no Path
                os.fchmod(descriptor, MARKER_MODE)
                marker.write(text)
                marker.flush()
                os.fsync(descriptor)
            os.fsync(folder)  # the folder's entry too: a marker that is gone after a power cut stops every cleanup

    @contextlib.contextmanager
    def folder(self, parts: Sequence[str], *, create: bool = False, mode: int | None = None) -> Iterator[int]:
        """A descriptor of the folder `parts` below the root, links not followed.

        `create` makes the folders that are missing, with `mode`; without one a new folder is like the folder that it
        is in, so that a recorder may write to it.
        """
        try:
            folder = os.open(self.path, _FOLDER_FLAGS)
        except OSError as error:
            raise FileProblem(
                f"the media root cannot be opened: {os.strerror(error.errno or errno.EIO)}",
                code=Reason.MEDIA_ROOT_NOT_MOUNTED,
                disposition=Disposition.WAIT,
            ) from error
        try:
            for depth, part in enumerate(parts):
                below = _open_folder(folder, part, "/".join(parts[: depth + 1]), create=create, mode=mode)
                os.close(folder)
                folder = below
            yield folder
        finally:
            os.close(folder)

    def place_of(self, folders: Sequence[str]) -> tuple[str, ...]:
        """The topmost folder below the root that is on the same file system, and mount, as `folders`."""
        place: tuple[str, ...] = ()
        above = self._number(())
        for depth in range(1, len(folders) + 1):
            here = self._number(folders[:depth])
            if here != above:
                place, above = tuple(folders[:depth]), here
        return place

    def _number(self, folders: Sequence[str]) -> tuple[int, str]:
        """Differs between file systems, between subvolumes, and between two mounts of the same one."""
        with self.folder(folders) as folder, translated("/".join(folders)):
            return os.fstat(folder).st_dev, mount_of(folder)

    def split(self, relative_path: str) -> tuple[list[str], str]:
        """Folders and file name of a path below the root."""
        *folders, name = self._parts(relative_path)
        return folders, name

    def _parts(self, path: str) -> tuple[str, ...]:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise FileProblem(f"{path!r} is not UTF-8", code=Reason.NAME_NOT_UTF8) from error
        # Text only: resolving the path on the disk would follow links, and might be swapped before the file is opened.
        pure = PurePosixPath(path)
        if pure.is_absolute():
            if not pure.is_relative_to(self.path):
                raise _outside(pure.name)
            pure = pure.relative_to(self.path)
        ours = pure.parts[:1] == (MARKER_NAME,) or TRASH_NAME in pure.parts
        if not pure.parts or ".." in pure.parts or "\0" in path or ours:
            raise _outside(str(pure))
        return pure.parts


def _outside(shown: str) -> FileProblem:
    return FileProblem(f"{shown!r} is not a path of a file below the media root", code=Reason.FILE_OUTSIDE_MEDIA_ROOT)


def _open_folder(folder: int, name: str, shown: str, *, create: bool, mode: int | None) -> int:
    try:
        if create:
            _make_folder(folder, name, mode)
        return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        # Linux answers ENOTDIR for a link as well. One that cannot be looked at is told by the first error.
        if error.errno in {errno.ENOTDIR, errno.ELOOP}:
            with contextlib.suppress(OSError):
                if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise FileProblem(f"{shown!r} is a link", code=Reason.FILE_IS_LINK) from error
        raise file_problem(error, shown) from error


def _make_folder(folder: int, name: str, mode: int | None) -> None:
    """With `mode`, whatever the umask; without one, with the mode and, where root makes it, the owner of `folder`."""
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return
    made = os.open(name, os.O_NOFOLLOW | _FOLDER_FLAGS, dir_fd=folder)
    try:
        with contextlib.suppress(OSError):  # file systems without owners and modes refuse to change them
            above = os.fstat(folder)
            if mode is None and os.geteuid() == 0:
                os.fchown(made, above.st_uid, above.st_gid)
            os.fchmod(made, stat.S_IMODE(above.st_mode) if mode is None else mode)
    finally:
        os.close(made)
    os.fsync(folder)


def check_settled(identity: SourceIdentity, *, time: FileTime, settle_seconds: float) -> None:
    """Refuse an empty file and one touched less than `settle_seconds` ago, by mtime and the file system's clock.

    A file dated in the future (a recorder's clock was wrong) is judged by its ctime, which is the
    file system's own. Raises FileProblem: FILE_EMPTY, FILE_NOT_SETTLED (tried again).
    """
    touched_ns = identity.mtime_ns if identity.mtime_ns <= time.now_ns else identity.ctime_ns
    if time.now_ns - touched_ns < settle_seconds * SECOND_NS + identity.step_ns(time):
        doubt = "" if time.known else ", as far as can be told: the clock of its file system cannot be asked"
        raise FileProblem(
            f"the file was written to a moment ago{doubt}",
            code=Reason.FILE_NOT_SETTLED,
            disposition=Disposition.RETRY,
        )
    if identity.size_bytes == 0:
        raise FileProblem("the file is empty", code=Reason.FILE_EMPTY)
