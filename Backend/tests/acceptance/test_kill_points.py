"""P3: the worker is killed at every step of a transfer's life, and each time the next one finishes the work.

After each: every recording verified in the bucket exactly once, nothing sent again that the bucket had
committed, no row stuck, every local file where it was.
"""

from __future__ import annotations

import signal

import pytest

from tests.acceptance.installation import MIB, Installation
from tests.acceptance.kill_point import KillPoint

LARGE_BYTES = 3 * MIB + 12_345
SMALL_BYTES = 200_000

CLAIM = [
    KillPoint("BatchQueue.claim_due", "return"),
    KillPoint("Dispatcher._start"),
    KillPoint("Dispatcher._start", "return"),
]

RECORD = [
    KillPoint("uploads_record"),
    KillPoint("TransferQuerySet.lock_leased", "return"),
    KillPoint("TransferQuerySet.move_leased"),
    KillPoint("TransferQuerySet.move_leased", "return"),
    KillPoint("uploads_work"),
    KillPoint("uploads_record", "return"),
    KillPoint("GroupCommit._written", "return"),
    KillPoint("UploadAttempt.ended"),  # committed, and the attempt is not told yet
    KillPoint("UploadAttempt.ended", "return"),
    KillPoint("UploadAttempt.run", "return"),
    KillPoint("Owner.stop"),
]

LARGE = [
    *CLAIM,
    KillPoint("upload_job", "return"),
    KillPoint("upload"),
    KillPoint("GoogleStore.start_session"),
    KillPoint("GoogleStore.start_session", "return"),
    KillPoint("UploadAttempt.written"),
    KillPoint("OrmJournal.session_started"),
    KillPoint("OrmJournal.session_started", "return"),
    KillPoint("QueuedWrite.settle"),  # the session is committed, and its sender does not know it yet
    KillPoint("UploadAttempt.written", "return"),
    KillPoint("GoogleStore.send"),
    KillPoint("SourceBody.read", "return", 1),
    KillPoint("SourceBody.read", "return", 2),
    KillPoint("SourceBody.read", "return", 4),
    KillPoint("SourceBody.read", "return", 6),
    KillPoint("GoogleStore.send", "return", 1),
    KillPoint("GoogleStore.send", "call", 2),
    KillPoint("GoogleStore.send", "return", 2),
    KillPoint("OrmJournal.progress"),
    KillPoint("OrmJournal.progress", "return"),
    KillPoint("UploadAttempt.written", "return", 2),
    KillPoint("renew"),
    KillPoint("GoogleStore.send", "return", 3),
    KillPoint("GoogleStore.send", "call", 4),
    KillPoint("BufferedBody.read", "return"),
    KillPoint("GoogleStore.send", "return", 4),
    KillPoint("_Upload._verified"),
    KillPoint("_Upload._verified", "return"),
    KillPoint("upload", "return"),
    *RECORD,
]

SMALL = [
    *CLAIM,
    KillPoint("GoogleStore.put_small"),
    KillPoint("BufferedBody.read", "return"),
    KillPoint("GoogleStore.put_small", "return"),
    *RECORD,
]

GROUP_FILES = 14
GROUP = [
    KillPoint("BatchQueue.claim_due", "return", 2),  # in the transaction that records others
    KillPoint("Dispatcher._start", "call", 3),
    KillPoint("uploads_record", "return", 2),
    KillPoint("TransferQuerySet.move_leased", "return", 2),
    KillPoint("GroupCommit._written", "return", 2),
    KillPoint("UploadAttempt.ended", "call", 2),
    KillPoint("UploadAttempt.ended", "call", 7),
]


@pytest.mark.parametrize("point", LARGE, ids=str)
def test_large_file_survives_a_worker_killed(installation: Installation, point: KillPoint) -> None:
    clips = installation.add([LARGE_BYTES])
    slow = {"COLDREEL_PROGRESS_SECONDS": 0.0}
    if point.function == "renew":  # the heartbeat's: the upload must last that long
        installation.emulator.fault("delay", kind="chunk", seconds=1.5)

    assert installation.worker("--until-idle", kill=point, **slow).wait() == -signal.SIGKILL
    installation.run_until_idle()

    installation.check_uploaded(clips)
    installation.check_nothing_sent_again(clips)


@pytest.mark.parametrize("point", SMALL, ids=str)
def test_small_file_survives_a_worker_killed(installation: Installation, point: KillPoint) -> None:
    clips = installation.add([SMALL_BYTES])
    assert installation.worker("--until-idle", kill=point).wait() == -signal.SIGKILL
    installation.run_until_idle()
    installation.check_uploaded(clips)


@pytest.mark.parametrize("point", GROUP, ids=str)
def test_small_files_survive_a_worker_killed_within_a_group(installation: Installation, point: KillPoint) -> None:
    """Whatever was recorded and claimed together happened together or not at all."""
    clips = installation.add([SMALL_BYTES] * GROUP_FILES, batch_size=4)
    assert installation.worker("--until-idle", kill=point).wait() == -signal.SIGKILL
    installation.run_until_idle()
    installation.check_uploaded(clips)


@pytest.mark.parametrize("after_bytes", [1, 300_000, 1_000_000])
def test_file_survives_a_worker_killed_while_the_line_stalls(installation: Installation, after_bytes: int) -> None:
    """The bucket has read so many bytes of a chunk when the worker, which waits for it, dies."""
    clips = installation.add([LARGE_BYTES])
    installation.emulator.fault("stall", kind="chunk", after_bytes=after_bytes, seconds=60)
    worker = installation.worker("--until-idle", COLDREEL_STALL_SECONDS=60)
    installation.until(lambda: installation.emulator.faults()[0]["hits"], "the stall")
    worker.kill()
    installation.run_until_idle()
    installation.check_uploaded(clips)
    installation.check_nothing_sent_again(clips)


def test_worker_killed_again_and_again_still_gets_there(installation: Installation) -> None:
    """Each worker sends a chunk and is killed; the next goes on from there."""
    clips = installation.add([LARGE_BYTES, SMALL_BYTES])
    lives = 0
    point = KillPoint("GoogleStore.send", "return", 1)
    while installation.worker("--until-idle", kill=point).wait() == -signal.SIGKILL:
        lives += 1
        assert lives < 20
    assert lives >= 4
    installation.check_uploaded(clips)
    installation.check_nothing_sent_again(clips)
