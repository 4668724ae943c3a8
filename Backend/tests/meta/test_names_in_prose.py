"""What documents, docstrings and comments name is there, and what is there is named.

These tests do not judge whether a sentence is true, only that its names exist. Decisions are checked as well: where a
name has gone, they say it in words. A failure gives the file, the line and the name: change that line.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.meta.prose import BACKEND, REPOSITORY, prose, table_rows, words_of_code

LAYERS = BACKEND / "docs" / "design" / "layers.md"
GLOSSARY = BACKEND / "docs" / "design" / "glossary.md"
IN_LAYERS = ("offload", "apps/cctv", "apps/users", "config")
"""The folders whose table is in layers.md; that of any other stands in the docstring of its `__init__`."""
WITHOUT_TABLE = {
    "apps/cctv/management": "the commands are listed in docs/ref/commands.md, which is compared elsewhere",
    "apps/cctv/migrations": "one file for each change of the tables",
    "apps/users/migrations": "one file for each change of the tables",
}

# Names of other systems that the code does not spell.
OUTSIDE = {
    *(
        "df",
        "lstat",
        "f_type",
        "iChange",
        "do_GET",
        "breakpoint",
        "jq",
        "e2fsprogs",
    ),  # commands and calls of the system and of Python's libraries
    *("RENAME_NOREPLACE", "SO_SNDBUF", "TCP_CORK", "net", "ipv4", "tcp_wmem", "setswitchinterval"),  # Linux, CPython
    *("drawtext", "moov", "CURLOPT_MAX_SEND_SPEED_LARGE"),  # FFmpeg, MP4, libcurl
    *("read_write", "testIamPermissions"),  # Google's roles and calls
    *("proxy_set_header", "proxy_add_x_forwarded_for", "OnFailure"),  # nginx, systemd
    *("AXES_IPWARE_", "users_tokenfamily"),  # a library that was not taken; a table's name, made by Django
    "DATABASE_URL_FILE",  # NAME_FILE for a setting NAME: made by config.env
    *("NAME_FILE", "mark_", "detail__startswith"),
}


def _modules(folder: str) -> set[str]:
    """The names of a folder's modules, and of its folders with a slash behind, as a table gives them."""
    here = BACKEND / folder
    return {
        *(path.stem for path in here.glob("*.py") if path.name != "__init__.py"),
        *(f"{path.parent.name}/" for path in here.glob("*/__init__.py")),
    }


def _folders() -> list[str]:
    found = [path.parent for top in IN_LAYERS for path in (BACKEND / top).rglob("__init__.py")]
    names = [str(path.relative_to(BACKEND)) for path in found]
    return sorted(name for name in names if not name.startswith(tuple(WITHOUT_TABLE)))


def _table_of(folder: str) -> tuple[Path, str]:
    if folder not in IN_LAYERS:
        path = BACKEND / folder / "__init__.py"
        return path, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    text = LAYERS.read_text(encoding="utf-8")
    return LAYERS, re.search(rf"^## [^\n]*`{folder}/`$.*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[0]


@pytest.mark.parametrize("folder", _folders())
def test_table_of_a_folder_names_each_of_its_modules_once(folder):
    path, text = _table_of(folder)
    named = Counter(name for row in table_rows(text) for name in re.findall(r"`([^`]+)`", row[0]))
    page = path.relative_to(BACKEND)

    wrong = [
        *(f"{page}: add the row   | `{name}` | what it has |" for name in sorted(_modules(folder) - set(named))),
        *(f"{page}: take out `{name}`, it is no module of {folder}/" for name in sorted(set(named) - _modules(folder))),
        *(f"{page}: name `{name}` once, not {count} times" for name, count in named.items() if count > 1),
    ]
    assert not wrong, "\n".join(wrong)


def test_names_between_backticks_exist():
    """A name that is all that stands between the backticks, or has a capital, an underscore or brackets in it."""
    missing = []
    for part in prose():
        for quoted in re.finditer(r"(`+)([^`]+)\1", part.text):
            whole = quoted[2]
            for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", whole):
                is_name = re.fullmatch(r"[\w.]+(\(.*\))?", whole) or "_" in word or re.search(r"[a-z][A-Z]", word)
                if is_name and not _is_known(word, whole):
                    missing.append(f"{part.at(quoted.start())}: `{whole}`: there is no {word} in the code")

    assert not missing, "\n".join(missing)


def _is_known(word: str, whole: str) -> bool:
    return word in words_of_code() or word in OUTSIDE or _is_file(whole)


def test_names_of_outside_are_needed():
    """So that a name that the code spells does not hide behind the list."""
    assert sorted(OUTSIDE & words_of_code()) == []
    text = "\n".join(part.text for part in prose())
    assert [name for name in sorted(OUTSIDE) if name not in text] == []


_ENDINGS = "py|md|html|css|sh|toml"
_FOLDERS = {path.parent.name for path in BACKEND.rglob("__init__.py") if ".venv" not in path.parts} | {"guide", "ref"}
_FILES = [
    str(path.relative_to(REPOSITORY))
    for path in REPOSITORY.rglob("*")
    if not {".git", ".venv", "var", "__pycache__"} & set(path.parts)
]


def _is_file(name: str) -> bool:
    """Whether a path ends so: `moves.py`, `tables/moves`, `services/cleanup/`, `test_emulator_*.py`."""
    pattern = re.escape(name.rstrip("/").removeprefix("../")).replace(r"\*", "[^/]*")
    return any(re.search(rf"(^|/){pattern}(\.py)?$", path) for path in _FILES)


def test_files_that_are_named_exist():
    """Paths anywhere in prose, and folders of ours between backticks."""
    missing = []
    for part in prose():
        paths = [
            *re.finditer(rf"(?<![\w/<{{}}>.*-])(?!https?:)([\w.][\w./*-]*\.(?:{_ENDINGS}))\b(?![/\w])", part.text),
            *re.finditer(rf"`((?:\.\./)?(?:{'|'.join(_FOLDERS)})/[\w/]*)`", part.text),
        ]
        missing += [f"{part.at(path.start())}: there is no {path[1]}" for path in paths if not _is_file(path[1])]

    assert not missing, "\n".join(missing)


def test_modules_that_are_named_by_dots_exist():
    """`apps.cctv.tables.moves`, `offload.trash.unlink`: the module exists, and what follows stands in it."""
    missing = []
    for part in prose():
        for dotted in re.finditer(r"(?<![\w./:-])(?:apps|offload|config)(?:\.[A-Za-z_]\w*)+", part.text):
            if re.search(r"\.(py|md)$", dotted[0]):
                continue
            path, *rest = BACKEND, *dotted[0].split(".")
            while rest and (path / rest[0]).is_dir():
                path /= rest.pop(0)
            path = path / f"{rest.pop(0)}.py" if rest and (path / f"{rest[0]}.py").exists() else path / "__init__.py"
            if rest and (not path.exists() or not re.search(rf"\b{rest[0]}\b", path.read_text(encoding="utf-8"))):
                missing.append(f"{part.at(dotted.start())}: there is no {dotted[0]}")

    assert not missing, "\n".join(missing)
