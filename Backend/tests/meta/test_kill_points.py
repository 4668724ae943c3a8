"""Each function at which an acceptance test kills a process exists: a point that is never reached tests nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BACKEND = Path(__file__).resolve().parents[2]
ACCEPTANCE = BACKEND / "tests" / "acceptance"


def qualified_names(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from qualified_names(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name


def named_kill_points(tree: ast.AST) -> Iterator[str]:
    """Functions of Python that are named; a builtin's call or return (``c_call``, ``c_return``) is another matter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "KillPoint" and node.args:
            words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if not any(str(word).startswith("c_") for word in words[1:2]):
                yield str(words[0])


FILES = [path for path in sorted(ACCEPTANCE.glob("*.py")) if list(named_kill_points(ast.parse(path.read_text())))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_function_of_every_kill_point_exists(path: Path) -> None:
    product = [file for folder in ("apps", "offload") for file in (BACKEND / folder).rglob("*.py")]
    existing = {name for file in product for name in qualified_names(ast.parse(file.read_text()))}
    assert set(named_kill_points(ast.parse(path.read_text()))) <= existing


def test_kill_points_of_uploads_and_cleanups_are_found() -> None:
    assert {path.name for path in FILES} >= {"test_kill_points.py", "test_kill_cleanup.py"}
