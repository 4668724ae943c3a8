"""The list that `make promises` works through fits the code as it is now."""

from __future__ import annotations

import pytest

from tests.promises import BREAKAGES
from tests.promises.__main__ import BACKEND


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: f"{breakage.promise}-{breakage.path}")
def test_breakage_names_one_place_and_an_existing_test(breakage):
    assert (BACKEND / breakage.path).read_text(encoding="utf-8").count(breakage.before) == 1
    file, _, name = breakage.test.partition("::")
    assert f"def {name.split('[')[0]}(" in (BACKEND / file).read_text(encoding="utf-8")


def test_every_breakable_promise_is_broken_once():
    assert {breakage.promise for breakage in BREAKAGES} >= {
        "P1",
        "P2",
        "P3",
        "P4",
        "P5",
        "P6",
        "P7",
        "P8",
        "P9",
        "P10",
        "P12",
    }
