"""Each import rule of pyproject.toml is broken in a copy of the code, and `lint-imports` names the rule and the import.

A module that was renamed fails here with the old name: write the new one into `FORBIDDEN`, or into pyproject.toml.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.meta.prose import table_rows

BACKEND = Path(__file__).resolve().parents[2]
RULES = tomllib.loads((BACKEND / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
NAMES = {contract["id"]: contract["name"] for contract in RULES["contracts"]}

# For each rule: a file of the copy (made where there is none), a line that is added to it, and what the report then says.
FORBIDDEN = {
    "apps": [
        ("apps/users/login.py", "import apps.cctv.models", "apps.users.login -> apps.cctv.models"),
        ("apps/payroll/__init__.py", "", "- apps.payroll"),
    ],
    "core": [
        ("apps/cctv/admin.py", "import apps.cctv.api", "apps.cctv.admin -> apps.cctv.api"),
        (
            "apps/cctv/http/schemas.py",
            "import apps.cctv.admin_pages",
            "apps.cctv.http.schemas -> apps.cctv.admin_pages",
        ),
        ("apps/cctv/wiring.py", "import apps.cctv.http", "apps.cctv.wiring -> apps.cctv.http"),
        ("apps/cctv/worker/run.py", "import apps.cctv.wiring", "apps.cctv.worker.run -> apps.cctv.wiring"),
        ("apps/cctv/doctor/bucket.py", "import apps.cctv.worker", "apps.cctv.doctor.bucket -> apps.cctv.worker"),
        ("apps/cctv/services/sweep.py", "import apps.cctv.doctor", "apps.cctv.services.sweep -> apps.cctv.doctor"),
        ("apps/cctv/leasing/claims.py", "import apps.cctv.services", "apps.cctv.leasing.claims -> apps.cctv.services"),
        (
            "apps/cctv/selectors/paging.py",
            "import apps.cctv.leasing",
            "apps.cctv.selectors.paging -> apps.cctv.leasing",
        ),
        ("apps/cctv/models.py", "import apps.cctv.selectors", "apps.cctv.models -> apps.cctv.selectors"),
        ("apps/cctv/tables/places.py", "import apps.cctv.models", "apps.cctv.tables.places -> apps.cctv.models"),
        ("apps/cctv/units.py", "import apps.cctv.tables", "apps.cctv.units -> apps.cctv.tables"),
        ("apps/cctv/unlisted.py", "", "- apps.cctv.unlisted"),
    ],
    "users": [
        ("apps/users/models.py", "import apps.users.login", "apps.users.models -> apps.users.login"),
        ("apps/users/unlisted.py", "", "- apps.users.unlisted"),
    ],
    "engine": [
        ("offload/errors.py", "import offload.store", "offload.errors -> offload.store"),
        ("offload/gcs/uploads.py", "import offload.uploader", "offload.gcs.uploads -> offload.uploader"),
        ("offload/unlisted.py", "", "- offload.unlisted"),
    ],
    "circles": [
        (
            "apps/cctv/services/alarms.py",
            "import apps.cctv.services.sweep",
            "No cycles are allowed in apps.cctv.services.",
        ),
        ("config/private_files.py", "import config.settings", "No cycles are allowed in config."),
    ],
    "engine-alone": [
        ("offload/uploader.py", "import django.conf", "offload.uploader -> django"),
        ("offload/retry.py", "import apps.users.models", "offload.retry -> apps.users.models"),
    ],
    "start": [("config/private_files.py", "import apps.cctv.models", "config.private_files -> apps.cctv.models")],
    "settings": [
        ("apps/cctv/services/sweep.py", "import config.settings", "apps.cctv.services.sweep -> config.settings")
    ],
    "google-store": [
        ("apps/cctv/admin_pages/actions.py", "import offload.gcs", "apps.cctv.admin_pages.actions -> offload.gcs"),
        (
            "apps/cctv/worker/run.py",
            "from offload.gcs.uploads import Uploads",
            "apps.cctv.worker.run -> offload.gcs.uploads",
        ),
    ],
    "google": [
        ("apps/cctv/leasing/claims.py", "import pycurl", "apps.cctv.leasing.claims -> pycurl"),
        ("offload/sender.py", "from google.cloud import storage", "offload.sender -> google"),
        ("apps/cctv/services/alarms.py", "import requests", "apps.cctv.services.alarms -> requests"),
    ],
    "ninja": [("apps/cctv/services/holds.py", "from ninja import Router", "apps.cctv.services.holds -> ninja")],
    "unfold": [("apps/cctv/selectors/places.py", "import unfold.widgets", "apps.cctv.selectors.places -> unfold")],
    "av": [("apps/cctv/services/sweep.py", "import av", "apps.cctv.services.sweep -> av")],
    "development": [
        ("config/web_server.py", "import gcs_emulator.server", "config.web_server -> gcs_emulator.server"),
        ("apps/cctv/wiring.py", "import tests.postgres", "apps.cctv.wiring -> tests.postgres"),
    ],
    "fakes": [("apps/cctv/wiring.py", "import offload.testing", "apps.cctv.wiring -> offload.testing")],
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The linted code, once; a test puts back what it changed."""
    folder = tmp_path_factory.mktemp("rules")
    shutil.copy2(BACKEND / "pyproject.toml", folder)
    for package in RULES["root_packages"]:
        shutil.copytree(BACKEND / package, folder / package, ignore=_all_but_code)
    return folder


