"""Which site a process may touch: what the marker of its media root says at that moment (P11)."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from apps.cctv.models import Site
from apps.cctv.services.media_root import Marker, local_site
from offload.errors import Reason
from offload.source import MediaRoot
from tests.conftest import INSTALLATION_ID, MARKER

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]


@pytest.fixture
def root(media_root: Path) -> MediaRoot:
    return MediaRoot(media_root)


def test_marker_names_the_site_among_several(root: MediaRoot, site: Site) -> None:
    Site.objects.create(name="Harbour")
    root.write_marker(str(Marker.of(site)))
    found = local_site(root)
    assert (found.site_id, found.problem, found.reason) == (site.pk, "", None)


def test_marker_has_its_ids_as_lines(root: MediaRoot, site: Site) -> None:
    root.write_marker(str(Marker.of(site)))
    lines = (root.path / MARKER).read_text().splitlines()
    assert lines[-3:] == [f"installation: {INSTALLATION_ID}", f"site: {site.pk}", "site name: Depot"]


def test_old_marker_counts_for_the_only_site(root: MediaRoot, site: Site) -> None:
    assert local_site(root).site_id == site.pk


def test_old_marker_is_refused_among_several(root: MediaRoot, site: Site) -> None:
    Site.objects.create(name="Harbour")
    found = local_site(root)
    assert (found.site_id, found.reason) == (None, Reason.WRONG_MEDIA_ROOT)
    assert "mark_media_root --site" in found.problem


def test_missing_marker_is_a_missing_disk(root: MediaRoot, site: Site) -> None:
    (root.path / MARKER).unlink()
    found = local_site(root)
    assert (found.site_id, found.reason) == (None, Reason.MEDIA_ROOT_NOT_MOUNTED)


def test_missing_folder_is_a_missing_disk(tmp_path: Path, site: Site) -> None:
    assert local_site(MediaRoot(tmp_path / "nowhere")).reason is Reason.MEDIA_ROOT_NOT_MOUNTED


def test_linked_marker_is_not_followed(root: MediaRoot, site: Site, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(str(Marker.of(site)))
    (root.path / MARKER).unlink()
    (root.path / MARKER).symlink_to(tmp_path / "elsewhere")
    assert local_site(root).site_id is None


@pytest.mark.parametrize(
    "text",
    [
        "installation: another\nsite: {site}\nsite name: Depot\n",
        "installation: {installation}\nsite: {other}\nsite name: Depot\n",
        "installation: {installation}\nsite: no id\n",
        "installation: {installation}\n",
        "site: {site}\n",
    ],
)
def test_marker_of_another_site_is_refused(text: str, root: MediaRoot, site: Site) -> None:
    root.write_marker(text.format(installation=INSTALLATION_ID, site=site.pk, other=uuid4()))
    found = local_site(root)
    assert (found.site_id, found.reason) == (None, Reason.WRONG_MEDIA_ROOT)


def test_name_of_a_site_cannot_name_another(root: MediaRoot, site: Site) -> None:
    other = Site.objects.create(name=f"Harbour\nsite: {site.pk}\rinstallation: x\x0bsite: {site.pk}")
    root.write_marker(str(Marker.of(other)))
    assert local_site(root).site_id == other.pk


def test_unknown_installation_touches_no_site(root: MediaRoot, site: Site, settings: object) -> None:
    root.write_marker(str(Marker.of(site)))
    settings.COLDREEL_INSTALLATION_ID = "x" * 37  # type: ignore[attr-defined]
    found = local_site(root)
    assert (found.site_id, found.reason) == (None, Reason.OTHER_INSTALLATION)
