"""`manage.py doctor`: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.cctv import wiring
from apps.cctv.doctor import Finding, Level, diagnose, worst
from apps.cctv.installation import home
from apps.cctv.services import NotConfigured
from apps.cctv.services.importing.report import shown
from offload.clock import SystemClock
from offload.errors import OffloadError

PROBLEMS_FOUND = 1
STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


class Command(BaseCommand):
    help = (
        "Check settings, database, disks, bucket, workers and transfers, and say what to do about each finding. "
        "Changes no row, recording or object; it makes and removes small files of its own to see what may be written. "
        "Exit status: 0 no problem (warnings allowed), 1 problems, 2 bad usage."
    )
    # It has to run where Django's own checks fail, and without a database.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print every finding as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        store, store_problem = None, ""
        try:
            store = wiring.object_store()
        except NotConfigured:
            # The findings about the settings say so.
            pass
        except OffloadError as error:
            store_problem = f"{error.code}: {error.detail}"
        findings = list(
            diagnose(
                store=store,
                store_problem=store_problem,
                root=wiring.media_root(),
                home=home(),
                settings=wiring.doctor_settings(),
                clock=SystemClock(),
            )
        )
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(findings), indent=2))
        elif self.stdout.isatty():
            _print_table(findings)
        else:
            for finding in findings:
                self.stdout.write(f"{finding.level:8} {finding.check}: {shown(finding.detail)}")
                if finding.advice:
                    self.stdout.write(f"{'':8} {'':{len(finding.check)}}  {finding.advice}")
            self.stdout.write(_summary(findings))
        if worst(findings) is Level.PROBLEM:
            sys.exit(PROBLEMS_FOUND)


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("", "check", "found, and what to do"):
        table.add_column(heading, vertical="top")
    for finding in findings:
        said = Text(shown(finding.detail))
        if finding.advice:
            said.append(f"\n→ {finding.advice}", style="dim")
        table.add_row(Text(finding.level, style=STYLES[finding.level]), Text(finding.check), said)
    console = Console(highlight=False)
    console.print(table)
    console.print(_summary(findings), markup=False)


def _summary(findings: list[Finding]) -> str:
    count = _counts(findings)
    return f"Problems: {count['problem']}, warnings: {count['warning']}, ok: {count['ok']}"


def _counts(findings: list[Finding]) -> dict[str, int]:
    return {level.value: sum(finding.level is level for finding in findings) for level in Level}


def _as_json(findings: list[Finding]) -> dict[str, Any]:
    return {
        "status": worst(findings),
        "counts": _counts(findings),
        "findings": [asdict(finding) for finding in findings],
    }
