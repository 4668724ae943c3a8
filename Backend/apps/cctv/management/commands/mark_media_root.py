"""`manage.py mark_media_root`: confirm that MEDIA_ROOT is the right folder, with its disk mounted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from apps.cctv.services import ServiceError
from apps.cctv.services.media_root import Marking, media_root_mark
from apps.cctv.wiring import media_root


class Command(BaseCommand):
    help = (
        "Write the marker file into MEDIA_ROOT. Without it the disk counts as not mounted, and nothing is imported "
        "or deleted. Exit status: 0 marked or marked already, 1 refused, 2 bad usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--yes", action="store_true", help="also where the folder is empty although recordings are known"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = media_root_mark(root=media_root(), although_empty=options["yes"])
        except ServiceError as error:
            raise CommandError(error.detail) from error
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({error}): run `manage.py migrate`, or see `manage.py doctor`."
            ) from error
        said = "is marked now" if report.marking is Marking.MARKED else "was marked already"
        self.stdout.write(f"{report.path} {said}.")
