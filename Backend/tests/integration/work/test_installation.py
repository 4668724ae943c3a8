"""The installation's id: made once, kept outside the database, never guessed."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from apps.cctv.installation import FILE_NAME, InstallationUnknown, installation_id
from tests.integration.db import rows
from tests.threads import all_at_once

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings) -> Path:
    settings.COLDREEL_HOME = tmp_path / "home"
    settings.COLDREEL_INSTALLATION_ID = ""
    return tmp_path / "home"


def test_id_is_made_once(home: Path) -> None:
    first = installation_id()
    assert UUID(first)
    assert installation_id() == first == (home / FILE_NAME).read_text().strip()


def test_setting_comes_before_the_file(settings) -> None:
    made = installation_id()
    settings.COLDREEL_INSTALLATION_ID = "depot-7"
    assert installation_id() == "depot-7" != made


def test_missing_id_file_beside_transfers_makes_no_new_id(home: Path) -> None:
    rows.transfer()
    with pytest.raises(InstallationUnknown, match="COLDREEL_INSTALLATION_ID"):
        installation_id()
    assert not (home / FILE_NAME).exists()


@pytest.mark.parametrize("content", ["", "x" * 37, "a\x00b"])
def test_damaged_file_is_refused(home: Path, content: str) -> None:
    home.mkdir()
    (home / FILE_NAME).write_text(content)
    with pytest.raises(InstallationUnknown):
        installation_id()


@pytest.mark.django_db(transaction=True)
def test_processes_that_start_together_agree(home: Path) -> None:
    found = all_at_once(8, installation_id)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in home.iterdir()] == [FILE_NAME]
