"""Every route and every role, against the table of the contract."""

from __future__ import annotations

import re

import pytest

from apps.cctv import actions
from apps.cctv.api import api
from apps.cctv.models import Camera, CameraGrant, GCPVideoTransfer
from apps.users.models import Role, User
from apps.users.permissions import Permission
from offload.states import State
from tests.integration.api.conftest import Api
from tests.integration.db import rows

OPEN, VIEW, MANAGE = "open", Permission.VIEW, Permission.MANAGE

ROUTES = {
    ("POST", "/token/"): OPEN,
    ("POST", "/token/refresh/"): OPEN,
    ("POST", "/token/logout/"): OPEN,
    ("POST", "/recordings/transfer-to-gcp/"): MANAGE,
    ("GET", "/recordings/gcp-transfers/"): VIEW,
    ("GET", "/recordings/gcp-transfers/{transfer_id}/"): VIEW,
    ("POST", "/recordings/gcp-transfers/{transfer_id}/retry/"): MANAGE,
    ("POST", "/recordings/gcp-transfers/{transfer_id}/cancel/"): MANAGE,
    ("GET", "/recordings/"): VIEW,
    ("GET", "/recordings/stats/"): VIEW,
    ("GET", "/recordings/{recording_id}/"): VIEW,
    ("POST", "/recordings/{recording_id}/hold/"): MANAGE,
    ("DELETE", "/recordings/{recording_id}/hold/"): MANAGE,
    ("GET", "/sites/"): VIEW,
    ("GET", "/cameras/"): VIEW,
    ("POST", "/cameras/"): MANAGE,
    ("GET", "/cameras/{camera_id}/"): VIEW,
    ("PUT", "/cameras/{camera_id}/"): MANAGE,
    ("DELETE", "/cameras/{camera_id}/"): MANAGE,
    ("POST", "/cameras/{camera_id}/archive/"): MANAGE,
    ("DELETE", "/cameras/{camera_id}/archive/"): MANAGE,
}

TABLE = {
    Role.SUPERADMIN: {Permission.VIEW, Permission.MANAGE, Permission.ADMINISTER},
    Role.ADMIN: {Permission.VIEW, Permission.MANAGE},
    Role.DEV: {Permission.VIEW},
    Role.VISITOR: set(),
}

ROUTES_OF_ACTIONS = {
    actions.TRANSFER: ("POST", "/recordings/transfer-to-gcp/"),
    actions.RETRY: ("POST", "/recordings/gcp-transfers/{transfer_id}/retry/"),
    actions.CANCEL: ("POST", "/recordings/gcp-transfers/{transfer_id}/cancel/"),
    actions.HOLD: ("POST", "/recordings/{recording_id}/hold/"),
    actions.LIFT_HOLD: ("DELETE", "/recordings/{recording_id}/hold/"),
    actions.ARCHIVE: ("POST", "/cameras/{camera_id}/archive/"),
    actions.UNARCHIVE: ("DELETE", "/cameras/{camera_id}/archive/"),
}

SECURED = [route for route, wanted in ROUTES.items() if wanted != OPEN]


def test_table_above_names_every_route_of_the_document():
    paths = api.get_openapi_schema()["paths"]
    found = {(method.upper(), path.removeprefix("/api/v0")) for path, item in paths.items() for method in item}

    assert found == set(ROUTES)


@pytest.mark.parametrize("action", ROUTES_OF_ACTIONS, ids=lambda action: action.name)
def test_a_route_asks_the_permission_of_its_action(action):
    assert ROUTES[ROUTES_OF_ACTIONS[action]] == action.permission


@pytest.fixture
def things(make_recording, bucket) -> dict[str, str]:
    """An id for each kind of path parameter; every route with them succeeds for who may call it."""
    recording = make_recording()
    return {
        "recording_id": str(recording.pk),
        "camera_id": str(Camera.objects.create(site=recording.camera.site, name="Unused").pk),
        "transfer_id": str(rows.transfer(State.PENDING, of=recording).pk),
    }


BODIES = {
    ("POST", "/recordings/{recording_id}/hold/"): {"reason": "a case"},
    ("POST", "/cameras/"): {"name": "New"},
    ("PUT", "/cameras/{camera_id}/"): {"name": "Changed"},
}


