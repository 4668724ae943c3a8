"""`manage.py run_worker`: upload transfers that are due, and run the periodic jobs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.cctv import wiring
from apps.cctv.installation import InstallationUnknown, home
from apps.cctv.models import Site
from apps.cctv.services import NotConfigured
from apps.cctv.services.disk_reserve import retry_making_room
from apps.cctv.worker import run_worker
from config.bounds import WORKER_UPLOADS_MOST


class Command(BaseCommand):
    help = "Uploads transfers that are due and runs the periodic jobs, until SIGTERM. Run as many as you like."
    # Django's checks load every page and URL, which a worker does not need.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--uploads",
            type=int,
            default=wiring.worker_uploads(),
            metavar="N",
            help="how many files upload at once (default: %(default)s)",
        )
        parser.add_argument(
            "--site", metavar="NAME", help="upload only transfers of this site (default: of every site)"
        )
        parser.add_argument("--until-idle", action="store_true", help="exit when nothing is left to upload")
        parser.add_argument("--no-periodic", action="store_true", help="run no sweep and no cleanup")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["uploads"] <= WORKER_UPLOADS_MOST:
            raise CommandError(f"--uploads: expected a whole number from 1 to {WORKER_UPLOADS_MOST}.", returncode=2)
        try:
            # On a full disk the start of a worker needs room too, and only its cleanup makes more.
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
