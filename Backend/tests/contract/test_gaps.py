"""The list of known gaps names tests that exist."""

from __future__ import annotations

from tests.contract import test_bucket, test_objects, test_sessions, test_small
from tests.contract.gaps import GAPS


def test_every_known_gap_names_a_test_of_the_suite() -> None:
    modules = (test_bucket, test_objects, test_sessions, test_small)
    assert [name for name in GAPS if not any(hasattr(module, name) for module in modules)] == []
