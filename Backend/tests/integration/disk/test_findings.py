"""What `doctor` says of a disk that is nearly or quite full, on real small disks."""

from __future__ import annotations

from apps.cctv.doctor import Level
from apps.cctv.doctor.disk import home_findings, reserve_findings
from apps.cctv.services.disk_reserve import Reserve

MIB = 2**20


def test_full_disk_is_a_problem_naming_the_recorder(disk):
    (disk.path / "media").mkdir()
    disk.fill()

    (found,) = home_findings(home=disk.path, media_root=disk.path / "media")

    assert found.level is Level.PROBLEM
    assert "the recorder fills it too" in found.detail


def test_nearly_full_disk_is_a_warning_without_recordings_too(disk, tmp_path):
    (found,) = home_findings(home=disk.path, media_root=tmp_path)

    assert (found.level, "recorder" in found.detail) == (Level.WARNING, False)


def test_database_on_another_disk_gets_no_reserve_and_is_told(disk, tmp_path):
    Reserve(disk.path, MIB).refill()
    (tmp_path / "tables.sqlite3").touch()

    (found,) = reserve_findings(home=disk.path, size_bytes=MIB, database=tmp_path / "tables.sqlite3")

    assert found.level is Level.WARNING
    assert "another disk" in found.detail
