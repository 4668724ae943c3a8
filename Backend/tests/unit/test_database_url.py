"""What DATABASE_URL becomes: defaults for cut lines and foreign networks, and what an operator may override."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.database import database, is_unencrypted, process_name


@pytest.fixture(autouse=True)
def no_libpq_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)


def options(url: str) -> dict[str, Any]:
    found: dict[str, Any] = database(url, application_name="coldreel")["OPTIONS"]
    return found


def test_every_connection_to_postgres_notices_a_cut_line() -> None:
    assert options("postgres:///coldreel") == {
        "application_name": "coldreel", "connect_timeout": 5, "tcp_user_timeout": 10_000,
        "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3,
    }  # fmt: skip


def test_options_in_the_url_go_before_the_defaults() -> None:
    found = options("postgres:///coldreel?connect_timeout=20&tcp_user_timeout=0&application_name=depot")
    assert (found["connect_timeout"], found["tcp_user_timeout"], found["keepalives_idle"]) == (20, 0, 5)
    assert found["application_name"] == "depot"


@pytest.mark.parametrize(
    "url",
    [
        "postgres:///coldreel",
        "postgres://u:p@%2Frun%2Fpostgresql/coldreel",
        "postgres://u:p@localhost/coldreel",
        "postgres://u:p@127.0.0.2:5433/coldreel",
        "postgres://u:p@[::1]/coldreel",
        "postgres://u:p@office/coldreel?hostaddr=127.0.0.1",
    ],
)
def test_tls_is_left_open_on_one_machine(url: str) -> None:
    assert "sslmode" not in options(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@office.example.org/coldreel",
        "postgres://u:p@192.168.1.5/coldreel",
        "postgres:///coldreel?host=office",
        "postgres://u:p@localhost/coldreel?hostaddr=10.0.0.1",
        "postgres:///coldreel?service=office",
        "postgres:///coldreel?host=127.0.0.1,office",
    ],
)
def test_tls_is_required_beyond_this_machine(url: str) -> None:
    assert options(url)["sslmode"] == "require"


def test_host_named_by_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "office")
    assert options("postgres:///coldreel")["sslmode"] == "require"
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert options("postgres:///coldreel")["sslmode"] == "verify-full"


@pytest.mark.parametrize("mode", ["prefer", "allow", "nonsense"])
def test_tls_that_may_be_left_out_is_refused(mode: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"sslmode={mode} is invalid") as refusal:
        options(f"postgres://user:secret@office/coldreel?sslmode={mode}")
    assert "secret" not in str(refusal.value)


def test_only_written_out_disable_is_unencrypted() -> None:
    written = database("postgres://office/coldreel?sslmode=disable", application_name="coldreel")
    here = database("postgres://localhost/coldreel?sslmode=disable", application_name="coldreel")
    assert (is_unencrypted(written), is_unencrypted(here)) == (True, False)


@pytest.mark.parametrize("name", ["connect_timeout", "tcp_user_timeout", "keepalives_idle"])
def test_option_that_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name}=soon is invalid"):
        options(f"postgres:///coldreel?{name}=soon")


def test_processes_are_named_by_their_command() -> None:
    assert process_name(["/srv/Backend/manage.py", "run_worker", "--site", "Depot"]) == "coldreel run_worker"
    assert process_name(["manage.py", "--help"]) == "coldreel"
    assert process_name(["/usr/bin/gunicorn", "config.wsgi"]) == "coldreel"
