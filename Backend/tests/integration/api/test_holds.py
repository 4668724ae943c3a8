"""Holds: set, lifted, and told to the bucket (P5)."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from apps.cctv.leasing.leases import claim_cleanup
from apps.cctv.models import Alarm, DeletionReceipt, Recording
from apps.cctv.services import NotFound
from apps.cctv.services.holds import hold_lift, hold_set, holds_reconcile
from apps.cctv.wiring import service_settings
from apps.users.models import Role, User
from offload.errors import LeaseLost, LineDown, ObjectProblem, PreconditionFailed, Reason, StopAndTell
from offload.states import Move, State
from offload.store import META_INSTALLATION, META_TRANSFER, ObjectSpec
from offload.testing import MemoryStore
from tests.conftest import INSTALLATION_ID
from tests.integration.db import rows


@pytest.fixture
def held_by(admin_user, now):
    def hold(recording, reason="Case 7"):
        return hold_set(recording_id=recording.pk, user=admin_user, reason=reason, now=now)

    return hold


# --- Setting --------------------------------------------------------------------------------------
def test_a_hold_says_who_when_and_why(held_by, make_recording, admin_user, now):
    recording = make_recording()

    report = held_by(recording, "Case 2026-114")

    recording.refresh_from_db()
    assert (recording.hold_wanted, recording.hold_reason) == (True, "Case 2026-114")
    assert (recording.held_by, recording.held_at) == (admin_user, now)
    assert report.local_copy_remains


def test_a_second_hold_changes_nothing(held_by, make_recording, now):
    recording = make_recording()
    held_by(recording, "first")

    report = held_by(recording, "second")

    recording.refresh_from_db()
    assert recording.hold_reason == "first"
    assert report.message == "The recording was held already."


def test_a_hold_calls_a_scheduled_cleanup_off(held_by, make_recording):
    transfer = rows.transfer(State.CLEANUP_PENDING, of=make_recording())

    held_by(transfer.recording, "Case 7")

    transfer.refresh_from_db()
    assert (transfer.transfer_status, transfer.cleanup_scheduled_at) == (State.COMPLETED, None)
    event = transfer.events.get()
    assert (event.actor, event.reason, event.detail) == ("admin", Reason.HOLD_SET, "Case 7")


def test_hold_takes_the_lease_of_a_cleanup_that_runs(held_by, make_recording, now):
    transfer = rows.transfer(State.CLEANUP_PENDING, of=make_recording(), cleanup_scheduled_at=now)
    claim = claim_cleanup(owner_id=uuid.uuid4(), transfer_id=transfer.pk, now=now, lease_seconds=40)
    assert claim is not None

    held_by(transfer.recording)

    with pytest.raises(LeaseLost):
        type(transfer).objects.move(
            transfer.pk, Move.POSTPONE_CLEANUP, actor="system", now=now, reason=Reason.BUSY, lease=claim.lease
        )


def test_hold_after_the_receipt_names_the_cloud_copy(held_by, make_recording):
    transfer = rows.transfer(State.CLEANUP_PENDING, of=make_recording())
    rows.receipt(transfer, outcome=DeletionReceipt.Outcome.DELETING, closed_at=None)

    report = held_by(transfer.recording)

    transfer.refresh_from_db()
    assert not report.local_copy_remains
    assert "Only the copy in the bucket remains" in report.message
    assert transfer.transfer_status == State.CLEANUP_PENDING  # the open receipt is finished by its cleanup
    assert Recording.objects.get().hold_wanted


def test_hold_after_a_cleanup_holds_the_cloud_copy(held_by, make_recording):
    transfer = rows.transfer(State.CLEANUP_COMPLETED, of=make_recording())

    report = held_by(transfer.recording)

    assert not report.local_copy_remains
    transfer.refresh_from_db()
    assert transfer.transfer_status == State.CLEANUP_COMPLETED


@pytest.mark.parametrize("state", [State.PENDING, State.UPLOADING, State.FAILED])
def test_hold_before_the_upload_changes_no_transfer(held_by, make_recording, state):
    transfer = rows.transfer(state, of=make_recording())

    report = held_by(transfer.recording)

    assert "as soon as it is in the bucket" in report.message
    transfer.refresh_from_db()
    assert transfer.transfer_status == state


def test_missing_or_hidden_recording_cannot_be_held(make_recording, now, bucket):
    recording = make_recording()
    visitor = User.objects.create_user("visitor", role=Role.VISITOR)

    for recording_id, user in ((uuid.uuid4(), User(role=Role.ADMIN)), (recording.pk, visitor)):
        with pytest.raises(NotFound):
            hold_set(recording_id=recording_id, user=user, reason="x", now=now)


# --- Lifting --------------------------------------------------------------------------------------
def test_lifting_a_hold_starts_the_waiting_period_anew(held_by, make_recording, admin_user, now, settings):
    settings.GCP_CLEANUP_DELAY_HOURS = 24
    transfer = rows.transfer(State.CLEANUP_PENDING, of=make_recording(), cleanup_scheduled_at=now + timedelta(hours=1))
    held_by(transfer.recording)
    later = now + timedelta(days=90)

    report = hold_lift(recording_id=transfer.recording_id, user=admin_user, now=later, settings=service_settings())

    transfer.refresh_from_db()
    assert transfer.transfer_status == State.CLEANUP_PENDING
    assert transfer.cleanup_scheduled_at == later + timedelta(hours=24)
    assert transfer.events.last().reason == Reason.HOLD_LIFTED
    assert report.message == "The hold is lifted. The local file goes after 2027-02-19 12:00 UTC."
    recording = Recording.objects.get()
    assert (recording.hold_wanted, recording.hold_reason, recording.held_by, recording.held_at) == (
        False,
        "",
        None,
        None,
    )


def test_lifting_a_hold_with_cleanup_switched_off_schedules_nothing(held_by, make_recording, admin_user, now, settings):
    settings.GCP_STORAGE_CLEANUP_LOCAL = False
    transfer = rows.transfer(State.COMPLETED, of=make_recording())
    held_by(transfer.recording)

    hold_lift(recording_id=transfer.recording_id, user=admin_user, now=now, settings=service_settings())

    transfer.refresh_from_db()
    assert transfer.transfer_status == State.COMPLETED


def test_lifting_what_is_not_held_changes_nothing(make_recording, admin_user, now):
    transfer = rows.transfer(State.COMPLETED, of=make_recording())

    report = hold_lift(recording_id=transfer.recording_id, user=admin_user, now=now, settings=service_settings())

    transfer.refresh_from_db()
    assert (report.message, transfer.transfer_status) == ("The recording was not held.", State.COMPLETED)


# --- Over HTTP ------------------------------------------------------------------------------------
def test_a_hold_is_set_and_lifted_over_http(admin, make_recording):
    recording = make_recording()
    path = f"/recordings/{recording.pk}/hold/"

    held = admin.post(path, {"reason": " Case 7 "}).json()
    assert held["local_copy_remains"]
    assert (held["recording"]["held"], held["recording"]["hold_reason"], held["recording"]["held_by"]) == (
        True,
        "Case 7",
        "admin",
    )

    lifted = admin.delete(path).json()
    assert (lifted["message"], lifted["recording"]["held"]) == ("The hold is lifted.", False)


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": "\0"}])
def test_a_hold_without_a_reason_is_422(admin, make_recording, body):
    recording = make_recording()

    assert admin.post(f"/recordings/{recording.pk}/hold/", body).status_code == 422
    recording.refresh_from_db()
    assert not recording.hold_wanted


def test_holding_what_does_not_exist_is_404(admin):
    path = f"/recordings/{uuid.uuid4()}/hold/"

    assert admin.post(path, {"reason": "x"}).status_code == 404
    assert admin.delete(path).status_code == 404


# --- Telling the bucket ---------------------------------------------------------------------------
@pytest.fixture
def store(bucket) -> MemoryStore:
    return MemoryStore(buckets=["footage"])


@pytest.fixture
def uploaded(store, make_recording):
    """A transfer whose object is in the bucket, as this installation put it there."""

    def make(name="one.mp4", *, held_there=False, installation=INSTALLATION_ID, **fields):
        recording = make_recording(name, hold_confirmed=held_there, **fields)
        path = f"recordings/{recording.camera_id}/{recording.pk}/{recording.name}"
        metadata = {META_INSTALLATION: installation, META_TRANSFER: "x"}
        spec = ObjectSpec("footage", path, 4, "video/mp4", metadata, temporary_hold=held_there)
        info = store.put(spec, b"data")
        return rows.transfer(State.COMPLETED, of=recording, object_generation=info.generation)

    return make


def in_bucket(store: MemoryStore, transfer) -> bool:
    return store.get("footage", transfer.gcp_storage_path).temporary_hold


def confirmed(transfer) -> bool:
    return Recording.objects.get(pk=transfer.recording_id).hold_confirmed


def test_hold_reaches_the_object_and_is_lifted_again(store, uploaded, admin_user, now):
    transfer = uploaded(hold_wanted=True)

    assert holds_reconcile(store=store, now=now) == 1
    assert (in_bucket(store, transfer), confirmed(transfer)) == (True, True)

    hold_lift(recording_id=transfer.recording_id, user=admin_user, now=now, settings=service_settings())
    assert holds_reconcile(store=store, now=now) == 1
    assert (in_bucket(store, transfer), confirmed(transfer)) == (False, False)

    assert holds_reconcile(store=store, now=now) == 0


def test_hold_that_the_bucket_has_already_is_only_noted(store, uploaded, now):
    transfer = uploaded(held_there=True, hold_wanted=True)
    Recording.objects.update(hold_confirmed=False)

    assert holds_reconcile(store=store, now=now) == 1
    assert confirmed(transfer)
    assert not store.calls_of("set_hold")


def test_hold_lifted_meanwhile_is_lifted_by_the_next_round(store, uploaded, admin_user, now):
    transfer = uploaded(hold_wanted=True)
    store.fault(
        "set_hold",
        then=lambda: hold_lift(
            recording_id=transfer.recording_id, user=admin_user, now=now, settings=service_settings()
        ),
    )

    holds_reconcile(store=store, now=now)
    assert (in_bucket(store, transfer), confirmed(transfer)) == (True, True)

    holds_reconcile(store=store, now=now)
    assert (in_bucket(store, transfer), confirmed(transfer)) == (False, False)


@pytest.mark.parametrize("wanted", [True, False])
def test_another_installations_object_is_never_touched(store, uploaded, now, wanted):
    transfer = uploaded(held_there=not wanted, hold_wanted=wanted, installation="another")

    assert holds_reconcile(store=store, now=now) == 0
    assert in_bucket(store, transfer) is not wanted
    assert confirmed(transfer) is not wanted
    assert not store.calls_of("set_hold")
    assert Alarm.objects.get().code == Reason.OTHER_INSTALLATION


def test_another_generation_is_never_touched(store, uploaded, now):
    transfer = uploaded(hold_wanted=True)
    type(transfer).objects.update(object_generation=12)

    assert holds_reconcile(store=store, now=now) == 0
    assert not store.calls_of("set_hold")
    assert Alarm.objects.get().code == Reason.OBJECT_MISSING


def test_refusing_object_hinders_no_other_and_alarms_until_mended(store, uploaded, now):
    for name in ("one.mp4", "two.mp4", "three.mp4"):
        uploaded(name, hold_wanted=True)
    store.fault("set_hold", ObjectProblem("refused", code=Reason.HOLD_NOT_RELEASED))

    assert holds_reconcile(store=store, now=now) == 2
    assert Alarm.objects.filter(cleared_at=None).count() == 1

    assert holds_reconcile(store=store, now=now) == 1
    assert not Alarm.objects.filter(cleared_at=None).exists()


def test_object_changed_meanwhile_is_left_to_the_next_round(store, uploaded, now):
    transfer = uploaded(hold_wanted=True)
    store.fault("set_hold", PreconditionFailed("changed"))

    assert holds_reconcile(store=store, now=now) == 0
    assert not confirmed(transfer)
    assert not Alarm.objects.exists()


def test_unreachable_bucket_ends_the_round_without_an_alarm(store, uploaded, now):
    for name in ("one.mp4", "two.mp4"):
        uploaded(name, hold_wanted=True)
    store.fault("get", LineDown("no answer"))

    assert holds_reconcile(store=store, now=now) == 0
    assert len(store.calls_of("get")) == 1
    assert Alarm.objects.count() == 0


def test_a_bucket_that_refuses_raises_one_alarm(store, uploaded, now):
    for name in ("one.mp4", "two.mp4"):
        uploaded(name, hold_wanted=True)
    store.fault("get", StopAndTell("no right", code=Reason.PERMISSION_DENIED), times=2)

    assert holds_reconcile(store=store, now=now) == 0
    assert Alarm.objects.count() == 1


def test_a_round_has_a_limit(store, uploaded, now):
    for number in range(4):
        uploaded(f"{number}.mp4", hold_wanted=True)

    assert holds_reconcile(store=store, now=now, limit=3) == 3
    assert holds_reconcile(store=store, now=now, limit=3) == 1


@pytest.mark.parametrize("state", [State.PENDING, State.UPLOADING, State.FAILED])
def test_hold_on_a_recording_without_object_asks_no_bucket(store, make_recording, now, state):
    rows.transfer(state, of=make_recording(hold_wanted=True))

    assert holds_reconcile(store=store, now=now) == 0
    assert not store.calls
