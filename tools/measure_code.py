"""`python3 tools/measure_code.py [PATH …]`: how the code of some folders is cut, one line a folder.

Counts what a reader meets: functions and their length, private functions with a single use, comments, imports a file,
files over 600 lines, functions over 60. Tests and migrations are left out. Without arguments: the product's folders.

- a function's length is its lines without docstring, blank lines and comments, the `def` included;
- a private function (its name begins with one underscore) has a single use where its name stands once in the measured
  files of its row beside its definition;
- a comment line is one that holds nothing but a comment; the share is of all lines that are not blank;
- an import is one module named by an `import` or `from … import` at any level of a file, `__future__` included.

It needs Python 3.11 and nothing else. Exit status: 0, or 2 where a path does not exist or cannot be parsed.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

BACKEND = Path(__file__).resolve().parents[1] / "Backend"
PRODUCT = ("apps", "config", "offload")
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 600, 60
DEFINED_AND_USED_ONCE = 2
"""How often the name of such a function stands in the files."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Measures:
    files: int = 0
    lines: int = 0
    comment_lines: int = 0
    function_lines: list[int] = field(default_factory=list)
    private_functions: list[tuple[str, int, str]] = field(default_factory=list)
    """Name, lines and place of each."""

    names: Counter[str] = field(default_factory=Counter)
    imports: list[int] = field(default_factory=list)
    long_files: list[str] = field(default_factory=list)
    long_functions: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            return
        tree = ast.parse(text)
        self.files += 1
        self.lines += sum(1 for line in text.splitlines() if line.strip())
        self.comment_lines += _comment_lines(text)
        self.imports.append(_imports(tree))
        self.names.update(re.findall(r"\b_?[A-Za-z]\w*", text))
        if len(text.splitlines()) > MOST_LINES_OF_A_FILE:
            self.long_files.append(str(path))
        for node in ast.walk(tree):
            if isinstance(node, Function):
                self._add_function(node, text, path)

    def _add_function(self, node: Function, text: str, path: Path) -> None:
        lines = _code_lines(node, text)
        self.function_lines.append(lines)
        if lines > MOST_LINES_OF_A_FUNCTION:
            self.long_functions.append(f"{path}:{node.lineno} {node.name}")
        if re.match(r"_[^_]", node.name):
            self.private_functions.append((node.name, lines, f"{path}:{node.lineno}"))

    def used_once(self) -> list[tuple[str, int, str]]:
        """The private functions whose name stands once beside its definition."""
        return [function for function in self.private_functions if self.names[function[0]] == DEFINED_AND_USED_ONCE]

    def row(self, name: str) -> tuple[str, ...]:
        once = len(self.used_once())
        functions = len(self.function_lines) or 1
        return (
            name,
            str(self.files),
            str(self.lines),
            str(functions),
            f"{median(self.function_lines or [0]):g}",
            f"{100 * once / functions:.1f} %",
            f"{100 * self.comment_lines / (self.lines or 1):.1f} %",
            f"{median(self.imports or [0]):g}",
            str(len(self.long_files)),
            str(len(self.long_functions)),
        )


HEAD = (
    *("folder", "files", "lines", "functions", "median lines", "private, used once", "comment lines"),
    *("imports a file", "files > 600", "functions > 60"),
)


def _imports(tree: ast.Module) -> int:
    return sum(
        len(node.names) if isinstance(node, ast.Import) else 1
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    )


def _comment_lines(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(1 for token in tokens if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"))


def _code_lines(node: Function, text: str) -> int:
    docstring = set()
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        docstring = set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = text.splitlines()
    return sum(
        1
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if number not in docstring and lines[number - 1].strip() and not lines[number - 1].lstrip().startswith("#")
    )


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if not {"tests", "test", "migrations", "node_modules", ".venv"} & set(parts[:-1]) and not path.name.startswith(
            "test"
        ):
            yield path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="measure_code.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    product = [BACKEND / name for name in PRODUCT]
    parser.add_argument("path", nargs="*", type=Path, default=product, help="folders or Python files to measure")
    parser.add_argument("--used-once", action="store_true", help="list the private functions with a single use as well")
    options = parser.parse_args(arguments)
    asked = options.path
    if missing := [str(path) for path in asked if not path.exists()]:
        parser.error(f"no such file or folder: {', '.join(missing)}")
    rows = [HEAD]
    whole = Measures()
    for folder in asked:
        measures = Measures()
        for path in _files(folder):
            try:
                measures.add(path)
                whole.add(path)
            except (SyntaxError, UnicodeDecodeError) as error:
                parser.error(
                    f"{path} is not Python that this Python {sys.version_info[0]}.{sys.version_info[1]} reads: {error}"
                )
        if not measures.files:
            parser.error(f"{folder} has no Python files but tests and migrations")
        rows.append(measures.row(folder.resolve().name))
    rows.append(whole.row("all"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    for name, lines, place in sorted(whole.used_once(), key=lambda one: one[1]) if options.used_once else []:
        sys.stdout.write(f"used once: {lines:2} lines  {place}  {name}\n")
    for found in (*whole.long_files, *whole.long_functions):
        sys.stdout.write(f"over: {found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
