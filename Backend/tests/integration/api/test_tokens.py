"""Logging in and out, tokens that are no good, and failures that are slowed and locked out."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import jwt
import pytest
from django.conf import settings as django_settings
from django.db.models import F
from django.utils import timezone
from ninja_jwt.tokens import AccessToken, RefreshToken

from apps.users.models import LoginFailures, Role, TokenFamily, User
from apps.users.tokens import tokens_issue
from tests.conftest import PASSWORD
from tests.integration.api.conftest import Api
from tests.threads import all_at_once

PROTECTED = "/recordings/"


def log_in(api: Api, username: str = "admin", password: str = PASSWORD):
    return api.post("/token/", {"username": username, "password": password})


def age_failures(seconds: float) -> None:
    """As if the failures so far had happened that long ago."""
    past = timedelta(seconds=seconds)
    LoginFailures.objects.update(wait_until=F("wait_until") - past, expires_at=F("expires_at") - past)


# --- Logging in -----------------------------------------------------------------------------------
def test_a_login_answers_with_tokens_and_the_user(anonymous, admin_user):
    answer = log_in(anonymous)

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access", "refresh", "user"}
    assert body["user"] == {"id": admin_user.pk, "username": "admin", "role": "admin"}
    assert Api(token=body["access"]).get(PROTECTED).status_code == 200


def test_login_sets_no_cookie_and_notes_its_time(anonymous, admin_user):
    answer = log_in(anonymous)

    assert not answer.cookies
    admin_user.refresh_from_db()
    assert admin_user.last_login is not None


@pytest.mark.parametrize(("username", "password"), [("admin", "wrong"), ("unknown", PASSWORD), ("ADMIN", PASSWORD)])
def test_wrong_name_and_wrong_password_are_told_alike(anonymous, admin_user, username, password):
    answer = log_in(anonymous, username, password)

    assert answer.status_code == 401
    assert answer.json() == {"detail": "No active account has that name and password."}


def test_an_inactive_user_cannot_log_in(anonymous, admin_user):
    User.objects.update(is_active=False)

    assert log_in(anonymous).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "admin"},
        {"username": None, "password": "x"},
        {"username": ["admin"], "password": "x"},
        {"username": "a\0", "password": "x"},
        {"username": "\ud800", "password": "x"},
        {"username": "x" * 151, "password": "x"},
        {"username": "admin", "password": "x" * 1025},
        [],
        "admin",
        None,
    ],
)
def test_malformed_login_is_422_and_repeats_nothing(anonymous, body):
    answer = anonymous.post("/token/", body)

    assert answer.status_code == 422
    assert set(answer.json()["errors"][0]) == {"type", "loc", "msg"}


# --- Slowed, then locked out ----------------------------------------------------------------------
def test_failures_are_slowed_more_and_more_then_locked_out(anonymous, admin_user):
    waits = []
    for _ in range(5):
        answer = log_in(anonymous, password="wrong")
        waits.append((answer.status_code, answer.headers.get("Retry-After")))
        age_failures(8)
    assert waits == [(401, None)] * 4 + [(429, "900")]

    answer = log_in(anonymous)  # even with the right password
    assert answer.status_code == 429
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "Too many attempts to log in" in answer.json()["detail"]

    age_failures(15 * 60)
    assert log_in(anonymous).status_code == 200


def test_attempt_that_comes_too_early_is_not_even_tried(anonymous, admin_user):
    for _ in range(2):
        assert log_in(anonymous, password="wrong").status_code == 401

    early = log_in(anonymous)  # the right password, too early

    assert early.status_code == 429
    assert 1 <= int(early.headers["Retry-After"]) <= 2
    age_failures(3)
    assert log_in(anonymous).status_code == 200


def test_the_waiting_time_doubles(anonymous, admin_user):
    seconds = []
    for _ in range(4):
        log_in(anonymous, password="wrong")
        waits = LoginFailures.objects.filter(wait_until__gt=timezone.now()).values_list("wait_until", flat=True)
        seconds.append(round(max(((at - timezone.now()).total_seconds() for at in waits), default=0)))
        age_failures(8)

    assert seconds == [0, 1, 2, 4]


def test_hammering_is_locked_out(anonymous, admin_user):
    statuses = [log_in(anonymous, password="wrong").status_code for _ in range(8)]

    assert statuses == [401, 401, 429, 429, 429, 429, 429, 429]
    age_failures(60)
    assert log_in(anonymous).status_code == 429


def test_a_login_forgets_the_failures_before_it(anonymous, admin_user):
    for _ in range(3):
        log_in(anonymous, password="wrong")
        age_failures(8)
    assert log_in(anonymous).status_code == 200

    assert [log_in(anonymous, password="wrong").status_code for _ in range(2)] == [401, 401]


def test_one_users_lock_out_locks_no_other_user_out(anonymous, admin_user, dev_user):
    for _ in range(6):
        log_in(anonymous, password="wrong")

    assert log_in(anonymous, "dev").status_code == 200


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain"])
def test_a_refused_password_is_stored_and_logged_nowhere(client, admin_user, caplog, content_type):
    body = b'{"username": "admin", "password": "my secret & almost right"}'

    answer = client.generic("POST", "/api/v0/token/", body, content_type=content_type)

    assert answer.status_code == 401
    assert "secret" not in repr(list(LoginFailures.objects.values()))
    assert "secret" not in caplog.text


def test_password_in_a_multipart_body_is_not_even_read(client, admin_user, caplog):
    answer = client.generic("POST", "/api/v0/token/", b"my secret", content_type="multipart/form-data; boundary=x")

    assert answer.status_code == 415
    assert not LoginFailures.objects.exists()
    assert "secret" not in caplog.text


# --- Refresh and logout ---------------------------------------------------------------------------
def test_a_refresh_token_gives_a_new_pair_once(anonymous, admin_user):
    pair = tokens_issue(admin_user)

    first = anonymous.post("/token/refresh/", {"refresh": pair.refresh})
    second = anonymous.post("/token/refresh/", {"refresh": pair.refresh})

    assert first.status_code == 200
    assert set(first.json()) == {"access", "refresh"}
    assert Api(token=first.json()["access"]).get(PROTECTED).status_code == 200
    assert second.status_code == 401
    assert second.json() == {"detail": "The token is invalid or expired."}


def test_refresh_token_used_twice_ends_only_its_family(anonymous, admin_user):
    stolen, elsewhere = tokens_issue(admin_user), tokens_issue(admin_user)
    thief = anonymous.post("/token/refresh/", {"refresh": stolen.refresh}).json()
    thief = anonymous.post("/token/refresh/", {"refresh": thief["refresh"]}).json()

    assert anonymous.post("/token/refresh/", {"refresh": stolen.refresh}).status_code == 401

    assert anonymous.post("/token/refresh/", {"refresh": thief["refresh"]}).status_code == 401
    assert anonymous.post("/token/refresh/", {"refresh": elsewhere.refresh}).status_code == 200


def test_logging_out_with_an_old_token_ends_its_successors(anonymous, admin_user):
    first = tokens_issue(admin_user)
    later = anonymous.post("/token/refresh/", {"refresh": first.refresh}).json()

    assert anonymous.post("/token/logout/", {"refresh": first.refresh}).status_code == 204
    assert anonymous.post("/token/refresh/", {"refresh": later["refresh"]}).status_code == 401


def test_refreshing_leaves_one_row_for_each_sign_in(anonymous, admin_user):
    pair = {"refresh": tokens_issue(admin_user).refresh}
    for _ in range(5):
        pair = anonymous.post("/token/refresh/", {"refresh": pair["refresh"]}).json()
    assert TokenFamily.objects.count() == 1

    TokenFamily.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    tokens_issue(admin_user)
    assert TokenFamily.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_uses_of_a_refresh_token_one_wins(admin_user):
    pair = tokens_issue(admin_user)

    statuses = all_at_once(4, lambda: Api().post("/token/refresh/", {"refresh": pair.refresh}).status_code)

    assert sorted(statuses) == [200, 401, 401, 401]


def test_logging_out_ends_the_refresh_token(anonymous, admin_user):
    pair = tokens_issue(admin_user)

    assert anonymous.post("/token/logout/", {"refresh": pair.refresh}).status_code == 204
    assert anonymous.post("/token/refresh/", {"refresh": pair.refresh}).status_code == 401
    assert anonymous.post("/token/logout/", {"refresh": pair.refresh}).status_code == 401


def test_access_and_refresh_tokens_do_not_replace_each_other(anonymous, admin_user):
    pair = tokens_issue(admin_user)

    assert anonymous.post("/token/refresh/", {"refresh": pair.access}).status_code == 401
    assert Api(token=pair.refresh).get(PROTECTED).status_code == 401


def test_a_token_pair_does_not_show_its_tokens(admin_user):
    pair = tokens_issue(admin_user)

    assert pair.access not in repr(pair)
    assert pair.refresh not in repr(pair)


# --- Tokens that are no good ----------------------------------------------------------------------
def claims_of(token: str) -> dict:
    return jwt.decode(token, options={"verify_signature": False})


def unsigned(claims: dict, header: dict) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join(parts) + "."


def expired(user: User) -> str:
    token = AccessToken(tokens_issue(user).access)
    token.set_exp(from_time=timezone.now() - timedelta(hours=1), lifetime=timedelta(seconds=1))
    return str(token)


def of_another_key(user: User) -> str:
    return jwt.encode(claims_of(tokens_issue(user).access), "another key that is long enough for HS256", "HS256")


def with_another_algorithm(user: User) -> str:
    return jwt.encode(claims_of(tokens_issue(user).access), django_settings.SECRET_KEY.ljust(64, "x"), "HS512")


def with_no_algorithm(user: User) -> str:
    return unsigned(claims_of(tokens_issue(user).access), {"alg": "none", "typ": "JWT"})


def of_a_longer_life(user: User) -> str:
    header, _, signature = tokens_issue(user).access.split(".")
    claims = claims_of(tokens_issue(user).access) | {"exp": 9_999_999_999}
    return f"{header}.{unsigned(claims, {}).split('.')[1]}.{signature}"


def without_the_password_print(user: User) -> str:
    return str(AccessToken.for_user(user))


def of_a_user_who_is_gone(user: User) -> str:
    gone = User.objects.create_user("gone", password=PASSWORD, role=Role.SUPERADMIN)
    access = tokens_issue(gone).access
    gone.delete()
    return access


def with_claims(**claims: object):
    """Signed with our own key, so that only the claims are no good."""

    def make(user: User) -> str:
        return jwt.encode(claims_of(tokens_issue(user).access) | claims, django_settings.SECRET_KEY, "HS256")

    make.__name__ = "_".join(f"{name}={value!r}"[:40] for name, value in claims.items())
    return make


STRANGE_VALUES = ["abc", "", "1 ", "\x00", "\ud800", "ü", -1, 0, 2**63, 2**200, 1.5, 1e300, True, None, [1], {"a": 1}]
HARMLESS = {f"exp={value!r}"[:40] for value in (2**63, 2**200, 1e300)}
"""A life that never ends, signed by us."""
STRANGE_CLAIMS = [
    with_claims(**{name: value}) for name in ("user_id", "pwd", "exp", "token_type") for value in STRANGE_VALUES
]


def refresh_token(user: User) -> str:
    return str(RefreshToken.for_user(user))


@pytest.mark.parametrize(
    "make",
    [
        expired,
        of_another_key,
        with_another_algorithm,
        with_no_algorithm,
        of_a_longer_life,
        without_the_password_print,
        of_a_user_who_is_gone,
        refresh_token,
        *(make for make in STRANGE_CLAIMS if make.__name__ not in HARMLESS),
    ],
    ids=lambda make: make.__name__,
)
def test_a_token_that_is_no_good_is_401(admin_user, make):
    answer = Api(token=make(admin_user)).get(PROTECTED)

    assert answer.status_code == 401
    assert answer.json() == {"detail": "The token is invalid or expired."}
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("value", STRANGE_VALUES)
@pytest.mark.parametrize("claim", ["user_id", "pwd", "exp", "jti", "family", "token_type"])
def test_refresh_token_with_a_strange_claim_is_401(anonymous, admin_user, claim, value):
    claims = claims_of(tokens_issue(admin_user).refresh) | {claim: value}
    token = jwt.encode(claims, django_settings.SECRET_KEY, "HS256")

    statuses = {anonymous.post(f"/token/{way}/", {"refresh": token}).status_code for way in ("refresh", "logout")}

    assert statuses <= {200, 204, 401}
    assert 500 not in statuses


@pytest.mark.parametrize(
    "token",
    ["", " ", "x", "a.b.c", "...", "ü.ü.ü", "null", "e30.e30.e30", unsigned({}, {"alg": ["HS256"]}), unsigned([], {})],  # type: ignore[arg-type]
)
def test_nonsense_for_a_token_is_401(db, token):
    assert Api(token=token).get(PROTECTED).status_code == 401
    assert Api().post("/token/refresh/", {"refresh": token}).status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YWRtaW46c2VjcmV0", "Token x", "bearer\tx"])
def test_another_kind_of_authorization_is_401_and_never_logged(client, db, settings, caplog, header):
    settings.DEBUG = True

    answer = client.get("/api/v0/recordings/", headers={"authorization": header} if header else {})

    assert answer.status_code == 401
    assert "YWRtaW46c2VjcmV0" not in caplog.text


def test_a_token_of_one_user_is_never_another(admin_user, dev_user, camera):
    """The claims of one under the signature of the other."""
    mine, theirs = tokens_issue(dev_user).access.split("."), tokens_issue(admin_user).access.split(".")
    mixed = f"{mine[0]}.{theirs[1]}.{mine[2]}"

    assert Api(token=mixed).get(PROTECTED).status_code == 401
    assert Api(token=".".join(mine)).delete(f"/cameras/{camera.pk}/").status_code == 403


# --- What changes while a token lives -------------------------------------------------------------
def test_a_changed_role_is_effective_at_once(admin_user, bucket):
    api = Api(admin_user)
    assert api.post("/recordings/transfer-to-gcp/", {"recording_ids": []}).status_code == 200

    User.objects.update(role=Role.DEV)
    assert api.post("/recordings/transfer-to-gcp/", {"recording_ids": []}).status_code == 403
    User.objects.update(role=Role.VISITOR)
    assert api.get(PROTECTED).status_code == 403


def test_a_user_made_inactive_is_out_at_once(anonymous, admin_user):
    pair = tokens_issue(admin_user)
    User.objects.update(is_active=False)

    assert Api(token=pair.access).get(PROTECTED).status_code == 401
    assert anonymous.post("/token/refresh/", {"refresh": pair.refresh}).status_code == 401


def test_a_changed_password_ends_every_token(anonymous, admin_user):
    pair = tokens_issue(admin_user)
    admin_user.set_password("another password")
    admin_user.save()

    assert Api(token=pair.access).get(PROTECTED).status_code == 401
    assert anonymous.post("/token/refresh/", {"refresh": pair.refresh}).status_code == 401
