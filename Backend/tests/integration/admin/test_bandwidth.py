"""The bandwidth limit on the pages of sites and on the front page."""

from __future__ import annotations

import re

import pytest
from django.utils.html import escape

from apps.cctv.models import Camera, Site
from apps.users.models import User
from tests.form_client import FormClient as Client
from tests.integration.admin import pages

pytestmark = pytest.mark.django_db

ALL_DAY = "mon-fri 2 MB/s, sat sun 5 MB/s"


@pytest.fixture
def client(admin_user: User) -> Client:
    return pages.signed_in(admin_user)


def saved(client: Client, site: Site, limit: str, **fields: str) -> str:
    answer = client.post(
        pages.page_of(site), {"name": site.name, "time_zone": "Europe/Berlin", "bandwidth_limit": limit, **fields}
    )
    site.refresh_from_db()
    return answer.content.decode()


def test_limit_is_set_by_who_manages(client: Client, site: Site) -> None:
    saved(client, site, " 08:00-18:00 2 MB/s, else unlimited ")
    assert site.bandwidth_limit == "08:00-18:00 2 MB/s, else unlimited"
    saved(client, site, "")
    assert site.bandwidth_limit == ""


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("fast", "'fast' in 'fast' is not understood: expected days, hours and a rate"),
        ("08:00-18:00", "'08:00-18:00' has no limit at its end: expected a rate like 2 MB/s, or unlimited."),
        ("10 kB/s", "'10 kB/s' is too little or too much: 64 kB/s to 1000 GB/s is possible."),
        ("2 MB/s, sat 1 MB/s", "'sat 1 MB/s' never applies: '2 MB/s' before it is for all times. Put that one last."),
    ],
)
def test_invalid_limit_is_refused_with_a_sentence(client: Client, site: Site, limit: str, sentence: str) -> None:
    page = saved(client, site, limit)
    assert site.bandwidth_limit == ""
    assert escape(sentence) in page


def test_page_tells_what_is_in_force_and_until_when(client: Client, site: Site) -> None:
    saved(client, site, ALL_DAY)
    for page in (pages.page_of(site), pages.list_of(Site), pages.FRONT):
        told = client.get(page).content.decode()
        assert re.search(r"[25] MB/s until (Sat|Mon) 00:00 \(Europe/Berlin\), then [25] MB/s", told), page


def test_front_page_says_nothing_of_sites_without_a_limit(client: Client, site: Site) -> None:
    assert "Bandwidth limits" not in client.get(pages.FRONT).content.decode()


def test_front_page_hides_the_limit_of_a_hidden_site(site: Site, dev_user: User) -> None:
    Site.objects.update(bandwidth_limit="2 MB/s")
    client = pages.signed_in(dev_user)
    assert "2 MB/s" not in client.get(pages.FRONT).content.decode()
    Camera.objects.create(site=site, name="Gate")
    assert "2 MB/s" in client.get(pages.FRONT).content.decode()


def test_invalid_stored_limit_is_told_and_breaks_no_page(client: Client, site: Site) -> None:
    Site.objects.update(bandwidth_limit="quick", time_zone="Middle/Earth")
    page = client.get(pages.page_of(site)).content.decode()
    assert "Nothing is limited" in page
    assert "UTC is used" in page
    assert client.get(pages.list_of(Site)).status_code == 200
    assert client.get(pages.FRONT).status_code == 200
