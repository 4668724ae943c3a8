"""The transfer routes: start, list, show, retry, cancel."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.cctv.models import Camera, GCPVideoTransfer, Recording
from apps.users.models import User
from offload.states import State
from tests.integration.db import rows

LIST = "/recordings/gcp-transfers/"
START = "/recordings/transfer-to-gcp/"


# --- Starting -------------------------------------------------------------------------------------
def test_starting_tells_what_was_started_and_what_not(admin, make_recording, bucket):
    good = make_recording("good.mp4")
    gone = make_recording("gone.mp4", write_file=False)
    rows.transfer(State.UPLOADING, of=make_recording("busy.mp4"))

    answer = admin.post(START)

    assert answer.status_code == 200
    body = answer.json()
    transfer = GCPVideoTransfer.objects.get(recording=good)
    assert body == {
        "message": "1 of 3 transfers started, 1 transferred already, 1 could not be started.",
        "batch_id": str(transfer.batch_id),
        "total_recordings": 3,
        "initiated_transfers": 1,
        "already_transferred": 1,
        "failed_initiations": 1,
        "transfer_ids": [str(transfer.pk)],
        "failures": [{"recording_id": str(gone.pk), "reason": "file_missing", "detail": body["failures"][0]["detail"]}],
    }


@pytest.mark.parametrize("body", [None, {}, {"recording_ids": None}, b"null", {"batch_size": 20}])
def test_every_field_of_a_request_is_optional(admin, make_recording, bucket, body):
    make_recording()

    answer = admin.post(START, body)

    assert answer.status_code == 200
    assert answer.json()["initiated_transfers"] == 1


def test_an_empty_list_asks_for_nothing(admin, make_recording, bucket):
    make_recording()

    assert admin.post(START, {"recording_ids": []}).json()["total_recordings"] == 0
    assert not GCPVideoTransfer.objects.exists()


@pytest.mark.parametrize("body", [{}, {"recording_ids": []}])
def test_finished_transfers_are_told_without_zeros(admin, make_recording, bucket, body):
    rows.transfer(State.CLEANUP_PENDING, of=make_recording(storage_type="gcp"))

    message = admin.post(START, body).json()["message"]

    assert message == "Nothing to start: no recording that was asked for is local and ready."


def test_the_batch_size_is_stored(admin, make_recording, bucket):
    make_recording()

    admin.post(START, {"batch_size": 20})

    assert GCPVideoTransfer.objects.get().batch.batch_size == 20


@pytest.mark.parametrize(
    "body",
    [
        {"batch_size": 0},
        {"batch_size": 21},
        {"batch_size": "5"},
        {"batch_size": True},
        {"batch_size": 1.5},
        {"batch_size": None},
        {"recording_ids": "all"},
        {"recording_ids": ["not-a-uuid"]},
        {"recording_ids": [1]},
        {"recording_ids": [None]},
        {"recording_ids": ["../../etc/passwd"]},
        {"recording_ids": {}},
        {"recording_id": []},
        {"recording_ids": ["\ud800"]},
        [],
        "x",
        1,
        b"{",
        b"{'batch_size': 1}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"batch_size": ' + b"9" * 5000 + b"}",
        b'{"batch_size": 1e999}',
        b'{"batch_size": NaN}',
    ],
)
def test_a_malformed_request_is_422_and_starts_nothing(admin, make_recording, bucket, body):
    make_recording()

    answer = admin.post(START, body)

    assert answer.status_code == 422
    assert all(set(field) == {"type", "loc", "msg"} for field in answer.json()["errors"])
    assert not GCPVideoTransfer.objects.exists()


def test_many_malformed_ids_are_answered_with_a_hundred_fields(admin, bucket):
    answer = admin.post(START, {"recording_ids": ["x"] * 5000})

    assert len(answer.json()["errors"]) == 100


def test_20_000_ids_are_taken(admin, bucket):
    answer = admin.post(START, {"recording_ids": [str(uuid.UUID(int=number)) for number in range(20_000)]})

    assert answer.status_code == 200
    assert answer.json()["total_recordings"] == 20_000


@pytest.mark.parametrize("count", [20_001, 25_000])
def test_more_than_20_000_ids_are_refused(admin, bucket, count):
    answer = admin.post(START, {"recording_ids": [str(uuid.UUID(int=0))] * count})

    assert answer.status_code == 422
    assert "20000" in answer.text


def test_body_of_very_many_values_is_refused_early(anonymous):
    """At a route that needs no sign-in."""
    answer = anonymous.post("/token/", b"[" + b"{}," * 300_000 + b"{}]")

    assert answer.status_code == 422
    assert "more values" in answer.text


def test_a_body_above_1_mib_is_refused(admin, bucket):
    answer = admin.post(START, b" " * (1024 * 1024 + 1))

    assert answer.status_code == 413
    assert answer.json() == {"detail": "The body is too large."}


def test_without_a_bucket_starting_is_400(admin, make_recording, settings):
    make_recording()
    settings.GCP_STORAGE_USE_GCS = False

    answer = admin.post(START)

    assert answer.status_code == 400
    assert answer.json() == {"detail": "GCP storage is not configured"}


# --- The list -------------------------------------------------------------------------------------
@pytest.fixture
def one_of_each(make_recording, bucket):
    return {state: rows.transfer(state, of=make_recording(f"{state}.mp4")) for state in State}


def test_row_of_the_list_has_every_contract_field(admin, admin_user, make_recording, now):
    recording = make_recording("gate.mp4")
    transfer = rows.transfer(
        State.UPLOADING,
        of=recording,
        file_size_bytes=131_596_288,
        bytes_uploaded=67_108_864,
        initiated_by=admin_user,
        upload_started_at=now,
        gcp_public_url="https://storage.googleapis.com/footage/x",
    )

    (row,) = admin.get(LIST).json()["transfers"]

    assert row["created_at"].endswith("Z")
    assert {key: row[key] for key in row if key != "created_at"} == {
        "transfer_id": str(transfer.pk),
        "recording_id": str(recording.pk),
        "recording_name": "gate.mp4",
        "camera_id": str(recording.camera_id),
        "camera_name": "Gate",
        "batch_id": str(transfer.batch_id),
        "transfer_status": "uploading",
        "file_size_bytes": 131_596_288,
        "file_size_mb": 125.5,
        "bytes_uploaded": 67_108_864,
        "progress_percent": 51.0,
        "gcp_bucket": "footage",
        "gcp_storage_path": f"recordings/{recording.camera_id}/{recording.pk}/gate.mp4",
        "gcp_public_url": "https://storage.googleapis.com/footage/x",
        "upload_started_at": "2026-11-20T12:00:00Z",
        "upload_completed_at": None,
        "cleanup_scheduled_at": None,
        "cleanup_completed_at": None,
        "error_code": None,
        "error_message": None,
        "retry_count": 0,
        "next_attempt_at": None,
        "needs_attention": False,
        "held": False,
        "initiated_by": "admin",
    }


def test_transfer_shows_what_its_uploads_left_in_the_bucket(admin, make_recording):
    transfer = rows.transfer(State.COMPLETED, of=make_recording("gate.mp4"))
    rows.orphan(transfer, gcp_storage_path="former", object_generation=2**53 + 1, size_bytes=7, orphaned_at=rows.NOW)
    rows.orphan(transfer, gcp_storage_path=transfer.gcp_storage_path, object_generation=transfer.object_generation)

    (shown,) = admin.get(f"{LIST}{transfer.pk}/").json()["orphans"]

    assert shown == {
        "gcp_bucket": "footage",
        "gcp_storage_path": "former",
        "object_generation": "9007199254740993",
        "object_crc32c": "AAAAAA==",
        "size_bytes": 7,
        "why": "file_changed",
        "orphaned_at": f"{rows.NOW:%Y-%m-%dT%H:%M:%SZ}",
        "deleted_at": None,
        "deleted_by": None,
    }


def test_counts_cover_all_transfers_whatever_filter_and_page(admin, one_of_each):
    expected = {
        "total_count": 6,
        "pending_count": 1,
        "uploading_count": 1,
        "completed_count": 3,
        "failed_count": 1,
        "cleanup_pending_count": 1,
        "cleanup_completed_count": 1,
    }
    for query in ({}, {"status": "failed"}, {"limit": "1"}, {"search": "nothing of the kind"}):
        body = admin.get(LIST, **query).json()
        assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize("state", list(State))
def test_status_filters_one_exact_status(admin, one_of_each, state):
    (row,) = admin.get(LIST, status=state.value).json()["transfers"]

    assert row["transfer_id"] == str(one_of_each[state].pk)


def test_camera_id_filters(admin, make_recording, camera):
    other = Camera.objects.create(site=camera.site, name="Yard")
    rows.transfer(of=make_recording("a.mp4"))
    wanted = rows.transfer(of=make_recording("b.mp4", camera=other))

    found = admin.get(LIST, camera_id=str(other.pk)).json()["transfers"]

    assert [row["transfer_id"] for row in found] == [str(wanted.pk)]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("MORNING", {"morning.mp4"}),
        ("yard", {"evening.mp4"}),
        ("yard evening", {"evening.mp4"}),
        ("yard morning", set()),
        ("recordings/", {"morning.mp4", "evening.mp4"}),
        ("%", set()),
        ("_", set()),
        ("' OR 1=1 --", set()),
        ("", {"morning.mp4", "evening.mp4"}),
        ("  ", {"morning.mp4", "evening.mp4"}),
    ],
)
def test_search_meets_recording_camera_and_object_path(admin, make_recording, camera, search, found):
    yard = Camera.objects.create(site=camera.site, name="Yard")
    rows.transfer(of=make_recording("morning.mp4"))
    rows.transfer(of=make_recording("evening.mp4", camera=yard))

    transfers = admin.get(LIST, search=search).json()["transfers"]

    assert {row["recording_name"] for row in transfers} == found


def test_created_after_is_included_and_created_before_is_not(admin, make_recording, now):
    for hours in range(3):
        rows.transfer(of=make_recording(f"{hours}.mp4"), created_at=now + timedelta(hours=hours))

    def names(**query):
        return [row["recording_name"] for row in admin.get(LIST, **query).json()["transfers"]]

    assert names(created_after="2026-11-20T13:00:00Z") == ["2.mp4", "1.mp4"]
    assert names(created_before="2026-11-20T13:00:00Z") == ["0.mp4"]
    assert names(created_after="2026-11-20T14:00:00+01:00", created_before="2026-11-20T14:00:00") == ["1.mp4"]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"},
        {"status": ""},
        {"camera_id": "1"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"limit": "9" * 5000},
        {"search": "a\0"},
        {"search": "x" * 201},
        {"created_after": "yesterday"},
        {"created_after": "0.5"},
        {"created_after": "1763640000"},
        {"created_after": "0001-01-01T00:00:00+23:00"},
        {"created_before": "9999-12-31T23:59:59-23:00"},
        {"created_before": "2026-02-30T00:00:00Z"},
        {"cursor": "x"},
        {"cursor": ""},
        {"cursor": "\0"},
        {"cursor": "ü"},
        {"cursor": "WyJhIl0:1abc:def"},
    ],
)
def test_a_malformed_query_is_422(admin, query):
    answer = admin.get(LIST, **query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"][0] == "query"


# --- Pages ----------------------------------------------------------------------------------------
def pages(api, limit: int, **query):
    cursor, found = None, []
    while True:
        body = api.get(LIST, limit=limit, **query, **({"cursor": cursor} if cursor else {})).json()
        found.append([row["transfer_id"] for row in body["transfers"]])
        cursor = body["next_cursor"]
        if cursor is None:
            return found


def test_pages_show_every_transfer_once_newest_first(admin, make_recording, now):
    moments = [now, now, now, now + timedelta(hours=1), now - timedelta(microseconds=1), now, now]
    for number, moment in enumerate(moments):
        rows.transfer(of=make_recording(f"{number}.mp4"), created_at=moment)
    expected = [str(pk) for pk in GCPVideoTransfer.objects.order_by("-created_at", "-id").values_list("pk", flat=True)]

    for limit in (1, 2, 3, 7, 100):
        found = pages(admin, limit)
        assert [pk for page in found for pk in page] == expected
        assert all(len(page) == limit for page in found[:-1])


def test_transfer_arriving_between_pages_hides_and_repeats_none(admin, make_recording, now):
    for number in range(4):
        rows.transfer(of=make_recording(f"{number}.mp4"), created_at=now + timedelta(minutes=number))
    first = admin.get(LIST, limit=2).json()
    rows.transfer(of=make_recording("new.mp4"), created_at=now + timedelta(hours=1))

    second = admin.get(LIST, limit=2, cursor=first["next_cursor"]).json()

    assert [row["recording_name"] for row in first["transfers"] + second["transfers"]] == [
        "3.mp4",
        "2.mp4",
        "1.mp4",
        "0.mp4",
    ]


def test_foreign_or_changed_cursor_is_refused(admin, make_recording):
    for number in range(3):
        rows.transfer(of=make_recording(f"{number}.mp4"))
    cursor = admin.get(LIST, limit=1).json()["next_cursor"]
    recordings_cursor = admin.get("/recordings/", limit=1).json()["next_cursor"]

    assert admin.get(LIST, cursor=cursor).status_code == 200
    for wrong in (cursor[:-1], "A" + cursor, cursor + "A", recordings_cursor):
        assert admin.get(LIST, cursor=wrong).status_code == 422
    assert admin.get("/recordings/", cursor=cursor).status_code == 422


def test_list_needs_as_many_queries_for_thirty_rows(admin, admin_user, make_recording, now):
    other = User.objects.create_user("other")

    def queries_of_list() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin.get(LIST).status_code == 200
        return len(queries)

    rows.transfer(of=make_recording("first.mp4"), initiated_by=admin_user)
    with_one = queries_of_list()
    for number in range(30):
        camera = Camera.objects.create(site=rows.camera().site, name=f"Camera {number}")
        rows.transfer(of=make_recording(f"{number}.mp4", camera=camera), initiated_by=other)

    assert queries_of_list() == with_one == 3  # the user, the page, the counts


# --- One transfer ---------------------------------------------------------------------------------
def test_one_transfer_comes_with_its_history(admin, make_recording, bucket):
    make_recording("gate.mp4")
    transfer_id = admin.post(START).json()["transfer_ids"][0]
    admin.post(f"{LIST}{transfer_id}/cancel/")

    body = admin.get(f"{LIST}{transfer_id}/").json()

    assert body["transfer_id"] == transfer_id
    assert body["original_local_path"] == "gate.mp4"
    assert (body["object_generation"], body["object_crc32c"]) == (None, None)
    assert [(event["from_status"], event["to_status"], event["reason"]) for event in body["events"]] == [
        (None, "pending", "requested"),
        ("pending", "failed", "cancelled"),
    ]
    assert all(event["actor"] == "admin" and event["at"].endswith("Z") for event in body["events"])


def test_a_generation_of_64_bits_arrives_whole(admin, make_recording):
    transfer = rows.transfer(State.COMPLETED, of=make_recording(), object_generation=2**62 + 1)

    assert admin.get(f"{LIST}{transfer.pk}/").json()["object_generation"] == str(2**62 + 1)


@pytest.mark.parametrize("query", ["", "?limit=1"])
def test_a_session_uri_is_in_no_answer(admin, make_recording, query):
    """P10."""
    transfer = rows.transfer(State.UPLOADING, of=make_recording(), session_uri="https://upload/?upload_id=SECRET")

    for path in (LIST, f"{LIST}{transfer.pk}/", f"/recordings/{transfer.recording_id}/", "/recordings/"):
        assert b"SECRET" not in admin.get(path).content
    assert b"SECRET" not in admin.post(f"{LIST}{transfer.pk}/cancel/").content


# --- Retry and cancel -----------------------------------------------------------------------------
def test_cancel_and_retry_answer_with_the_transfer(admin, make_recording, bucket):
    make_recording()
    transfer_id = admin.post(START).json()["transfer_ids"][0]

    cancelled = admin.post(f"{LIST}{transfer_id}/cancel/")
    assert cancelled.status_code == 200
    assert (cancelled.json()["transfer_status"], cancelled.json()["error_code"]) == ("failed", "cancelled")

    retried = admin.post(f"{LIST}{transfer_id}/retry/")
    assert retried.status_code == 200
    assert (retried.json()["transfer_status"], retried.json()["error_code"]) == ("pending", None)
    assert retried.json()["retry_count"] == 1


@pytest.mark.parametrize(
    ("action", "state"),
    [("retry", state) for state in State if state is not State.FAILED]
    + [("cancel", state) for state in State if state not in {State.PENDING, State.UPLOADING}],
)
def test_a_move_that_the_state_forbids_is_409(admin, make_recording, bucket, action, state):
    transfer = rows.transfer(state, of=make_recording())

    answer = admin.post(f"{LIST}{transfer.pk}/{action}/")

    assert answer.status_code == 409
    assert state.value in answer.json()["detail"]
    transfer.refresh_from_db()
    assert transfer.transfer_status == state


def test_a_transfer_that_does_not_exist_is_404(admin, bucket):
    absent = uuid.uuid4()

    for answer in (
        admin.get(f"{LIST}{absent}/"),
        admin.post(f"{LIST}{absent}/retry/"),
        admin.post(f"{LIST}{absent}/cancel/"),
    ):
        assert answer.status_code == 404
        assert answer.json() == {"detail": "There is no such transfer."}


@pytest.mark.parametrize("nonsense", ["x", "1", "..%00..", "%00", "%0a", "'", "0" * 300])
def test_an_id_that_is_none_is_422(admin, nonsense):
    assert admin.get(f"{LIST}{nonsense}/").status_code == 422


def test_retrying_without_a_bucket_is_400(admin, make_recording, settings):
    settings.GCP_STORAGE_USE_GCS = False
    transfer = rows.transfer(State.FAILED, of=make_recording())

    assert admin.post(f"{LIST}{transfer.pk}/retry/").status_code == 400


def test_recording_whose_transfer_failed_is_started_again_over_http(admin, make_recording, bucket):
    recording: Recording = make_recording()
    transfer = rows.transfer(State.FAILED, of=recording)

    body = admin.post(START, {"recording_ids": [str(recording.pk)]}).json()

    assert body["transfer_ids"] == [str(transfer.pk)]
