"""What time it is by the clock that stamps a file, and how finely it stamps.

ext4, XFS, Btrfs, tmpfs and their like stamp by this kernel's clock. Any other file system may be a server's, whose
clock is another one, or keep whole seconds only (exFAT), or even ones (FAT). So a file of our own is
written there, in the trash folder, and its time is looked up; at most once in `READ_AGAIN_SECONDS`.

Where nothing can be written (a share that is mounted read-only), the clock is no earlier than the latest change of a
file that was seen there, carried on by the monotonic clock, and is taken to be at most `UNKNOWN_SECONDS` behind ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from offload.clock import Clock
from offload.errors import FileProblem
from offload.linux import stamps_by_our_clock

SECOND_NS = 1_000_000_000
COARSEST_NS = 2 * SECOND_NS
TICK_NS = 10_000_000
"""The coarsest tick of a kernel (100 Hz): two writes within it may have the same time anywhere."""

CLOCK_FILE = ".coldreel-clock"
READ_AGAIN_SECONDS = 10
UNKNOWN_SECONDS = 300

OwnFolder = Callable[[], AbstractContextManager[int]]
"""A folder of our own on the file system in question, made if need be. Raises FileProblem."""

_ODD_NS = 1_700_000_001_987_654_321  # an odd second and a fraction: how it is rounded tells the step


@dataclass(frozen=True, slots=True)
class FileTime:
    """`now_ns` is never later than the file system's own clock. `step_ns` is 0 where it stamps finely.

    `known` is False where the clock could not be asked.
    """

    now_ns: int
    step_ns: int
    known: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    """When it was asked, by the monotonic clock; `now_ns` is None where nothing could be written."""

    read_at: float
    now_ns: int | None
    step_ns: int


class FileClocks:
    """The clocks of the file systems below a media root, by device."""

    def __init__(self) -> None:
        self._readings: dict[int, _Reading] = {}
        self._latest: dict[int, tuple[int, float]] = {}

    def time_of(
        self, descriptor: int, *, device: int, changed_ns: int, clock: Clock, own_folder: OwnFolder | None
    ) -> FileTime:
        """The time by the clock that stamps an open file; `changed_ns` is its ctime.

        `own_folder` is None where nothing may be written.
        """
        local_ns = int(clock.now().timestamp() * SECOND_NS)
        if stamps_by_our_clock(descriptor):
            return FileTime(local_ns, 0, known=True)
        reading = self._readings.get(device)
        if own_folder is not None and (reading is None or clock.monotonic() - reading.read_at >= READ_AGAIN_SECONDS):
            reading = self._readings[device] = _read(own_folder, clock)
        if reading is not None and reading.now_ns is not None:
            return FileTime(reading.now_ns + _since(reading.read_at, clock), reading.step_ns, known=True)
        latest_ns = self._latest_ns(device, changed_ns, clock)
        return FileTime(max(latest_ns, local_ns - UNKNOWN_SECONDS * SECOND_NS), COARSEST_NS, known=False)

    def _latest_ns(self, device: int, changed_ns: int, clock: Clock) -> int:
        """A ctime is set by the file system alone, so its clock has passed the latest that was seen."""
        seen_ns, seen_at = self._latest.get(device, (changed_ns, clock.monotonic()))
        carried_ns = seen_ns + _since(seen_at, clock)
        if changed_ns >= carried_ns:
            carried_ns, seen_at, seen_ns = changed_ns, clock.monotonic(), changed_ns
        self._latest[device] = (seen_ns, seen_at)
        return carried_ns


def _since(then: float, clock: Clock) -> int:
    return int((clock.monotonic() - then) * SECOND_NS)


def _read(own_folder: OwnFolder, clock: Clock) -> _Reading:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with own_folder() as folder:
            descriptor = os.open(CLOCK_FILE, flags, 0o600, dir_fd=folder)
            try:
                os.write(descriptor, b"\n")
            finally:
                os.close(descriptor)  # network file systems send it now, and learn the server's time from the answer
            now_ns = os.stat(CLOCK_FILE, dir_fd=folder, follow_symlinks=False).st_mtime_ns
            read_at = clock.monotonic()
            os.utime(CLOCK_FILE, ns=(_ODD_NS, _ODD_NS), dir_fd=folder, follow_symlinks=False)
            kept_ns = os.stat(CLOCK_FILE, dir_fd=folder, follow_symlinks=False).st_mtime_ns
    except (FileProblem, OSError):
        return _Reading(clock.monotonic(), None, COARSEST_NS)
    if kept_ns % SECOND_NS:
        return _Reading(read_at, now_ns, 0)
    return _Reading(read_at, now_ns, SECOND_NS if kept_ns % COARSEST_NS else COARSEST_NS)
