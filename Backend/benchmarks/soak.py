"""`python -m benchmarks.soak --seconds N`: two workers under random blows at the default timings.

Like `tests/acceptance/test_chaos.py`, but with real `manage.py` processes, the default leases, heartbeats
and chunk sizes, and larger files; for as long as asked. The exit status is 0 when in the end every
recording is in the bucket exactly once.

With `--fill-disk N` database and recordings share a small disk of their own, what is proven is cleaned up as it goes,
and a recorder fills the disk to the last byte N times. Mounting it needs root.
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
from tests.acceptance.world import BACKEND, MIB, Running, World
from tests.small_disk import SmallDisk

SIZES_BYTES = (1, 300_000, 4 * MIB, 8 * MIB + 1, 20 * MIB + 7, 60 * MIB)
DISK_BYTES = 3 * 2**30
SECONDS_FULL = 300
CLEANS_UP = {"GCP_CLEANUP_DELAY_HOURS": "0", "COLDREEL_CLEANUP_SECONDS": "60"}


def main(arguments: list[str]) -> int:
    asked = _asked(arguments)
    with tempfile.TemporaryDirectory(prefix="coldreel-soak-") as folder, _world(Path(folder), asked) as world:
        world.emulator.set_rate(asked.mbytes_per_second)
        peaks: list[int] = []
        chaos = Chaos(
            world,
            asked.seconds,
            random.Random(asked.seed),
            start=lambda: _worker(world, peaks),
            pause_seconds=8,
            nap_seconds=40,
            sizes_bytes=SIZES_BYTES,
            tell=_Teller(world),
            fill_disk=lambda: _fill_disk(world),
            disk_fills=asked.fill_disk,
            cleans_up=asked.fill_disk > 0,
        )
        print(f"{asked.seconds:.0f} seconds of blows, seed {asked.seed}")
        begun = time.monotonic()
        chaos.run()
        sent_again = chaos.check()
        seconds = time.monotonic() - begun
    print(
        f"\n{len(world.clips)} recordings, {sum(clip.size_bytes for clip in world.clips) / MIB:.0f} MiB, "
        f"each in the bucket exactly once after {seconds:.0f} s\n"
        f"blows: {', '.join(f'{blow} {count}' for blow, count in chaos.blows.most_common())}\n"
        f"sent again: {sent_again} bytes, worker's greatest memory: {max(peaks, default=0) / MIB:.0f} MiB"
    )
    return 0


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long blows fall (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats a run's dice")
    parser.add_argument("--mbytes-per-second", type=float, default=20.0, help="the line (default: %(default)s)")
    parser.add_argument("--fill-disk", type=int, default=0, metavar="N", help="fill a small disk N times")
    return parser.parse_args(arguments)


@contextmanager
def _world(folder: Path, asked: argparse.Namespace) -> Iterator[World]:
    if not asked.fill_disk:
        with World(folder, settings={}, patience_seconds=900) as world:
            yield world
        return
    with SmallDisk(folder / "home", size_bytes=DISK_BYTES, kind="ext4"):
        world = World(folder, settings=CLEANS_UP, patience_seconds=900)
        world.logs = folder / "logs"
        world.logs.mkdir()
        with world:
            yield world


def _fill_disk(world: World) -> None:
    """A recorder takes the last byte and ends; all that is proven has to go before its file is taken away."""
    recorder = [sys.executable, "-m", "tests.acceptance.recorder", str(world.media)]
    subprocess.run(recorder, cwd=BACKEND, check=True, stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    full_bytes = _free_bytes(world)
    while world.statuses()["cleanup_pending"]:
        if time.monotonic() > begun + SECONDS_FULL:
            raise AssertionError(f"what is proven still lay on a full disk after {SECONDS_FULL} s")
        time.sleep(0.5)
    found = f"{full_bytes} bytes were free, {_free_bytes(world) / MIB:.0f} MiB after {time.monotonic() - begun:.1f} s"
    print(f"           the disk was full: {found}", flush=True)
    for path in world.media.glob("recorded-*"):
        path.unlink()


def _free_bytes(world: World) -> int:
    found = os.statvfs(world.home)
    return found.f_bavail * found.f_frsize


def _worker(world: World, peaks: list[int]) -> Running:
    """A worker; the memory of those before it is noted while they live."""
    peaks += [process.peak_bytes() for process in world.alive()]
    return world.start_afresh("run_worker")


class _Teller:
    """One line a blow: what fell, and how the transfers stand."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._begun = time.monotonic()

    def __call__(self, blow: str) -> None:
        statuses = ", ".join(f"{status} {count}" for status, count in sorted(self._world.statuses().items()))
        print(f"{time.monotonic() - self._begun:7.1f} s  {blow:<7} {statuses}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
