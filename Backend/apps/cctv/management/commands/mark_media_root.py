"""`manage.py mark_media_root`: confirm that MEDIA_ROOT is the right folder of a site, with its disk mounted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from apps.cctv.installation import InstallationUnknown
from apps.cctv.management.actor import command_actor
from apps.cctv.models import Site
from apps.cctv.services import ServiceError
from apps.cctv.services.media_root import Marking, media_root_mark
from apps.cctv.services.sites import site_default
from apps.cctv.wiring import media_root

BAD_USAGE = 2


class Command(BaseCommand):
    help = (
        "Write the marker file into MEDIA_ROOT, with the site whose recordings lie there. Without it the disk counts "
        "as not mounted, and nothing is imported or deleted. Exit status: 0 marked or marked already, 1 refused, "
        "2 bad usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--site", metavar="NAME", help="the site whose disk it is (default: the only site there is)"
        )
        parser.add_argument(
            "--yes", action="store_true", help="also where the folder is empty although recordings are known"
        )
        parser.add_argument(
            "--take-over",
            action="store_true",
            help="also where its marker names another site or another installation",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            site = _site(options["site"])
            report = media_root_mark(
                root=media_root(),
                site=site,
                although_empty=options["yes"],
                take_over=options["take_over"],
                actor=command_actor(),
                now=timezone.now(),
            )
        except (ServiceError, InstallationUnknown) as error:
            raise CommandError(error.detail) from error
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({error}): run `manage.py migrate`, or see `manage.py doctor`."
            ) from error
        said = "is marked now" if report.marking is Marking.MARKED else "was marked already"
        self.stdout.write(f"{report.path} {said} as the disk of the site {site}.")


def _site(name: str | None) -> Site:
    """Raises CommandError for an unknown name, Conflict where there are several sites and none is named."""
    if name is None:
        return site_default(actor=command_actor(), now=timezone.now())
    try:
        return Site.objects.get(name=name)
    except Site.DoesNotExist as error:
        raise CommandError(
            f"--site: there is no site {name!r}. Make it with `manage.py add_site`.", returncode=BAD_USAGE
        ) from error
