"""The documents say what the code does: every setting, command, reason and state is in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.reference import PAGES
from offload.errors import Reason
from offload.reasons import MEANING
from tests.meta.prose import pages

BACKEND = Path(__file__).resolve().parents[2]
REF = BACKEND / "docs" / "ref"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_reference_page_is_the_one_made_from_code(name):
    assert (REF / name).read_text(encoding="utf-8") == PAGES[name](), "run: python -m docs.reference"


def test_every_reason_code_has_a_meaning():
    assert set(MEANING) == set(Reason)


def test_every_setting_is_documented_and_no_other():
    source = (BACKEND / "config" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_0-9]+)"', source))
    documented = set(
        re.findall(r"^\| `([A-Z_0-9]+)` \|", (REF / "settings.md").read_text(encoding="utf-8"), re.MULTILINE)
    )

    assert read == documented


def test_every_setting_of_the_example_file_exists():
    example = (BACKEND / ".env.example").read_text(encoding="utf-8")
    documented = (REF / "settings.md").read_text(encoding="utf-8")

    named = re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)

    assert named
    assert [name for name in named if f"`{name}`" not in documented] == []


@pytest.mark.parametrize(
    "name", ["GCP_CLEANUP_CRON_SETUP.md", "GCP_TRANSFER_API_USAGE.md", "GCP_VIDEO_TRANSFER_IMPLEMENTATION.md"]
)
def test_operator_document_is_there(name):
    assert len((BACKEND / "docs" / name).read_text(encoding="utf-8")) > 2000


def test_links_between_documents_lead_somewhere():
    pages = [*BACKEND.parent.glob("*.md"), *(BACKEND / "docs").rglob("*.md")]
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    ]

    assert links
    assert [f"{page.name}: {target}" for page, target in links if not (page.parent / target).exists()] == []


UNCLEAR = r"\b(somebody|nobody|anybody|someone|anyone|whoever)\b|\b(is|are) wanted\b|\bmakes? no sense\b|, say\b"


def test_documents_use_plain_words():
    """The words that hide who acts or what is expected. What a page means is for its reader to judge."""
    found = [
        f"{page.relative_to(BACKEND.parent)}:{number}: “{word[0]}”: say who, or what is expected"
        for page in pages()
        if page.name not in {"BENCHMARKS.md", "reasons.md", "commands.md"}  # made from code
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for word in [re.search(UNCLEAR, line, re.IGNORECASE)]
        if word
    ]

    assert not found, "\n".join(found)
