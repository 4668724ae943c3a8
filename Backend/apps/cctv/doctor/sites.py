"""Sites: whether time zone and bandwidth limit are valid, and which limit applies now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from apps.cctv.doctor.finding import Finding, ok, problem
from apps.cctv.models import Site
from apps.cctv.services.bandwidth import limit_of


def site_findings(*, now: datetime) -> Iterator[Finding]:
    for site in Site.objects.all():
        limit = limit_of(site)
        if limit.problem:
            yield problem("site", f"{site}: {limit.problem}", "Correct the site in the admin pages.")
        elif site.bandwidth_limit:
            yield ok("site", f"{site}: its uploads share {limit.told(now)}.")