def _all_but_code(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (name.endswith(".py") or Path(folder, name, "__init__.py").exists())]


def _report(folder: Path) -> str:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--cache-dir", str(folder / ".cache")]
    run = subprocess.run(
        command, cwd=folder, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=120
    )
    assert "Contracts:" in run.stdout, run.stdout + run.stderr
    assert (run.returncode == 0) == (" 0 broken." in run.stdout)
    return run.stdout


def test_code_as_it_is_breaks_no_import_rule(copy):
    report = _report(copy)

    assert " 0 broken." in report, report


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_forbidden_imports_break_their_rule(copy, rule):
    with ExitStack() as afterwards:
        for file, line, _ in FORBIDDEN[rule]:
            afterwards.enter_context(_added(copy / file, line))
        report = _report(copy)

    assert f"{NAMES[rule]} BROKEN" in report
    assert [said for _, _, said in FORBIDDEN[rule] if said not in report] == [], report


@contextmanager
def _added(path: Path, line: str) -> Iterator[None]:
    before = path.stat() if path.exists() else None
    text = path.read_text(encoding="utf-8") if before else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{text}\n{line}\n", encoding="utf-8")
    yield
    if before:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # so that the cache of lint-imports knows the file
    else:
        path.unlink()


def test_every_import_rule_is_broken_by_some_test():
    assert set(FORBIDDEN) == set(NAMES)


def test_product_imports_no_module_by_a_string():
    """What `lint-imports` cannot see. The names in the settings are Django's to import."""
    found = [
        f"{path.relative_to(BACKEND)}:{node.lineno}"
        for package in ("apps", "config", "offload")
        for path in (BACKEND / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", "") or getattr(node.func, "attr", ""))
        in {"__import__", "import_module", "import_string", "exec", "eval"}
    ]

    assert found == []


def test_documents_show_the_layers_of_the_rule():
    rule = next(contract for contract in RULES["contracts"] if contract["id"] == "core")
    layers = [set(re.findall(r"\w+", layer)) - {"apps", "migrations"} for layer in rule["layers"]]
    design = BACKEND / "docs" / "design"
    rows = table_rows((design / "layers.md").read_text(encoding="utf-8").partition("## The engine")[0])
    shown = [set(re.findall(r"`(\w+)`", row[1])) for row in rows]
    drawn = re.findall(r"^ +(\w+)\[\"", (design / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert [names for names in shown if names != {"offload"} and names] == layers, "layers.md: who may import whom"
    assert set(drawn) == set().union(*layers) | {"users", "engine", "google"}, "architecture.md: the drawn layers"
