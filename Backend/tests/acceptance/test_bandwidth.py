"""The limit of a site's line, with real workers and by the wall clock, counted where the bytes arrive."""

from __future__ import annotations

import os
import signal
import time

from tests.acceptance.installation import MIB, Installation

RATE = 4_000_000
WINDOW_SECONDS = 10
WATCHED_SECONDS = 25
"""As long as the machine may need to find ten seconds in which it keeps up."""

Sample = tuple[float, int]


def watch(installation: Installation, seconds: float) -> Sample:
    """Wait, and tell the time and what had arrived by then. The time is read first: late counts as late."""
    time.sleep(seconds)
    now = time.monotonic()
    return now, installation.received_bytes()


def last_moment_without_a_byte(installation: Installation) -> Sample:
    samples = [watch(installation, 0)]

    def flows() -> bool:
        samples.append(watch(installation, 0))
        return samples[-1][1] > 0

    installation.until(flows, "the first bytes")
    return next(sample for sample in reversed(samples) if sample[1] == 0)


def reached(samples: list[Sample]) -> float:
    """The most that arrived in ten seconds, as a part of what the limit allows."""
    most = 0.0
    for begin, before in samples:
        later = [(at, total) for at, total in samples if at >= begin + WINDOW_SECONDS]
        if later:
            at, total = later[0]
            most = max(most, (total - before) / (RATE * (at - begin)))
    return most


def test_two_workers_share_a_limit_changed_meanwhile(own_installation: Installation) -> None:
    installation = own_installation
    installation.call("limit", text="4 MB/s")
    clips = installation.add([24 * MIB] * 6, batch_size=6)
    workers = [installation.worker("--uploads", "3") for _ in range(2)]
    begun = last_moment_without_a_byte(installation)
    samples = [begun]
    while samples[-1][0] - samples[0][0] < WATCHED_SECONDS and reached(samples) < 0.95:
        samples.append(watch(installation, 0.25))

    # Never more, also where the bucket had to catch up with what waited in sockets: counted from the beginning.
    ten_seconds_and_more = [(at - begun[0], total) for at, total in samples if at - begun[0] >= WINDOW_SECONDS]
    assert ten_seconds_and_more
    for seconds, total in ten_seconds_and_more:
        assert total <= 1.05 * RATE * seconds, f"{total} bytes in {seconds:.2f} s"
    load = f"{os.getloadavg()[0]:.1f} jobs wanted the {os.cpu_count()} cores"
    assert reached(samples) >= 0.95, f"no ten seconds reached the limit: {reached(samples):.3f} of it, while {load}"
    assert [worker.poll() for worker in workers] == [None, None]

    installation.call("limit", text="1 MB/s")
    time.sleep(2)
    before, after = watch(installation, 0), watch(installation, 5)
    assert after[1] - before[1] <= 1_500_000 * (after[0] - before[0])

    installation.call("limit", text="")
    installation.until(lambda: installation.statuses()["cleanup_pending"] == 6, "the rest without a limit")
    installation.check_uploaded(clips)
    installation.check_nothing_sent_again(clips)


def test_stop_does_not_wait_for_a_slowed_chunk(own_installation: Installation) -> None:
    """A chunk of 1 MiB takes 16 seconds at 64 kB/s."""
    installation = own_installation
    installation.call("limit", text="64 kB/s")
    (clip,) = installation.add([4 * MIB])
    worker = installation.worker("--uploads", "1")
    installation.until(lambda: installation.received_bytes() > 0, "the first bytes")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert installation.received_bytes() < MIB

    row = installation.row(clip)
    assert (row["transfer_status"], row["lease_owner"], row["error_code"]) == ("pending", None, "")
    assert row["session_uri"]
    installation.call("limit", text="")
    installation.run_until_idle()
    installation.check_uploaded([clip])
    installation.check_nothing_sent_again([clip])
