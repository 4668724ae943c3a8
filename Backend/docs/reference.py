"""`python -m docs.reference` writes the reference pages that come from code; a test compares them."""

from __future__ import annotations

import os
import sys
from argparse import Action
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
    """From the parsers themselves: the layout of argparse's own help changes from one Python to the next."""
    lines = ["# Commands", "", "Made from the commands' own help. Run as `python manage.py COMMAND`."]
    for name in sorted(name for name, app in get_commands().items() if app == "apps.cctv"):
        command = load_command_class("apps.cctv", name)
        parser = command.create_parser("manage.py", name)
        lines += ["", f"## {name}", "", command.help, "", "| argument | meaning |", "|---|---|"]
        lines += [_argument_row(action) for action in parser._actions if not _is_djangos(action)]  # noqa: SLF001
    return "\n".join(lines) + "\n"


def _is_djangos(action: Action) -> bool:
    return bool(_DJANGOS.intersection(action.option_strings))


def _argument_row(action: Action) -> str:
    value = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or action.dest.upper()}"
    name = ", ".join(action.option_strings) or action.metavar or action.dest
    meaning = (action.help or "").replace("%(default)s", str(action.default)).replace("|", "\\|")
    return f"| `{name}{value}` | {meaning} |"


_DJANGOS = frozenset(
    {
        "-h",
        "--version",
        "-v",
        "--settings",
        "--pythonpath",
        "--traceback",
        "--no-color",
        "--force-color",
        "--skip-checks",
    }
)
PAGES = {"states.md": states_page, "reasons.md": reasons_page, "commands.md": commands_page}


def main() -> int:
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    sys.exit(main())
