"""How long a proof is valid (P1)."""

from __future__ import annotations

import pytest

from apps.cctv.services.cleanup.proof import Proofs
from offload.errors import Reason
from tests.integration.cleanup.uploaded_site import UploadedSite


@pytest.fixture
def proofs(site: UploadedSite) -> Proofs:
    return Proofs(site.store, site.clock, seconds=60)


@pytest.mark.parametrize("seconds", [60, 61, -60, -61, 24 * 3600])
def test_proof_is_read_again_after_a_clock_change(site: UploadedSite, proofs: Proofs, seconds: int) -> None:
    """The monotonic clock stands still while a machine sleeps; only the wall clock knows of that hour."""
    row = site.add().row
    before = proofs.of(row)
    site.clock.jump(seconds)
    assert not proofs.is_fresh(before)
    assert proofs.of(row).read_at == site.clock.now()
    assert len(site.store.calls_of("get")) == 2


@pytest.mark.parametrize("seconds", [59, -59])
def test_small_step_of_the_wall_clock_costs_no_read(site: UploadedSite, proofs: Proofs, seconds: int) -> None:
    row = site.add().row
    proofs.of(row)
    site.clock.jump(seconds)
    proofs.of(row)
    assert len(site.store.calls_of("get")) == 1


def test_proof_is_good_for_a_minute_by_either_clock(site: UploadedSite, proofs: Proofs) -> None:
    proof = proofs.of(site.add().row)
    site.clock.advance(59)
    assert proofs.is_fresh(proof)
    site.clock.advance(1)
    site.clock.jump(-60)
    assert not proofs.is_fresh(proof)


def test_margin_makes_a_proof_old_earlier(site: UploadedSite, proofs: Proofs) -> None:
    row = site.add().row
    proof = proofs.of(row)
    site.clock.advance(30)
    assert proofs.is_fresh(proof)
    assert not proofs.is_fresh(proof, margin_seconds=30)
    assert proofs.of(row, margin_seconds=30).read_at == site.clock.now()


def test_listing_proves_from_the_moment_before_the_question(site: UploadedSite, proofs: Proofs) -> None:
    rows = [each.row for each in site.many(20)]
    began = site.clock.now()
    site.store.fault("list_prefix", action=lambda: site.clock.advance(20))
    proofs.load(rows)
    assert {proofs.of(row).read_at for row in rows} == {began}
    assert site.store.calls_of("get") == []
    site.clock.advance(40)
    assert proofs.of(rows[0]).read_at == site.clock.now()


def test_object_missing_in_a_listing_is_read_itself(site: UploadedSite, proofs: Proofs) -> None:
    footage = site.many(20)
    site.store.remove(site.bucket, footage[7].row.gcp_storage_path)
    proofs.load([each.row for each in footage])
    assert proofs.of(footage[7].row).info is None
    assert [call.name for call in site.store.calls_of("get")] == [footage[7].row.gcp_storage_path]


def test_sleep_between_proof_and_deletion_asks_again(site: UploadedSite) -> None:
    """The machine slept for an hour, and another program deleted the object meanwhile."""
    footage = site.add()

    def asleep(count: int) -> None:
        site.clock.jump(200)
        site.store.remove(site.bucket, footage.row.gcp_storage_path)

    assert site.clean(on_start=asleep).only.reason is Reason.OBJECT_MISSING
    assert footage.is_whole
