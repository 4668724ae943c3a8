"""Small changes of the product that each break a promise; `make promises` shows that a test fails for every one.

One module for each promise; the promises are those of `docs/design/promises.md`.
"""

from __future__ import annotations

from tests.promises import (
    p1_proof_before_deletion,
    p2_one_object,
    p3_killed_anywhere,
    p4_none_forgotten,
    p5_held,
    p6_lease,
    p7_to_p12,
)

BREAKAGES = (
    *p1_proof_before_deletion.BREAKAGES,
    *p2_one_object.BREAKAGES,
    *p3_killed_anywhere.BREAKAGES,
    *p4_none_forgotten.BREAKAGES,
    *p5_held.BREAKAGES,
    *p6_lease.BREAKAGES,
    *p7_to_p12.BREAKAGES,
)
