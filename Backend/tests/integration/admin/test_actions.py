"""Retry, cancel, hold, lift hold, clean up now, transfer: asked for, permitted, carried out by the services."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.cctv.actions import ACTIONS, MOST_ROWS_WITH_BUCKET, Action, ActionRequest, carry_out
from apps.cctv.admin_pages.actions import ICONS
from apps.cctv.models import DeletionReceipt, GCPVideoTransfer, Recording
from apps.cctv.services import NotPermitted
from apps.users.models import Role, User
from gcs_emulator.process import EmulatorProcess
from offload.states import State
from tests.conftest import MakeRecording
from tests.form_client import FormClient as Client
from tests.integration.admin import pages
from tests.integration.db import rows

pytestmark = pytest.mark.django_db
Uploaded = Callable[..., GCPVideoTransfer]
YES = {"confirmed": "yes"}
NAMES = ["retry", "cancel", "hold", "lift_hold", "clean_up"]


@pytest.fixture
def client(admin_user: User) -> Client:
    return pages.signed_in(admin_user)


def act(client: Client, row: Any, action: str, **fields: str) -> Any:
    return client.post(pages.action_of(row, action), {**YES, **fields}, follow=True)


def tick(client: Client, some: list[Any], action: str, **fields: str) -> Any:
    """As the list sends it: the action, the ticked rows, and `confirmed` from the page that asks."""
    ticked = {"action": action, "_selected_action": [str(row.pk) for row in some], **fields}
    return client.post(pages.list_of(type(some[0])), ticked, follow=True)


def status(row: GCPVideoTransfer) -> str:
    return GCPVideoTransfer.objects.get(pk=row.pk).transfer_status


# --- Permission and asking ------------------------------------------------------------------------
@pytest.mark.parametrize("action", NAMES)
@pytest.mark.parametrize("state", State)
def test_who_only_views_may_do_nothing(action: str, state: State, bucket: str) -> None:
    row = rows.transfer(state)
    dev = pages.signed_in(rows.user(Role.DEV))
    before = GCPVideoTransfer.objects.filter(pk=row.pk).values().get()
    assert dev.get(pages.action_of(row, action)).status_code == 403
    assert dev.post(pages.action_of(row, action), {**YES, "reason": "x"}).status_code == 403
    tick(dev, [row], action, **YES, reason="x")
    assert GCPVideoTransfer.objects.filter(pk=row.pk).values().get() == before
    assert not Recording.objects.get(pk=row.recording_id).hold_wanted


@pytest.mark.parametrize("action", ACTIONS[GCPVideoTransfer], ids=lambda action: action.name)
def test_action_asks_its_permission_whichever_interface_calls_it(action: Action, bucket: str) -> None:
    row = rows.transfer(State.FAILED)
    with pytest.raises(NotPermitted):
        carry_out(action, [row], ActionRequest(rows.user(Role.DEV), timezone.now(), "x"))
    row.refresh_from_db()
    assert (row.transfer_status, row.recording.hold_wanted) == (State.FAILED, False)


def test_every_action_has_an_icon() -> None:
    assert set(ICONS) == {action for offered in ACTIONS.values() for action in offered}


def test_who_only_views_is_offered_nothing() -> None:
    row = rows.transfer(State.FAILED)
    dev = pages.signed_in(rows.user(Role.DEV))
    assert "do/retry" not in dev.get(pages.page_of(row)).content.decode()
    assert dev.get(pages.list_of(GCPVideoTransfer)).context["action_form"] is None


@pytest.mark.parametrize("action", NAMES)
def test_action_acts_on_no_get_and_no_unasked_post(action: str, client: Client, bucket: str) -> None:
    row = rows.transfer(State.FAILED)
    assert client.get(pages.action_of(row, action)).status_code == 200
    assert client.post(pages.action_of(row, action), {"reason": "x"}).status_code == 200
    assert tick(client, [row], action, reason="x").status_code == 200
    row.refresh_from_db()
    assert (row.transfer_status, row.recording.hold_wanted) == (State.FAILED, False)


def test_an_action_without_its_token_is_refused(admin_user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    row = rows.transfer(State.FAILED)
    assert strict.post(pages.action_of(row, "retry"), YES).status_code == 403
    assert status(row) == State.FAILED


def test_an_unknown_action_or_row_is_not_there(client: Client) -> None:
    row = rows.transfer(State.FAILED)
    assert client.post(pages.action_of(row, "delete"), YES).status_code == 404
    gone = GCPVideoTransfer(pk=rows.uuid.uuid4())
    assert client.post(pages.action_of(gone, "retry"), YES).status_code == 404


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        (State.PENDING, {"cancel", "hold"}),
        (State.UPLOADING, {"cancel", "hold"}),
        (State.COMPLETED, {"hold"}),
        (State.CLEANUP_PENDING, {"hold", "clean_up"}),
        (State.CLEANUP_COMPLETED, {"hold"}),
        (State.FAILED, {"retry", "hold"}),
    ],
)
def test_a_transfer_offers_what_its_state_allows(state: State, offered: set[str], client: Client) -> None:
    found = client.get(pages.page_of(rows.transfer(state))).context["row_actions"]
    assert {action.name for action, _ in found} == offered
    held = client.get(pages.page_of(rows.transfer(state, of=rows.recording("h.mp4", hold_wanted=True)))).context[
        "row_actions"
    ]
    assert {action.name for action, _ in held} == offered - {"hold", "clean_up"} | {"lift_hold"}


# --- Retry and cancel -----------------------------------------------------------------------------
def test_a_failed_transfer_is_retried(client: Client, bucket: str) -> None:
    row = rows.transfer(State.FAILED, gcp_bucket=bucket)
    assert "begins again" in pages.told(act(client, row, "retry"))[0]
    row.refresh_from_db()
    assert (row.transfer_status, row.retry_count, row.error_code) == (State.PENDING, 1, "")
    assert row.events.get().actor == "admin"


def test_ticked_transfers_are_retried_or_told_why_not(client: Client, bucket: str) -> None:
    failed = [rows.transfer(State.FAILED, gcp_bucket=bucket) for _ in range(2)]
    running = rows.transfer(State.UPLOADING)
    asking = tick(client, [*failed, running], "retry").content.decode()
    assert "2 recordings" in asking
    assert "1 more is in a state that does not allow it" in asking
    answer = tick(client, [*failed, running], "retry", **YES)
    assert [status(row) for row in [*failed, running]] == [State.PENDING, State.PENDING, State.UPLOADING]
    assert sum("it cannot retry" in text for text in pages.told(answer)) == 1


def test_a_retry_without_a_bucket_says_so(client: Client) -> None:
    row = rows.transfer(State.FAILED)
    assert "not configured" in pages.told(act(client, row, "retry"))[0]
    assert status(row) == State.FAILED


@pytest.mark.parametrize("state", [State.PENDING, State.UPLOADING])
def test_a_transfer_that_is_not_uploaded_is_cancelled(state: State, client: Client) -> None:
    row = rows.transfer(state)
    act(client, row, "cancel")
    row.refresh_from_db()
    assert (row.transfer_status, row.error_code, row.lease_owner) == (State.FAILED, "cancelled", None)


def test_an_uploaded_transfer_is_not_cancelled(client: Client) -> None:
    row = rows.transfer(State.COMPLETED)
    assert "it cannot cancel" in pages.told(act(client, row, "cancel"))[0]
    assert status(row) == State.COMPLETED


# --- Hold -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["transfer", "recording"])
def test_hold_is_set_with_its_reason_and_lifted(what: str, client: Client, admin_user: User) -> None:
    row = rows.transfer(State.CLEANUP_PENDING)
    target: Any = row if what == "transfer" else row.recording
    act(client, target, "hold", reason="Case 4711")
    held = Recording.objects.get(pk=row.recording_id)
    assert (held.hold_wanted, held.hold_reason, held.held_by) == (True, "Case 4711", admin_user)
    assert status(row) == State.COMPLETED
    act(client, target, "lift_hold")
    assert not Recording.objects.get(pk=row.recording_id).hold_wanted
    assert status(row) == State.CLEANUP_PENDING


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", "Give a reason"),
        ("   ", "Give a reason"),
        ("x" * 501, "at most 500 characters"),
        ("a\0b", "Null characters"),
    ],
)
def test_hold_without_a_proper_reason_is_asked_for_one(reason: str, told: str, client: Client) -> None:
    row = rows.transfer(State.COMPLETED)
    answer = act(client, row, "hold", reason=reason)
    assert told in answer.content.decode()
    assert not Recording.objects.get(pk=row.recording_id).hold_wanted


def test_ticked_recordings_are_held_together(client: Client) -> None:
    some = [rows.recording(f"{n}.mp4") for n in range(3)]
    tick(client, some, "hold", **YES, reason="Case 4711")
    assert Recording.objects.filter(hold_wanted=True, hold_reason="Case 4711").count() == 3


# --- Transfer -------------------------------------------------------------------------------------
def test_ticked_recordings_are_transferred(client: Client, make_recording: MakeRecording, bucket: str) -> None:
    there = make_recording("there.mp4")
    missing = make_recording("missing.mp4", write_file=False)
    answer = tick(client, [there, missing], "transfer", **YES)
    assert status(GCPVideoTransfer.objects.get(recording=there)) == State.PENDING
    assert not GCPVideoTransfer.objects.filter(recording=missing).exists()
    assert any("missing.mp4: The file is not on the disk" in text for text in pages.told(answer))


# --- Clean up now ---------------------------------------------------------------------------------
def test_proven_recording_is_cleaned_up_early_with_a_receipt(
    client: Client, uploaded: Uploaded, media_root: Path
) -> None:
    row = uploaded("clip.mp4")
    assert "1.0 KiB freed" in pages.told(act(client, row, "clean_up"))[0]
    assert not (media_root / "clip.mp4").exists()
    receipt = DeletionReceipt.objects.get(transfer=row)
    assert (receipt.outcome, receipt.actor, receipt.forced) == ("deleted", "admin", True)
    assert status(row) == State.CLEANUP_COMPLETED


def test_ticked_transfers_are_cleaned_up_by_own_proof(
    client: Client, uploaded: Uploaded, media_root: Path, emulator: EmulatorProcess
) -> None:
    good, lost, held = uploaded("good.mp4"), uploaded("lost.mp4"), uploaded("held.mp4", hold_wanted=True)
    emulator.delete_object(lost.gcp_bucket, lost.gcp_storage_path)
    answer = tick(client, [good, lost, held], "clean_up", **YES)
    there = {path.name for path in media_root.glob("*.mp4")}
    assert there == {"lost.mp4", "held.mp4"}
    assert {text.split(":")[0] for text in pages.told(answer)} == {"good.mp4", "lost.mp4", "held.mp4"}
    assert status(good) == State.CLEANUP_COMPLETED
    assert DeletionReceipt.objects.filter(outcome="deleted").count() == 1


def test_another_object_under_the_name_keeps_the_file(
    client: Client, uploaded: Uploaded, media_root: Path, emulator: EmulatorProcess
) -> None:
    row = uploaded("clip.mp4")
    emulator.put_object(row.gcp_bucket, row.gcp_storage_path, b"another")
    act(client, row, "clean_up")
    assert (media_root / "clip.mp4").exists()
    assert status(row) != State.CLEANUP_COMPLETED


@pytest.mark.parametrize("state", sorted(set(State) - {State.CLEANUP_PENDING}))
def test_nothing_is_cleaned_up_in_another_state(state: State, client: Client, uploaded: Uploaded) -> None:
    row = rows.transfer(state)
    answer = act(client, row, "clean_up")
    assert len(pages.told(answer)) == 1
    assert "freed" not in pages.told(answer)[0]
    assert status(row) == state


def test_a_cleanup_without_a_bucket_says_so(client: Client) -> None:
    row = rows.transfer(State.CLEANUP_PENDING)
    assert "not configured" in pages.told(act(client, row, "clean_up"))[0]


def test_media_root_that_is_not_mounted_is_left_alone(client: Client, uploaded: Uploaded, media_root: Path) -> None:
    row = uploaded("clip.mp4")
    (media_root / ".coldreel-media-root").unlink()
    assert "freed" not in pages.told(act(client, row, "clean_up"))[0]
    assert (media_root / "clip.mp4").exists()


def test_too_many_at_once_are_refused(client: Client, bucket: str) -> None:
    many = [rows.transfer(State.CLEANUP_PENDING) for _ in range(MOST_ROWS_WITH_BUCKET + 1)]
    assert f"at most {MOST_ROWS_WITH_BUCKET}" in pages.told(tick(client, many, "clean_up", **YES))[0]
    assert GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING).count() == len(many)
