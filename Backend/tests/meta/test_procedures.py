"""A procedure has the same numbers in the docstrings of the code as on its page below docs/design/.

A docstring that names a page and has a numbered list is compared with the numbered steps of that page whose names are
bold: each of its items has a word of the step's name, and each step of a page is in some docstring. Whether both say the
same of a step is for their reader to judge.
"""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from tests.meta.prose import BACKEND, Prose, prose

DESIGN = BACKEND / "docs" / "design"
PROCEDURES = {"upload": "The upload, in order", "cleanup": "The procedure"}
"""Page, and the heading whose numbered steps the code does."""


def _steps(page: str) -> dict[int, str]:
    text = (DESIGN / f"{page}.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {PROCEDURES[page]}\n")[2].partition("\n## ")[0]
    return {int(number): name for number, name in re.findall(r"^(\d+)\. \*\*([^*]+)\*\*", section, re.MULTILINE)}


def _docstrings(page: str) -> list[tuple[Prose, dict[int, str]]]:
    """Those that name the page, with their numbered items."""
    found = []
    for part in prose():
        if part.path.suffix == ".py" and f"docs/design/{page}.md" in part.text:
            items = re.findall(r"^\s*(\d+)\. ((?:.+\n?)(?:(?!\s*\d+\. )\s*\S.*\n?)*)", part.text, re.MULTILINE)
            if items:
                found.append((part, {int(number): text for number, text in items}))
    return found


@pytest.mark.parametrize("page", PROCEDURES)
def test_docstrings_have_the_numbers_of_their_page(page):
    steps, told = _steps(page), defaultdict(list)
    assert steps, f"docs/design/{page}.md has no steps with bold names below “{PROCEDURES[page]}”"
    wrong = []
    for part, items in _docstrings(page):
        for number, text in items.items():
            # One item may tell of several steps: “2. Open, 3. session, 4. send”.
            for step in [number, *map(int, re.findall(r"\b(\d+)\. [a-z]", text))]:
                told[step].append(part.at(0))
                words = [word.lower()[:4] for word in re.findall(r"\w{4,}", steps.get(step, ""))]
                if not any(word in text.lower() for word in words):
                    wrong.append(f"{part.at(0)}: step {step} is “{steps.get(step)}” in docs/design/{page}.md: {text}")

    assert not wrong, "\n".join(wrong)
    assert sorted(set(steps) - set(told)) == [], f"steps of docs/design/{page}.md that no docstring with numbers has"
