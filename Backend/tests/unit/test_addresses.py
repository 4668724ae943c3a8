"""The client's address behind any number of proxies: what a client writes itself is never believed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import RequestFactory

from apps.users.addresses import client_address, network_of

PROXY, CLIENT, FORGED = "10.0.0.2", "203.0.113.7", "198.51.100.1"


def address(forwarded: str | None, *, proxies: int, peer: str = PROXY) -> str:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    return client_address(RequestFactory(headers=headers).get("/", REMOTE_ADDR=peer), trusted_proxies=proxies)


@pytest.mark.parametrize("forwarded", [None, "", FORGED, f"{FORGED}, {CLIENT}"])
def test_header_is_not_read_without_a_trusted_proxy(forwarded: str | None) -> None:
    assert address(forwarded, proxies=0) == PROXY


@pytest.mark.parametrize("forged", ["", f"{FORGED}, ", f"{FORGED}, {FORGED}, ", "nonsense, ", ", , ", "127.0.0.1, "])
def test_what_stands_left_of_the_trusted_proxies_changes_nothing(forged: str) -> None:
    assert address(f"{forged}{CLIENT}", proxies=1) == CLIENT
    assert address(f"{forged}{CLIENT}, 10.0.0.3", proxies=2) == CLIENT


def test_fewer_hops_than_trusted_proxies_take_the_farthest() -> None:
    assert address(CLIENT, proxies=3) == CLIENT
    assert address(None, proxies=3) == PROXY


@pytest.mark.parametrize("nonsense", ["", "unknown", "_hidden", "unix:", "1.2.3", "\x1b[31m", "a" * 5000])
def test_proxy_that_writes_no_address_counts_as_the_client(nonsense: str) -> None:
    assert address(nonsense, proxies=1) == PROXY


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (f"{CLIENT}:4711", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("fe80::7%eth0", "fe80::7"),
    ],
)
def test_an_address_has_one_spelling(written: str, meant: str) -> None:
    assert address(written, proxies=1) == meant


def test_unix_socket_has_no_address() -> None:
    assert address(None, proxies=0, peer="") == "unknown"


def test_addresses_of_one_ipv6_network_are_one_sender() -> None:
    assert network_of("2001:db8:1:2::7") == network_of("2001:db8:1:2:aaaa::1") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::7") != network_of("2001:db8:1:2::7")
    assert network_of(CLIENT) == CLIENT
    assert network_of("unknown") == "unknown"


@pytest.mark.parametrize(
    ("variables", "proxies", "warned"),
    [
        ({}, 0, False),
        ({"DJANGO_BEHIND_PROXY": "True"}, 1, True),
        ({"COLDREEL_TRUSTED_PROXIES": "2"}, 2, False),
        ({"DJANGO_BEHIND_PROXY": "True", "COLDREEL_TRUSTED_PROXIES": "2"}, 2, False),
        ({"DJANGO_BEHIND_PROXY": "True", "COLDREEL_TRUSTED_PROXIES": "0"}, 0, False),
    ],
)
def test_the_older_setting_alone_means_one_proxy(
    tmp_path: Path, variables: dict[str, str], proxies: int, warned: bool
) -> None:
    program = "from config.settings import COLDREEL_TRUSTED_PROXIES as found; print(found)"
    environment = {**os.environ, "COLDREEL_ENV_FILE": os.devnull, "COLDREEL_HOME": str(tmp_path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) == proxies
    assert ("settings.one_proxy_assumed" in done.stderr) == warned
