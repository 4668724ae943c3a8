"""What a person may do to a transfer, recording, camera or orphaned object: one table for every interface.

An action has the permission it needs, the question that is asked before it, the rows it applies to, what it does to
one row, and how many rows it takes at once. Pages render `ACTIONS` and call `carry_out`. A route of the API does one
action to one row and answers with the row, so it calls the service of the action directly, with the same permission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Model
from django.utils import timezone

from apps.cctv.models import Camera, GCPVideoTransfer, OrphanedObject, Recording
from apps.cctv.services import Conflict, NotPermitted, ServiceError
from apps.cctv.services.cameras import camera_archive, camera_unarchive
from apps.cctv.services.cleanup import FileReport, Outcome, cleanup_run
from apps.cctv.services.holds import hold_lift, hold_set
from apps.cctv.services.orphans import orphan_delete
from apps.cctv.services.transfers import transfer_cancel, transfer_request, transfer_retry
from apps.cctv.tables.moves import MoveRefused
from apps.cctv.units import human_size
from apps.cctv.wiring import media_root, object_store, service_settings
from apps.users.models import User
from apps.users.permissions import Permission, may
from offload.clock import SystemClock
from offload.errors import OffloadError
from offload.reasons import MEANING
from offload.states import MOVES, Move, State

MOST_ROWS = 500
"""How many rows an action is done to at once. The page that asks first sends their ids back as fields of a form, and
Django accepts 1,000 fields."""

MOST_ROWS_WITH_BUCKET = 50
"""The same for an action that asks the bucket about each row while the person waits. The command
`cleanup_gcp_transfers` cleans up any number of rows."""

BATCH_SIZE = 5


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """Who asks for an action, when, and for which reason, where the action needs one."""

    user: User
    now: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a person may do.

    `applies` tells whether the state of a row allows the action. `carry_out_one` does it to one row and returns the
    sentence that tells the person so; it raises ServiceError, MoveRefused or OffloadError where it is refused.
    """

    name: str
    title: str
    question: str
    applies: Callable[[Any], bool]
    carry_out_one: Callable[[Any, ActionRequest], str]
    permission: Permission = Permission.MANAGE
    needs_reason: bool = False
    is_destructive: bool = False
    most_rows: int = MOST_ROWS


@dataclass(slots=True)
class ActionResults:
    """A sentence for each row, with its name: those that it was done to, and those that refused it with the reason."""

    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Subject(NamedTuple):
    """How a row is named to the person who is asked about it; `detail` is shown beside the name."""

    pk: UUID
    name: str
    detail: str


def carry_out(action: Action, rows: Iterable[Any], request: ActionRequest) -> ActionResults:
    """Do `action` to each row. A row that refuses it stops no other. Raises NotPermitted before the first."""
    if not may(request.user, action.permission):
        raise NotPermitted(f"The role {request.user.role} may not {action.permission.value}.")
    results = ActionResults()
    for row in rows:
        name = subject_of(row).name
        try:
            results.done.append(f"{name}: {action.carry_out_one(row, request)}")
        except ServiceError as error:
            results.refused.append(f"{name}: {error.detail}")
        except OffloadError as error:
            # Its own text may hold a path of this machine or an answer of the bucket.
            results.refused.append(f"{name}: {MEANING[error.code]}")
        except MoveRefused as error:
            results.refused.append(f"{name}: {error}")
    return results


def subject_of(row: GCPVideoTransfer | Recording | Camera | OrphanedObject) -> Subject:
    if isinstance(row, Camera):
        return Subject(row.pk, row.name, row.site.name)
    recording = _recording_of(row)
    if isinstance(row, OrphanedObject):
        detail = f"{row.gcp_storage_path}#{row.object_generation}, {human_size(row.size_bytes)}"
        return Subject(row.pk, recording.name, detail)
    return Subject(row.pk, recording.name, f"{recording.camera.name}, {human_size(row.file_size_bytes)}")


def _recording_of(row: GCPVideoTransfer | Recording | OrphanedObject) -> Recording:
    if isinstance(row, OrphanedObject):
        return row.transfer.recording
    return row if isinstance(row, Recording) else row.recording


# --- Whether the state of a row allows an action ----------------------------------------------------
def _in_source_of(move: Move) -> Callable[[GCPVideoTransfer], bool]:
    return lambda row: State(row.transfer_status) in MOVES[move].sources


def _can_be_transferred(row: Recording) -> bool:
    transfer = getattr(row, "gcp_transfer", None)
    if transfer is not None:
        return State(transfer.transfer_status) in MOVES[Move.RETRY].sources
    return row.storage_type == Recording.StorageType.LOCAL and row.status == Recording.Status.READY


# --- What each action does to one row ---------------------------------------------------------------
def _transfer(row: Recording, request: ActionRequest) -> str:
    report = transfer_request(
        recording_ids=[row.pk],
        batch_size=BATCH_SIZE,
        user=request.user,
        now=request.now,
        root=media_root(),
        settings=service_settings(),
    )
    for failure in report.failures:  # of one recording there is one at most
        raise Conflict(failure.detail)
    return "The upload begins within seconds." if report.initiated_transfers else "It was transferred already."


def _retry(row: GCPVideoTransfer, request: ActionRequest) -> str:
    transfer_retry(transfer_id=row.pk, user=request.user, now=request.now, settings=service_settings())
    return "The upload begins again within seconds."


