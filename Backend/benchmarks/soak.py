"""`python -m benchmarks.soak --seconds N`: two workers under random blows at the default timings.

Like `tests/acceptance/test_chaos.py`, but with real `manage.py` processes, the default leases, heartbeats
and chunk sizes, and larger files; for as long as asked. The exit status is 0 when in the end every
recording is in the bucket exactly once.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.acceptance.chaos import Chaos
from tests.acceptance.world import MIB, Running, World

SIZES_BYTES = (1, 300_000, 4 * MIB, 8 * MIB + 1, 20 * MIB + 7, 60 * MIB)


def main(arguments: list[str]) -> int:
    asked = _asked(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="coldreel-soak-") as folder,
        World(Path(folder), settings={}, patience_seconds=900) as world,
    ):
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
    return parser.parse_args(arguments)


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
