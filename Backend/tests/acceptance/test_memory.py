"""F5: a worker's memory is bounded, whatever the number and the size of what it uploads."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.installation import MIB, TWENTIETH, Installation

MOST_BYTES = 150 * MIB


def test_twenty_uploads_at_once_stay_within_150_mib(tmp_path: Path) -> None:
    """With chunks of the default size, in an interpreter of its own: the server's pages are not counted in."""
    with Installation(tmp_path, settings=TWENTIETH) as installation:
        installation.emulator.set_rate(40)
        clips = installation.add([24 * MIB] * 20, batch_size=20)
        worker = installation.start_afresh("run_worker")
        most_at_once = peak_bytes = 0

        def uploaded() -> bool:
            nonlocal most_at_once, peak_bytes
            statuses = installation.statuses()
            most_at_once = max(most_at_once, statuses["uploading"])
            peak_bytes = max(peak_bytes, worker.peak_bytes())
            return statuses == {"cleanup_pending": 20}

        installation.until(uploaded, "twenty uploads")
        installation.check_uploaded(clips)
        print(f"peak {peak_bytes / MIB:.0f} MiB")  # noqa: T201 - shown where the test fails
        assert most_at_once == 20
        assert peak_bytes < MOST_BYTES
