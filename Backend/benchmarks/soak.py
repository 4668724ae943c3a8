"""`python -m benchmarks.soak --seconds N`: two workers under random faults at the default timings.

Like `tests/acceptance/test_chaos.py`, but with real `manage.py` processes, the default leases, heartbeats
and chunk sizes, and larger files; for as long as asked. The exit status is 0 when in the end every
recording is in the bucket exactly once.

With `--fill-disk N` database and recordings share a small disk of their own, the workers clean up what is proven,
and a recorder fills the disk to the last byte N times. Mounting that disk needs root.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.chaos import Chaos
from tests.acceptance.installation import BACKEND, MIB, Installation, Running
from tests.small_disk import SmallDisk

SIZES_BYTES = (1, 300_000, 4 * MIB, 8 * MIB + 1, 20 * MIB + 7, 60 * MIB)
DISK_BYTES = 3 * 2**30
SECONDS_FULL = 300
CLEANS_UP = {"GCP_CLEANUP_DELAY_HOURS": "0", "COLDREEL_CLEANUP_SECONDS": "60"}


def main(arguments: list[str]) -> int:
    asked = _asked(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="coldreel-soak-") as folder,
        _installation(Path(folder), asked) as installation,
    ):
        installation.emulator.set_rate(asked.mbytes_per_second)
        peaks: list[int] = []
        chaos = Chaos(
            installation,
            asked.seconds,
            random.Random(asked.seed),
            start=lambda: _worker(installation, peaks),
            pause_seconds=8,
            freeze_seconds=40,
            sizes_bytes=SIZES_BYTES,
            tell=_Progress(installation),
            fill_disk=lambda: _fill_disk(installation),
            disk_fills=asked.fill_disk,
            cleans_up=asked.fill_disk > 0,
        )
        print(f"{asked.seconds:.0f} seconds of faults, seed {asked.seed}")
        begun = time.monotonic()
        chaos.run()
        sent_again = chaos.check()
        seconds = time.monotonic() - begun
    print(
        f"\n{len(installation.clips)} recordings, {sum(clip.size_bytes for clip in installation.clips) / MIB:.0f} MiB, "
        f"each in the bucket exactly once after {seconds:.0f} s\n"
        f"faults: {', '.join(f'{fault} {count}' for fault, count in chaos.faults.most_common())}\n"
        f"sent again: {sent_again} bytes, worker's greatest memory: {max(peaks, default=0) / MIB:.0f} MiB"
    )
    return 0


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long faults go on (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats the random choices of a run")
    parser.add_argument(
        "--mbytes-per-second",
        type=float,
        default=20.0,
        help="the speed of the uplink, 10^6 bytes a second (default: %(default)s)",
    )
    parser.add_argument("--fill-disk", type=int, default=0, metavar="N", help="fill a small disk N times")
    return parser.parse_args(arguments)


@contextmanager
def _installation(folder: Path, asked: argparse.Namespace) -> Iterator[Installation]:
    if not asked.fill_disk:
        with Installation(folder, settings={}, patience_seconds=900) as installation:
            yield installation
        return
    with SmallDisk(folder / "home", size_bytes=DISK_BYTES, kind="ext4"):
        installation = Installation(folder, settings=CLEANS_UP, patience_seconds=900)
        # Not on the small disk: the test's own logs must not fill it.
        installation.logs = folder / "logs"
        installation.logs.mkdir()
        with installation:
            yield installation


def _fill_disk(installation: Installation) -> None:
    """Let a recorder take the last byte; everything proven must be deleted before the recorder's files are."""
    recorder = [sys.executable, "-m", "tests.acceptance.recorder", str(installation.media)]
    subprocess.run(recorder, cwd=BACKEND, check=True, stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    full_bytes = _free_bytes(installation)
    while installation.statuses()["cleanup_pending"]:
        if time.monotonic() > begun + SECONDS_FULL:
            raise AssertionError(f"proven recordings were still on the full disk after {SECONDS_FULL} s")
        time.sleep(0.5)
    freed_mib = _free_bytes(installation) / MIB
    found = f"{full_bytes} bytes were free, {freed_mib:.0f} MiB after {time.monotonic() - begun:.1f} s"
    print(f"{'':11}the disk was full: {found}", flush=True)
    for path in installation.media.glob("recorded-*"):
        path.unlink()


def _free_bytes(installation: Installation) -> int:
    found = os.statvfs(installation.home)
    return found.f_bavail * found.f_frsize


def _worker(installation: Installation, peaks: list[int]) -> Running:
    """Start a worker; the greatest memory of those before it is noted while they still run."""
    peaks += [process.peak_bytes() for process in installation.alive()]
    return installation.start_afresh("run_worker")


class _Progress:
    """Prints a line for each fault: what it was, and how many transfers are in which state."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._begun = time.monotonic()

    def __call__(self, fault: str) -> None:
        statuses = ", ".join(f"{status} {count}" for status, count in sorted(self._installation.statuses().items()))
        print(f"{time.monotonic() - self._begun:7.1f} s  {fault:<10} {statuses}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
