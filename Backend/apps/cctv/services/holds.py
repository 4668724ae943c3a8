"""Holds: what is held is never deleted, locally or in the cloud (P5).

Setting or lifting a hold writes `hold_wanted` at once. `hold_confirmed`, what the bucket has, follows by
`holds_reconcile`, which the sweep calls until both agree. Each change for an uploaded recording makes them disagree,
whatever was confirmed before: a sweep may have died after the bucket's answer and before it noted that answer, so that
only another look at the bucket tells.

The row of the transfer is locked before `hold_wanted` is written. A cleanup commits its receipt while it has locked
that same row and found `hold_wanted` false: so one of the two always sees the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F

from apps.cctv.installation import installation_id
from apps.cctv.models import GCPVideoTransfer, Recording
from apps.cctv.selectors.visibility import recordings_visible_to
from apps.cctv.services import NotFound
from apps.cctv.services.alarms import STOP_CODES, alarm_clear, alarm_raise, alarms_clear
from apps.cctv.services.retention import cleanup_time
from apps.cctv.services.rights_in_doubt import right_doubt_note, right_doubts_end
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.users.models import User
from offload.errors import (
    LineDown,
    ObjectProblem,
    OffloadError,
    PermissionUnclear,
    PreconditionFailed,
    Reason,
    StopAndTell,
)
from offload.states import UPLOADED, Move, State
from offload.store import META_INSTALLATION, ObjectStore

log = structlog.get_logger("coldreel.transfer")


_HOLD_COLUMNS = ("hold_wanted", "hold_reason", "held_by", "held_at", "hold_confirmed")

_Doubt = tuple[GCPVideoTransfer, PermissionUnclear]

REFUSALS_A_BUCKET = 3
"""After so many refusals of a bucket in one round, its other objects are left to the next round."""


@dataclass(frozen=True, slots=True)
class HoldReport:
    """The recording after the change, and what that means, in words for the person who asked."""

    recording: Recording
    message: str
    local_copy_remains: bool


# --- Setting and lifting --------------------------------------------------------------------------
def hold_set(*, recording_id: UUID, user: User, reason: str, now: datetime) -> HoldReport:
    """Hold a recording: from now on neither its local file nor its object is deleted.

    A scheduled cleanup is called off. Where one has already committed its receipt, its file may be deleted at this
    moment, and the message says so. A recording that is held stays as it is. Raises NotFound.
    """
    with transaction.atomic():
        recording, transfer = _locked(recording_id, user)
        if recording.hold_wanted:
            return HoldReport(recording, "The recording was held already.", _local_copy_remains(transfer))
        recording.hold_wanted, recording.hold_reason = True, reason
        recording.held_by, recording.held_at = user, now
        recording.hold_confirmed = False
        recording.save(update_fields=_HOLD_COLUMNS)
        remains = _local_copy_remains(transfer)
        if transfer is not None and remains and transfer.transfer_status == State.CLEANUP_PENDING:
            GCPVideoTransfer.objects.move(
                transfer.pk,
                Move.UNSCHEDULE_CLEANUP,
                actor=user.get_username(),
                now=now,
                reason=Reason.HOLD_SET,
                detail=reason,
                changes={"cleanup_scheduled_at": None, "next_attempt_at": None},
            )
    _log_hold("hold_set", recording, transfer, user, Reason.HOLD_SET)
    return HoldReport(recording, _message_of_set(transfer, remains=remains), remains)


def hold_lift(*, recording_id: UUID, user: User, now: datetime, settings: ServiceSettings) -> HoldReport:
    """Lift a recording's hold; the waiting period of its local file starts anew. Raises NotFound."""
    with transaction.atomic():
        recording, transfer = _locked(recording_id, user)
        remains = _local_copy_remains(transfer)
        if not recording.hold_wanted:
            return HoldReport(recording, "The recording was not held.", remains)
        recording.hold_wanted, recording.hold_reason = False, ""
        recording.held_by, recording.held_at = None, None
        if transfer is not None and transfer.transfer_status in UPLOADED:
            recording.hold_confirmed = True  # until the sweep has seen that the bucket has released it
        recording.save(update_fields=_HOLD_COLUMNS)
        message = "The hold is lifted."
        cleanup_at = cleanup_time(settings, now)
        if transfer is not None and transfer.transfer_status == State.COMPLETED and cleanup_at is not None:
            GCPVideoTransfer.objects.move(
                transfer.pk,
                Move.SCHEDULE_CLEANUP,
                actor=user.get_username(),
                now=now,
                reason=Reason.HOLD_LIFTED,
                changes={"cleanup_scheduled_at": cleanup_at, "next_attempt_at": None, "cleanup_failures": 0},
            )
            message = f"The hold is lifted. The local file goes after {cleanup_at:%Y-%m-%d %H:%M} UTC."
    _log_hold("hold_lifted", recording, transfer, user, Reason.HOLD_LIFTED)
    return HoldReport(recording, message, remains)


