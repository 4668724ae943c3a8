"""P2, P3, P4, P6 together: two workers at once under random faults, at a twentieth of the timings."""

from __future__ import annotations

import os
import random

from tests.acceptance.chaos import Chaos
from tests.acceptance.installation import Installation

SECONDS = float(os.environ.get("COLDREEL_CHAOS_SECONDS", "25"))


def test_two_workers_under_random_faults_lose_nothing(own_installation: Installation) -> None:
    seed = int(os.environ.get("COLDREEL_CHAOS_SEED") or random.randrange(10**6))
    print(f"COLDREEL_CHAOS_SEED={seed}")  # noqa: T201 - shown where the test fails
    own_installation.emulator.set_rate(30)
    chaos = Chaos(own_installation, SECONDS, random.Random(seed), start=own_installation.worker)
    chaos.run()
    chaos.check()
    assert chaos.faults["kill"] >= SECONDS / 10
    assert len(own_installation.clips) >= SECONDS / 5
