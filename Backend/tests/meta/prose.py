"""The words of the code, and the prose about it: what the tests of names compare."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

BACKEND = Path(__file__).resolve().parents[2]
REPOSITORY = BACKEND.parent
PACKAGES = ("apps", "config", "offload", "gcs_emulator", "demo", "benchmarks", "tests", "docs")
_NOT_PROSE = {"CHANGELOG.md"}  # tells of releases, with the names of their time
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Prose(NamedTuple):
    """A docstring, a comment or a page; `line` is where it begins."""

    path: Path
    line: int
    text: str

    def at(self, offset: int) -> str:
        return f"{self.path.relative_to(REPOSITORY)}:{self.line + self.text[:offset].count(chr(10))}"


def code_files() -> list[Path]:
    return [
        *(path for package in PACKAGES for path in sorted((BACKEND / package).rglob("*.py"))),
        BACKEND / "manage.py",
        *sorted((REPOSITORY / "tools").glob("*.py")),
    ]


def pages() -> list[Path]:
    found = [*REPOSITORY.glob("*.md"), *(BACKEND / "docs").rglob("*.md")]
    return sorted(path for path in found if path.name not in _NOT_PROSE)


def _is_docstring(node: ast.AST) -> bool:
    """A string that stands alone: of a module, a class, a function, or below a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def words_of_code() -> frozenset[str]:
    """Every name, and every word of a string that is no docstring; of templates, scripts and settings every word."""
    # The tests beside this module spell names that are not there.
    found = {word for path in code_files() if path.parent != Path(__file__).parent for word in _read(path).words}
    found |= {path.stem for path in code_files()}
    others = [
        *(path for ending in ("html", "css", "js") for path in (BACKEND / "apps").rglob(f"*.{ending}")),
        *(BACKEND / "benchmarks").rglob("*.cpp"),
        *(REPOSITORY / "tools").glob("*.sh"),
        *(BACKEND / name for name in ("pyproject.toml", "requirements-dev.txt", ".env.example")),
        REPOSITORY / "Makefile",
    ]
    return frozenset(found.union(*(_WORD.findall(path.read_text(encoding="utf-8")) for path in others)))


@cache
def prose() -> tuple[Prose, ...]:
    of_code = (part for path in code_files() for part in _read(path).prose)
    return (*of_code, *(Prose(path, 1, _without_blocks(path)) for path in pages()))


class _File(NamedTuple):
    words: set[str]
    prose: list[Prose]


@cache
def _read(path: Path) -> _File:
    text = path.read_text(encoding="utf-8")
    words: set[str] = set()
    strings: dict[int, Prose] = {}
    nodes = list(ast.walk(ast.parse(text)))
    for node in nodes:
        if _is_docstring(node):
            strings[id(node.value)] = Prose(path, node.lineno, node.value.value)
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in strings:
            words.update(_WORD.findall(node.value))
    comments = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            words.add(token.string)
        elif token.type == tokenize.COMMENT:
            comments.append(Prose(path, token.start[0], token.string))
    return _File(words, [*strings.values(), *comments])


def _without_blocks(page: Path) -> str:
    """Without the examples between ``` lines: they are commands and output."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", lambda block: "\n" * block.group().count("\n"), text, flags=re.DOTALL | re.MULTILINE)


def table_rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of the Markdown tables in `text`, heads left out."""
    head_follows = True
    for line in text.splitlines():
        if not line.startswith("|"):
            head_follows = True
        elif set(line) <= set("|-: "):
            head_follows = False
        elif not head_follows:
            yield [cell.strip() for cell in line.strip("|").split(" | ")]