def _locked(recording_id: UUID, user: User) -> tuple[Recording, GCPVideoTransfer | None]:
    """The transfer first, then the recording: all code locks them in this order, so that no two wait for each other."""
    transfer = GCPVideoTransfer.objects.select_for_update().filter(recording_id=recording_id).first()
    recordings = recordings_visible_to(user).select_for_update(of=("self",))
    recording = recordings.filter(pk=recording_id).first()
    if recording is None:
        raise NotFound("There is no such recording.")
    return recording, transfer


def _local_copy_remains(transfer: GCPVideoTransfer | None) -> bool:
    if transfer is None:
        return True
    if transfer.transfer_status == State.CLEANUP_COMPLETED:
        return False
    if transfer.transfer_status != State.CLEANUP_PENDING:
        return True  # a file whose transfer is in any other status stays; a receipt left open says nothing
    return not transfer.receipts.filter(closed_at__isnull=True).exists()


def _message_of_set(transfer: GCPVideoTransfer | None, *, remains: bool) -> str:
    if not remains:
        return "The recording is held. Only the copy in the bucket remains: the local file is deleted or about to be."
    if transfer is None or transfer.transfer_status not in UPLOADED:
        return "The recording is held. Its object will be held as soon as it is in the bucket."
    return "The recording is held. The object in the bucket is held within a minute."


def _log_hold(event: str, recording: Recording, transfer: GCPVideoTransfer | None, user: User, reason: Reason) -> None:
    log.info(
        event,
        recording=str(recording.pk),
        camera=str(recording.camera_id),
        transfer=str(transfer.pk) if transfer else None,
        actor=user.get_username(),
        reason=reason.value,
    )


# --- Telling the bucket ---------------------------------------------------------------------------
def holds_reconcile(*, store: ObjectStore, now: datetime, limit: int = 200) -> int:
    """Bring the bucket's holds to what the recordings say, `limit` objects at most; how many agree now.

    Another installation's object is never touched. An object that cannot be held or released raises an alarm and
    hinders no other. A bucket that refuses several is left to the next round. Where the line is down, the round ends.
    """
    agreed = 0
    own_id = installation_id()
    refusals: Counter[str] = Counter()
    answered: set[str] = set()
    doubts: defaultdict[str, list[_Doubt]] = defaultdict(list)
    rows = GCPVideoTransfer.objects.select_related("recording").defer("session_uri")
    rows = rows.filter(transfer_status__in=UPLOADED).exclude(recording__hold_wanted=F("recording__hold_confirmed"))
    # In no order, so that objects which refuse for ever do not stand before the others.
    for transfer in list(rows.order_by("?")[:limit]):
        bucket = transfer.gcp_bucket
        doubted = 0 if bucket in answered else len(doubts.get(bucket, ()))
        if max(refusals[bucket], doubted) >= REFUSALS_A_BUCKET:
            continue
        try:
            agreed += _reconcile(transfer, store, own_id, now)
            answered.add(bucket)
        except PreconditionFailed:
            continue  # the object was changed in this instant: the next round reads it again
        except PermissionUnclear as doubt:
            doubts[bucket].append((transfer, doubt))
        except ObjectProblem as problem:
            _alarm(transfer, problem.code, problem.detail, now)
        except StopAndTell as problem:
            _alarm(transfer, problem.code, problem.detail, now, subject=_subject_of(bucket))
            refusals[bucket] += 1
        except LineDown as error:
            log.warning("holds_postponed", reason=error.code.value)
            break
        except OffloadError as error:
            log.warning("holds_postponed", transfer=str(transfer.pk), reason=error.code.value)
            refusals[bucket] += 1
    for bucket in answered - refusals.keys():
        alarms_clear(codes=STOP_CODES, subject=_subject_of(bucket), now=now)
    _tell_doubts(doubts, answered, now)
    return agreed


