"""Every change to a site, a camera or a grant leaves an event with who made it; what was refused leaves none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from apps.cctv.models import Camera, CameraGrant, PlaceEvent, Site
from apps.cctv.services import Conflict, NotFound, NotPermitted, ServiceError
from apps.cctv.services.cameras import (
    camera_archive,
    camera_create,
    camera_delete,
    camera_of_name,
    camera_unarchive,
    camera_update,
    grant_end,
    grant_give,
)
from apps.cctv.services.sites import site_create, site_of_name, site_update
from apps.users.models import Role, User
from tests.integration.admin import pages
from tests.integration.db import rows

pytestmark = pytest.mark.django_db

SITE: dict[str, Any] = {"time_zone": "UTC", "bandwidth_limit": "", "disk_high_water_percent": None}


@pytest.fixture
def by(admin_user: User, now: datetime) -> dict[str, Any]:
    return {"user": admin_user, "now": now}


def history() -> list[tuple[str, str, str, str]]:
    """What, name, person and detail of each event, oldest first."""
    return list(PlaceEvent.objects.order_by("id").values_list("what", "name", "person", "detail"))


# --- Sites ----------------------------------------------------------------------------------------
def test_site_that_is_created_and_changed_leaves_two_events(by: dict[str, Any], now: datetime) -> None:
    site = site_create(name="Depot", **SITE, **by)
    changed = {"time_zone": "Europe/Berlin", "bandwidth_limit": " 2 MB/s ", "disk_high_water_percent": 90}
    site_update(site_id=site.pk, name="Harbour", **changed, **by)

    site.refresh_from_db()
    assert (site.name, site.time_zone, site.bandwidth_limit) == ("Harbour", "Europe/Berlin", "2 MB/s")
    differences = (
        "name: Depot → Harbour; time zone: UTC → Europe/Berlin; bandwidth limit: none → 2 MB/s; "
        "disk high water percent: none → 90"
    )
    assert history() == [("site_created", "Depot", "", ""), ("site_changed", "Harbour", "", differences)]
    assert {(event.actor, event.at, event.site) for event in PlaceEvent.objects.all()} == {("admin", now, site)}


def test_site_that_is_saved_as_it_was_leaves_no_event(site: Site, by: dict[str, Any]) -> None:
    site_update(site_id=site.pk, name=site.name, **SITE, **by)
    assert history() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "right/Europe/Berlin"},
        {"time_zone": ""},
        {"bandwidth_limit": "fast"},
        {"disk_high_water_percent": 100},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "Harbour"},
    ],
)
def test_site_with_a_wrong_value_leaves_no_event(wrong: dict[str, Any], site: Site, by: dict[str, Any]) -> None:
    Site.objects.create(name="Harbour")
    before = Site.objects.filter(pk=site.pk).values().get()
    with pytest.raises(ServiceError):
        site_update(site_id=site.pk, **{"name": "Depot 2", **SITE, **wrong}, **by)
    with pytest.raises(ServiceError):
        site_create(**{"name": "Depot 2", **SITE, **wrong}, **by)
    assert Site.objects.filter(pk=site.pk).values().get() == before
    assert Site.objects.count() == 2
    assert history() == []


def test_site_that_is_not_there_is_not_changed(by: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        site_update(site_id=uuid4(), name="Depot", **SITE, **by)
    assert history() == []


# --- Cameras --------------------------------------------------------------------------------------
def test_each_change_to_a_camera_leaves_an_event(site: Site, by: dict[str, Any]) -> None:
    harbour = Site.objects.create(name="Harbour")
    gate = camera_create(name="Gate", is_private=False, site_id=site.pk, **by)
    camera_update(camera_id=gate.pk, name="Quay", is_private=True, site_id=harbour.pk, **by)
    camera_archive(camera_id=gate.pk, **by)
    camera_unarchive(camera_id=gate.pk, **by)

    assert history() == [
        ("camera_created", "Gate", "", ""),
        ("camera_changed", "Quay", "", f"name: Gate → Quay; is private: no → yes; site: {site.name} → Harbour"),
        ("camera_archived", "Quay", "", ""),
        ("camera_unarchived", "Quay", "", ""),
    ]
    events = PlaceEvent.objects.order_by("id")
    assert {(event.actor, event.camera) for event in events} == {("admin", gate)}
    assert [event.site for event in events] == [site, harbour, harbour, harbour]


def test_what_changes_nothing_leaves_no_event(site: Site, by: dict[str, Any]) -> None:
    gate = rows.camera("Gate")
    camera_update(camera_id=gate.pk, name="Gate", is_private=False, **by)
    camera_unarchive(camera_id=gate.pk, **by)
    grant_end(camera_id=gate.pk, person_id=by["user"].pk, **by)
    assert history() == []


def test_a_camera_that_is_refused_leaves_no_event(by: dict[str, Any]) -> None:
    gate = rows.recording().camera
    elsewhere = Site.objects.create(name="Elsewhere")
    rows.camera("Quay")
    with pytest.raises(Conflict):
        camera_create(name="Gate", is_private=False, site_id=gate.site_id, **by)
    with pytest.raises(Conflict):
        camera_update(camera_id=gate.pk, name="Quay", is_private=False, **by)
    with pytest.raises(Conflict):
        camera_update(camera_id=gate.pk, name="Gate", is_private=False, site_id=elsewhere.pk, **by)
    with pytest.raises(Conflict):
        camera_delete(camera_id=gate.pk, **by)
    assert history() == []


def test_the_history_of_a_camera_outlives_it(site: Site, by: dict[str, Any]) -> None:
    vault, dev = camera_create(name="Vault", is_private=True, site_id=site.pk, **by), rows.user(Role.DEV)
    grant_give(camera_id=vault.pk, person_id=dev.pk, **by)
    camera_delete(camera_id=vault.pk, **by)
    assert not Camera.objects.exists()
    assert history() == [
        ("camera_created", "Vault", "", ""),
        ("grant_given", "Vault", "dev", ""),
        ("grant_ended", "Vault", "dev", ""),
        ("camera_deleted", "Vault", "", ""),
    ]


def test_what_an_import_makes_leaves_an_event_of_its_own(now: datetime) -> None:
    for _ in range(2):
        depot = site_of_name(name="Depot", time_zone="Europe/Berlin", actor="ada@nvr (command)", now=now)
        camera_of_name(site=depot, name="Gate", actor="ada@nvr (command)", now=now)
    assert history() == [("site_created", "Depot", "", ""), ("camera_created", "Gate", "", "")]
    assert {event.actor for event in PlaceEvent.objects.all()} == {"ada@nvr (command)"}


# --- Grants ---------------------------------------------------------------------------------------
def test_grant_that_is_given_and_ended_leaves_two_events(by: dict[str, Any], admin_user: User) -> None:
    vault, dev = rows.camera("Vault", is_private=True), rows.user(Role.DEV)
    for _ in range(2):
        grant_give(camera_id=vault.pk, person_id=dev.pk, **by)
    assert CameraGrant.objects.get().granted_by == admin_user
    for _ in range(2):
        grant_end(camera_id=vault.pk, person_id=dev.pk, **by)
    assert not CameraGrant.objects.exists()
    assert history() == [("grant_given", "Vault", "dev", ""), ("grant_ended", "Vault", "dev", "")]


@pytest.mark.parametrize(
    "person", [{"role": Role.VISITOR}, {"role": Role.ADMIN}, {"role": Role.DEV, "is_active": False}]
)
def test_grant_is_refused_to_those_whom_it_does_not_help(person: dict[str, Any], by: dict[str, Any]) -> None:
    vault = rows.camera("Vault", is_private=True)
    grace = User.objects.create_user("grace", **person)
    with pytest.raises(Conflict):
        grant_give(camera_id=vault.pk, person_id=grace.pk, **by)
    assert not CameraGrant.objects.exists()
    assert history() == []


# --- Who may --------------------------------------------------------------------------------------
Change = Callable[[Camera, dict[str, Any]], object]
CHANGES: dict[str, Change] = {
    "site_create": lambda _, by: site_create(name="Harbour", **SITE, **by),
    "site_update": lambda gate, by: site_update(site_id=gate.site_id, name="Harbour", **SITE, **by),
    "camera_create": lambda _, by: camera_create(name="Quay", is_private=False, **by),
    "camera_update": lambda gate, by: camera_update(camera_id=gate.pk, name="Quay", is_private=False, **by),
    "camera_archive": lambda gate, by: camera_archive(camera_id=gate.pk, **by),
    "camera_unarchive": lambda gate, by: camera_unarchive(camera_id=gate.pk, **by),
    "camera_delete": lambda gate, by: camera_delete(camera_id=gate.pk, **by),
    "grant_give": lambda gate, by: grant_give(camera_id=gate.pk, person_id=by["user"].pk, **by),
    "grant_end": lambda gate, by: grant_end(camera_id=gate.pk, person_id=by["user"].pk, **by),
}


@pytest.mark.parametrize("name", CHANGES)
def test_who_only_views_changes_nothing(name: str, dev_user: User, now: datetime) -> None:
    gate = rows.camera("Gate")
    with pytest.raises(NotPermitted):
        CHANGES[name](gate, {"user": dev_user, "now": now})
    assert (Site.objects.count(), list(Camera.objects.values_list("name", flat=True))) == (1, ["Gate"])
    assert history() == []


# --- Pages ----------------------------------------------------------------------------------------
def test_saved_changes_are_in_the_history_of_the_page(admin_user: User) -> None:
    client, dev = pages.signed_in(admin_user), rows.user(Role.DEV)
    site = {"name": "Depot", "time_zone": "UTC", "disk_high_water_percent": ""}
    client.post(pages.add_of(Site), site)
    depot = Site.objects.get()
    client.post(pages.page_of(depot), {**site, "time_zone": "Europe/Berlin"})
    forms = {"grants-TOTAL_FORMS": "1", "grants-INITIAL_FORMS": "0"}
    camera = {"site": str(depot.pk), "name": "Vault", "is_private": "on", "grants-0-user": str(dev.pk)}
    client.post(pages.add_of(Camera), {**camera, **forms})

    assert history() == [
        ("site_created", "Depot", "", ""),
        ("site_changed", "Depot", "", "time zone: UTC → Europe/Berlin"),
        ("camera_created", "Vault", "", ""),
        ("grant_given", "Vault", "dev", ""),
    ]
    shown = client.get(pages.list_of(PlaceEvent)).content.decode()
    assert "time zone: UTC → Europe/Berlin" in shown
    assert shown.index("grant given") < shown.index("camera created")


def test_viewer_reads_the_history_of_visible_places_only(by: dict[str, Any], dev_user: User) -> None:
    site = rows.camera("Gate").site
    hidden = camera_create(name="Vault", is_private=True, site_id=site.pk, **by)
    gone = camera_create(name="Cellar", is_private=True, site_id=site.pk, **by)
    camera_delete(camera_id=gone.pk, **by)
    quay = camera_create(name="Quay", is_private=False, site_id=site.pk, **by)
    grant_give(camera_id=quay.pk, person_id=dev_user.pk, **by)
    client = pages.signed_in(dev_user)
    shown = pages.rows_shown(client.get(pages.list_of(PlaceEvent)))
    assert [(event.what, event.name) for event in shown] == [("camera_created", "Quay")]
    assert client.get(pages.page_of(PlaceEvent.objects.get(camera=hidden))).status_code == 404
