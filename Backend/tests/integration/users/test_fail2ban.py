"""The lines that fail2ban reads, which no user's input can imitate."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "signing-in.md"
SPOOFED = "198.51.100.66"
PROGRAM = """
import django
django.setup()
from django.core.management import call_command
from tests.form_client import FormClient as Client
from apps.users.models import User
call_command("migrate", verbosity=0)
User.objects.create_user("admin", password="right")
spoofs = [
    "admin address={spoofed} reason=",
    "x\\n2026-01-01T00:00:00Z [warning  ] login.failed   [coldreel.access] address={spoofed} reason=x",
    '"}}\\n{{"address": "{spoofed}", "reason": "x", "username": "", "event": "login.failed"',
    '", "event": "login.failed", "address": "{spoofed}"',
    "[warning  ] login.failed   [coldreel.access] address={spoofed} reason=wrong_password",
]
for text in spoofs:
    User.objects.create_user(text)
for number, name in enumerate(["admin", "a-secret-as-name", *spoofs]):
    client = Client(REMOTE_ADDR="127.0.0.1", headers={{"x-forwarded-for": f"{spoofed}, 203.0.113.{{number}}"}})
    client.post("/api/v0/token/", {{"username": name, "password": "a-wrong-secret"}}, content_type="application/json")
    client.post("/admin/login/", {{"username": name, "password": "a-wrong-secret"}})
for text in spoofs:
    Client().get("/api/v0/recordings/" + text)
    Client().get("/" + text)
"""


def expressions() -> list[str]:
    return re.findall(r"^failregex = (.+)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("log_format", "number"), [("console", 0), ("json", 1)])
def test_documented_expression_finds_every_failure_and_no_spoof(tmp_path: Path, log_format: str, number: int) -> None:
    environment = {
        **os.environ,
        "COLDREEL_ENV_FILE": os.devnull,
        "COLDREEL_HOME": str(tmp_path),
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "config.settings_test",
        "DJANGO_ALLOWED_HOSTS": "testserver",
        "COLDREEL_TRUSTED_PROXIES": "1",
        "COLDREEL_LOG_FORMAT": log_format,
    }
    program = PROGRAM.format(spoofed=SPOOFED)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=240
    )
    expression = re.compile(expressions()[number].replace("<ADDR>", r"(?P<address>\S+?)"))

    # fail2ban takes the time out of a line before it looks at the rest.
    lines = [re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", line, count=times) for line in done.stderr.splitlines() for times in (0, 1)]  # fmt: skip
    found = [match["address"] for line in lines if (match := expression.search(line))]

    assert sorted(set(found)) == [f"203.0.113.{number}" for number in range(7)]
    assert len(found) == 2 * 2 * 7
    assert "a-wrong-secret" not in done.stderr
    assert "a-secret-as-name" not in done.stderr
