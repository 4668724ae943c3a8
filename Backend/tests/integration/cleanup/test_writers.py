"""A program that still writes to a file whose turn it is: nothing that it wrote is lost (P1, P3)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from offload.errors import Reason
from offload.source import SourceIdentity
from offload.states import State
from offload.trash import Trash
from tests.conftest import MARKER
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite
from tests.unit.test_trash_writers import TMPFS, another_process, demand_tells_of_writers

APPENDING = "file = open(path, 'ab')"


@pytest.fixture(params=["tmpfs", "own"])
def site(
    request: pytest.FixtureRequest, db: None, media_root: Path, bucket: str, settings: Any
) -> Iterator[UploadedSite]:
    """On tmpfs, and on whatever file system the tests run on."""
    if request.param == "own":
        demand_tells_of_writers(media_root)
        yield UploadedSite(media_root, bucket)
        return
    with tempfile.TemporaryDirectory(dir=TMPFS) as folder:
        settings.MEDIA_ROOT = Path(folder)
        (Path(folder) / MARKER).write_text("test\n")
        yield UploadedSite(Path(folder), bucket)


class BeforeTheUnlink(Trash):
    """Something happens after the last questions to the database."""

    def __init__(self, site: UploadedSite, act: Callable[[Path], None]) -> None:
        super().__init__(site.root)
        self._act = act

    def unlink(self, key: str, *, expected: SourceIdentity) -> None:
        with self.open(key):
            self._act(self._root.path / ".coldreel-trash" / key)
        super().unlink(key, expected=expected)


def test_file_open_for_writing_is_not_even_moved(site: UploadedSite) -> None:
    footage = site.add()
    with another_process(APPENDING, footage.path):
        assert site.clean(dry_run=True).reasons == ["file_in_use"]
        assert site.clean().reasons == ["file_in_use"]
        assert footage.is_whole
    row = footage.row
    assert (row.transfer_status, row.error_code) == (State.CLEANUP_PENDING, Reason.FILE_IN_USE)
    assert row.next_attempt_at is not None
    assert footage.receipts == []
    site.clock.advance(61)
    assert site.clean().report.cleaned == 1


def test_file_opened_after_the_receipt_goes_back(site: UploadedSite) -> None:
    footage = site.add()
    with ExitStack() as writers:
        run = site.clean(
            trash=BeforeTheUnlink(site, lambda path: writers.enter_context(another_process(APPENDING, path)) and None)
        )
        assert run.reasons == ["file_in_use"]
        assert footage.is_whole
        assert site.trash_files() == []
    row = footage.row
    assert (row.transfer_status, row.error_code) == (State.CLEANUP_PENDING, Reason.FILE_IN_USE)
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]
    site.clock.advance(61)
    assert site.clean().report.cleaned == 1


def test_bytes_written_just_before_the_unlink_are_kept(site: UploadedSite) -> None:
    def write(path: Path) -> None:
        with path.open("r+b") as file:
            file.write(b"evidence")

    footage = site.add()
    assert site.clean(trash=BeforeTheUnlink(site, write)).reasons == ["local_changed"]
    assert footage.path.read_bytes() == b"evidence" + footage.content[8:]
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]
    assert (footage.status, footage.row.needs_attention) == (State.COMPLETED, True)


def opened_in_quarantine(site: UploadedSite, footage: Footage) -> Path:
    assert site.clean().reasons == ["quarantined"]
    site.clock.advance(24 * 3600)
    return site.folder / ".coldreel-trash" / str(footage.transfer_id)


def test_writer_is_looked_for_after_the_quarantine(site: UploadedSite, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    footage = site.add()
    with another_process(APPENDING, opened_in_quarantine(site, footage)):
        assert site.clean().reasons == ["file_in_use"]
        assert footage.is_whole
        assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_bytes_written_late_in_the_quarantine_are_kept(site: UploadedSite, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    footage = site.add()
    opened_in_quarantine(site, footage)

    def write(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    assert site.clean(trash=BeforeTheUnlink(site, write)).reasons == ["local_changed"]
    assert footage.path.read_bytes() == footage.content + b"more"
