"""Many sign-ins: from one address or many, one after another or all at once, behind a proxy or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connections
from django.db.models import F
from django.test import Client

from apps.users.models import LoginFailures, Role, User
from tests import counting_hasher
from tests.conftest import PASSWORD
from tests.counting_hasher import Counted, CountingHasher
from tests.form_client import FormClient

pytestmark = pytest.mark.django_db(transaction=True)
LIMIT, ADDRESS_LIMIT = 5, 50


@pytest.fixture
def checks(settings) -> Iterator[Counted]:
    """Counts the passwords that are checked from now on."""
    settings.PASSWORD_HASHERS = [counting_hasher.NAME]
    User.objects.create(username="admin", password=make_password(PASSWORD), role=Role.ADMIN)
    CountingHasher.counted = Counted()
    return CountingHasher.counted


def sign_in(username: str = "admin", password: str = "wrong", *, peer: str = "192.0.2.1", forwarded: str = "") -> int:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    body = {"username": username, "password": password}
    client = Client(headers=headers, REMOTE_ADDR=peer, raise_request_exception=False)
    return client.post("/api/v0/token/", body, content_type="application/json").status_code


def at_once(count: int, call: Callable[[int], int]) -> list[int]:
    ready, statuses = threading.Barrier(count), []

    def run(number: int) -> None:
        ready.wait()
        statuses.append(call(number))
        connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


def pass_by(**how_long: float) -> None:
    """As if all that had happened that long ago."""
    past = timedelta(**how_long)
    LoginFailures.objects.update(wait_until=F("wait_until") - past, expires_at=F("expires_at") - past)


# --- Guesses at once ------------------------------------------------------------------------------
def test_guesses_at_once_are_no_quicker_than_in_turn(checks: Counted) -> None:
    in_turn = [sign_in() for _ in range(40)]
    checked_in_turn = checks.runs
    LoginFailures.objects.all().delete()
    checks.runs = 0

    statuses = at_once(40, lambda _: sign_in())

    assert statuses.count(401) <= in_turn.count(401) == 2
    assert checks.runs <= checked_in_turn <= LIMIT
    assert sign_in(password=PASSWORD) == 429


def test_guesses_at_many_names_end_at_the_address_limit(checks: Counted) -> None:
    for _ in range(4):
        at_once(30, lambda number: sign_in(f"name-{threading.get_ident()}-{number}"))

    assert checks.runs <= ADDRESS_LIMIT
    assert LoginFailures.objects.count() <= ADDRESS_LIMIT + 1


def test_few_passwords_are_checked_at_a_time(checks: Counted) -> None:
    at_once(30, lambda number: sign_in(peer=f"192.0.2.{number + 1}"))

    assert checks.most_at_once <= 2


def test_right_password_at_once_from_many_places_is_served(checks: Counted) -> None:
    statuses = at_once(3, lambda number: sign_in(password=PASSWORD, peer=f"192.0.2.{number + 1}"))

    assert statuses == [200, 200, 200]


# --- Who is locked out ----------------------------------------------------------------------------
def test_guesses_from_one_address_lock_no_other_address_out(checks: Counted, settings) -> None:
    settings.COLDREEL_TRUSTED_PROXIES = 1
    for _ in range(10):
        sign_in(peer="10.0.0.2", forwarded="203.0.113.7")

    assert sign_in(password=PASSWORD, peer="10.0.0.2", forwarded="203.0.113.7") == 429
    assert sign_in(password=PASSWORD, peer="10.0.0.2", forwarded="203.0.113.8") == 200


def test_forged_header_is_no_way_round_the_lock_out(checks: Counted, settings) -> None:
    settings.COLDREEL_TRUSTED_PROXIES = 1
    for number in range(10):
        sign_in(peer="10.0.0.2", forwarded=f"198.51.100.{number}, 203.0.113.7")
    assert sign_in(password=PASSWORD, peer="10.0.0.2", forwarded="198.51.100.99, 203.0.113.7") == 429

    settings.COLDREEL_TRUSTED_PROXIES = 0
    for number in range(10):
        sign_in(forwarded=f"198.51.100.{number}")
    assert sign_in(password=PASSWORD, forwarded="198.51.100.99") == 429


def test_another_browser_is_no_way_round_the_lock_out(checks: Counted) -> None:
    body = {"username": "admin", "password": "wrong"}
    for number in range(20):
        FormClient(headers={"user-agent": f"browser {number}"}).post("/admin/login/", body)

    assert checks.runs > 0
    assert checks.runs <= LIMIT


# --- A flood of names -----------------------------------------------------------------------------
def test_flood_of_names_costs_no_passwords_and_no_rows(checks: Counted) -> None:
    statuses = [sign_in(f"name-{number}") for number in range(200)]

    assert statuses == [401] * (ADDRESS_LIMIT - 1) + [429] * (201 - ADDRESS_LIMIT)
    assert checks.runs == ADDRESS_LIMIT
    assert LoginFailures.objects.count() == ADDRESS_LIMIT + 1
    assert sign_in(password=PASSWORD) == 429
    assert sign_in(password=PASSWORD, peer="192.0.2.2") == 200


def test_all_addresses_of_an_ipv6_network_are_one(checks: Counted) -> None:
    for number in range(100):
        sign_in(f"name-{number}", peer=f"2001:db8:1:2::{number:x}")

    assert checks.runs == ADDRESS_LIMIT


def test_lock_out_of_an_address_ends_during_a_flood(checks: Counted) -> None:
    for number in range(ADDRESS_LIMIT + 10):
        sign_in(f"name-{number}")
    pass_by(minutes=8)
    assert [sign_in(f"other-{number}") for number in range(10)] == [429] * 10
    pass_by(minutes=8)

    assert sign_in(password=PASSWORD) == 200


def test_own_sign_in_keeps_the_count_of_the_address(checks: Counted) -> None:
    User.objects.create(username="mallory", password=make_password(PASSWORD), role=Role.VISITOR)
    checks.runs = 0
    for number in range(ADDRESS_LIMIT + 10):
        sign_in(f"name-{number}")
        sign_in("mallory", PASSWORD)

    assert LoginFailures.objects.count() == ADDRESS_LIMIT + 1


def test_rows_of_the_past_are_removed(checks: Counted) -> None:
    for number in range(20):
        sign_in(f"name-{number}", peer=f"192.0.2.{number}")
    pass_by(minutes=16)

    sign_in(peer="192.0.2.99")

    assert LoginFailures.objects.count() == 2


def test_no_name_and_no_address_is_kept(checks: Counted) -> None:
    """A name that does not exist is often a password in the wrong field."""
    sign_in("my-secret", peer="192.0.2.1")

    kept = repr(list(LoginFailures.objects.values()))
    assert "my-secret" not in kept
    assert "192.0.2.1" not in kept
