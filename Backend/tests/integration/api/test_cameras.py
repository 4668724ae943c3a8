"""The camera and site routes."""

from __future__ import annotations

import uuid

import pytest

from apps.cctv.models import Camera, CameraGrant, Site
from apps.cctv.services import Conflict
from apps.cctv.services.sites import site_default


def test_a_camera_is_created_at_the_only_site(admin, site):
    answer = admin.post("/cameras/", {"name": "Yard"})

    assert answer.status_code == 201
    body = answer.json()
    assert (body["name"], body["site_name"], body["is_private"], body["archived_at"]) == ("Yard", "Depot", False, None)
    assert Camera.objects.get(pk=body["id"]).site == site


def test_the_first_camera_makes_the_first_site(admin):
    assert admin.post("/cameras/", {"name": "Yard"}).json()["site_name"] == "Main site"
    assert admin.post("/cameras/", {"name": "Gate"}).json()["site_name"] == "Main site"
    assert Site.objects.count() == 1


def test_with_several_sites_one_has_to_be_named(admin, site):
    other = Site.objects.create(name="Harbour")

    assert admin.post("/cameras/", {"name": "Yard"}).status_code == 409
    assert admin.post("/cameras/", {"name": "Yard", "site_id": str(other.pk)}).json()["site_name"] == "Harbour"
    assert admin.post("/cameras/", {"name": "Yard", "site_id": str(uuid.uuid4())}).status_code == 404


def test_site_default_refuses_to_choose(site, now):
    assert site_default(actor="ada", now=now) == site
    Site.objects.create(name="Harbour")
    with pytest.raises(Conflict):
        site_default(actor="ada", now=now)


def test_a_name_is_taken_once_a_site(admin, camera):
    other = Site.objects.create(name="Harbour")
    answer = admin.post("/cameras/", {"name": "Gate", "site_id": str(camera.site_id)})

    assert answer.status_code == 409
    assert answer.json() == {"detail": "The site Depot has a camera Gate already."}
    assert admin.post("/cameras/", {"name": "Gate", "site_id": str(other.pk)}).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 101},
        {"name": "a\0b"},
        {"name": 5},
        {"name": "Yard", "is_private": "yes"},
        {"name": "Yard", "is_private": 1},
        {"name": "Yard", "site_id": "x"},
        {"name": "Yard", "private": True},
    ],
)
def test_a_malformed_camera_is_422(admin, site, body):
    assert admin.post("/cameras/", body).status_code == 422
    assert not Camera.objects.exists()


def test_a_camera_is_shown_and_changed(admin, camera):
    path = f"/cameras/{camera.pk}/"
    assert admin.get(path).json()["name"] == "Gate"

    answer = admin.put(path, {"name": " South gate ", "is_private": True})

    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["is_private"]) == ("South gate", True)
    assert admin.get(path).json() == answer.json()


def test_a_camera_with_recordings_stays_at_its_site(admin, camera, make_recording):
    other = Site.objects.create(name="Harbour")
    body = {"name": "Gate", "site_id": str(other.pk)}
    assert admin.put(f"/cameras/{camera.pk}/", body).json()["site_name"] == "Harbour"
    make_recording()

    body["site_id"] = str(Site.objects.get(name="Depot").pk)

    assert admin.put(f"/cameras/{camera.pk}/", body).status_code == 409


def test_changing_a_name_to_a_taken_one_is_409(admin, camera):
    other = Camera.objects.create(site=camera.site, name="Yard")

    assert admin.put(f"/cameras/{other.pk}/", {"name": "Gate"}).status_code == 409
    other.refresh_from_db()
    assert other.name == "Yard"


def test_camera_that_never_recorded_is_deleted_with_its_grants(admin, camera, dev_user):
    CameraGrant.objects.create(camera=camera, user=dev_user)

    answer = admin.delete(f"/cameras/{camera.pk}/")

    assert (answer.status_code, answer.content) == (204, b"")
    assert admin.get(f"/cameras/{camera.pk}/").status_code == 404


def test_a_camera_with_recordings_is_archived_not_deleted(admin, camera, make_recording):
    recording = make_recording()
    path = f"/cameras/{camera.pk}/"

    answer = admin.delete(path)
    assert answer.status_code == 409
    assert answer.json() == {"detail": "The camera has recordings: archive it instead."}

    first = admin.post(f"{path}archive/").json()["archived_at"]
    assert first is not None
    assert admin.post(f"{path}archive/").json()["archived_at"] == first
    assert admin.get(f"/recordings/{recording.pk}/").status_code == 200

    assert admin.delete(f"{path}archive/").json()["archived_at"] is None


def test_list_is_in_order_and_filtered_by_archived(admin, site, now):
    Camera.objects.create(site=site, name="Yard")
    Camera.objects.create(site=site, name="Attic", archived_at=now)

    def names(**query):
        return [camera["name"] for camera in admin.get("/cameras/", **query).json()["cameras"]]

    assert names() == ["Attic", "Yard"]
    assert names(archived="true") == ["Attic"]
    assert names(archived="false") == ["Yard"]


def test_camera_that_does_not_exist_is_404_everywhere(admin):
    path = f"/cameras/{uuid.uuid4()}/"

    for answer in (
        admin.get(path),
        admin.put(path, {"name": "x"}),
        admin.delete(path),
        admin.post(f"{path}archive/"),
        admin.delete(f"{path}archive/"),
    ):
        assert answer.status_code == 404
        assert answer.json() == {"detail": "There is no such camera."}


def test_sites_are_those_of_visible_cameras(admin, dev, site):
    Camera.objects.create(site=site, name="Gate")
    harbour = Site.objects.create(name="Harbour", time_zone="Europe/Berlin", bandwidth_limit="20 Mbit/s")
    Camera.objects.create(site=harbour, name="Vault", is_private=True)

    sites = admin.get("/sites/").json()["sites"]

    assert [found["name"] for found in sites] == ["Depot", "Harbour"]
    assert sites[1] == {
        "id": str(harbour.pk),
        "name": "Harbour",
        "time_zone": "Europe/Berlin",
        "bandwidth_limit": "20 Mbit/s",
        "bandwidth_bytes_per_second": 2_500_000,
    }
    assert sites[0]["bandwidth_bytes_per_second"] is None
    assert [found["name"] for found in dev.get("/sites/").json()["sites"]] == ["Depot"]
