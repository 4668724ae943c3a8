"""`manage.py add_site NAME`: one more place with cameras and a disk of its own."""

from __future__ import annotations

import shlex
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from apps.cctv import wiring
from apps.cctv.management.actor import command_actor
from apps.cctv.services import ServiceError
from apps.cctv.services.media_root import media_root_name_site
from apps.cctv.services.sites import site_add


class Command(BaseCommand):
    help = (
        "Add a site: a place with cameras and a disk of its own. The default site is renamed while it has no camera. "
        "Exit status: 0 added, 1 refused, 2 bad usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="what people call it")
        parser.add_argument("--time-zone", metavar="NAME", help="an IANA name like Europe/Berlin (default: UTC)")

    def handle(self, *args: Any, name: str, time_zone: str | None, **options: Any) -> None:
        try:
            # With a second site, a marker that names none would be refused: this one still knows whose it is.
            media_root_name_site(wiring.media_root())
            added = site_add(name=name, time_zone=time_zone, actor=command_actor(), now=timezone.now())
        except ServiceError as error:
            raise CommandError(error.detail) from error
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({error}): run `manage.py migrate`, or see `manage.py doctor`."
            ) from error
        said = "The default site, which has no camera yet, is now" if added.was_renamed else "Added"
        self.stdout.write(
            f"{said} {added.site}, time zone {added.site.time_zone}. On the machine with its recordings run "
            f"`manage.py mark_media_root --site {shlex.quote(added.site.name)}`."
        )
