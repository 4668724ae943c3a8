"""P2, P3, P4, P6 together: two workers at once under random blows, at a twentieth of the timings."""

from __future__ import annotations

import os
import random

from tests.acceptance.chaos import Chaos
from tests.acceptance.world import World

SECONDS = float(os.environ.get("COLDREEL_CHAOS_SECONDS", "25"))


def test_two_workers_under_random_blows_lose_and_repeat_nothing(own_world: World) -> None:
    seed = int(os.environ.get("COLDREEL_CHAOS_SEED") or random.randrange(10**6))
    print(f"COLDREEL_CHAOS_SEED={seed}")  # noqa: T201 - shown where the test fails
    own_world.emulator.set_rate(30)
    chaos = Chaos(own_world, SECONDS, random.Random(seed), start=own_world.worker)
    chaos.run()
    chaos.check()
    assert chaos.blows["kill"] >= SECONDS / 10
    assert len(own_world.clips) >= SECONDS / 5
