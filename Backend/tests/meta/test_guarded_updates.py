"""Statuses and leases are written where their guards are."""

from __future__ import annotations

import ast
from pathlib import Path

import apps.cctv

CORE = Path(apps.cctv.__file__).parent
GUARDED = {"transfer_status", "lease_number", "lease_owner", "lease_expires_at", "NO_LEASE"}
WRITERS = {
    "tables/moves.py",
    "leasing/leases.py",
    "leasing/recovery.py",
    "worker/periodic.py",  # the leases of periodic jobs
}


def written(tree: ast.AST) -> set[str]:
    """The guarded columns that an `update` names, by keyword or as `**NO_LEASE`."""
    updates = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update"
    ]
    keywords = [keyword for update in updates for keyword in update.keywords]
    named = {keyword.arg for keyword in keywords if keyword.arg} | {
        keyword.value.id for keyword in keywords if keyword.arg is None and isinstance(keyword.value, ast.Name)
    }
    return named & GUARDED


def test_only_guarded_updates_write_a_status_or_lease() -> None:
    paths = [path for path in CORE.rglob("*.py") if "migrations" not in path.parts]
    found = {str(path.relative_to(CORE)) for path in paths if written(ast.parse(path.read_text(encoding="utf-8")))}
    assert found <= WRITERS
    assert {"leasing/leases.py", "leasing/recovery.py"} <= found, "the search finds what is there"
