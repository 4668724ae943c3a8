"""`batch_size` is exact: with three workers, with kills among them, counted from outside."""

from __future__ import annotations

import signal
from collections import Counter

from tests.acceptance.installation import MIB, Installation

UPLOADING = """
    SELECT hex(batch_id) AS batch, count(*) AS n FROM cctv_gcpvideotransfer
    WHERE transfer_status = 'uploading' GROUP BY batch_id"""


def most_at_once_by_history(installation: Installation) -> Counter[str]:
    """Replays the events, which are in the order of their commits: no moment between two looks is missed."""
    events = installation.select("""
        SELECT hex(t.batch_id) AS batch, e.from_status, e.to_status FROM cctv_transferevent e
        JOIN cctv_gcpvideotransfer t ON t.id = e.transfer_id ORDER BY e.id""")
    uploading: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for event in events:
        uploading[event["batch"]] += (event["to_status"] == "uploading") - (event["from_status"] == "uploading")
        most[event["batch"]] = max(most[event["batch"]], uploading[event["batch"]])
    return most


def test_three_workers_never_exceed_the_size_of_a_batch(own_installation: Installation) -> None:
    installation = own_installation
    sizes = {1: 3, 3: 9, 5: 10}
    clips = [clip for size, count in sizes.items() for clip in installation.add([MIB] * count, batch_size=size)]
    installation.emulator.set_rate(25)
    seen: Counter[str] = Counter()
    workers = [installation.worker("--until-idle", "--uploads", "12") for _ in range(3)]

    def all_ended() -> bool:
        for row in installation.select(UPLOADING):
            seen[row["batch"]] = max(seen[row["batch"]], row["n"])
        return None not in [worker.poll() for worker in workers]

    installation.until(all_ended, "three idle workers")
    assert [worker.status for worker in workers] == [0, 0, 0]
    installation.check_uploaded(clips)
    assert sorted(most_at_once_by_history(installation).values()) == sorted(sizes)
    assert all(most_at_once_by_history(installation)[batch] >= count for batch, count in seen.items())


def test_batch_of_a_killed_worker_keeps_its_size(own_installation: Installation) -> None:
    installation = own_installation
    clips = installation.add([MIB] * 8, batch_size=3)
    installation.emulator.set_rate(6)
    first = installation.worker()
    installation.until(lambda: installation.statuses()["uploading"] == 3, "a full batch")
    first.send(signal.SIGKILL)
    workers = [installation.worker("--until-idle") for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    installation.check_uploaded(clips)
    assert list(most_at_once_by_history(installation).values()) == [3]
