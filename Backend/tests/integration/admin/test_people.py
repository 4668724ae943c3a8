"""Signing in, and who administers people."""

from __future__ import annotations

from typing import Any

import pytest

from apps.users.models import Role, User
from tests.form_client import FormClient as Client
from tests.integration.admin import pages
from tests.integration.db import rows

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"
NEW = {"username": "grace", "role": "dev", "password1": "correct horse battery", "password2": "correct horse battery"}


def sign_in(username: str, password: str = rows.PASSWORD, client: Client | None = None) -> Any:
    return (client or Client()).post(LOGIN, {"username": username, "password": password, "next": pages.FRONT})


def refusal(answer: Any) -> str:
    assert answer.status_code == 200
    return " ".join(answer.context["form"].non_field_errors())


@pytest.mark.parametrize("role", [Role.SUPERADMIN, Role.ADMIN, Role.DEV])
def test_each_role_that_views_signs_in(role: Role) -> None:
    rows.user(role)
    client = Client()
    answer = sign_in(role, client=client)
    assert (answer.status_code, answer.headers["Location"]) == (302, pages.FRONT)
    assert client.get(pages.FRONT).status_code == 200


def test_visitor_is_told_that_the_role_opens_nothing() -> None:
    rows.user(Role.VISITOR)
    assert "role does not open" in refusal(sign_in("visitor"))


def test_every_failed_sign_in_is_told_the_same() -> None:
    rows.user(Role.ADMIN)
    rows.user(Role.DEV, is_active=False)
    told = {
        refusal(sign_in(name, word)) for name, word in (("admin", "wrong"), ("nobody", "x"), ("dev", rows.PASSWORD))
    }
    assert told == {"This name and this password do not belong together."}


def test_repeated_failures_are_slowed_then_locked_out(settings: Any) -> None:
    settings.COLDREEL_LOGIN_FAILURE_LIMIT = 3
    rows.user(Role.ADMIN)
    told = [refusal(sign_in("admin", "wrong")) for _ in range(6)]
    assert "welcome in" in told[-1]
    assert "welcome in" in refusal(sign_in("admin"))
    assert sign_in("admin").status_code == 200


def test_signing_in_leads_to_no_other_site() -> None:
    rows.user(Role.ADMIN)
    answer = Client().post(LOGIN, {"username": "admin", "password": rows.PASSWORD, "next": "https://evil.example/"})
    assert answer.headers["Location"] == pages.FRONT
    deep = pages.list_of(User)
    answer = Client().post(LOGIN, {"username": "admin", "password": rows.PASSWORD, "next": deep})
    assert answer.headers["Location"] == deep


# --- Users ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("role", [Role.ADMIN, Role.DEV])
def test_only_a_superadmin_administers_people(role: Role) -> None:
    somebody = rows.user(Role.VISITOR, username="somebody")
    client = pages.signed_in(rows.user(role))
    for address in (pages.list_of(User), pages.add_of(User), pages.page_of(somebody)):
        assert client.get(address).status_code == 403
    assert client.post(pages.add_of(User), NEW).status_code == 403
    assert client.post(pages.page_of(somebody), {"username": "somebody", "role": "superadmin"}).status_code == 403
    password = f"/admin/users/user/{somebody.pk}/password/"
    assert client.post(password, {"password1": "another horse", "password2": "another horse"}).status_code == 403
    assert "Users" not in client.get(pages.FRONT).content.decode()


def test_superadmin_adds_a_person_with_a_hashed_password(superadmin_user: User) -> None:
    client = pages.signed_in(superadmin_user)
    assert client.post(pages.add_of(User), NEW).status_code == 302
    grace = User.objects.get(username="grace")
    assert (grace.role, grace.is_superuser) == (Role.DEV, False)
    assert NEW["password1"] not in grace.password
    assert grace.check_password(NEW["password1"])
    assert sign_in("grace").status_code == 302


def test_a_superadmin_changes_a_role_and_a_password(superadmin_user: User) -> None:
    grace = rows.user(Role.DEV, username="grace")
    client = pages.signed_in(superadmin_user)
    fields = {"username": "grace", "role": "admin", "is_active": "on"}
    assert client.post(pages.page_of(grace), fields).status_code == 302
    words = {"password1": "another horse battery", "password2": "another horse battery", "usable_password": "true"}
    assert client.post(f"/admin/users/user/{grace.pk}/password/", words).status_code == 302
    grace.refresh_from_db()
    assert grace.role == Role.ADMIN
    assert grace.check_password("another horse battery")


@pytest.mark.parametrize("change", [{"role": "admin", "is_active": "on"}, {"role": "superadmin"}])
def test_the_last_superadmin_stays_one(change: dict[str, str], superadmin_user: User) -> None:
    client = pages.signed_in(superadmin_user)
    assert client.post(pages.page_of(superadmin_user), {"username": "superadmin", **change}).status_code == 200
    superadmin_user.refresh_from_db()
    assert (superadmin_user.role, superadmin_user.is_active) == (Role.SUPERADMIN, True)


def test_one_superadmin_of_two_may_step_down(superadmin_user: User) -> None:
    rows.user(Role.SUPERADMIN, username="ada")
    client = pages.signed_in(superadmin_user)
    change = {"username": "superadmin", "role": "admin", "is_active": "on"}
    assert client.post(pages.page_of(superadmin_user), change).status_code == 302
    superadmin_user.refresh_from_db()
    assert superadmin_user.role == Role.ADMIN


def test_no_person_is_deleted(superadmin_user: User) -> None:
    grace = rows.user(Role.DEV, username="grace")
    client = pages.signed_in(superadmin_user)
    assert client.post(pages.page_of(grace, "delete"), {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=grace.pk).exists()


def test_no_page_shows_a_password_s_hash(superadmin_user: User) -> None:
    client = pages.signed_in(superadmin_user)
    secret = superadmin_user.password.split("$")[-1]
    for address in (pages.list_of(User), pages.page_of(superadmin_user), pages.FRONT):
        assert secret not in client.get(address).content.decode()
    assert client.get(pages.list_of(User), {"password__startswith": "md5"}).status_code == 400


def test_tokens_and_groups_have_no_pages(superadmin_user: User) -> None:
    client = pages.signed_in(superadmin_user)
    for name in ("token_blacklist/outstandingtoken", "token_blacklist/blacklistedtoken", "auth/group", "axes/accessattempt"):  # fmt: skip
        assert client.get(f"/admin/{name}/").status_code == 404
