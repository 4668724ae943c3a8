"""A bucket that cannot be reached is told on the overview within a minute, by a real worker, and ends by itself."""

from __future__ import annotations

from tests.acceptance.installation import Installation


def open_alarms(installation: Installation) -> set[tuple[str, str]]:
    rows = installation.select("SELECT code, subject_id FROM cctv_alarm WHERE cleared_at IS NULL")
    return {(row["code"], row["subject_id"]) for row in rows}


def test_bucket_that_went_away_alarms_though_nothing_waits(
    installation: Installation,
) -> None:
    """The marker is missing at first, which is no alarm."""
    marker = installation.media / ".coldreel-media-root"
    text = marker.read_text()
    marker.unlink()
    installation.emulator.kill()
    installation.worker(COLDREEL_CLEANUP_SECONDS=1)

    installation.until(lambda: open_alarms(installation), "the alarm")
    assert open_alarms(installation) == {("line_down", "footage")}

    marker.write_text(text)
    installation.emulator.restart()
    installation.until(lambda: not open_alarms(installation), "the end of the alarm")


def test_missing_bucket_alarms_beside_a_missing_disk(installation: Installation) -> None:
    installation.add([1000])
    (installation.media / ".coldreel-media-root").unlink()
    installation.emulator.kill()
    installation.worker(COLDREEL_CLEANUP_SECONDS=1)
    installation.until(lambda: len({code for code, _ in open_alarms(installation)}) == 2, "both alarms")
    assert {code for code, _ in open_alarms(installation)} == {"line_down", "media_root_not_mounted"}

    (installation.media / ".coldreel-media-root").write_text("there again\n")
    installation.emulator.restart()
    installation.until(lambda: not open_alarms(installation), "the end of both")