def _cancel(row: GCPVideoTransfer, request: ActionRequest) -> str:
    transfer_cancel(transfer_id=row.pk, user=request.user, now=request.now)
    return "Cancelled. The local file stays where it is."


def _hold(row: GCPVideoTransfer | Recording, request: ActionRequest) -> str:
    recording_id = _recording_of(row).pk
    return hold_set(recording_id=recording_id, user=request.user, reason=request.reason, now=request.now).message


def _lift_hold(row: GCPVideoTransfer | Recording, request: ActionRequest) -> str:
    recording_id = _recording_of(row).pk
    return hold_lift(recording_id=recording_id, user=request.user, now=request.now, settings=service_settings()).message


def _clean_up(row: GCPVideoTransfer, request: ActionRequest) -> str:
    files: list[FileReport] = []
    report = cleanup_run(
        store=object_store(),
        root=media_root(),
        clock=SystemClock(),
        actor=request.user.get_username(),
        settings=service_settings(),
        force=True,  # before the end of the waiting period; the proof is read anew all the same
        transfer_id=row.pk,
        on_file=files.append,
    )
    if report.stopped is not None:
        raise Conflict(report.stopped_detail or MEANING[report.stopped])
    for file in files:
        if file.outcome in {Outcome.SKIPPED, Outcome.FAILED}:
            raise Conflict(file.detail or MEANING[file.reason])
    if not files:
        raise Conflict("It does not wait for its cleanup any more.")
    return f"{human_size(report.freed_bytes)} freed, with a deletion receipt."


def _delete_orphan(row: OrphanedObject, request: ActionRequest) -> str:
    orphan_delete(orphan_id=row.pk, store=object_store(), user=request.user, now=request.now)
    return f"Generation {row.object_generation} is gone from the bucket. Its row stays."


def _archive(row: Camera, request: ActionRequest) -> str:
    camera_archive(camera_id=row.pk, user=request.user, now=request.now)
    return "Archived."


def _unarchive(row: Camera, request: ActionRequest) -> str:
    camera_unarchive(camera_id=row.pk, user=request.user, now=request.now)
    return "In use again."


# --- The table --------------------------------------------------------------------------------------
TRANSFER = Action(
    "transfer",
    "Transfer",
    "Upload to the bucket? Each file is verified there; its local copy is deleted after the waiting period.",
    applies=_can_be_transferred,
    carry_out_one=_transfer,
)
RETRY = Action(
    "retry",
    "Retry",
    "Upload again? It starts within seconds, with a fresh budget of tries, and resumes where it can.",
    applies=_in_source_of(Move.RETRY),
    carry_out_one=_retry,
)
CANCEL = Action(
    "cancel",
    "Cancel",
    "Stop the upload? The local file stays, nothing in the bucket is deleted, and a retry starts it again.",
    applies=_in_source_of(Move.CANCEL),
    carry_out_one=_cancel,
    is_destructive=True,
)
HOLD = Action(
    "hold",
    "Hold",
    "Hold? Neither the local file nor the object in the bucket is deleted until the hold is lifted.",
    applies=lambda row: not _recording_of(row).hold_wanted,
    carry_out_one=_hold,
    needs_reason=True,
)
LIFT_HOLD = Action(
    "lift_hold",
    "Lift hold",
    "Lift the hold? The waiting period starts anew; after it the local file is deleted, if cleanup is on.",
    applies=lambda row: _recording_of(row).hold_wanted,
    carry_out_one=_lift_hold,
)
CLEAN_UP = Action(
    "clean_up",
    "Clean up now",
    "Free the local disk now, before the waiting period is over? First the object is read back from the bucket and "
    "the file is compared with what was uploaded. Held recordings and anything in doubt stay.",
    applies=lambda row: row.reason_to_keep(timezone.now(), waived=True) is None,
    carry_out_one=_clean_up,
    is_destructive=True,
    most_rows=MOST_ROWS_WITH_BUCKET,
)
DELETE_ORPHAN = Action(
    "delete_orphan",
    "Delete from the bucket",
    "Delete this object for good? Nothing brings it back. First the recording's own object is read back from "
    "the bucket and proven; an object of another installation, of a held recording, or without such a proof stays.",
    applies=lambda row: row.deleted_at is None and not row.is_found_again and not _recording_of(row).hold_wanted,
    carry_out_one=_delete_orphan,
    is_destructive=True,
    most_rows=MOST_ROWS_WITH_BUCKET,
)
ARCHIVE = Action(
    "archive",
    "Archive",
    "Archive the camera? Its recordings and transfers stay, and it can be taken back into use.",
    applies=lambda row: row.archived_at is None,
    carry_out_one=_archive,
)
UNARCHIVE = Action(
    "unarchive",
    "Take back",
    "Take the camera back into use?",
    applies=lambda row: row.archived_at is not None,
    carry_out_one=_unarchive,
)

ACTIONS: dict[type[Model], tuple[Action, ...]] = {
    GCPVideoTransfer: (RETRY, CANCEL, HOLD, LIFT_HOLD, CLEAN_UP),
    Recording: (TRANSFER, HOLD, LIFT_HOLD),
    Camera: (ARCHIVE, UNARCHIVE),
    OrphanedObject: (DELETE_ORPHAN,),
}
"""The actions of each kind of row, in the order in which they are offered."""
