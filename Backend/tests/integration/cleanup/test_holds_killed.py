"""A sweep that dies between the bucket's answer and its note, and what a person does meanwhile (P5)."""

from __future__ import annotations

import pytest

from apps.cctv.services.holds import hold_lift, hold_set, holds_reconcile
from offload.errors import LineDown, StopAndTell, TryAgain
from tests.integration.cleanup.hooks import Crash
from tests.integration.cleanup.yard import Footage, Yard


def hold(yard: Yard, footage: Footage) -> None:
    hold_set(recording_id=footage.recording.pk, user=yard.user(), reason="case 7", now=yard.clock.now())


def lift(yard: Yard, footage: Footage) -> None:
    hold_lift(recording_id=footage.recording.pk, user=yard.user(), now=yard.clock.now())


def reconcile(yard: Yard) -> int:
    return holds_reconcile(store=yard.store, now=yard.clock.now())


def is_held_in_bucket(yard: Yard, footage: Footage) -> bool:
    info = yard.info(footage)
    assert info is not None
    return info.temporary_hold


def killed_before_its_note(yard: Yard) -> None:
    """The bucket has done what it was asked for, and the process dies."""

    def dies() -> None:
        raise Crash

    yard.store.fault("set_hold", then=dies)
    with pytest.raises(Crash):
        reconcile(yard)


def test_hold_that_was_set_before_a_kill_is_released_when_it_is_lifted(yard: Yard) -> None:
    footage = yard.add()
    hold(yard, footage)
    killed_before_its_note(yard)
    assert is_held_in_bucket(yard, footage)
    lift(yard, footage)
    reconcile(yard)
    assert not is_held_in_bucket(yard, footage)
    assert footage.recording.hold_confirmed is False
    yard.clock.advance(24 * 3600)
    assert yard.clean().report.cleaned == 1


def test_hold_that_was_released_before_a_kill_is_set_again_when_it_is_wanted_again(yard: Yard) -> None:
    footage = yard.add()
    hold(yard, footage)
    reconcile(yard)
    lift(yard, footage)
    killed_before_its_note(yard)
    assert not is_held_in_bucket(yard, footage)
    hold(yard, footage)
    reconcile(yard)
    assert is_held_in_bucket(yard, footage)
    assert footage.recording.hold_confirmed is True


def test_cleanup_before_the_bucket_was_asked_again_waits_and_raises_no_alarm(yard: Yard) -> None:
    footage = yard.add()
    hold(yard, footage)
    killed_before_its_note(yard)
    lift(yard, footage)
    yard.clock.advance(24 * 3600)
    assert yard.clean().reasons == ["hold_not_released"]
    assert yard.alarms() == set()


def test_hold_lifted_before_the_upload_says_nothing_of_the_bucket(yard: Yard) -> None:
    footage = yard.add(uploaded=False)
    hold(yard, footage)
    lift(yard, footage)
    assert footage.recording.hold_confirmed is False
    assert reconcile(yard) == 0


def test_note_of_a_sweep_that_was_overtaken_confirms_no_hold(yard: Yard) -> None:
    """It asks the bucket; a person lifts the hold, another sweep releases it, a person sets it again; then it notes."""
    footage = yard.add()
    hold(yard, footage)

    def meanwhile() -> None:
        lift(yard, footage)
        reconcile(yard)
        assert not is_held_in_bucket(yard, footage)
        yard.clock.advance(1)
        hold(yard, footage)

    yard.store.fault("set_hold", then=meanwhile)
    reconcile(yard)
    assert footage.recording.hold_confirmed is False
    reconcile(yard)
    assert is_held_in_bucket(yard, footage)
    assert footage.recording.hold_confirmed is True


@pytest.mark.parametrize("error", [TryAgain("503"), StopAndTell("403: the key of this object is disabled")])
def test_object_that_cannot_be_asked_hinders_no_other(yard: Yard, error: Exception) -> None:
    footage = yard.many(12)
    for each in footage:
        hold(yard, each)
    yard.store.fault("get", error)
    assert reconcile(yard) == 11
    assert sum(is_held_in_bucket(yard, each) for each in footage) == 11


def test_bucket_that_refuses_every_hold_is_asked_a_few_times_only(yard: Yard) -> None:
    for each in yard.many(12):
        hold(yard, each)
    yard.store.fault("get", StopAndTell("403"), times=100)
    assert reconcile(yard) == 0
    assert len(yard.store.calls_of("get")) == 3


def test_line_that_is_down_ends_the_round(yard: Yard) -> None:
    for each in yard.many(3):
        hold(yard, each)
    yard.store.fault("get", LineDown("no route"), times=100)
    assert reconcile(yard) == 0
    assert len(yard.store.calls_of("get")) == 1
