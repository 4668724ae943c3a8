"""A run that stood still past its lease while another worked: when it goes on, no receipt is false (P5, P6)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from apps.cctv.leasing.leases import claim_cleanup
from apps.cctv.services.cleanup import trash_recover
from apps.cctv.services.holds import hold_set
from offload.source import SourceIdentity
from offload.states import State
from offload.trash import Trash
from tests.integration.cleanup.hooks import Steps
from tests.integration.cleanup.test_between_steps import MOST_STEPS, clean_with
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite

Other = Callable[[UploadedSite, Footage, Any], None]


def another_run(site: UploadedSite, footage: Footage, settings: Any) -> None:
    site.clean(transfer_id=footage.transfer_id)


def another_run_that_quarantines(site: UploadedSite, footage: Footage, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    site.clean(transfer_id=footage.transfer_id)


def hold_and_another_run(site: UploadedSite, footage: Footage, settings: Any) -> None:
    hold(site, footage)
    site.clean(transfer_id=footage.transfer_id)


def sweep_alone(site: UploadedSite, footage: Footage, settings: Any) -> None:
    trash_recover(site.root, site.clock.now())


def without_another_process(site: UploadedSite, footage: Footage, settings: Any) -> None:
    pass


def hold(site: UploadedSite, footage: Footage) -> bool:
    report = hold_set(recording_id=footage.recording.pk, user=site.user(), reason="case 7", now=site.clock.now())
    return report.local_copy_remains


def in_trash(site: UploadedSite, footage: Footage) -> bool:
    return str(footage.transfer_id) in site.trash_files()


@pytest.mark.parametrize(
    "other", [another_run, another_run_that_quarantines, hold_and_another_run, sweep_alone, without_another_process]
)
def test_run_without_its_lease_leaves_no_false_receipt(live_site: UploadedSite, settings: Any, other: Other) -> None:
    """It stands still at every one of its steps in turn, until its lease has run out."""
    site = live_site
    for at in range(1, MOST_STEPS):
        settings.GCP_CLEANUP_QUARANTINE_HOURS = 0
        footage = site.add(f"{at:03}.mp4")

        def freeze(footage: Footage = footage) -> None:
            site.leases_run_out()
            site.clock.advance(61)
            other(site, footage, settings)

        steps = Steps(at, freeze)
        clean_with(site, steps, transfer_id=footage.transfer_id)
        if steps.acted_at is None:
            assert at > 15
            return
        open_receipts = [receipt for receipt in footage.receipts if receipt.closed_at is None]
        gone = not footage.is_whole and not in_trash(site, footage)
        where = f"stood still at {steps.acted_at}, step {at}"
        assert not (footage.path.exists() and open_receipts), where
        # Past its last look it unlinks, as docs/design/cleanup.md says under "What is left".
        assert not gone or footage.status == State.CLEANUP_COMPLETED or steps.acted_at.startswith("trash.unlink"), where
        assert hold(site, footage) is (footage.status != State.CLEANUP_COMPLETED and not open_receipts), where
        site.leases_run_out()
        trash_recover(site.root, site.clock.now())
        site.clean(transfer_id=footage.transfer_id)
        assert [receipt for receipt in footage.receipts if receipt.closed_at is None] == [], where
        assert footage.is_whole is not gone, where
        assert not in_trash(site, footage), where


def test_hold_tells_of_the_file_despite_an_open_receipt(site: UploadedSite, settings: Any) -> None:
    """As an earlier version left it: the row not waiting for cleanup any more, the file at its path, the receipt `deleting`."""
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    footage = site.add()
    site.clean()
    site.trash.put_back(str(footage.transfer_id), footage.row.original_local_path)
    footage.set(transfer_status=State.COMPLETED, cleanup_scheduled_at=None)
    assert hold(site, footage) is True
    site.clean()
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_receipt_of_a_vanished_file_is_not_put_back(site: UploadedSite, settings: Any) -> None:
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    footage = site.add()
    site.clean()
    site.trash.unlink(str(footage.transfer_id), expected=site.trash.find(str(footage.transfer_id)))
    footage.set(transfer_status=State.COMPLETED, cleanup_scheduled_at=None)
    site.clean()
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]


def test_file_put_back_by_another_has_its_receipt_closed(site: UploadedSite, settings: Any) -> None:
    """Two runs put it back; the second finds it in its place."""

    class PutBackByAnother(Trash):
        def find(self, key: str) -> Any:
            looks.append(key)
            if len(looks) == 2:  # the first is the run's own question where the file is
                super().put_back(key, footage.row.original_local_path)
            return super().find(key)

    looks: list[str] = []
    footage = site.add()
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    site.clean()
    hold(site, footage)
    site.clean(trash=PutBackByAnother(site.root))
    assert footage.is_whole
    assert footage.status == State.COMPLETED
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_file_vanished_from_the_trash_stays_due(site: UploadedSite, settings: Any) -> None:
    """Neither in the trash nor at its path: the receipt is no `put_back`, and the next run closes it."""

    class Vanishes(Trash):
        def find(self, key: str) -> Any:
            looks.append(key)
            if len(looks) == 2:
                (site.folder / ".coldreel-trash" / key).unlink()
            return super().find(key)

    looks: list[str] = []
    footage = site.add()
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    site.clean()
    hold(site, footage)
    assert site.clean(trash=Vanishes(site.root)).report.failed == 1
    assert footage.status == State.CLEANUP_PENDING
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]
    site.clean(transfer_id=footage.transfer_id)
    assert footage.status == State.CLEANUP_COMPLETED
    assert [receipt.outcome for receipt in footage.receipts] == ["deleted"]


def test_lease_lost_during_a_put_back_closes_no_receipt(site: UploadedSite, settings: Any) -> None:
    """The receipt belongs to the run that has the lease now, which finds the file in its place and closes it."""

    class LosesTheLease(Trash):
        def put_back(self, key: str, relative_path: str) -> None:
            super().put_back(key, relative_path)
            site.leases_run_out()
            claim_cleanup(owner_id=uuid4(), transfer_id=footage.transfer_id, now=site.clock.now(), lease_seconds=40)

    footage = site.add()
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    site.clean()
    hold(site, footage)
    site.clean(trash=LosesTheLease(site.root))
    assert footage.is_whole
    assert footage.status == State.CLEANUP_PENDING
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]
    site.leases_run_out()
    site.clean()
    assert footage.status == State.COMPLETED
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_lease_lost_finishing_a_put_back_closes_no_receipt(site: UploadedSite, settings: Any) -> None:
    """An interrupted put-back left the file under both names; the run that finishes it loses its lease there."""

    class LosesTheLease(Trash):
        def put_back(self, key: str, relative_path: str) -> None:
            super().put_back(key, relative_path)
            site.leases_run_out()
            claim_cleanup(owner_id=uuid4(), transfer_id=footage.transfer_id, now=site.clock.now(), lease_seconds=40)

    footage = site.add()
    settings.GCP_CLEANUP_QUARANTINE_HOURS = 24
    site.clean()
    os.link(site.folder / ".coldreel-trash" / str(footage.transfer_id), footage.path)
    assert site.clean(trash=LosesTheLease(site.root)).report.cleaned == 0
    assert footage.is_whole
    assert [receipt.outcome for receipt in footage.receipts] == ["deleting"]


def test_file_of_an_expired_run_is_back_at_once(site: UploadedSite) -> None:
    """Without a worker that sweeps, the next command may be an hour away."""

    class Slow(Trash):
        def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
            taken = super().take(relative_path, key, expected=expected)
            site.leases_run_out()
            return taken

    footage = site.add()
    assert site.clean(trash=Slow(site.root)).report.cleaned == 0
    assert footage.is_whole
    assert site.trash_files() == []
    assert footage.row.lease_owner is None


def test_file_put_back_by_another_is_tried_without_receipt(
    site: UploadedSite,
) -> None:
    class PutBackByAnother(Trash):
        def find(self, key: str) -> Any:
            if footage.receipts and not done:
                done.append(key)
                super().put_back(key, footage.row.original_local_path)
            return super().find(key)

    done: list[str] = []
    footage = site.add()
    assert site.clean(trash=PutBackByAnother(site.root)).report.failed == 1
    assert footage.is_whole
    assert footage.status == State.CLEANUP_PENDING
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]
    assert hold(site, footage) is True
