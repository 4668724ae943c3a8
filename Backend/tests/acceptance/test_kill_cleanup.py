"""P1, P3: the cleanup is killed between any two of its steps, and each time the next run finishes it.

Right after the kill the object is whole and the local file is in its place, in the trash, or gone under
a receipt. In the end it is gone, with one closed receipt, and the trash is empty.
"""

from __future__ import annotations

import signal

import pytest

from tests.acceptance.killer import KillPoint
from tests.acceptance.world import MIB, Clip, World

SIZE_BYTES = MIB + 12_345

POINTS = [
    KillPoint("claim_cleanup"),
    KillPoint("claim_cleanup", "return"),
    KillPoint("take_and_delete"),
    KillPoint("compare", "return"),
    KillPoint("Trash.take"),
    KillPoint("rename", "c_return"),
    KillPoint("Trash.take", "return"),
    KillPoint("_open_receipt"),
    KillPoint("Attempt.demand_row", "return"),
    KillPoint("_open_receipt", "return"),
    KillPoint("_last_look", "return"),
    KillPoint("Trash.unlink"),
    KillPoint("unlink", "c_return"),
    KillPoint("Trash.unlink", "return"),
    KillPoint("Attempt.mark_cleaned"),
    KillPoint("GCPVideoTransfer.mark_cleanup_completed", "return"),
    KillPoint("close", "return"),
]


def check_object(world: World, clip: Clip) -> None:
    (found,) = world.objects_of(clip)
    assert (int(found["size"]), found["crc32c"]) == (clip.size_bytes, clip.crc32c)
    assert int(found["generation"]) == world.row(clip)["object_generation"]


def check_nothing_lost(world: World, clip: Clip) -> None:
    check_object(world, clip)
    here = (world.media / clip.name).exists() or clip.transfer in world.trash()
    under_receipt = bool(set(world.receipts(clip)) & {"deleting", "deleted"})
    assert here or under_receipt


def upload_all(world: World, count: int) -> list[Clip]:
    clips = world.add([SIZE_BYTES + number for number in range(count)], batch_size=20)
    # Without the periodic jobs: a first worker runs the cleanup at once, and nothing has to wait here.
    world.run_until_idle("--no-periodic", GCP_CLEANUP_DELAY_HOURS=0)
    world.check_uploaded(clips)
    return clips


@pytest.fixture(scope="module")
def killed(shared_world: World) -> dict[KillPoint, Clip]:
    """One file a point: each cleanup is killed at its point, then ordinary runs finish them all together."""
    clips = dict(zip(POINTS, upload_all(shared_world, len(POINTS)), strict=True))
    for point, clip in clips.items():
        run = shared_world.clean_up("--transfer-id", clip.transfer, kill=point)
        assert run.wait() == -signal.SIGKILL, f"never came to {point}:\n{run.tail()}"
        check_nothing_lost(shared_world, clip)

    def all_cleaned() -> bool:
        run = shared_world.clean_up()
        assert run.wait() == 0, run.tail()
        return {shared_world.row(clip)["transfer_status"] for clip in clips.values()} == {"cleanup_completed"}

    shared_world.until(lambda: not any(map(shared_world.is_leased, clips.values())), "the end of the dead ones' leases")
    shared_world.until(all_cleaned, "a cleanup that finishes what was begun")
    return clips


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_cleanup_survives_being_killed(world: World, killed: dict[KillPoint, Clip], point: KillPoint) -> None:
    clip = killed[point]
    check_object(world, clip)
    assert not (world.media / clip.name).exists()
    assert clip.transfer not in world.trash()
    closed = world.receipts(clip)
    assert closed.count("deleted") == 1
    assert set(closed) <= {"deleted", "put_back"}
    ends = [reason for reason in world.history(clip) if reason in {"cleaned", "receipt_finished"}]
    assert len(ends) == 1


def test_file_in_the_trash_without_a_receipt_comes_back_by_itself(world: World) -> None:
    """The sweep's work: where no cleanup runs again, the recording is not left in a hidden folder."""
    (clip,) = upload_all(world, 1)
    killed = world.clean_up("--transfer-id", clip.transfer, kill=KillPoint("Trash.take", "return"))
    assert killed.wait() == -signal.SIGKILL
    assert clip.transfer in world.trash()

    worker = world.worker()
    world.until((world.media / clip.name).exists, "the file in its place")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    world.check_local(clip)
    assert clip.transfer not in world.trash()


def test_hold_that_comes_after_a_crash_still_saves_the_file(world: World) -> None:
    """P5: the file lies in the trash without a receipt when the hold arrives."""
    (clip,) = upload_all(world, 1)
    killed = world.clean_up("--transfer-id", clip.transfer, kill=KillPoint("Trash.take", "return"))
    assert killed.wait() == -signal.SIGKILL
    world.call("hold", recording=clip.recording)

    worker = world.worker()
    world.until((world.media / clip.name).exists, "the file in its place")
    world.until(lambda: world.objects_of(clip)[0].get("temporaryHold"), "the hold on the object")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert world.clean_up("--force").wait() in {0, 3}
    world.check_local(clip)
    assert world.row(clip)["transfer_status"] == "completed"
