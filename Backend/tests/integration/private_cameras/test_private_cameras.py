"""Nothing of what one may not see, anywhere: every page and every API route, as each role, searched for it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, Model, TextField
from django.test import Client

from apps.cctv.models import Alarm, Camera, CameraGrant, PeriodicJob, Site, TransferBatch, WorkerProcess
from apps.users.models import Role, User
from apps.users.tokens import tokens_issue
from tests.integration.admin import pages, scene
from tests.integration.private_cameras.private_camera import ASKED_FOR, HIDDEN, Installation, addresses, installation

pytestmark = pytest.mark.django_db
BLIND = [Role.DEV, Role.VISITOR, None]


@pytest.fixture
def found(media_root: Any, bucket: str) -> Installation:
    return installation(scene.person(Role.SUPERADMIN, "ada"))


def client_of(role: Role | None) -> Client:
    client = Client(raise_request_exception=False)
    if role is not None:
        user = scene.person(role)
        client.force_login(user)
        client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {tokens_issue(user).access}"
    return client


def leaks(found: Installation, answer: Any, asked: str = "") -> list[str]:
    headers = " ".join(f"{name}: {value}" for name, value in answer.headers.items())
    return found.shown(f"{headers} {answer.content.decode()}", asked)


@pytest.mark.parametrize("role", BLIND)
def test_no_page_or_route_tells_of_a_private_camera(role: Role | None, found: Installation) -> None:
    client = client_of(role)
    leaking = {}
    walked = sorted(set(addresses(found)))
    for address in walked:
        answer = client.get(address)
        assert answer.status_code < 500, address
        if words := leaks(found, answer, address):
            leaking[address] = (answer.status_code, words)
    assert leaking == {}
    assert len(walked) > 300


@pytest.mark.parametrize("role", [Role.DEV, Role.VISITOR])
def test_no_refusal_tells_of_a_private_camera(role: Role, found: Installation) -> None:
    client = client_of(role)
    for address in sorted(set(addresses(found))):
        for method in ("POST", "PUT", "DELETE") if address.startswith("/api/") else ("POST",):
            answer = client.generic(method, address, b"{}", content_type="application/json")
            assert answer.status_code < 500, (method, address)
            assert leaks(found, answer, address) == [], (method, address)


@pytest.mark.parametrize("role", BLIND)
def test_no_search_and_no_filter_finds_a_private_camera(role: Role | None, found: Installation) -> None:
    client = client_of(role)
    lists = [pages.list_of(model) for model in pages.models()] + [
        f"/api/v0{path}" for path in ("/recordings/", "/recordings/gcp-transfers/", "/cameras/", "/sites/")
    ]
    one_of_each = {type(row): str(row.pk) for row in found.hidden_rows if not isinstance(row, Alarm)}
    wanted = [ASKED_FOR, *one_of_each.values()]
    for address in lists:
        for text in wanted:
            for names in (("q", "search", "camera_id"), ("camera",), ("site",), ("batch__id__exact",)):
                answer = client.get(address, dict.fromkeys(names, text))
                assert leaks(found, answer, text) == [], (address, names)
        for column in range(1, 9):
            assert leaks(found, client.get(address, {"o": column})) == []
    assert leaks(found, client.get("/admin/search/", {"s": ASKED_FOR})) == []


def test_no_list_to_choose_from_has_a_private_camera(found: Installation) -> None:
    client = client_of(Role.DEV)
    for model in pages.models():
        for relation in (column for column in model._meta.get_fields() if column.is_relation):
            asked = {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "term": ASKED_FOR}
            answer = client.get("/admin/autocomplete/", {**asked, "field_name": relation.name})
            assert leaks(found, answer, ASKED_FOR) == []


@pytest.mark.parametrize("model", pages.models(), ids=lambda model: model.__name__)
def test_no_lookup_spells_out_what_is_hidden(model: type[Model], found: Installation) -> None:
    """Asked for the right beginning and for a wrong one, each list answers the same."""
    client = client_of(Role.DEV)
    for lookup in _text_lookups(model):
        right, wrong = (client.get(pages.list_of(model), {f"{lookup}__startswith": text}) for text in (HIDDEN, "zzz"))
        assert _told(right) == _told(wrong), lookup


@pytest.mark.parametrize("role", [Role.DEV, Role.SUPERADMIN])
def test_alarms_workers_jobs_and_batches_follow_visibility(role: Role, found: Installation) -> None:
    client = client_of(role)
    text = {
        model: client.get(pages.list_of(model)).content.decode()
        for model in (Alarm, WorkerProcess, PeriodicJob, TransferBatch)
    }
    text[Site] = client.get(pages.FRONT).content.decode()
    sees = role is Role.SUPERADMIN
    assert {model.__name__: bool(found.shown(page)) for model, page in text.items()} == {
        **dict.fromkeys(("Alarm", "WorkerProcess", "PeriodicJob", "Site"), sees),
        "TransferBatch": sees,
    }
    assert "permission_denied" in text[Alarm]
    assert "nvr:4711" in text[WorkerProcess]
    assert f"sweep@{found.rows(Site)[0].pk}" in text[PeriodicJob]
    assert str(found.rows(TransferBatch)[0].pk) in text[TransferBatch]


@pytest.mark.parametrize("what", ["change", "history", "delete"])
def test_what_is_not_yours_to_see_is_not_there(what: str, found: Installation) -> None:
    client = client_of(Role.DEV)
    for row in found.hidden_rows:
        if not isinstance(row, Alarm):
            assert client.get(pages.page_of(row, what)).status_code in ({403, 404} if what == "delete" else {404}), row


def test_dev_with_every_grant_reads_alarms_in_full(found: Installation) -> None:
    client = client_of(Role.DEV)
    dev = User.objects.get(role=Role.DEV)
    page = pages.list_of(Alarm)
    assert not found.shown(client.get(page).content.decode())

    for camera in Camera.objects.filter(is_private=True):
        CameraGrant.objects.create(camera=camera, user=dev)

    assert found.shown(client.get(page).content.decode())


def _text_lookups(model: type[Model], prefix: str = "", depth: int = 2) -> list[str]:
    found = []
    for column in model._meta.get_fields():
        name = column.name if not column.auto_created or column.concrete else column.get_accessor_name() or column.name
        try:
            model._meta.get_field(column.name)
        except FieldDoesNotExist:
            continue
        if column.is_relation and depth:
            found += _text_lookups(column.related_model, f"{prefix}{column.name}__", depth - 1)
        elif isinstance(column, CharField | TextField):
            found.append(f"{prefix}{name}")
    return found


def _told(answer: Any) -> Any:
    context = answer.context
    return answer.status_code, None if context is None or "cl" not in context else len(context["cl"].result_list)


def test_every_model_with_pages_is_walked(found: Installation) -> None:
    kinds = {type(row) for row in (*found.open_rows, *found.hidden_rows)} | {User}
    assert set(admin.site._registry) == kinds
