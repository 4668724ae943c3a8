"""A try that failed: the bytes survive, the row waits for the next one (F1, F2)."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from offload.errors import FileProblem, LineDown, Reason, StopAndTell, TryAgain
from offload.source import SourceIdentity, file_problem
from offload.states import State
from offload.trash import Trash
from tests.integration.cleanup.uploaded_site import UploadedSite

every_errno = pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.ESTALE],
    ids=lambda number: errno.errorcode[number],
)


class FailingTrash(Trash):
    """Fails with an OSError's FileProblem in one of its methods, before or after the real work."""

    def __init__(self, site: UploadedSite, method: str, number: int, *, after: bool) -> None:
        super().__init__(site.root)
        self._method, self._number, self._after = method, number, after

    def _fails(self, method: str, *, after: bool) -> None:
        if (method, after) == (self._method, self._after):
            raise file_problem(OSError(self._number, os.strerror(self._number)), method)

    def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
        self._fails("take", after=False)
        taken = super().take(relative_path, key, expected=expected)
        self._fails("take", after=True)
        return taken

    def unlink(self, key: str, *, expected: SourceIdentity) -> None:
        self._fails("unlink", after=False)
        super().unlink(key, expected=expected)
        self._fails("unlink", after=True)

    def find(self, key: str) -> SourceIdentity | None:
        self._fails("find", after=False)
        return super().find(key)


@every_errno
@pytest.mark.parametrize(("method", "after"), [("take", False), ("take", True), ("unlink", False), ("find", False)])
def test_disk_that_fails_at_any_step_loses_no_byte(site: UploadedSite, number: int, method: str, after: bool) -> None:
    footage = site.add()
    run = site.clean(trash=FailingTrash(site, method, number, after=after))
    assert run.only.outcome.value == "failed"
    assert run.only.reason is Reason.FILE_UNREADABLE
    assert footage.is_whole
    row = footage.row
    assert row.transfer_status == State.CLEANUP_PENDING
    assert row.cleanup_failures == 1
    assert row.next_attempt_at == site.clock.now() + timedelta(seconds=60)
    assert row.error_code == Reason.FILE_UNREADABLE
    assert [receipt.outcome for receipt in footage.receipts] in ([], ["put_back"])
    site.clock.advance(61)
    assert site.clean().report.cleaned == 1
    assert footage.row.error_code == ""


@every_errno
def test_unlink_whose_fsync_failed_is_finished_next_run(site: UploadedSite, number: int) -> None:
    footage = site.add()
    run = site.clean(trash=FailingTrash(site, "unlink", number, after=True))
    assert run.report.cleaned == 0
    assert footage.status == State.CLEANUP_PENDING
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]
    site.clock.advance(61)
    assert site.clean().reasons == ["receipt_finished"]
    assert footage.status == State.CLEANUP_COMPLETED
    assert [receipt.outcome for receipt in footage.receipts] == ["deleted"]


@pytest.mark.parametrize("skip", [0, 1])
def test_bucket_fault_of_its_own_postpones_the_file(site: UploadedSite, skip: int) -> None:
    """Also when the fault comes after the rename, where an old proof has to be renewed."""
    footage = site.add()
    site.store.fault("get", TryAgain("503", retry_after_seconds=900), times=3, skip=skip)
    run = site.clean(on_start=lambda count: site.clock.advance(61) if skip else None)
    assert run.only.outcome.value == "failed"
    assert footage.is_whole
    assert site.trash_files() == []
    assert footage.row.next_attempt_at == site.clock.now() + timedelta(seconds=900)


@pytest.mark.parametrize("error", [LineDown("reset"), StopAndTell("403")], ids=["line_down", "permission_denied"])
def test_bucket_that_refuses_all_ends_the_run_early(site: UploadedSite, error: Any) -> None:
    footage = site.many(3)
    site.store.fault("get", error, skip=3, times=10)
    told: list[Any] = []

    def a_minute_later(file: Any) -> None:
        told.append(file)
        site.clock.advance(61)

    run = site.clean(on_file=a_minute_later)
    assert [file.outcome.value for file in told] == ["cleaned", "failed"]
    assert run.report.stopped is error.code
    assert sum(each.is_whole for each in footage) == 2
    assert sum(each.row.cleanup_failures for each in footage) == 1
    assert site.alarms() == {(error.code.value, "cleanup")}


