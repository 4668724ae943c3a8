"""A disk above its high-water mark shortens the waiting period, oldest first, and nothing else (F6)."""

from __future__ import annotations

from typing import Any

import pytest

from apps.cctv.models import Site
from apps.cctv.services.cleanup.pressure import disk_usage
from apps.cctv.services.holds import hold_set
from tests.integration.cleanup.test_refusals import Break, Refusal, every_break, everything_in
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite, disk_of

SIZE = 3000


@pytest.fixture
def marked(site: UploadedSite) -> UploadedSite:
    """Of 10,000 bytes of disk, 8,000 may be used."""
    Site.objects.update(disk_high_water_percent=80)
    return site


def aged(site: UploadedSite, count: int) -> list[Footage]:
    """None is due; the first is the oldest."""
    return [site.add(f"{n}.mp4", hours_ago=20 - n) for n in range(count)]


def test_oldest_go_until_the_disk_is_below_its_mark(marked: UploadedSite) -> None:
    footage = aged(marked, 4)
    run = marked.clean(disk=disk_of(used_bytes=8000 + SIZE + 1, free_bytes=2000 - SIZE - 1))
    assert [file.transfer_id for file in run.files] == [each.transfer_id for each in footage[:2]]
    assert set(run.reasons) == {"disk_pressure"}
    assert [each.is_whole for each in footage] == [False, False, True, True]
    assert footage[0].receipts[0].detail == "disk_pressure"
    assert footage[0].receipts[0].forced is False


def test_disk_below_its_mark_shortens_nothing(marked: UploadedSite) -> None:
    aged(marked, 2)
    assert marked.clean(disk=disk_of(used_bytes=8000, free_bytes=2000)).files == []


def test_site_without_a_mark_shortens_nothing(site: UploadedSite) -> None:
    aged(site, 2)
    assert site.clean(disk=disk_of(used_bytes=10_000, free_bytes=0)).files == []


def test_held_footage_survives_a_full_disk_and_force(marked: UploadedSite) -> None:
    one, two = aged(marked, 2)
    hold_set(recording_id=one.recording.pk, user=marked.user(), reason="", now=marked.clock.now())
    two.set_recording(hold_wanted=True)
    for force in (False, True):
        marked.clean(force=force, disk=disk_of(used_bytes=10_000, free_bytes=0))
    assert one.is_whole
    assert two.is_whole


@every_break
def test_full_disk_relaxes_nothing_else(marked: UploadedSite, settings: Any, breaks: Break, refusal: Refusal) -> None:
    footage = marked.add(hours_ago=1)
    breaks(marked, footage, settings)
    before = everything_in(marked)
    run = marked.clean(disk=disk_of(used_bytes=10_000, free_bytes=0))
    assert everything_in(marked) == before
    assert run.report.cleaned == 0


def test_refused_file_gives_its_turn_to_the_next(marked: UploadedSite) -> None:
    one, two = aged(marked, 2)
    marked.tamper(one, temporary_hold=True)
    run = marked.clean(disk=disk_of(used_bytes=8001, free_bytes=1999))
    assert run.reasons == ["hold_unknown", "disk_pressure"]
    assert one.is_whole
    assert not two.path.exists()


def test_bytes_in_quarantine_count_as_gone(marked: UploadedSite, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    aged(marked, 3)
    for _ in range(2):
        run = marked.clean(disk=disk_of(used_bytes=8001, free_bytes=1999))
        assert run.reasons == ["quarantined"]
    assert len(marked.trash_files()) == 1


def test_dry_run_counts_what_it_would_have_freed(marked: UploadedSite) -> None:
    marked.add("due.mp4")
    aged(marked, 2)
    run = marked.clean(dry_run=True, disk=disk_of(used_bytes=8001, free_bytes=1999))
    assert run.reasons == ["cleaned"]


def test_one_transfer_asked_for_is_all_that_goes(marked: UploadedSite) -> None:
    one, two = marked.add("due.mp4"), marked.add("new.mp4", hours_ago=1)
    marked.clean(transfer_id=one.transfer_id, disk=disk_of(used_bytes=10_000, free_bytes=0))
    assert two.is_whole


def test_disk_is_read_where_the_media_root_is(site: UploadedSite) -> None:
    usage = disk_usage(site.folder)
    assert usage.used_bytes > 0
    assert usage.free_bytes > 0