@pytest.mark.parametrize(("method", "path"), SECURED)
@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_call_what_the_table_says(things, role, method, path):
    user = User.objects.create_user(username=f"a-{role}", role=role)
    if path.endswith("/retry/"):
        GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code="cancelled")

    answer = Api(user)(method, path.format(**things), BODIES.get((method, path)))

    if ROUTES[method, path] in TABLE[role]:
        assert answer.status_code in {200, 201, 204}, answer.content
    else:
        assert answer.status_code == 403
        assert answer.json() == {"detail": f"The role {role} may not {ROUTES[method, path]}."}


@pytest.mark.parametrize(("method", "path"), SECURED)
def test_secured_route_refuses_a_call_without_a_token(things, anonymous, method, path):
    answer = anonymous(method, path.format(**things), BODIES.get((method, path)))

    assert answer.status_code == 401
    assert answer.json() == {"detail": "Expected a bearer token."}


@pytest.mark.parametrize(("method", "path"), SECURED)
def test_who_may_not_call_learns_nothing_of_the_parameters(visitor, method, path):
    nonsense = re.sub(r"{\w+}", "nonsense", path)

    assert visitor(method, nonsense, b"{nonsense").status_code == 403


# --- Private cameras ------------------------------------------------------------------------------
@pytest.fixture
def private(make_recording, camera, bucket):
    """A transfer of a private camera; beside it a public one's."""
    hidden = Camera.objects.create(site=camera.site, name="Lobby", is_private=True)
    rows.transfer(State.PENDING, of=make_recording("public.mp4"))
    return rows.transfer(State.PENDING, of=make_recording("private.mp4", camera=hidden))


def seen_by(api: Api, transfer: GCPVideoTransfer) -> dict[str, int]:
    """How many cameras, recordings and transfers the lists and sums show, and the status of the details."""
    recording = transfer.recording
    return {
        "cameras": len(api.get("/cameras/").json()["cameras"]),
        "recordings": len(api.get("/recordings/").json()["recordings"]),
        "transfers": len(api.get("/recordings/gcp-transfers/").json()["transfers"]),
        "total_count": api.get("/recordings/gcp-transfers/").json()["total_count"],
        "stats": api.get("/recordings/stats/").json()["total_count"],
        "camera": api.get(f"/cameras/{recording.camera_id}/").status_code,
        "recording": api.get(f"/recordings/{recording.pk}/").status_code,
        "transfer": api.get(f"/recordings/gcp-transfers/{transfer.pk}/").status_code,
    }


ALL = {"cameras": 2, "recordings": 2, "transfers": 2, "total_count": 2, "stats": 2}
SOME = dict.fromkeys(ALL, 1)


def test_private_camera_is_hidden_from_dev_without_grant(private, dev, admin):
    assert seen_by(dev, private) == SOME | {"camera": 404, "recording": 404, "transfer": 404}
    assert seen_by(admin, private) == ALL | {"camera": 200, "recording": 200, "transfer": 200}


def test_grant_shows_a_private_camera_to_that_dev_only(private, dev, dev_user):
    other = User.objects.create_user(username="other", role=Role.DEV)
    CameraGrant.objects.create(camera=private.recording.camera, user=dev_user)

    assert seen_by(dev, private) == ALL | {"camera": 200, "recording": 200, "transfer": 200}
    assert seen_by(Api(other), private) == SOME | {"camera": 404, "recording": 404, "transfer": 404}


def test_filtering_by_a_private_camera_shows_nothing(private, dev):
    camera_id = str(private.recording.camera_id)

    assert dev.get("/recordings/", camera_id=camera_id).json()["recordings"] == []
    assert dev.get("/recordings/gcp-transfers/", camera_id=camera_id).json()["transfers"] == []
    assert dev.get("/recordings/gcp-transfers/", search="Lobby").json()["transfers"] == []


def test_a_grant_gives_a_visitor_nothing(private, visitor, visitor_user):
    CameraGrant.objects.create(camera=private.recording.camera, user=visitor_user)

    assert visitor.get("/cameras/").status_code == 403
