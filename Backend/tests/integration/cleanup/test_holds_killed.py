"""A sweep that dies between the bucket's answer and its note, and what a person does meanwhile (P5)."""

from __future__ import annotations

import pytest

from apps.cctv.services.holds import hold_lift, hold_set, holds_reconcile
from apps.cctv.wiring import service_settings
from offload.errors import LineDown, StopAndTell, TryAgain
from tests.integration.cleanup.hooks import Crash
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite


def hold(site: UploadedSite, footage: Footage) -> None:
    hold_set(recording_id=footage.recording.pk, user=site.user(), reason="case 7", now=site.clock.now())


def lift(site: UploadedSite, footage: Footage) -> None:
    hold_lift(recording_id=footage.recording.pk, user=site.user(), now=site.clock.now(), settings=service_settings())


def reconcile(site: UploadedSite) -> int:
    return holds_reconcile(store=site.store, now=site.clock.now())


def is_held_in_bucket(site: UploadedSite, footage: Footage) -> bool:
    info = site.info(footage)
    assert info is not None
    return info.temporary_hold


def killed_before_its_note(site: UploadedSite) -> None:
    """The bucket has done what it was asked for, and the process dies."""

    def dies() -> None:
        raise Crash

    site.store.fault("set_hold", then=dies)
    with pytest.raises(Crash):
        reconcile(site)


def test_hold_set_before_a_kill_is_released_when_lifted(site: UploadedSite) -> None:
    footage = site.add()
    hold(site, footage)
    killed_before_its_note(site)
    assert is_held_in_bucket(site, footage)
    lift(site, footage)
    reconcile(site)
    assert not is_held_in_bucket(site, footage)
    assert footage.recording.hold_confirmed is False
    site.clock.advance(24 * 3600)
    assert site.clean().report.cleaned == 1


def test_hold_released_before_a_kill_is_set_again(site: UploadedSite) -> None:
    footage = site.add()
    hold(site, footage)
    reconcile(site)
    lift(site, footage)
    killed_before_its_note(site)
    assert not is_held_in_bucket(site, footage)
    hold(site, footage)
    reconcile(site)
    assert is_held_in_bucket(site, footage)
    assert footage.recording.hold_confirmed is True


def test_cleanup_before_the_bucket_answers_waits_without_alarm(site: UploadedSite) -> None:
    footage = site.add()
    hold(site, footage)
    killed_before_its_note(site)
    lift(site, footage)
    site.clock.advance(24 * 3600)
    assert site.clean().reasons == ["hold_not_released"]
    assert site.alarms() == set()


def test_hold_lifted_before_the_upload_assumes_no_bucket_state(site: UploadedSite) -> None:
    footage = site.add(uploaded=False)
    hold(site, footage)
    lift(site, footage)
    assert footage.recording.hold_confirmed is False
    assert reconcile(site) == 0


def test_note_of_an_overtaken_sweep_confirms_no_hold(site: UploadedSite) -> None:
    """It asks the bucket; a person lifts the hold, another sweep releases it, a person sets it again; then it notes."""
    footage = site.add()
    hold(site, footage)

    def meanwhile() -> None:
        lift(site, footage)
        reconcile(site)
        assert not is_held_in_bucket(site, footage)
        site.clock.advance(1)
        hold(site, footage)

    site.store.fault("set_hold", then=meanwhile)
    reconcile(site)
    assert footage.recording.hold_confirmed is False
    reconcile(site)
    assert is_held_in_bucket(site, footage)
    assert footage.recording.hold_confirmed is True


@pytest.mark.parametrize("error", [TryAgain("503"), StopAndTell("403: the key of this object is disabled")])
def test_object_that_cannot_be_asked_hinders_no_other(site: UploadedSite, error: Exception) -> None:
    footage = site.many(12)
    for each in footage:
        hold(site, each)
    site.store.fault("get", error)
    assert reconcile(site) == 11
    assert sum(is_held_in_bucket(site, each) for each in footage) == 11


def test_bucket_that_refuses_holds_is_asked_seldom(site: UploadedSite) -> None:
    for each in site.many(12):
        hold(site, each)
    site.store.fault("get", StopAndTell("403"), times=100)
    assert reconcile(site) == 0
    assert len(site.store.calls_of("get")) == 3


def test_line_that_is_down_ends_the_round(site: UploadedSite) -> None:
    for each in site.many(3):
        hold(site, each)
    site.store.fault("get", LineDown("no route"), times=100)
    assert reconcile(site) == 0
    assert len(site.store.calls_of("get")) == 1
