"""`manage.py run_worker`: upload what is due and run the periodic jobs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.cctv import wiring
from apps.cctv.installation import InstallationUnknown, home
from apps.cctv.models import Site
from apps.cctv.services import NotConfigured
from apps.cctv.services.disk_reserve import retry_making_room
from apps.cctv.worker import run_worker


class Command(BaseCommand):
    help = "Uploads transfers that are due and runs the periodic jobs, until SIGTERM. Run as many as you like."
    # The checks load every page and URL, which a worker has no use for.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--uploads",
            type=int,
            default=wiring.worker_uploads(),
            metavar="N",
            help="how many files upload at once (default: %(default)s)",
        )
        parser.add_argument("--site", metavar="NAME", help="take this site's transfers only (default: every site's)")
        parser.add_argument("--until-idle", action="store_true", help="end when nothing is left to upload")
        parser.add_argument("--no-periodic", action="store_true", help="run no sweep and no cleanup")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["uploads"] <= 64:  # noqa: PLR2004 - the bounds of COLDREEL_WORKER_UPLOADS
            raise CommandError("--uploads: a whole number from 1 to 64 is wanted.", returncode=2)
        try:
            # On a full disk even a worker's start needs room, and its cleanup is what makes more.
            retry_making_room(lambda: _run(options))
        except (NotConfigured, InstallationUnknown) as error:
            raise CommandError(error.detail) from error


def _run(options: dict[str, Any]) -> None:
    run_worker(
        store=wiring.object_store(),
        root=wiring.media_root(),
        home=home(),
        settings=wiring.service_settings(),
        upload_settings=wiring.upload_settings(),
        uploads=options["uploads"],
        site=_site(options["site"]),
        until_idle=options["until_idle"],
        periodic=not options["no_periodic"],
    )


def _site(name: str | None) -> Site | None:
    if name is None:
        return None
    try:
        return Site.objects.get(name=name)
    except Site.DoesNotExist as error:
        raise CommandError(f"There is no site {name!r}.", returncode=2) from error
