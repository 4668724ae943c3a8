"""The list and the detail page of transfers: what they show, find, and never show."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.cctv.admin_pages.display import reason_meaning
from apps.cctv.models import Camera, DeletionReceipt, GCPVideoTransfer, Recording, Site, TransferBatch, TransferEvent
from apps.cctv.units import human_size, span
from apps.users.models import User
from offload.errors import Reason
from offload.states import UPLOADED, State
from tests.form_client import FormClient as Client
from tests.integration.admin import pages, scene
from tests.integration.db import rows

pytestmark = pytest.mark.django_db
LISTS = [GCPVideoTransfer, Recording, TransferEvent, DeletionReceipt, TransferBatch, Camera, Site]


@pytest.fixture
def client(admin_user: User) -> Client:
    return pages.signed_in(admin_user)


def found(client: Client, **query: Any) -> list[GCPVideoTransfer]:
    return pages.rows_shown(client.get(pages.list_of(GCPVideoTransfer), query))


# --- Queries --------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", LISTS)
def test_fifty_rows_take_as_many_queries_as_five(model: Any, client: Client, admin_user: User) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            answer = client.get(pages.list_of(model))
        assert answer.status_code == 200
        return len(captured)

    few = _many(5, admin_user)
    asked = queries()
    _many(45, admin_user)
    assert len(few) == 5
    assert queries() == asked


def _many(count: int, by: User) -> list[GCPVideoTransfer]:
    made = []
    for _ in range(count):
        name = f"Camera {Camera.objects.count()}"
        where = rows.camera(name, site=Site.objects.create(name=f"Site of {name}"))
        made += [
            row for row in scene.transfers(6, cameras=[where], by=by) if row.transfer_status == "cleanup_completed"
        ]
    return made


@pytest.mark.parametrize("address", ["front", "detail"])
def test_no_page_asks_more_for_more_rows(address: str, client: Client, admin_user: User) -> None:
    def queries() -> int:
        row = GCPVideoTransfer.objects.filter(transfer_status="cleanup_completed")[0]
        with CaptureQueriesContext(connection) as captured:
            client.get(pages.FRONT if address == "front" else pages.page_of(row))
        return len(captured)

    scene.transfers(6, by=admin_user)
    asked = queries()
    row = GCPVideoTransfer.objects.filter(transfer_status="cleanup_completed")[0]
    for _ in range(30):
        scene.told(row, State.COMPLETED)
    scene.transfers(30, cameras=[rows.camera("Other")], by=admin_user)
    assert queries() <= asked + 4  # the front page names five of a kind, whatever their number


# --- What is shown --------------------------------------------------------------------------------
def test_the_list_tells_status_sizes_progress_and_times(client: Client) -> None:
    gate = rows.camera("Gate <north>")
    of = rows.recording("a&b.mp4", camera=gate, file_size_bytes=131596288)
    row = scene.transfer(of, State.UPLOADING)
    GCPVideoTransfer.objects.filter(pk=row.pk).update(bytes_uploaded=67108864)
    text = client.get(pages.list_of(GCPVideoTransfer)).content.decode()
    for shown in ("125.5 MiB", "51.0 %", "uploading", "a&amp;b.mp4", "Gate &lt;north&gt;", f"{row.created_at:%H:%M}"):
        assert shown in text, shown


@pytest.mark.parametrize("state", State)
def test_detail_page_tells_history_receipt_and_what_is_wrong(state: State, client: Client) -> None:
    row = scene.transfer(rows.recording(), state)
    text = client.get(pages.page_of(row)).content.decode()
    assert "requested" in text
    assert ("<h2>Deletion receipt" in text) is (state is State.CLEANUP_COMPLETED)
    if state is State.FAILED:
        assert "file_missing" in text
        assert "The file is not there." in text
    if state in UPLOADED:
        assert "1795341600123456" in text
        assert "yZRlqg==" in text
    assert row.gcp_storage_path in text
    assert row.original_local_path in text


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "line\nbreak", "'\"`", "naïve-видео-🎥", "x" * 255])
def test_names_of_any_kind_are_shown_as_text(hostile: str, client: Client) -> None:
    of = rows.recording(hostile, local_path=f"Gate/{hostile}", file_path=f"Gate/{hostile}")
    row = scene.transfer(of, State.FAILED, error_message=hostile)
    for address in (pages.list_of(GCPVideoTransfer), pages.page_of(row), pages.page_of(of), pages.FRONT):
        text = client.get(address).content.decode()
        assert "<script>alert(1)" not in text
    assert client.get(pages.action_of(row, "hold")).status_code == 200


def test_no_page_holds_or_even_reads_a_session_uri(client: Client, admin_user: User) -> None:
    made = scene.transfers(6, by=admin_user)
    assert {row.session_uri for row in made} == {scene.SESSION_URI}
    addresses = [pages.FRONT, *map(pages.list_of, LISTS)]
    records = [*TransferEvent.objects.all(), *DeletionReceipt.objects.all()]
    addresses += [pages.page_of(row) for row in [*made, *(row.recording for row in made), *records]]
    addresses += [pages.action_of(row, "hold") for row in made]
    addresses += [pages.list_of(GCPVideoTransfer) + "?q=A-SESSION"]
    with CaptureQueriesContext(connection) as captured:
        texts = [client.get(address).content.decode() for address in addresses]
    assert not [address for address, text in zip(addresses, texts, strict=True) if "A-SESSION-URI" in text]
    assert not [query["sql"] for query in captured if '"session_uri"' in query["sql"].split(" FROM ")[0]]


# --- Finding --------------------------------------------------------------------------------------
def test_list_is_found_by_recording_camera_and_object_path(client: Client) -> None:
    dock = scene.transfer(rows.recording("dock.mp4", camera=rows.camera("Loading dock")), State.PENDING)
    yard = scene.transfer(rows.recording("yard.mp4", camera=rows.camera("Yard")), State.FAILED)
    assert found(client, q="dock.mp4") == [dock]
    assert found(client, q="loading") == [dock]
    assert found(client, q=f"{yard.recording_id}/yard") == [yard]
    assert found(client, q="nothing of the kind") == []


def test_list_is_filtered_by_each_of_its_filters(client: Client, admin_user: User) -> None:
    made = {row.transfer_status: row for row in scene.transfers(6, by=admin_user)}
    assert found(client, transfer_status__exact="failed") == [made["failed"]]
    assert {row.transfer_status for row in found(client, upload="verified")} == set(UPLOADED)
    assert {row.transfer_status for row in found(client, upload="open")} == set(State) - set(UPLOADED)
    assert found(client, held="yes") == [made["completed"]]
    assert len(found(client, held="no")) == 5
    gate = Camera.objects.get(name="Gate north")
    assert {row.recording.camera_id for row in found(client, camera=str(gate.pk))} == {gate.pk}
    other = scene.transfer(rows.recording(camera=rows.camera("Quay", site=Site.objects.create(name="Harbour"))), State.PENDING)  # fmt: skip
    assert found(client, site=str(other.site_id)) == [other]


def test_days_of_a_filter_are_whole_and_in_utc(client: Client) -> None:
    def created(*when: int) -> GCPVideoTransfer:
        return rows.transfer(created_at=datetime(*when, tzinfo=UTC))  # type: ignore[misc]

    before, first, last, after = (
        created(2026, 11, 19, 23, 59, 59, 999999),
        created(2026, 11, 20),
        created(2026, 11, 21, 23, 59, 59, 999999),
        created(2026, 11, 22),
    )
    assert found(client, created_at_from="2026-11-20", created_at_to="2026-11-21") == [last, first]
    assert found(client, created_at_from="2026-11-22") == [after]
    assert found(client, created_at_to="2026-11-19") == [before]


@pytest.mark.parametrize(
    "query",
    [
        {"created_at_from": "yesterday"},
        {"camera": "no-uuid"},
        {"site": "'; DROP TABLE cctv_site; --"},
        {"held": "maybe"},
        {"upload": "x"},
    ],
)
def test_an_invalid_filter_filters_nothing(query: dict[str, str], client: Client) -> None:
    row = rows.transfer()
    assert found(client, **query) == [row]


def test_no_filter_spells_a_session_uri_out(client: Client) -> None:
    row = rows.transfer(session_uri=scene.SESSION_URI)
    for model, lookup in (
        (GCPVideoTransfer, "session_uri__startswith"),
        (Recording, "gcp_transfer__session_uri__startswith"),
        (TransferEvent, "transfer__session_uri__startswith"),
        (TransferBatch, "transfers__session_uri__startswith"),
    ):
        scene.told(row, State.PENDING)
        assert client.get(pages.list_of(model), {lookup: "https://storage"}).status_code == 400


# --- Words ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (131596288, "125.5 MiB"), (1024**3 - 1, "1.0 GiB"), (5 * 1024**4, "5.0 TiB")],
)  # fmt: skip
def test_sizes_are_told_in_human_units(size_bytes: int, shown: str) -> None:
    assert human_size(size_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_spans_are_told_in_one_unit(seconds: float, shown: str) -> None:
    assert span(timedelta(seconds=seconds)) == shown


def test_every_reason_has_words_and_an_unknown_one_none() -> None:
    telling: Callable[[str], str] = reason_meaning
    assert all(telling(reason.value) for reason in Reason)
    assert "<code>manage.py doctor</code>" in telling("permission_denied")
    assert telling("of another version") == ""


def test_the_newest_transfer_comes_first(client: Client) -> None:
    old = rows.transfer(created_at=timezone.now() - timedelta(days=1))
    new = rows.transfer(created_at=timezone.now())
    assert found(client) == [new, old]
