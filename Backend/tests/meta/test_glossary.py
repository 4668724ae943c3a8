"""The glossary has the words that the code uses, and no others.

Checked: each term is used outside the glossary, each name of its third column is in the code, and each public class on
the way of an upload or a cleanup has a word of the glossary in its name. Not checked: whether a definition is true,
whether a word is used in one meaning only, and names of functions and private classes.
"""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from tests.meta.prose import BACKEND, prose, table_rows, words_of_code

GLOSSARY = BACKEND / "docs" / "design" / "glossary.md"
ROWS = list(table_rows(GLOSSARY.read_text(encoding="utf-8")))
TERMS = [row[0].strip("*") for row in ROWS]
ON_THE_WAY = ("offload", "apps/cctv/tables", "apps/cctv/leasing", "apps/cctv/worker", "apps/cctv/services/cleanup")

PLAIN = {
    *("clock", "log", "lock", "setting", "share", "scope", "rule", "hour", "unlimited"),
    *("allowance", "footprint", "tool", "found"),
}
"""Words of class names that mean what they mean everywhere."""


def _names(row: list[str]) -> list[str]:
    return re.findall(r"`(\w+)`", row[2])


def _classes() -> dict[str, str]:
    """Public classes on the way, each with its file. Left out: exceptions, fakes, and how Google is spoken to."""
    found: dict[str, str] = {}
    bases: dict[str, set[str]] = {}
    for folder in ON_THE_WAY:
        for path in sorted((BACKEND / folder).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if (
                    isinstance(node, ast.ClassDef)
                    and not node.name.startswith("_")
                    and not {"testing", "gcs"} & {path.stem, path.parent.name}
                ):
                    found[node.name] = str(path.relative_to(BACKEND))
                    bases[node.name] = {ast.unparse(base) for base in node.bases}
    errors = {"Exception", "BaseException", "OffloadError", "ServiceError", "ValueError"}
    for _ in range(5):
        errors |= {name for name, above in bases.items() if above & errors}
    return {name: file for name, file in found.items() if name not in errors}


def _words(name: str) -> set[str]:
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)}


def test_glossary_has_each_term_once():
    assert ROWS
    assert [row for row in ROWS if len(row) != 3] == []
    assert [term for term, count in Counter(TERMS).items() if count > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=TERMS)
def test_names_of_a_term_are_in_the_code(row):
    names = _names(row)

    assert names, f"glossary.md: **{row[0]}** names nothing in the code"
    missing = [name for name in names if name not in words_of_code()]
    assert not missing, f"glossary.md: {row[0]}: there is no {missing} in the code"


def test_terms_are_used():
    text = " ".join(part.text.replace("\n", " ") for part in prose() if part.path != GLOSSARY).lower()
    text = re.sub(r"\s+", " ", text)

    unused = [term for term in TERMS if term.lower() not in text]
    assert not unused, f"glossary.md: no document or docstring uses {unused}: take them out"


def test_classes_on_the_way_have_a_word_of_the_glossary():
    known = {word.lower().removesuffix("s") for term in TERMS for word in re.split(r"[ -]", term) if len(word) > 2}
    known |= PLAIN
    named = {name for row in ROWS for name in _names(row)}

    strange = [
        f"{file}: {name} has no word of docs/design/glossary.md in its name: explain it there, or rename it"
        for name, file in _classes().items()
        if name not in named and not _words(name) & known
    ]
    assert not strange, "\n".join(strange)


def test_plain_words_are_needed():
    words = {word for name in _classes() for word in _words(name)}

    unused = sorted(PLAIN - words)
    assert not unused, f"take out of PLAIN, no class is called so any more: {unused}"
