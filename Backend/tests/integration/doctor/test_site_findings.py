"""What `doctor` says of sites: nothing, their limit, or what is invalid about them."""

from __future__ import annotations

from datetime import datetime

import pytest

from apps.cctv.doctor import Level
from apps.cctv.doctor.sites import site_findings
from apps.cctv.models import Site

pytestmark = pytest.mark.django_db


def test_site_without_a_limit_is_not_worth_a_word(site: Site, now: datetime) -> None:
    assert list(site_findings(now=now)) == []


def test_limit_in_force_is_told(site: Site, now: datetime) -> None:
    Site.objects.update(bandwidth_limit="08:00-18:00 2 MB/s", time_zone="Europe/Berlin")
    (found,) = site_findings(now=now)
    assert found.level is Level.OK
    assert "Depot: its uploads share 2 MB/s until Fri 18:00 (Europe/Berlin), then unlimited" in found.detail


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"bandwidth_limit": "quick"}, "'quick'"),
        ({"time_zone": "Middle/Earth"}, "'Middle/Earth'"),
    ],
)
def test_stored_nonsense_is_a_problem(site: Site, now: datetime, columns: dict[str, str], told: str) -> None:
    Site.objects.update(**columns)
    (found,) = site_findings(now=now)
    assert found.level is Level.PROBLEM
    assert told in found.detail
