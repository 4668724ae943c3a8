"""`manage.py list_sites`: every site, how much waits there, and whether its worker was seen."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from apps.cctv import wiring
from apps.cctv.selectors.sites import SiteState, site_states
from apps.cctv.services.importing.report import shown
from apps.cctv.services.media_root import local_site

HEADINGS = ("site", "time zone", "cameras", "recordings", "waiting", "newest proven", "worker", "host", "last seen")


class Command(BaseCommand):
    help = (
        "List the sites: cameras, recordings, transfers that wait, the newest recording that is proven in the bucket, "
        "and whether a worker of the site is alive. Exit status: 0 listed, 1 could not run, 2 bad usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            states = site_states(now=timezone.now(), lease_seconds=wiring.timings().lease_seconds)
            here = local_site(wiring.media_root())
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({error}): run `manage.py migrate`, or see `manage.py doctor`."
            ) from error
        if options["json"]:
            found = [{**_as_json(state), "media_root_is_here": state.site.pk == here.site_id} for state in states]
            self.stdout.write(json.dumps(found, indent=2))
            return
        rows = [HEADINGS, *(_as_row(state) for state in states)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        for row in rows:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if not states:
            self.stdout.write("There is no site yet. The first import makes one, or `manage.py add_site NAME`.")
        names = [state.site.name for state in states if state.site.pk == here.site_id]
        self.stdout.write(f"The media root here is that of {shown(names[0])}." if names else here.problem)


def _as_row(state: SiteState) -> tuple[str, ...]:
    return (
        shown(state.site.name),
        state.site.time_zone,
        str(state.cameras),
        str(state.recordings),
        str(state.waiting),
        f"{state.newest_proven_at:%Y-%m-%d %H:%M} UTC" if state.newest_proven_at else "none",
        "alive" if state.worker_is_alive else "not known",
        shown(state.host) or "none",
        f"{state.last_seen_at:%Y-%m-%d %H:%M} UTC" if state.last_seen_at else "never",
    )


def _as_json(state: SiteState) -> dict[str, Any]:
    return {
        "id": str(state.site.pk),
        "name": state.site.name,
        "time_zone": state.site.time_zone,
        "cameras": state.cameras,
        "recordings": state.recordings,
        "waiting": state.waiting,
        "newest_proven_at": state.newest_proven_at.isoformat() if state.newest_proven_at else None,
        "worker": "alive" if state.worker_is_alive else "not_known",
        "host": state.host or None,
        "last_seen_at": state.last_seen_at.isoformat() if state.last_seen_at else None,
    }
