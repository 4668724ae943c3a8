"""What the settings refuse or make of each other, seen in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.stage import Stage
from tests.acceptance.web_server import outer_environment

BACKEND = Path(__file__).resolve().parents[2]
TOLD = "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SESSION_COOKIE_SECURE"
ASK = f"""
import json
from django.conf import settings
print(json.dumps({{name: getattr(settings, name) for name in {TOLD!r}}}))
print(json.dumps(getattr(settings, "SECURE_HSTS_PRELOAD", False)))
"""


def run(home: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = outer_environment() | {
        "COLDREEL_HOME": str(home),
        "COLDREEL_ENV_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        **variables,
    }
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=BACKEND, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("key", ["a", "a" * 60, "django-insecure-" + "abcdefgh" * 8])
def test_weak_secret_key_is_refused_without_showing_it(tmp_path: Path, key: str) -> None:
    done = run(tmp_path, "manage.py", "check", DJANGO_SECRET_KEY=key)

    assert done.returncode == 1
    assert done.stderr.startswith("DJANGO_SECRET_KEY is invalid: expected at least 50 characters")
    assert len(done.stderr.splitlines()) == 1
    assert key == "a" or key not in done.stderr


@pytest.mark.parametrize(("proxies", "redirects"), [("0", False), ("1", True)])
def test_https_redirects_only_behind_a_trusted_proxy(tmp_path: Path, proxies: str, redirects: bool) -> None:
    done = run(tmp_path, "-c", ASK, DJANGO_HTTPS="True", COLDREEL_TRUSTED_PROXIES=proxies)

    settings, preload = map(json.loads, done.stdout.splitlines())
    assert settings == dict(zip(TOLD, [redirects, 31_536_000, True], strict=True))
    assert preload is False


def test_command_reads_the_settings_file_below_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("DJANGO_SECRET_KEY=$(touch struck)\n")
    refused = run(tmp_path, "manage.py", "check", COLDREEL_ENV_FILE=str(file))
    strong = "0123456789" * 6
    taken = run(tmp_path, "manage.py", "check", COLDREEL_ENV_FILE=str(file), DJANGO_SECRET_KEY=strong)

    assert "DJANGO_SECRET_KEY is invalid" in refused.stderr
    assert taken.returncode == 0
    assert not (BACKEND / "struck").exists()


def test_home_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path / "file" / "home", "manage.py", "check")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"Cannot go on: [Errno 20] Not a directory: '{tmp_path}/file/home'"]


def test_empty_database_is_told_in_a_line(tmp_path: Path) -> None:
    done = run(tmp_path, "manage.py", "shell", "-c", "from apps.users.models import User; User.objects.count()")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("(an empty database: run `manage.py migrate` first)")
    assert "Traceback" not in done.stderr


def test_demo_reads_no_file_with_settings(tmp_path: Path) -> None:
    """Its commands migrate and make users: never in the database that an operator's file names."""
    assert Stage(tmp_path, port=1).environment()["COLDREEL_ENV_FILE"] == os.devnull


def test_misspelt_setting_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    done = run(tmp_path, "manage.py", "check", GCP_CLEANUP_DELAY_HOUR="4711", COLDREEL_HOMES="4711", GCP_XYZ="4711")

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "COLDREEL_HOMES is not a setting of Coldreel. Did you mean COLDREEL_HOME?",
        "GCP_CLEANUP_DELAY_HOUR is not a setting of Coldreel. Did you mean GCP_CLEANUP_DELAY_HOURS?",
        "GCP_XYZ is not a setting of Coldreel.",
    ]


def test_known_settings_are_told_nothing_of(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz")

    done = run(tmp_path, "manage.py", "check", GCP_STORAGE_PROJECT_ID="shop", DJANGO_SECRET_KEY_FILE=str(key))

    assert done.stderr == ""
