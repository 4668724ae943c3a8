"""The recording routes: list, show, sums."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.cctv.models import Camera, Recording
from offload.states import State
from tests.integration.db import rows


def names(api, **query) -> list[str]:
    answer = api.get("/recordings/", **query)
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["recordings"]]


def test_one_recording_has_every_field(admin, make_recording, camera):
    recording = make_recording(
        "gate/one.mp4", size_bytes=1_572_864, codec="h264", width_pixels=1920, height_pixels=1080
    )
    transfer = rows.transfer(State.PENDING, of=recording)

    body = admin.get(f"/recordings/{recording.pk}/").json()

    assert body.pop("created_at").endswith("Z")
    assert body == {
        "id": str(recording.pk),
        "name": "one.mp4",
        "camera_id": str(camera.pk),
        "camera_name": "Gate",
        "site_id": str(camera.site_id),
        "site_name": "Depot",
        "status": "ready",
        "started_at": "2026-11-20T10:00:00Z",
        "ended_at": "2026-11-20T11:00:00Z",
        "duration_seconds": 3600.0,
        "codec": "h264",
        "width_pixels": 1920,
        "height_pixels": 1080,
        "file_size_bytes": 1_572_864,
        "file_size_mb": 1.5,
        "storage_type": "local",
        "file_path": "gate/one.mp4",
        "held": False,
        "hold_confirmed": False,
        "hold_reason": None,
        "held_by": None,
        "held_at": None,
        "transfer_id": str(transfer.pk),
        "transfer_status": "pending",
    }


def test_a_recording_without_a_transfer_says_so(admin, make_recording):
    body = admin.get(f"/recordings/{make_recording().pk}/").json()

    assert (body["transfer_id"], body["transfer_status"]) == (None, None)


def test_a_recording_that_does_not_exist_is_404(admin):
    answer = admin.get(f"/recordings/{uuid.uuid4()}/")

    assert answer.status_code == 404
    assert answer.json() == {"detail": "There is no such recording."}


def test_list_is_filtered_by_every_filter_of_the_contract(admin, make_recording, camera, now):
    yard = Camera.objects.create(site=camera.site, name="Yard")
    make_recording("early.mp4", started_at=now - timedelta(days=1))
    make_recording("yard.mp4", camera=yard, started_at=now)
    make_recording("away.mp4", storage_type="gcp", started_at=now + timedelta(days=1))
    make_recording("held.mp4", hold_wanted=True, status="recording", started_at=now + timedelta(days=2))

    assert names(admin) == ["held.mp4", "away.mp4", "yard.mp4", "early.mp4"]
    assert names(admin, camera_id=str(yard.pk)) == ["yard.mp4"]
    assert names(admin, started_after="2026-11-21T12:00:00Z") == ["held.mp4", "away.mp4"]
    assert names(admin, started_before="2026-11-20T12:00:00Z") == ["early.mp4"]
    assert names(admin, storage_type="gcp") == ["away.mp4"]
    assert names(admin, status="recording") == ["held.mp4"]
    assert names(admin, held="true") == ["held.mp4"]
    assert names(admin, held="false") == ["away.mp4", "yard.mp4", "early.mp4"]
    assert names(admin, search="YARD") == ["yard.mp4"]


def test_pages_show_every_recording_once(admin, make_recording, now):
    for number in range(5):
        make_recording(f"{number}.mp4", started_at=now)
    expected = {f"{number}.mp4" for number in range(5)}

    found, cursor = [], None
    while True:
        body = admin.get("/recordings/", limit=2, **({"cursor": cursor} if cursor else {})).json()
        found += [row["name"] for row in body["recordings"]]
        cursor = body["next_cursor"]
        if cursor is None:
            break

    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("query", [{"held": "maybe"}, {"storage_type": "tape"}, {"limit": "1001"}, {"cursor": "x"}])
def test_a_malformed_query_is_422(admin, query):
    assert admin.get("/recordings/", **query).status_code == 422


def test_list_needs_as_many_queries_for_twenty_rows(admin, admin_user, make_recording):
    def queries_of_list() -> int:
        with CaptureQueriesContext(connection) as queries:
            names(admin)
        return len(queries)

    rows.transfer(State.PENDING, of=make_recording("first.mp4", held_by=admin_user, hold_wanted=True))
    with_one = queries_of_list()
    for number in range(20):
        camera = Camera.objects.create(site=rows.camera().site, name=f"Camera {number}")
        rows.transfer(State.PENDING, of=make_recording(f"{number}.mp4", camera=camera))
        make_recording(f"{number}-without.mp4", camera=camera)

    assert queries_of_list() == with_one == 2  # the user, the page


def test_sums_are_those_of_the_database(admin, make_recording, camera):
    yard = Camera.objects.create(site=camera.site, name="Yard")
    make_recording("a.mp4", size_bytes=100)
    make_recording("b.mp4", size_bytes=20, hold_wanted=True)
    gone = make_recording("c.mp4", size_bytes=3, camera=yard, storage_type="gcp")
    rows.transfer(State.CLEANUP_PENDING, of=gone, bytes_uploaded=3)

    with CaptureQueriesContext(connection) as queries:
        body = admin.get("/recordings/stats/").json()

    assert len(queries) == 3  # the user, the recordings, the transfers
    gate = {"total_count": 2, "total_bytes": 120, "local_count": 2, "local_bytes": 120, "gcp_count": 0, "gcp_bytes": 0}
    gate |= {"held_count": 1, "held_bytes": 20, "camera_id": str(camera.pk), "camera_name": "Gate"}
    far = {"total_count": 1, "total_bytes": 3, "local_count": 0, "local_bytes": 0, "gcp_count": 1, "gcp_bytes": 3}
    far |= {"held_count": 0, "held_bytes": 0, "camera_id": str(yard.pk), "camera_name": "Yard"}
    assert body == {
        "total_count": 3,
        "total_bytes": 123,
        "local_count": 2,
        "local_bytes": 120,
        "gcp_count": 1,
        "gcp_bytes": 3,
        "held_count": 1,
        "held_bytes": 20,
        "waiting_for_cleanup_bytes": 3,
        "cameras": [gate, far],
    }


def test_sums_of_nothing_are_zero(admin):
    body = admin.get("/recordings/stats/").json()

    assert body.pop("cameras") == []
    assert set(body.values()) == {0}


@pytest.mark.parametrize(
    "name", ["line\nbreak.mp4", "a'b\"c.mp4", "<script>alert(1)</script>.mp4", "ü" * 125 + "a.mp4", "🎥.mp4"]
)
def test_a_strange_name_comes_back_as_it_is(admin, make_recording, name):
    recording: Recording = make_recording("plain.mp4", local_path=name, file_path=name)
    Recording.objects.filter(pk=recording.pk).update(name=name)

    answer = admin.get(f"/recordings/{recording.pk}/")

    assert (answer.json()["name"], answer.json()["file_path"]) == (name, name)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert names(admin, search=name.split("\n")[0]) == [name]
