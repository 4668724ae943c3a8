"""A hold that comes between any two steps, and a death at any of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from apps.cctv.services.cleanup import trash_recover
from apps.cctv.services.holds import HoldReport, hold_set
from offload.source import SourceIdentity
from offload.states import State
from tests.integration.cleanup.hooks import Crash, HookedClock, HookedRoot, HookedStore, HookedTrash, Steps
from tests.integration.cleanup.uploaded_site import Footage, Run, UploadedSite

MOST_STEPS = 200
force_or_not = pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])


@dataclass
class Case:
    footage: Footage
    steps: Steps


def clean_with(site: UploadedSite, steps: Steps, **options: Any) -> Run:
    hooked: dict[str, Any] = {
        "store": HookedStore(site.store, steps),
        "root": HookedRoot(site.root, steps),
        "trash": HookedTrash(site.root, steps),
        "clock": HookedClock(site.clock, steps),
    }
    return site.clean(**{**hooked, **options})


def every_step(
    site: UploadedSite, act: Callable[[Footage], None], run: Callable[[Case], None], **columns: Any
) -> list[str]:
    """One recording a step: the n-th has `act` called at the n-th step of its cleanup. The steps' names."""
    names = []
    for at in range(1, MOST_STEPS):
        footage = site.add(f"{at:03}.mp4", **columns)
        steps = Steps(at, lambda footage=footage: act(footage))
        run(Case(footage, steps))
        if steps.acted_at is None:
            return names
        names.append(steps.acted_at)
    raise AssertionError("the cleanup has more steps than that")


def hold(site: UploadedSite, footage: Footage) -> HoldReport:
    return hold_set(recording_id=footage.recording.pk, user=site.user(), reason="case 7", now=site.clock.now())


@force_or_not
def test_hold_between_any_two_steps_saves_or_is_late(live_site: UploadedSite, force: bool) -> None:
    site = live_site
    reports: dict[Any, HoldReport] = {}

    def act(footage: Footage) -> None:
        reports[footage.transfer_id] = hold(site, footage)

    def run(case: Case) -> None:
        footage, steps = case.footage, case.steps
        clean_with(site, steps, force=force, transfer_id=footage.transfer_id)
        if steps.acted_at is None:
            assert not footage.path.exists()
            return
        saved = footage.is_whole
        told = reports[footage.transfer_id].local_copy_remains
        outcomes = [receipt.outcome for receipt in footage.receipts]
        assert site.trash_files() == []
        if saved:
            assert footage.status == State.COMPLETED
            assert "deleted" not in outcomes
        else:
            assert told is False  # whoever set the hold knows
            assert outcomes == ["deleted"]
            assert footage.status == State.CLEANUP_COMPLETED
        fates.append((steps.acted_at, saved))

    fates: list[tuple[str, bool]] = []
    names = every_step(site, act, run, hours_ago=1 if force else 25)
    assert len(names) > 20
    lost = [name for name, saved in fates if not saved]
    assert [saved for _, saved in fates] == [True] * (len(fates) - len(lost)) + [False] * len(lost)
    # Between the last look and the unlink only the proof's age is read off the clock.
    assert {name.partition(".")[0] for name in lost[: lost.index("trash.unlink")]} <= {"clock"}


def finish(site: UploadedSite, footage: Footage) -> None:
    """What follows a death: sometimes the sweep, then the next run."""
    site.leases_run_out()
    site.clock.advance(120)
    site.clean(transfer_id=footage.transfer_id)


def crash(_: Footage) -> None:
    raise Crash


def bytes_remain(site: UploadedSite, footage: Footage) -> bool:
    if footage.is_whole:
        return True
    if site.trash.find(str(footage.transfer_id)) is None:
        return False
    with site.trash.open(str(footage.transfer_id)) as source:
        return source.read_at(0, 10_000) == footage.content


@pytest.mark.parametrize("swept", [False, True], ids=["next_run", "sweep_then_next_run"])
def test_death_at_any_step_is_finished_next_run(live_site: UploadedSite, swept: bool) -> None:
    site = live_site

    def run(case: Case) -> None:
        footage, steps = case.footage, case.steps
        try:
            clean_with(site, steps, transfer_id=footage.transfer_id)
        except Crash:
            assert bytes_remain(site, footage) or steps.acted_at == "trash.unlinked" or "trash.unlinked" in steps.names
        if swept:
            site.leases_run_out()
            trash_recover(site.root, site.clock.now())
        finish(site, footage)
        assert footage.status == State.CLEANUP_COMPLETED
        assert not footage.path.exists()
        assert site.trash_files() == []
        outcomes = [receipt.outcome for receipt in footage.receipts]
        assert outcomes == ["deleted"]
        assert all(receipt.closed_at is not None for receipt in footage.receipts)

    assert len(every_step(site, crash, run)) > 20


