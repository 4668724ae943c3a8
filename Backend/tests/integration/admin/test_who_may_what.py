"""Who may enter, see and change: the role alone decides, on every page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib import admin
from django.db.models import Model
from django.utils import timezone

from apps.cctv.admin_pages.base import RoleAdmin
from apps.cctv.models import Alarm, Camera, CameraGrant, PeriodicJob, Recording, Site, TransferBatch, WorkerProcess
from apps.users.models import Role, User
from tests.form_client import FormClient as Client
from tests.integration.admin import pages, scene
from tests.integration.db import rows

pytestmark = pytest.mark.django_db

SEES = [Role.SUPERADMIN, Role.ADMIN, Role.DEV]
SET_UP_BY_HAND = {Site, Camera}


@pytest.fixture
def depot() -> list[Model]:
    """One row, at least, of every table that has pages."""
    transfers = scene.transfers(12, by=scene.person(Role.SUPERADMIN, "ada"))
    scene.machinery()
    scene.alarm()
    rows.orphan(transfers[0])
    return [model._default_manager.all()[0] for model in pages.models()] + list(transfers)


@pytest.mark.parametrize("role", SEES)
def test_each_viewing_role_opens_every_page_but_users(role: Role, depot: list[Model]) -> None:
    client = pages.signed_in(scene.person(role))
    assert client.get(pages.FRONT).status_code == 200
    for row in depot:
        wanted = 403 if isinstance(row, User) and role is not Role.SUPERADMIN else 200
        if role is Role.DEV and isinstance(row, Camera | Recording):
            continue  # private ones: see below
        assert client.get(pages.list_of(type(row))).status_code == wanted, row
        if role is not Role.DEV:
            assert client.get(pages.page_of(row)).status_code == wanted, row


@pytest.mark.parametrize("role", [Role.VISITOR, None])
def test_no_other_role_opens_any_page(role: Role | None, depot: list[Model]) -> None:
    client = pages.signed_in(scene.person(role)) if role else Client()
    for address in [pages.FRONT, *map(pages.list_of, pages.models()), *map(pages.page_of, depot)]:
        answer = client.get(address)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/admin/login/")


def test_django_s_own_flags_open_nothing() -> None:
    flags = {"is_staff": True, "is_superuser": True}
    flagged = scene.person(Role.VISITOR)
    User.objects.filter(pk=flagged.pk).update(**flags)
    assert pages.signed_in(flagged).get(pages.FRONT).status_code == 302
    dev = scene.person(Role.DEV)
    User.objects.filter(pk=dev.pk).update(**flags)
    client = pages.signed_in(dev)
    assert client.get(pages.list_of(User)).status_code == 403
    assert client.get(pages.add_of(Camera)).status_code == 403


def test_an_inactive_superadmin_opens_nothing() -> None:
    gone = scene.person(Role.SUPERADMIN)
    client = pages.signed_in(gone)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    assert client.get(pages.FRONT).status_code == 302


def test_every_page_of_the_admin_asks_the_role() -> None:
    assert all(isinstance(page, RoleAdmin) for page in admin.site._registry.values())


@pytest.mark.parametrize("role", SEES)
def test_no_role_adds_changes_or_deletes_what_the_product_writes(role: Role, depot: list[Model]) -> None:
    client = pages.signed_in(scene.person(role))
    for row in depot:
        if type(row) in SET_UP_BY_HAND or isinstance(row, User):
            continue
        before = type(row)._default_manager.filter(pk=row.pk).values().get()
        assert client.get(pages.add_of(type(row))).status_code == 403, row
        assert client.post(pages.add_of(type(row)), {"name": "new"}).status_code == 403, row
        assert client.get(pages.page_of(row, "delete")).status_code in {302, 403}, row
        assert client.post(pages.page_of(row, "delete"), {"post": "yes"}).status_code in {302, 403}, row
        assert client.post(pages.page_of(row), {"transfer_status": "failed", "name": "x"}).status_code in {302, 403}
        assert type(row)._default_manager.filter(pk=row.pk).values().get() == before


@pytest.mark.parametrize("role", [*SEES, Role.VISITOR])
@pytest.mark.parametrize("model", sorted(SET_UP_BY_HAND, key=lambda model: model.__name__))
def test_no_camera_and_no_site_is_deleted_here(role: Role, model: type[Model], depot: list[Model]) -> None:
    row = model._default_manager.all()[0]
    answer = pages.signed_in(scene.person(role)).post(pages.page_of(row, "delete"), {"post": "yes"})
    assert answer.status_code in {302, 403}
    assert model._default_manager.filter(pk=row.pk).exists()


def test_deleting_in_bulk_is_not_offered_anywhere(depot: list[Model], superadmin_user: User) -> None:
    client = pages.signed_in(superadmin_user)
    for row in depot:
        ticked = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes", "confirmed": "yes"}
        client.post(pages.list_of(type(row)), ticked)
        assert type(row)._default_manager.filter(pk=row.pk).exists(), row


@pytest.mark.parametrize("role", [Role.SUPERADMIN, Role.ADMIN])
def test_sites_and_cameras_are_set_up_by_who_manages(role: Role) -> None:
    client = pages.signed_in(scene.person(role))
    site = {"name": "Harbour", "time_zone": "Europe/Berlin", "disk_high_water_percent": ""}
    assert client.post(pages.add_of(Site), site).status_code == 302
    harbour = Site.objects.get(name="Harbour")
    camera = {"site": str(harbour.pk), "name": "Quay", "is_private": "on", **no_grants()}
    assert client.post(pages.add_of(Camera), camera).status_code == 302
    assert Camera.objects.get(name="Quay").is_private


@pytest.mark.parametrize("model", sorted(SET_UP_BY_HAND, key=lambda model: model.__name__))
def test_who_only_views_sets_nothing_up(model: type[Model], depot: list[Model]) -> None:
    client = pages.signed_in(scene.person(Role.DEV))
    row = model._default_manager.order_by("name")[0]
    assert client.get(pages.add_of(model)).status_code == 403
    assert client.post(pages.add_of(model), {"name": "x"}).status_code == 403
    assert client.post(pages.page_of(row), {"name": "x"}).status_code == 403


# --- Private cameras ------------------------------------------------------------------------------
@pytest.fixture
def private() -> Camera:
    """A private camera with a transfer in every state, an open one beside it, each with its records."""
    open_one, hidden = rows.camera("Gate"), rows.camera("Vault", is_private=True)
    scene.transfers(6, cameras=[hidden])
    scene.transfers(6, cameras=[open_one])
    return hidden


@pytest.mark.parametrize("granted", [False, True])
def test_private_camera_is_seen_with_a_grant_only(granted: bool, private: Camera) -> None:
    dev = scene.person(Role.DEV)
    if granted:
        CameraGrant.objects.create(camera=private, user=dev)
    client = pages.signed_in(dev)
    hidden = [private, *Recording.objects.filter(camera=private)]
    hidden += [recording.gcp_transfer for recording in hidden[1:]]
    hidden += [row for transfer in hidden[7:] for row in [*transfer.events.all(), *transfer.receipts.all()]]
    for row in hidden:
        answer = client.get(pages.page_of(row))
        assert answer.status_code == (200 if granted else 404), row
        listed = client.get(pages.list_of(type(row)))
        assert (row in pages.rows_shown(listed)) is granted
        assert granted or "Vault" not in listed.content.decode()


@pytest.mark.parametrize("granted", [False, True])
def test_the_numbers_count_what_may_be_seen(granted: bool, private: Camera) -> None:
    dev = scene.person(Role.DEV)
    if granted:
        CameraGrant.objects.create(camera=private, user=dev)
    client = pages.signed_in(dev)
    dashboard = client.get(pages.FRONT).context["dashboard"]
    assert {entry.count for entry in dashboard.counts} == {2 if granted else 1}
    batches = pages.rows_shown(client.get(pages.list_of(TransferBatch)))
    assert sum(batch.transfer_count for batch in batches) == (12 if granted else 6)
    [depot] = pages.rows_shown(client.get(pages.list_of(Site)))
    assert depot.camera_count == (2 if granted else 1)


def test_private_camera_chosen_by_hand_shows_nothing(private: Camera) -> None:
    client = pages.signed_in(scene.person(Role.DEV))
    shown = client.get(pages.list_of(Recording), {"camera": str(private.pk)})
    assert all(recording.camera_id != private.pk for recording in pages.rows_shown(shown))


def test_grant_is_given_and_taken_on_the_cameras_page(admin_user: User) -> None:
    vault, dev = rows.camera("Vault", is_private=True), scene.person(Role.DEV)
    client = pages.signed_in(admin_user)
    fields = {"site": str(vault.site_id), "name": "Vault", "is_private": "on"}
    given = {**fields, **no_grants(1), "grants-0-camera": str(vault.pk), "grants-0-user": str(dev.pk)}
    assert client.post(pages.page_of(vault), given).status_code == 302
    grant = CameraGrant.objects.get()
    assert (grant.camera, grant.user, grant.granted_by) == (vault, dev, admin_user)
    taken = {**given, **no_grants(1, 1), "grants-0-id": str(grant.pk), "grants-0-DELETE": "on"}
    assert client.post(pages.page_of(vault), taken).status_code == 302
    assert not CameraGrant.objects.exists()


def test_a_camera_with_recordings_keeps_its_site(admin_user: User) -> None:
    gate = rows.recording().camera
    elsewhere = Site.objects.create(name="Elsewhere")
    fields = {"site": str(elsewhere.pk), "name": "Main gate", **no_grants()}
    assert pages.signed_in(admin_user).post(pages.page_of(gate), fields).status_code == 302
    gate.refresh_from_db()
    assert (gate.name, gate.site.name) == ("Main gate", "Depot")


def test_a_camera_is_put_away_and_taken_back(admin_user: User) -> None:
    gate = rows.recording().camera
    client = pages.signed_in(admin_user)
    client.post(pages.action_of(gate, "archive"), {"confirmed": "yes"})
    gate.refresh_from_db()
    assert gate.archived_at is not None
    assert abs(gate.archived_at - timezone.now()) < timedelta(minutes=5)
    client.post(pages.action_of(gate, "unarchive"), {"confirmed": "yes"})
    gate.refresh_from_db()
    assert gate.archived_at is None


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", ""])
def test_a_site_in_no_time_zone_is_refused(zone: str, admin_user: User) -> None:
    fields = {"name": "Harbour", "time_zone": zone}
    assert pages.signed_in(admin_user).post(pages.add_of(Site), fields).status_code == 200
    assert not Site.objects.exists()


def no_grants(total: int = 0, initial: int = 0) -> dict[str, str]:
    return {
        "grants-TOTAL_FORMS": str(total),
        "grants-INITIAL_FORMS": str(initial),
        "grants-MIN_NUM_FORMS": "0",
        "grants-MAX_NUM_FORMS": "1000",
    }


def test_pages_of_this_module_are_all_of_them() -> None:
    assert {Alarm, PeriodicJob, WorkerProcess, User} < set(pages.models())