def test_postponed_file_waits_longer_then_asks_for_attention(site: UploadedSite, settings: Any) -> None:
    settings.GCP_CLEANUP_MAX_RETRIES = 3
    footage = site.add()
    waits, flags = [], []
    for _ in range(5):
        site.clean(trash=FailingTrash(site, "take", errno.EIO, after=False))
        row = footage.row
        waits.append((row.next_attempt_at - site.clock.now()).total_seconds())
        flags.append(row.needs_attention)
        site.clock.advance(waits[-1])
    assert waits == [60, 120, 240, 86400, 86400]
    assert flags == [False, False, False, True, True]
    assert site.alarms() == {("cleanup_failed", "failing files at Depot")}
    assert footage.is_whole
    site.clean()
    assert footage.row.needs_attention is False
    assert site.alarms() == set()


def test_file_in_backoff_is_tried_on_request(site: UploadedSite) -> None:
    footage = site.add(next_attempt_at=site.clock.now() + timedelta(hours=20))
    assert site.clean(force=True).files == []
    assert site.clean(transfer_id=footage.transfer_id).report.cleaned == 1


def test_one_bad_file_does_not_keep_the_others(site: UploadedSite) -> None:
    class OneBadFile(Trash):
        def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
            if key == str(bad.transfer_id):
                raise FileProblem("Input/output error", code=Reason.FILE_UNREADABLE)
            return super().take(relative_path, key, expected=expected)

    bad, *_ = site.many(5)
    run = site.clean(trash=OneBadFile(site.root))
    assert (run.report.cleaned, run.report.failed) == (4, 1)
    assert bad.is_whole


def test_file_swapped_between_check_and_rename_is_not_deleted(site: UploadedSite) -> None:
    """P7: what is renamed is compared again in the trash, where no other program renames anything."""

    class Swapping(Trash):
        def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
            new = footage.path.with_suffix(".new")
            new.write_bytes(b"x" * len(footage.content))
            new.rename(footage.path)
            return super().take(relative_path, key, expected=expected)

    footage = site.add()
    assert site.clean(trash=Swapping(site.root)).reasons == ["local_changed"]
    assert footage.path.read_bytes() == b"x" * len(footage.content)
    assert footage.status == State.COMPLETED


def test_file_written_to_in_the_trash_goes_back(site: UploadedSite) -> None:
    """By a recorder that opened it before and closes it after."""

    class Written(Trash):
        def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
            with footage.path.open("ab") as still_open:
                taken = super().take(relative_path, key, expected=expected)
                still_open.write(b"more")
            return taken

    footage = site.add()
    assert site.clean(trash=Written(site.root)).reasons == ["local_changed"]
    assert footage.path.read_bytes() == footage.content + b"more"
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_put_back_never_overwrites_what_lies_there_now(site: UploadedSite) -> None:
    class Occupied(Trash):
        def unlink(self, key: str, *, expected: SourceIdentity) -> None:
            footage.path.write_bytes(b"a new recording")
            raise FileProblem("Input/output error", code=Reason.FILE_UNREADABLE)

    footage = site.add()
    site.clean(trash=Occupied(site.root))
    assert footage.path.read_bytes() == b"a new recording"
    with site.trash.open(str(footage.transfer_id)) as source:
        assert source.read_at(0, 10_000) == footage.content
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]
    assert footage.status == State.CLEANUP_PENDING


class FailsOnce:
    """The database refuses one statement, as a disk that is full for a moment does."""

    def __init__(self, beginning: str) -> None:
        self._beginning: str | None = beginning

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self._beginning is not None and sql.startswith(self._beginning):
            self._beginning = None
            raise OperationalError("database or disk is full")
        return execute(sql, params, many, context)


@pytest.mark.parametrize(
    ("beginning", "receipts"),
    [('INSERT INTO "cctv_deletionreceipt"', []), ('UPDATE "cctv_deletionreceipt"', ["put_back"])],
    ids=["before_the_receipt", "after_the_receipt"],
)
def test_failing_database_after_the_rename_restores_the_file(
    live_site: UploadedSite, beginning: str, receipts: list[str]
) -> None:
    site = live_site
    footage = site.add()
    with connection.execute_wrapper(FailsOnce(beginning)), pytest.raises(OperationalError):
        site.clean()
    assert footage.is_whole
    assert site.trash_files() == []
    assert [receipt.outcome for receipt in footage.receipts] == receipts
    assert footage.row.lease_owner is None
    assert site.clean().report.cleaned == 1
