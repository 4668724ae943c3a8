"""Floods of sign-ins against `manage.py serve`, with the product's own password hashes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.web_server import BACKEND, WebServer

pytestmark = pytest.mark.acceptance
PASSWORD = "correct horse battery staple"
ATTACKER, AT_HOME = "203.0.113.7", "203.0.113.8"
ADDRESS_LIMIT = 50


@pytest.fixture
def served(tmp_path: Path) -> Iterator[WebServer]:
    with WebServer(tmp_path, settings={"COLDREEL_TRUSTED_PROXIES": "1"}) as running:
        subprocess.run(
            [
                sys.executable,
                "manage.py",
                "createsuperuser",
                "--noinput",
                "--username",
                "admin",
                "--email",
                "a@b.example",
            ],
            cwd=BACKEND,
            env={**running.environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD},
            check=True,
            timeout=120,
            capture_output=True,
        )
        yield running


def sign_in(served: WebServer, username: str, password: str, *, client: str) -> int:
    request = urllib.request.Request(
        f"{served.url}/api/v0/token/",
        json.dumps({"username": username, "password": password}).encode(),
        {"Content-Type": "application/json", "X-Forwarded-For": f"198.51.100.1, {client}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return int(refusal.code)


def at_once(threads: int, calls: int, call: Callable[[int], int]) -> Counter[int]:
    with ThreadPoolExecutor(threads) as pool:
        return Counter(pool.map(call, range(calls)))


def processor_seconds(served: WebServer) -> float:
    fields = Path(f"/proc/{served.web_process()}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_forty_guesses_at_once_gain_no_more_checks(served: WebServer) -> None:
    statuses = at_once(40, 40, lambda number: sign_in(served, "admin", f"guess {number}", client=ATTACKER))

    assert statuses[401] <= 2
    assert statuses[401] + statuses[429] == 40
    assert sign_in(served, "admin", PASSWORD, client=ATTACKER) == 429
    assert sign_in(served, "admin", PASSWORD, client=AT_HOME) == 200


def test_flood_of_names_is_cheap_and_locks_out_none(served: WebServer) -> None:
    before = processor_seconds(served)
    statuses = at_once(16, 1500, lambda number: sign_in(served, f"name-{number}", "x", client=ATTACKER))
    spent = processor_seconds(served) - before

    assert 0 < statuses[401] <= ADDRESS_LIMIT
    assert statuses[401] + statuses[429] == 1500
    assert sign_in(served, "admin", PASSWORD, client=AT_HOME) == 200
    with sqlite3.connect(served.home / "coldreel.sqlite3") as database:
        (rows,) = database.execute("SELECT count(*) FROM users_loginfailures").fetchone()
    assert rows <= ADDRESS_LIMIT + 2
    print(f"1500 sign-ins took {spent:.1f} s of a processor")  # noqa: T201 - for people who measure
