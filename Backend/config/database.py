"""The entry of DATABASES that DATABASE_URL stands for.

PostgreSQL's options have defaults here, for lines that are cut and networks that others read. What the URL says itself
(`?connect_timeout=20&sslmode=verify-full`) is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

TCP = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's names, in seconds, `tcp_user_timeout` in milliseconds. Without them the system notices a cut line only after
minutes: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"""

TLS_MODES = ("require", "verify-ca", "verify-full")
PLAIN = "disable"


def database(url: str, *, application_name: str) -> dict[str, Any]:
    """The entry for that URL. Raises ImproperlyConfigured, without showing the URL: it has a password in it."""
    try:
        # A thread of the web server keeps its connection: there are never more of them than threads.
        found: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    except (ValueError, KeyError, dj_database_url.ParseError, dj_database_url.UnknownSchemeError) as error:
        raise ImproperlyConfigured(
            "DATABASE_URL is invalid: expected sqlite:////absolute/path or postgres://user:password@host:port/name."
        ) from error
    options = found.get("OPTIONS", {})
    if found["ENGINE"] == "django.db.backends.sqlite3":
        # Measured: without IMMEDIATE and WAL, two writers are enough for "database is locked".
        # FULL keeps a committed row through a power cut: https://www.sqlite.org/pragma.html#pragma_synchronous
        found["CONN_MAX_AGE"] = 0
        found["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": _sqlite_timeout(options),
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
        }
    elif found["ENGINE"] == "django.db.backends.postgresql":
        found["OPTIONS"] = {"application_name": application_name, **TCP, **options}
        for name in TCP:
            _check_whole_number(name, found["OPTIONS"][name])
        if is_elsewhere(found):
            found["OPTIONS"]["sslmode"] = _tls_mode(options)
    else:
        raise ImproperlyConfigured("DATABASE_URL is invalid: expected SQLite or PostgreSQL.")
    return found


def process_name(arguments: Sequence[str]) -> str:
    """By which pg_stat_activity tells the processes apart: `coldreel run_worker`, for example."""
    is_command = len(arguments) > 1 and os.path.basename(arguments[0]) == "manage.py"  # noqa: PTH119 - a word, no file
    return f"coldreel {arguments[1]}" if is_command and arguments[1].isidentifier() else "coldreel"


def is_elsewhere(entry: Mapping[str, Any]) -> bool:
    """Whether PostgreSQL is reached by a network: by anything but a Unix socket or a loopback address."""
    options = entry.get("OPTIONS", {})
    if "service" in options:
        return True  # its file names the host
    # In libpq's order. A list of hosts is tried one after the other.
    named = options.get("hostaddr") or entry.get("HOST") or options.get("host")
    hosts = str(named or os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST") or "").split(",")
    return not all(_is_of_this_machine(host.strip()) for host in hosts)


def is_unencrypted(entry: Mapping[str, Any]) -> bool:
    """Whether passwords and rows cross a network that others can read."""
    is_postgres = entry["ENGINE"] == "django.db.backends.postgresql"
    return is_postgres and is_elsewhere(entry) and entry["OPTIONS"].get("sslmode") == PLAIN


def _is_of_this_machine(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":  # a Unix socket, or in Linux's own name space
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _tls_mode(options: Mapping[str, Any]) -> str:
    """`prefer` and `allow` would go on without TLS where the other side, or one in between, has none."""
    mode = str(options.get("sslmode") or os.environ.get("PGSSLMODE") or TLS_MODES[0])
    if mode not in {*TLS_MODES, PLAIN}:
        raise ImproperlyConfigured(
            f"DATABASE_URL: sslmode={mode} is invalid for a server on another machine: expected "
            f"{', '.join(TLS_MODES)}, or {PLAIN} where the network is trusted."
        )
    return mode


def _sqlite_timeout(options: Mapping[str, Any]) -> float:
    """How long a statement waits for the write lock of another connection: `?timeout=` in DATABASE_URL."""
    timeout = options.get("timeout", 30)
    try:
        return max(0.0, float(timeout))
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL: timeout={timeout} is invalid: expected seconds.") from error


def _check_whole_number(name: str, value: object) -> None:
    if not str(value).isdecimal():
        raise ImproperlyConfigured(f"DATABASE_URL: {name}={value} is invalid: expected a whole number.")
