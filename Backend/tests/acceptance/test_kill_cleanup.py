"""P1, P3: the cleanup is killed between any two of its steps, and each time the next run finishes it.

Right after the kill the object is whole and the local file is in its place, in the trash, or gone under
a receipt. In the end it is gone, with one closed receipt, and the trash is empty.
"""

from __future__ import annotations

import signal

import pytest

from tests.acceptance.installation import MIB, Clip, Installation
from tests.acceptance.kill_point import KillPoint

SIZE_BYTES = MIB + 12_345

POINTS = [
    KillPoint("claim_cleanup"),
    KillPoint("claim_cleanup", "return"),
    KillPoint("_is_gone"),
    KillPoint("_compare", "return"),
    KillPoint("Trash.take"),
    KillPoint("rename", "c_return"),
    KillPoint("Trash.take", "return"),
    KillPoint("_open_receipt"),
    KillPoint("CleanupAttempt.lock_row", "return"),
    KillPoint("_open_receipt", "return"),
    KillPoint("_last_look", "return"),
    KillPoint("Trash.unlink"),
    KillPoint("unlink", "c_return"),
    KillPoint("Trash.unlink", "return"),
    KillPoint("CleanupAttempt.mark_cleaned"),
    KillPoint("GCPVideoTransfer.mark_cleanup_completed", "return"),
    KillPoint("_close", "return"),
]


def check_object(installation: Installation, clip: Clip) -> None:
    (found,) = installation.objects_of(clip)
    assert (int(found["size"]), found["crc32c"]) == (clip.size_bytes, clip.crc32c)
    assert int(found["generation"]) == installation.row(clip)["object_generation"]


def check_nothing_lost(installation: Installation, clip: Clip) -> None:
    check_object(installation, clip)
    here = (installation.media / clip.name).exists() or clip.transfer in installation.trash()
    under_receipt = bool(set(installation.receipts(clip)) & {"deleting", "deleted"})
    assert here or under_receipt


def upload_all(installation: Installation, count: int) -> list[Clip]:
    clips = installation.add([SIZE_BYTES + number for number in range(count)], batch_size=20)
    # Without the periodic jobs: a first worker runs the cleanup at once, and nothing has to wait here.
    installation.run_until_idle("--no-periodic", GCP_CLEANUP_DELAY_HOURS=0)
    installation.check_uploaded(clips)
    return clips


@pytest.fixture(scope="module")
def killed(shared_installation: Installation) -> dict[KillPoint, Clip]:
    """One file a point: each cleanup is killed at its point, then ordinary runs finish them all together."""
    clips = dict(zip(POINTS, upload_all(shared_installation, len(POINTS)), strict=True))
    for point, clip in clips.items():
        run = shared_installation.clean_up("--transfer-id", clip.transfer, kill=point)
        assert run.wait() == -signal.SIGKILL, f"never came to {point}:\n{run.tail()}"
        check_nothing_lost(shared_installation, clip)

    def all_cleaned() -> bool:
        run = shared_installation.clean_up()
        assert run.wait() == 0, run.tail()
        return {shared_installation.row(clip)["transfer_status"] for clip in clips.values()} == {"cleanup_completed"}

    shared_installation.until(
        lambda: not any(map(shared_installation.is_leased, clips.values())), "the end of the dead ones' leases"
    )
    shared_installation.until(all_cleaned, "a cleanup that finishes what was begun")
    return clips


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_cleanup_survives_being_killed(
    installation: Installation, killed: dict[KillPoint, Clip], point: KillPoint
) -> None:
    clip = killed[point]
    check_object(installation, clip)
    assert not (installation.media / clip.name).exists()
    assert clip.transfer not in installation.trash()
    closed = installation.receipts(clip)
    assert closed.count("deleted") == 1
    assert set(closed) <= {"deleted", "put_back"}
    ends = [reason for reason in installation.history(clip) if reason in {"cleaned", "receipt_finished"}]
    assert len(ends) == 1


def test_file_in_the_trash_without_receipt_comes_back(installation: Installation) -> None:
    """The sweep's work: where no cleanup runs again, the recording is not left in a hidden folder."""
    (clip,) = upload_all(installation, 1)
    killed = installation.clean_up("--transfer-id", clip.transfer, kill=KillPoint("Trash.take", "return"))
    assert killed.wait() == -signal.SIGKILL
    assert clip.transfer in installation.trash()

    worker = installation.worker()
    installation.until((installation.media / clip.name).exists, "the file in its place")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    installation.check_local(clip)
    assert clip.transfer not in installation.trash()


def test_hold_after_a_crash_still_saves_the_file(installation: Installation) -> None:
    """P5: the file lies in the trash without a receipt when the hold arrives."""
    (clip,) = upload_all(installation, 1)
    killed = installation.clean_up("--transfer-id", clip.transfer, kill=KillPoint("Trash.take", "return"))
    assert killed.wait() == -signal.SIGKILL
    installation.call("hold", recording=clip.recording)

    worker = installation.worker()
    installation.until((installation.media / clip.name).exists, "the file in its place")
    installation.until(lambda: installation.objects_of(clip)[0].get("temporaryHold"), "the hold on the object")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert installation.clean_up("--force").wait() in {0, 3}
    installation.check_local(clip)
    assert installation.row(clip)["transfer_status"] == "completed"
