"""The bandwidth limit of a site: what is in force now, and the schedule of its line that all its workers share.

The schedule is a row with the first free moment of the line. A worker takes a stretch by moving that moment on while
it has the row's lock. So all workers of a site together, on any number of machines, send no more than the limit.
Stretches get shorter while several workers queue, so that the queue stays about two seconds long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from django.db import transaction

from apps.cctv.leasing.leases import lease_clock
from apps.cctv.models import Site, SiteLine
from apps.cctv.services import ServiceError
from apps.cctv.services.sites import zone_of
from offload.clock import Clock
from offload.pace import LATE_SECONDS, LEAST_STRETCH_SECONDS, MOST_STRETCH_SECONDS, Stretch
from offload.timetable import Timetable, parse, rate_text

log = structlog.get_logger("coldreel.worker")

QUEUE_SECONDS = 2.0
LONGEST_QUEUE_SECONDS = 10.0
"""A schedule that is given away further ahead than this was written by a clock that has been set back since."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A site's limit as it is stored. `problem` says what of it is invalid and what is used in its place."""

    timetable: Timetable
    zone: ZoneInfo
    problem: str = ""

    def rate_at(self, now: datetime) -> int | None:
        """Bytes a second; None where there is no limit."""
        return self.timetable.rate_at(now, self.zone)

    def next_change(self, now: datetime) -> datetime | None:
        """When the rate changes next, in the site's time zone; None where it never does."""
        change = self.timetable.next_change(now, self.zone)
        return None if change is None else change.astimezone(self.zone)

    def told(self, now: datetime) -> str:
        """In words: the rate now, and when it changes by the site's clock."""
        text = rate_text(self.rate_at(now))
        change = self.next_change(now)
        if change is None:
            return text
        return f"{text} until {change:%a %H:%M} ({self.zone.key}), then {rate_text(self.rate_at(change))}"


def limit_of(site: Site) -> Limit:
    """The limit of a site. An invalid text limits nothing and an invalid time zone counts as UTC, so uploads go on."""
    return _limit(site.bandwidth_limit, site.time_zone)


@lru_cache(maxsize=1000)
def _limit(text: str, time_zone: str) -> Limit:
    problems = []
    try:
        timetable = parse(text)
    except ValueError as error:
        timetable = Timetable()
        problems.append(f"Nothing is limited: {error}")
    try:
        zone = zone_of(time_zone)
    except ServiceError as error:
        zone = ZoneInfo("UTC")
        problems.append(f"UTC is used: {error.detail}")
    if problems and text:
        log.warning("bandwidth.limit_not_understood", detail=" ".join(problems))
    return Limit(timetable, zone, " ".join(problems))


def limits_in_force(
    *, site_ids: Collection[UUID], clock: Clock, time_of: Callable[[datetime], datetime] = lease_clock
) -> dict[UUID, int | None]:
    """Bytes a second that each site may send now; None where it has no limit."""
    now = time_of(clock.now())
    sites = Site.objects.filter(pk__in=site_ids).only("bandwidth_limit", "time_zone")
    return {site.pk: limit_of(site).rate_at(now) for site in sites}


def line_take(
    *, site_id: UUID, wanted_seconds: float, clock: Clock, time_of: Callable[[datetime], datetime] = lease_clock
) -> Stretch | None:
    """Take the next stretch of the site's line; None where there is no limit now.

    The stretch begins at a time of this machine's monotonic clock. `time_of` turns this machine's time into that of
    the schedule, which is the database's on PostgreSQL.
    """
    with transaction.atomic():
        lines = SiteLine.objects.select_for_update().filter(pk=site_id)
        line = lines.first()
        if line is None:
            # Another worker may make the row at this moment, so it is read and locked afterwards.
            SiteLine.objects.get_or_create(site_id=site_id, defaults={"bytes_per_second": 0, "free_at": clock.now()})
            line = lines.get()
        site = Site.objects.only("bandwidth_limit", "time_zone").get(pk=site_id)
        # After the lock: the wait for it may be long, and both clocks must be read at the same moment.
        now = time_of(clock.now())
        read_at = clock.monotonic()
        rate = limit_of(site).rate_at(now)
        if rate is None:
            return None
        # The schedule begins anew after a new rate or a clock that has been set back.
        if line.bytes_per_second != rate:
            begins_at = now
        elif line.free_at > now + timedelta(seconds=LONGEST_QUEUE_SECONDS):
            begins_at = now + timedelta(seconds=QUEUE_SECONDS)  # after the stretches that workers still have
        else:
            begins_at = max(line.free_at, now - timedelta(seconds=LATE_SECONDS)).astimezone(UTC)
        ahead_seconds = (begins_at - now).total_seconds()
        most_seconds = MOST_STRETCH_SECONDS * (1 - max(0.0, ahead_seconds) / QUEUE_SECONDS)
        size_bytes = int(rate * max(LEAST_STRETCH_SECONDS, min(wanted_seconds, most_seconds)))
        free_at = begins_at + timedelta(seconds=size_bytes / rate)
        SiteLine.objects.filter(pk=site_id).update(bytes_per_second=rate, free_at=free_at)
    return Stretch(read_at + ahead_seconds, size_bytes, rate)
