"""When the local file may go: every part of the product gives the same answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.cctv.actions import CLEAN_UP
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.services.cleanup import Outcome
from apps.cctv.services.cleanup.due_rows import Scope, due_rows, is_anything_due, rows_not_due
from apps.cctv.services.retention import MAY_GO_EARLY, FileStays, retention_check, waiting_period_over
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.wiring import service_settings
from offload.states import State
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite
from tests.integration.db import rows

OFFSETS_SECONDS = st.sampled_from([-100_000, -3600, -1, 0, 1, 3600, 100_000])
"""Of the end of the waiting period from now; negative where it is over."""


@pytest.fixture
def footage(site: UploadedSite) -> Footage:
    """Uploaded so long ago that the bucket's clock keeps no file."""
    return site.add(hours_ago=100)


def is_checked(row: GCPVideoTransfer, site: UploadedSite, settings: ServiceSettings, *, waived: bool) -> bool:
    try:
        retention_check(row, settings=settings, now=site.clock.now(), waived=waived)
    except FileStays:
        return False
    return True


def in_status(footage: Footage, status: State, ends_in_seconds: int, site: UploadedSite) -> None:
    columns = rows.columns_of(status)
    for proof in ("object_generation", "object_crc32c"):
        columns.pop(proof, None)
    at = site.clock.now() + timedelta(seconds=ends_in_seconds)
    footage.set(**{"next_attempt_at": None, "error_code": "", **columns, "cleanup_scheduled_at": at})


@given(
    status=st.sampled_from(State),
    held=st.booleans(),
    ends_in_seconds=OFFSETS_SECONDS,
    waived=st.booleans(),
    cleanup_local=st.booleans(),
)
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
def test_all_who_ask_whether_the_file_may_go_agree(
    *,
    site: UploadedSite,
    footage: Footage,
    status: State,
    held: bool,
    ends_in_seconds: int,
    waived: bool,
    cleanup_local: bool,
) -> None:
    in_status(footage, status, ends_in_seconds, site)
    footage.set_recording(hold_wanted=held)
    settings = replace(service_settings(), cleanup_local=cleanup_local)
    now, row = site.clock.now(), footage.row

    by_rule = status is State.CLEANUP_PENDING and not held and (waived or ends_in_seconds <= 0)

    assert (row.reason_to_keep(now, waived=waived) is None) == by_rule
    assert is_checked(row, site, settings, waived=waived) == (by_rule and cleanup_local)
    found = GCPVideoTransfer.objects.filter(MAY_GO_EARLY)
    assert (found if waived else found.filter(waiting_period_over(now))).exists() == by_rule
    assert any(not due.held for due in due_rows(Scope(waived, None), now)) == by_rule
    if waived:
        assert CLEAN_UP.applies(row) == by_rule
        assert bool(rows_not_due(row.site_id, now)) == (by_rule and ends_in_seconds > 0)
    else:
        assert is_anything_due(None, now) == by_rule
        if abs(ends_in_seconds) >= 3600:  # it asks the time itself
            assert row.is_cleanup_due == by_rule
    asked = site.clean(dry_run=True, force=waived, transfer_id=row.pk, settings=settings)
    assert (asked.only.outcome is Outcome.CLEANED) == (by_rule and cleanup_local)
