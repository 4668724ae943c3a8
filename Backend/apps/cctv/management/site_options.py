"""The options `--site` and `--office` of the commands that start a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from apps.cctv import wiring
from apps.cctv.models import Site
from apps.cctv.services import Conflict, NotFound
from apps.cctv.services.worker_site import worker_site

REFUSED, BAD_USAGE = 1, 2


def add_site_options(parser: CommandParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--site", metavar="NAME", help="the worker's site (default: the one that the marker of MEDIA_ROOT names)"
    )
    choice.add_argument(
        "--office", action="store_true", help="a worker without a disk: only what needs none, for all sites"
    )


def site_of_options(options: dict[str, Any], *, say: Callable[[str], object]) -> Site | None:
    """The worker's site, None for an office. `say` is told what the operator should know.

    Raises CommandError, with status 1 where the site is refused, 2 where there is none of that name. Raises
    InstallationUnknown.
    """
    if options["office"]:
        return None
    try:
        found = worker_site(root=wiring.media_root(), name=options["site"], now=timezone.now())
    except NotFound as error:
        raise CommandError(f"--site: {error.detail}", returncode=BAD_USAGE) from error
    except Conflict as error:
        raise CommandError(error.detail, returncode=REFUSED) from error
    if found.notice:
        say(found.notice)
    return found.site
