"""What `doctor` says of files that other users of the machine can read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apps.cctv.doctor import Finding, Level
from apps.cctv.doctor.disk import private_findings

ANOTHER_USER = 12345


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    for name in ("coldreel.sqlite3", "coldreel.sqlite3-wal", "secret-key", "installation-id", "worker.log"):
        (folder / name).touch(mode=0o600)
    return folder


def look(home: Path, media_root: Path, database: Path | None = None) -> list[Finding]:
    return list(private_findings(home=home, media_root=media_root, database=database or home / "coldreel.sqlite3"))


def test_home_for_its_owner_alone_is_right(home, tmp_path):
    (found,) = look(home, tmp_path / "footage")

    assert found.level is Level.OK


def test_home_that_others_can_list_is_a_problem(home, tmp_path):
    home.chmod(0o755)

    (found,) = look(home, tmp_path / "footage")

    assert found.level is Level.PROBLEM
    assert f"chmod 700 {home}" in found.advice


@pytest.mark.parametrize("name", ["coldreel.sqlite3", "coldreel.sqlite3-wal", "secret-key", "worker.log"])
def test_file_readable_by_others_is_a_named_problem(home, tmp_path, name):
    home.chmod(0o711)
    (home / name).chmod(0o644)

    problems = [one for one in look(home, tmp_path / "footage") if one.level is Level.PROBLEM]

    assert len(problems) == 2
    assert str(home / name) in problems[1].detail


def test_a_database_elsewhere_is_looked_at_as_well(home, tmp_path):
    elsewhere = tmp_path / "tables.sqlite3"
    elsewhere.touch()
    elsewhere.chmod(0o640)

    (found,) = look(home, tmp_path / "footage", elsewhere)

    assert (found.level, str(elsewhere) in found.detail) == (Level.PROBLEM, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to another user")
def test_home_that_a_recorder_must_pass_is_a_warning(home):
    media = home / "media"
    media.mkdir()
    os.chown(media, ANOTHER_USER, ANOTHER_USER)
    home.chmod(0o711)

    found = look(home, media)

    assert [one.level for one in found] == [Level.WARNING, Level.OK]
