"""The states of a transfer and every move between them: a state machine, in one table.

The database constraint, the guarded updates and the documents' diagram are made from `MOVES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    PENDING = "pending"
    UPLOADING = "uploading"
    COMPLETED = "completed"
    CLEANUP_PENDING = "cleanup_pending"
    CLEANUP_COMPLETED = "cleanup_completed"
    FAILED = "failed"


UPLOADED = frozenset({State.COMPLETED, State.CLEANUP_PENDING, State.CLEANUP_COMPLETED})
"""States whose upload is complete and verified: `completed_count` counts these."""


class Move(StrEnum):
    REQUEST = "request"
    CLAIM = "claim"
    COMPLETE = "complete"
    COMPLETE_SCHEDULED = "complete_scheduled"
    PUT_BACK = "put_back"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"
    FIND_IN_BUCKET = "find_in_bucket"
    SCHEDULE_CLEANUP = "schedule_cleanup"
    UNSCHEDULE_CLEANUP = "unschedule_cleanup"
    POSTPONE_CLEANUP = "postpone_cleanup"
    FINISH_CLEANUP = "finish_cleanup"
    RESTORE_SCHEDULED = "restore_scheduled"
    RESTORE_KEPT = "restore_kept"


@dataclass(frozen=True, slots=True)
class MoveRule:
    """A move may start from `sources` only; `by` tells people who makes it.

    `needs_lease`: the guarded update also asks for the caller's unexpired lease (P6).
    """

    sources: frozenset[State]
    target: State
    needs_lease: bool
    by: str


def _move_rule(sources: set[State], target: State, by: str, *, needs_lease: bool = False) -> MoveRule:
    return MoveRule(frozenset(sources), target, needs_lease, by)


S = State
MOVES: dict[Move, MoveRule] = {
    Move.REQUEST: _move_rule(set(), S.PENDING, "a request or a policy creates the row"),
    Move.CLAIM: _move_rule({S.PENDING}, S.UPLOADING, "a worker claims it"),
    Move.COMPLETE: _move_rule(
        {S.UPLOADING}, S.COMPLETED, "uploaded and verified; the local file is to stay", needs_lease=True
    ),
    Move.COMPLETE_SCHEDULED: _move_rule(
        {S.UPLOADING}, S.CLEANUP_PENDING, "uploaded and verified; cleanup scheduled", needs_lease=True
    ),
    Move.PUT_BACK: _move_rule(
        {S.UPLOADING}, S.PENDING, "a failure that another try may cure, or a lease given back or run out"
    ),
    Move.FAIL: _move_rule(
        {S.PENDING, S.UPLOADING, S.COMPLETED, S.CLEANUP_PENDING},
        S.FAILED,
        "what no retry cures, the last retry, or an object that is missing or differs",
    ),
    Move.CANCEL: _move_rule({S.PENDING, S.UPLOADING}, S.FAILED, "a person's cancel"),
    Move.RETRY: _move_rule({S.FAILED}, S.PENDING, "a person's retry, or a new request"),
    Move.FIND_IN_BUCKET: _move_rule(
        {S.UPLOADING},
        S.CLEANUP_COMPLETED,
        "the local file is gone and the object is ours, whole and of this recording",
        needs_lease=True,
    ),
    Move.SCHEDULE_CLEANUP: _move_rule({S.COMPLETED}, S.CLEANUP_PENDING, "hold lifted, or cleanup switched on"),
    Move.UNSCHEDULE_CLEANUP: _move_rule(
        {S.CLEANUP_PENDING}, S.COMPLETED, "hold set, cleanup switched off, or the local file is another one"
    ),
    Move.POSTPONE_CLEANUP: _move_rule(
        {S.CLEANUP_PENDING}, S.CLEANUP_PENDING, "a cleanup that failed is tried again", needs_lease=True
    ),
    Move.FINISH_CLEANUP: _move_rule(
        {S.CLEANUP_PENDING}, S.CLEANUP_COMPLETED, "proof read back and the file gone", needs_lease=True
    ),
    Move.RESTORE_SCHEDULED: _move_rule({S.CLEANUP_COMPLETED}, S.CLEANUP_PENDING, "restored to the site"),
    Move.RESTORE_KEPT: _move_rule({S.CLEANUP_COMPLETED}, S.COMPLETED, "restored to the site; held or cleanup off"),
}
