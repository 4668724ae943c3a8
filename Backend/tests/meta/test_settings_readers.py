"""Who reads Django's settings: what makes values of them for the others, what starts processes, and no service."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

BACKEND = Path(__file__).resolve().parents[2]

READERS = {
    "apps/cctv/wiring.py",  # makes every value that the other modules are given
    "apps/cctv/installation.py",  # COLDREEL_HOME and what belongs to it
    "apps/cctv/management/commands/run_web.py",  # starts the web server
    "apps/cctv/management/commands/serve.py",  # starts the processes
    "apps/users/login.py",  # the limits of signing in
}
READERS_OF_THE_USER_MODEL = ("apps/cctv/tables/", "apps/users/models.py")


def _modules(backend: Path) -> Iterator[tuple[str, ast.Module]]:
    for package in ("apps", "offload"):
        for path in sorted((backend / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path.relative_to(backend).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _imports_settings(tree: ast.Module) -> bool:
    return any(
        (isinstance(node, ast.Import) and any(name.name.startswith("django.conf") for name in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module in {"django.conf", "config", "config.settings"})
        or (isinstance(node, ast.ImportFrom) and node.module == "django" and "conf" in {one.name for one in node.names})
        for node in ast.walk(tree)
    )


def _readers(backend: Path) -> set[str]:
    return {name for name, tree in _modules(backend) if _imports_settings(tree)}


def test_only_wiring_and_what_starts_processes_read_the_settings():
    found = {name for name in _readers(BACKEND) if not name.startswith(READERS_OF_THE_USER_MODEL)}

    assert found == READERS


def test_tables_read_nothing_but_the_user_model():
    read = {
        (name, node.attr)
        for name, tree in _modules(BACKEND)
        if name.startswith(READERS_OF_THE_USER_MODEL)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "settings"
    }

    assert {attribute for _, attribute in read} == {"AUTH_USER_MODEL"}


@pytest.mark.parametrize(
    "line",
    [
        "from django.conf import settings",
        "import django.conf",
        "from django import conf",
        "def late():\n    from django.conf import settings",
    ],
)
def test_settings_read_by_a_service_are_found(tmp_path, line):
    shutil.copytree(BACKEND / "apps", tmp_path / "apps", ignore=shutil.ignore_patterns("__pycache__"))
    service = tmp_path / "apps/cctv/services/sweep.py"

    service.write_text(f"{service.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")

    assert "apps/cctv/services/sweep.py" in _readers(tmp_path)