def _tell_doubts(doubts: Mapping[str, Sequence[_Doubt]], answered: set[str], now: datetime) -> None:
    """Raise an alarm for refusals in doubt that have lasted ten minutes.

    One for the bucket, or one for each object where the bucket answered for others.
    """
    right_doubts_end(SubjectKind.HOLDS, answered - doubts.keys())
    for bucket, met in doubts.items():
        if not right_doubt_note(subject=_subject_of(bucket), now=now):
            log.warning("holds_postponed", reason=Reason.PERMISSION_DENIED.value, bucket=bucket, count=len(met))
        elif bucket in answered:
            for transfer, problem in met:
                _alarm(transfer, problem.code, problem.detail, now)
        else:
            transfer, problem = met[0]
            _alarm(transfer, problem.code, problem.detail, now, subject=_subject_of(bucket))


def _subject_of(bucket: str) -> Subject:
    """Not that of the uploads' alarms: an upload that gets through ends those, and proves no right to set a hold."""
    return Subject(SubjectKind.HOLDS, bucket)


def _reconcile(transfer: GCPVideoTransfer, store: ObjectStore, own_id: str, now: datetime) -> bool:
    wanted = transfer.recording.hold_wanted
    found = store.get(transfer.gcp_bucket, transfer.gcp_storage_path, generation=transfer.object_generation)
    if found is None:
        raise ObjectProblem("The object to be held or released is not in the bucket.", code=Reason.OBJECT_MISSING)
    if found.metadata.get(META_INSTALLATION) != own_id:
        raise ObjectProblem("The object belongs to another installation.", code=Reason.OTHER_INSTALLATION)
    if found.temporary_hold != wanted:
        store.set_hold(found, held=wanted)
    # Only where no person changed the hold meanwhile: another sweep may have told the bucket the newer wish already.
    asked_for = Recording.objects.filter(
        pk=transfer.recording_id, hold_wanted=wanted, held_at=transfer.recording.held_at
    )
    if asked_for.update(hold_confirmed=wanted) != 1:
        return False
    for code in _HOLD_ALARMS:
        alarm_clear(code=code, subject=Subject(SubjectKind.TRANSFER, str(transfer.pk)), now=now)
    log.info("hold_confirmed", transfer=str(transfer.pk), recording=str(transfer.recording_id), held=wanted)
    return True


_HOLD_ALARMS = (
    Reason.OBJECT_MISSING,
    Reason.OBJECT_DIFFERS,
    Reason.OTHER_INSTALLATION,
    Reason.HOLD_NOT_RELEASED,
    Reason.PERMISSION_DENIED,
    Reason.BUCKET_REFUSED,
)


def _alarm(
    transfer: GCPVideoTransfer, code: Reason, detail: str, now: datetime, *, subject: Subject | None = None
) -> None:
    subject = subject or Subject(SubjectKind.TRANSFER, str(transfer.pk))
    alarm_raise(code=code, subject=subject, detail=detail, now=now)
