"""`python -m docs.reference` writes the reference pages that come from code; a test compares them."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import django
from django.core.management import get_commands, load_command_class

from offload.reasons import MEANING
from offload.states import MOVES, State

HERE = Path(__file__).resolve().parent / "ref"


def states_page() -> str:
    lines = ["# States and moves", "", "Made from `offload/states.py`.", "", "```mermaid", "stateDiagram-v2"]
    for move, rule in MOVES.items():
        sources = sorted(source.value for source in rule.sources) or ["[*]"]
        lines += [f"    {source} --> {rule.target.value}: {move.value}" for source in sources]
    lines += ["```", "", "| move | from | to | by |", "|---|---|---|---|"]
    for move, rule in MOVES.items():
        origin = ", ".join(sorted(rule.sources)) or "none"
        lines.append(f"| {move.value} | {origin} | {rule.target.value} | {rule.by} |")
    lines += ["", f"Statuses: {', '.join(state.value for state in State)}.", ""]
    return "\n".join(lines)


def reasons_page() -> str:
    lines = ["# Reason codes", "", "Made from `offload/reasons.py`.", "", "| code | what it means, and what to do |"]
    lines += ["|---|---|", *(f"| `{code.value}` | {meaning} |" for code, meaning in MEANING.items()), ""]
    return "\n".join(lines)


def commands_page() -> str:
    lines = ["# Commands", "", "Made from the commands' own help. Run as `python manage.py COMMAND`."]
    for name in sorted(name for name, app in get_commands().items() if app == "apps.cctv"):
        text = io.StringIO()
        parser = load_command_class("apps.cctv", name).create_parser("manage.py", name)
        parser.print_help(text)
        lines += ["", f"## {name}", "", "```", text.getvalue().rstrip(), "```"]
    return "\n".join(lines) + "\n"


PAGES = {"states.md": states_page, "reasons.md": reasons_page, "commands.md": commands_page}


def main() -> int:
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ["COLUMNS"] = "100"
    django.setup()
    sys.exit(main())
