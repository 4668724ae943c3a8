"""What people and programs are told while nothing can be written. SQLite says `full` by itself where it may not grow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from django.db import OperationalError, connection
from django.http import HttpResponse

from tests.conftest import PASSWORD
from tests.form_client import FormClient as Client

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite can be told not to grow"),
]
MOST_TRIES = 200


@pytest.fixture
def full():
    """The database may not grow by a page, and has none free."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE filler (bytes BLOB)")
        cursor.execute("PRAGMA max_page_count = 1")  # SQLite takes the least that it can: the size of today
        with suppress(OperationalError):
            while True:
                cursor.execute("INSERT INTO filler VALUES (randomblob(3000))")
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count = 1073741823")
        cursor.execute("DROP TABLE filler")


def last_answer(ask: Callable[[], HttpResponse], *, usual: int) -> HttpResponse:
    """Some rows still find room in pages that are there; then there is none."""
    for _ in range(MOST_TRIES):
        answer = ask()
        if answer.status_code != usual:
            return answer
    raise AssertionError("the database was never full")


@pytest.mark.usefixtures("full")
def test_program_signing_in_is_told_of_the_full_disk(superadmin_user):
    client = Client(raise_request_exception=False)
    login = {"username": superadmin_user.username, "password": PASSWORD}

    answer = last_answer(
        lambda: client.post("/api/v0/token/", login, content_type="application/json"),
        usual=200,
    )

    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("The disk is full")
    assert answer.headers["Retry-After"] == "10"


@pytest.mark.usefixtures("full")
def test_person_signing_in_gets_a_page_that_says_so(superadmin_user):
    login = {"username": superadmin_user.username, "password": PASSWORD}

    answer = last_answer(
        lambda: Client(raise_request_exception=False).post("/admin/login/?next=/admin/", login), usual=302
    )

    assert answer.status_code == 503
    assert "<h1>The disk is full</h1>" in answer.content.decode()