def test_death_then_a_hold_keeps_what_remains(live_site: UploadedSite) -> None:
    site = live_site

    def run(case: Case) -> None:
        footage, steps = case.footage, case.steps
        with contextlib.suppress(Crash):
            clean_with(site, steps, transfer_id=footage.transfer_id, clock=site.clock)
        remained = bytes_remain(site, footage)
        hold(site, footage)
        site.leases_run_out()
        trash_recover(site.root, site.clock.now())
        finish(site, footage)
        assert footage.is_whole == remained
        assert site.trash_files() == []
        assert footage.status == (State.COMPLETED if remained else State.CLEANUP_COMPLETED)
        assert not [receipt for receipt in footage.receipts if receipt.closed_at is None]

    every_step(site, crash, run)


def test_death_then_a_lost_object_keeps_the_file(live_site: UploadedSite) -> None:
    site = live_site

    def run(case: Case) -> None:
        footage, steps = case.footage, case.steps
        with contextlib.suppress(Crash):
            clean_with(site, steps, transfer_id=footage.transfer_id, clock=site.clock)
        remained = bytes_remain(site, footage)
        if footage.status == State.CLEANUP_COMPLETED:
            return
        site.store.remove(site.bucket, footage.row.gcp_storage_path)
        site.leases_run_out()
        site.clock.advance(120)
        site.clean(transfer_id=footage.transfer_id, accept_missing=True)
        assert footage.is_whole == remained
        row = footage.row
        if remained:
            assert (row.transfer_status, row.error_code) == (State.FAILED, "object_missing")
            assert footage.recording.storage_type == "local"
        else:
            assert (row.transfer_status, row.error_code) == (State.CLEANUP_COMPLETED, "object_lost")
            assert ("object_lost", f"transfer {row.pk} of Gate") in site.alarms()

    every_step(site, crash, run)


def test_death_while_putting_back_a_refused_file_is_finished(live_site: UploadedSite) -> None:
    """The hold comes after the receipt, and the process dies at any step of putting the file back."""
    site = live_site

    def run(case: Case) -> None:
        footage, steps = case.footage, case.steps

        class HoldsAfterTheReceipt(HookedTrash):
            def find(self, key: str) -> Any:
                if footage.receipts and not footage.recording.hold_wanted:
                    hold(site, footage)
                return super().find(key)

        with contextlib.suppress(Crash):
            trash = HoldsAfterTheReceipt(site.root, steps)
            clean_with(site, steps, transfer_id=footage.transfer_id, clock=site.clock, trash=trash)
        hold(site, footage)
        assert bytes_remain(site, footage)
        site.leases_run_out()
        trash_recover(site.root, site.clock.now())
        finish(site, footage)
        assert footage.is_whole
        assert footage.status == State.COMPLETED
        assert {receipt.outcome for receipt in footage.receipts} <= {"put_back"}

    every_step(site, crash, run)


def test_file_under_both_names_becomes_one_file_again(live_site: UploadedSite) -> None:
    site = live_site
    footage = site.add()
    steps = Steps(0, lambda: None)

    class DiesAtTheUnlink(HookedTrash):
        def unlink(self, key: str, *, expected: SourceIdentity) -> None:
            raise Crash

    with pytest.raises(Crash):
        site.clean(trash=DiesAtTheUnlink(site.root, steps))
    os.link(site.folder / ".coldreel-trash" / str(footage.transfer_id), footage.path)
    hold(site, footage)
    finish(site, footage)
    assert footage.is_whole
    assert site.trash_files() == []
    assert footage.path.stat().st_nlink == 1


def test_receipt_of_a_put_back_survives_a_remount(live_site: UploadedSite) -> None:
    """Network shares and FUSE number devices and files anew: the file at the path is no new one for that."""
    site = live_site
    footage = site.add()

    class DiesAfterPuttingBack(HookedTrash):
        def unlink(self, key: str, *, expected: SourceIdentity) -> None:
            self.put_back(key, footage.row.original_local_path)
            raise Crash

    with pytest.raises(Crash):
        site.clean(trash=DiesAfterPuttingBack(site.root, Steps(0, lambda: None)))
    copy, times = footage.path.with_suffix(".copy"), footage.path.stat()
    copy.write_bytes(footage.content)
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    copy.rename(footage.path)  # another inode, as after a remount
    hold(site, footage)
    finish(site, footage)
    assert footage.is_whole
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back"]


def test_put_back_that_died_behind_its_placeholder_is_finished(live_site: UploadedSite) -> None:
    """A disk without hard links and without a rename that replaces nothing."""
    site = live_site
    footage = site.add()

    class DiesBehindItsPlaceholder(HookedTrash):
        def unlink(self, key: str, *, expected: SourceIdentity) -> None:
            (site.folder / ".coldreel-trash" / f"{key}.back").write_text(footage.row.original_local_path)
            footage.path.touch()
            raise Crash

    with pytest.raises(Crash):
        site.clean(trash=DiesBehindItsPlaceholder(site.root, Steps(0, lambda: None)))
    finish(site, footage)
    assert footage.path.stat().st_size == 0  # it may be a recorder's, for a minute
    assert site.trash.find(str(footage.transfer_id)) is not None
    earlier = footage.path.stat().st_mtime - 61
    os.utime(footage.path, (earlier, earlier))
    footage.set(next_attempt_at=None)
    finish(site, footage)
    assert not footage.path.exists()
    assert site.trash_files() == []
    assert [receipt.outcome for receipt in footage.receipts] == ["put_back", "deleted"]
