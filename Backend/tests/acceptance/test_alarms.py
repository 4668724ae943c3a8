"""A bucket that cannot be reached is told on the overview within a minute, by a real worker, and ends by itself."""

from __future__ import annotations

from tests.acceptance.world import World


def open_alarms(world: World) -> set[tuple[str, str]]:
    rows = world.select("SELECT code, subject FROM cctv_alarm WHERE cleared_at IS NULL")
    return {(row["code"], row["subject"]) for row in rows}


def test_bucket_that_went_away_is_told_with_nothing_to_upload_and_ends_with_its_return(world: World) -> None:
    """The marker is missing at first, which is no alarm."""
    marker = world.media / ".coldreel-media-root"
    text = marker.read_text()
    marker.unlink()
    world.emulator.kill()
    world.worker(COLDREEL_CLEANUP_SECONDS=1)

    world.until(lambda: open_alarms(world), "the alarm")
    assert open_alarms(world) == {("line_down", "footage")}

    marker.write_text(text)
    world.emulator.restart()
    world.until(lambda: not open_alarms(world), "the end of the alarm")


def test_bucket_that_went_away_beside_a_missing_disk_is_told_as_well(world: World) -> None:
    world.add([1000])
    (world.media / ".coldreel-media-root").unlink()
    world.emulator.kill()
    world.worker(COLDREEL_CLEANUP_SECONDS=1)
    world.until(lambda: len({code for code, _ in open_alarms(world)}) == 2, "both alarms")
    assert {code for code, _ in open_alarms(world)} == {"line_down", "media_root_not_mounted"}

    (world.media / ".coldreel-media-root").write_text("there again\n")
    world.emulator.restart()
    world.until(lambda: not open_alarms(world), "the end of both")
