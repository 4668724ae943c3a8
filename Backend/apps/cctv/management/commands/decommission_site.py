"""`manage.py decommission_site NAME`: close a site for good, once everything there is proven."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.cctv import wiring
from apps.cctv.management.actor import command_actor
from apps.cctv.selectors.unproven import MEANING
from apps.cctv.services import ServiceError
from apps.cctv.services.importing.report import shown
from apps.cctv.services.site_closing import ClosingReport, site_close

NOT_PROVEN = 3


class Command(BaseCommand):
    help = (
        "Close a site for good: its cameras are archived, its grants end, and no process touches its disk any more. "
        "What is not proven there is listed first, and keeps the site open. Deletes no file and no recording. Exit "
        "status: 0 closed, or nothing against it; 1 could not run, or a worker of the site runs; 2 bad usage; 3 not "
        "closed, because something is not proven."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the site's name")
        parser.add_argument("--dry-run", action="store_true", help="list what is not proven, change nothing")
        parser.add_argument(
            "--although-unproven", type=int, metavar="N", help="close it all the same; N is exactly how much is listed"
        )
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        asked: int | None = options["although_unproven"]
        if asked is not None and asked < 1:
            raise CommandError("--although-unproven: expected the number that the list ends with.", returncode=2)
        try:
            report = site_close(
                name=options["name"],
                although_unproven=asked,
                dry_run=options["dry_run"],
                lease_seconds=wiring.service_settings().timings.lease_seconds,
                actor=command_actor(),
                now=timezone.now(),
            )
        except ServiceError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(_json(report) if options["json"] else _text(report, asked, dry_run=options["dry_run"]))
        if report.unproven and not report.is_closed:
            sys.exit(NOT_PROVEN)


def _json(report: ClosingReport) -> str:
    return json.dumps(
        {
            "site": report.site,
            "is_closed": report.is_closed,
            "unproven_count": report.unproven_count,
            "unproven": [{"why": one.why.value, "count": one.count, "names": one.names} for one in report.unproven],
            "cameras_archived": report.cameras_archived,
            "grants_ended": report.grants_ended,
            "transfers_cancelled": report.transfers_cancelled,
        },
        indent=2,
    )


def _text(report: ClosingReport, asked: int | None, *, dry_run: bool) -> str:
    lines = []
    for one in report.unproven:
        lines.append(f"{one.count:8,}  {MEANING[one.why]}")
        lines += [f"{'':10}{shown(name)}" for name in one.names]
        if one.names and one.count > len(one.names):
            lines.append(f"{'':10}…")
    count = report.unproven_count
    if report.is_closed:
        lines.append(
            f"{report.site} is closed. Cameras archived: {report.cameras_archived}, grants ended: "
            f"{report.grants_ended}, waiting transfers cancelled: {report.transfers_cancelled}. Keep its disk until "
            "you are sure."
        )
    elif not count:
        lines.append(f"Nothing stands against closing {report.site}. Dry run: nothing was changed.")
    elif asked not in {None, count} and not dry_run:
        lines.append(f"{report.site} stays open: --although-unproven says {asked}, it is {count} now. Read the list.")
    else:
        lines.append(
            f"{report.site} stays open. Not proven: {count}. To close it all the same, and to lose what is only on "
            f"its disk: --although-unproven {count}"
        )
    return "\n".join(lines)
