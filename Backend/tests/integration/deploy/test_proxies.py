"""The examples for nginx and Caddy have the limits of the web server behind them, and tell it who asked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

PROXY = Path(__file__).resolve().parents[4] / "deploy" / "proxy"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")


@pytest.mark.skipif(
    NGINX is None or not shutil.which("openssl"), reason="nginx or openssl is missing (nginx-light, openssl)"
)
def test_nginx_accepts_the_example(tmp_path: Path) -> None:
    assert NGINX is not None
    certificate = [
        "-keyout",
        tmp_path / "privkey.pem",
        "-out",
        tmp_path / "fullchain.pem",
        "-subj",
        "/CN=x",
        "-days",
        "1",
    ]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *certificate], check=True, capture_output=True
    )
    example = (PROXY / "nginx.conf").read_text().replace("/etc/ssl/coldreel", str(tmp_path))
    (tmp_path / "coldreel.conf").write_text(example)
    main = f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; include {tmp_path}/coldreel.conf; }}"
    (tmp_path / "nginx.conf").write_text(main)

    done = subprocess.run([NGINX, "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_bodies_have_the_limit_of_the_web_server() -> None:
    assert settings.DATA_UPLOAD_MAX_MEMORY_SIZE == 2**20
    assert "client_max_body_size 1m;" in (PROXY / "nginx.conf").read_text()
    assert "max_size 1MiB" in (PROXY / "Caddyfile").read_text()


def test_nginx_appends_the_address_of_the_client() -> None:
    """Taking over what the client sent would let it choose the address under which it is locked out."""
    text = (PROXY / "nginx.conf").read_text()

    assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in text
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in text
    assert "proxy_set_header Host $host;" in text


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_example_names_the_settings_it_needs(name: str) -> None:
    text = (PROXY / name).read_text()

    for setting in (
        "COLDREEL_TRUSTED_PROXIES=1",
        "DJANGO_HTTPS=True",
        "DJANGO_ALLOWED_HOSTS",
        "DJANGO_CSRF_TRUSTED_ORIGINS",
    ):
        assert setting in text


def test_probe_needs_no_host_and_no_database(settings) -> None:
    """A container asks 127.0.0.1, by plain HTTP; this test has no database either."""
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["footage.example.org"], True

    answer = Client().get("/healthz", headers={"Host": "127.0.0.1:8000"})

    assert (answer.status_code, answer.content) == (200, b"alive\n")
    assert Client().post("/healthz", headers={"Host": "footage.example.org"}).status_code != 200
