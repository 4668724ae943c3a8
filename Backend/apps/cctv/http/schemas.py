"""The shapes of the HTTP API's JSON. Times are UTC with a Z, sizes are bytes unless the name says MiB."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone
from ninja import Field, Schema
from ninja.errors import ValidationError
from ninja.parser import Parser
from pydantic import AfterValidator, BeforeValidator, ConfigDict, StrictBool

from apps.cctv.models import GCPVideoTransfer, OrphanedObject, Recording, Site, TransferEvent
from apps.cctv.selectors.recordings import RecordingFilters, RecordingStats, StorageSums
from apps.cctv.selectors.transfers import TransferFilters
from apps.cctv.services.bandwidth import limit_of
from apps.cctv.services.transfers import RequestReport
from apps.users.models import Role
from offload.errors import Reason
from offload.journal import WhyOrphaned
from offload.states import State

NO_NUL = "^[^\\u0000]*$"
"""PostgreSQL stores no NUL in a text."""

MOST_IDS = 20_000
"""Of one request. They fit into a body of 1 MiB, the most that the web server takes."""

MOST_COMMAS = MOST_IDS + 1_000
"""Of one body. Each value of JSON but the first of its list or object follows a comma."""

SOME_UUID = "8c5b2f0e-3f0a-4a3e-9a52-0f5f3c0b7d11"
OTHER_UUID = "1d0f8a34-6d5e-4f7e-8f6b-2a9b1c3d4e5f"
SOME_TIME = "2026-11-20T12:00:00Z"


def _written_out(moment: object) -> object:
    # Pydantic would take a bare number for seconds since 1970.
    if not isinstance(moment, str) or not re.match(r"\d{4}-\d{2}-\d{2}", moment):
        raise ValueError("expected a time like 2026-11-20T12:00:00Z")
    return moment


def _in_utc(moment: datetime) -> datetime:
    """A time without an offset is taken for UTC. One that no calendar holds in UTC is refused."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is out of range") from error


def _no_word(number: object) -> object:
    # Pydantic would take true for 1, and "5" for 5.
    if isinstance(number, bool | str):
        raise ValueError("expected a number")  # noqa: TRY004 - pydantic listens to ValueError only
    return number


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("expected some text")
    return text.strip()


Moment = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
Number = Annotated[int, BeforeValidator(_no_word)]


class BoundedJson(Parser):
    """JSON that is looked at before it is taken apart: a body of 1 MiB may hold 350,000 objects, 75 MB of memory."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.body.count(b",") > MOST_COMMAS:
            too_many = f"The body has more values than the {MOST_IDS} ids that a request may name"
            raise ValidationError([{"type": "too_long", "loc": ["body"], "msg": too_many}])
        parsed: dict[str, Any] = json.loads(request.body)
        return parsed


class _Body(Schema):
    """A body with an unknown field is refused: a misspelt `recording_ids` must not mean all recordings."""

    model_config = ConfigDict(extra="forbid")


# --- Problems -------------------------------------------------------------------------------------
class Problem(Schema):
    detail: str = Field(description="What is wrong, for people.", examples=["There is no such transfer."])


class FieldProblem(Schema):
    type: str = Field(description="A word for programs.", examples=["less_than_equal"])
    loc: list[str | int] = Field(description="Where it is.", examples=[["body", "batch_size"]])
    msg: str = Field(description="A sentence for people.", examples=["Input should be less than or equal to 20"])


class MalformedProblem(Problem):
    errors: list[FieldProblem] = Field(description="At most 100 fields that are wrong.")


# --- Tokens ---------------------------------------------------------------------------------------
class LoginIn(Schema):
    username: str = Field(max_length=150, pattern=NO_NUL, examples=["admin"])
    password: str = Field(max_length=1024, pattern=NO_NUL, examples=["correct horse battery staple"])


class UserOut(Schema):
    id: int
    username: str
    role: Role


class TokensOut(Schema):
    access: str = Field(description="Send it as `Authorization: Bearer …`; good for 15 minutes.")
    refresh: str = Field(description="Good for one use of `/token/refresh/` within 7 days.")


class LoginOut(TokensOut):
    user: UserOut


class RefreshIn(Schema):
    refresh: str = Field(max_length=4096, description="The latest refresh token.")


# --- Transfers ------------------------------------------------------------------------------------
class TransferRequestIn(_Body):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{}, {"recording_ids": [SOME_UUID, OTHER_UUID], "batch_size": 5}]},
    )

    recording_ids: list[UUID] | None = Field(
        default=None,
        max_length=MOST_IDS,
        description="Absent or null: every local recording that is ready. An empty list asks for nothing.",
    )
    batch_size: Number = Field(default=5, ge=1, le=20, description="How many of this request upload at the same time.")


class FailureOut(Schema):
    recording_id: str = Field(examples=[OTHER_UUID])
    reason: Reason = Field(examples=["file_missing"])
    detail: str


class TransferRequestOut(Schema):
    message: str = Field(examples=["3 of 5 transfers started, 1 transferred already, 1 could not be started."])
    batch_id: UUID
    total_recordings: int = Field(description="Considered: initiated, already transferred and failed ones.")
    initiated_transfers: int
    already_transferred: int = Field(description="Under way, or uploaded.")
    failed_initiations: int
    transfer_ids: list[UUID]
    failures: list[FailureOut]

    @staticmethod
    def resolve_message(report: RequestReport) -> str:
        if not report.total_recordings:
            return "Nothing to start: no recording that was asked for is local and ready."
        return (
            f"{report.initiated_transfers} of {report.total_recordings} transfers started, "
            f"{report.already_transferred} transferred already, {report.failed_initiations} could not be started."
        )


class TransferQuery(Schema):
    status: State | None = Field(default=None, description="One exact status.")
    camera_id: UUID | None = Field(default=None)
    search: str = Field(
        default="",
        max_length=200,
        pattern=NO_NUL,
        description="Words in the recording's name, camera's name or object's path.",
    )
    created_after: Moment | None = Field(default=None, description="Included. Without an offset it is UTC.")
    created_before: Moment | None = Field(default=None, description="Not included.")
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=500, description="The `next_cursor` of the page before.")

    def filters(self) -> TransferFilters:
        return TransferFilters(**self.dict(exclude={"limit", "cursor"}))


class TransferOut(Schema):
    transfer_id: UUID = Field(alias="pk")
    recording_id: UUID
    recording_name: str = Field(alias="recording.name")
    camera_id: UUID = Field(alias="recording.camera_id")
    camera_name: str = Field(alias="recording.camera.name")
    batch_id: UUID
    transfer_status: State
    file_size_bytes: int
    file_size_mb: float = Field(description="MiB, two decimals.")
    bytes_uploaded: int = Field(description="What the bucket has confirmed.")
    progress_percent: float = Field(description="100 only when uploaded and verified.")
    gcp_bucket: str
    gcp_storage_path: str = Field(examples=[f"recordings/{SOME_UUID}/{OTHER_UUID}/12-00.mp4"])
    gcp_public_url: str = Field(description="The object's address, not a grant: the bucket is private.")
    created_at: datetime
    upload_started_at: datetime | None
    upload_completed_at: datetime | None
    cleanup_scheduled_at: datetime | None = Field(description="From then on the local file may go.")
    cleanup_completed_at: datetime | None
    error_code: str | None = Field(description="A reason code, while there is something to say.")
    error_message: str | None
    retry_count: int
    next_attempt_at: datetime | None
    needs_attention: bool = Field(description="A person has to look at it.")
    held: bool = Field(alias="recording.hold_wanted", description="Nothing is deleted while this is true.")
    initiated_by: str | None = Field(examples=["admin"])

    @staticmethod
    def resolve_error_code(row: GCPVideoTransfer) -> str | None:
        return row.error_code or None

    @staticmethod
    def resolve_error_message(row: GCPVideoTransfer) -> str | None:
        return row.error_message or None

    @staticmethod
    def resolve_initiated_by(row: GCPVideoTransfer) -> str | None:
        return row.initiated_by.get_username() if row.initiated_by else None


class EventOut(Schema):
    at: datetime
    actor: str = Field(description="A user's name, or `system`.")
    move: str
    from_status: State | None = Field(description="Null for the first.")
    to_status: State
    reason: str
    detail: str

    @staticmethod
    def resolve_from_status(event: TransferEvent) -> str | None:
        return event.from_status or None


class OrphanOut(Schema):
    """An object that stays in the bucket though the transfer counts another as its own, or none yet."""

    gcp_bucket: str
    gcp_storage_path: str
    object_generation: str = Field(description="A 64-bit number, as text: JavaScript would round it.")
    object_crc32c: str = Field(description="Base64, as the bucket writes it.")
    size_bytes: int
    why: WhyOrphaned = Field(
        description="`file_changed`: whole, the file changed after its last byte was sent; it may be the last copy. "
        "`earlier_content`: an earlier content of the file. `wrong_bytes`: not what was sent, and not deletable."
    )
    orphaned_at: datetime
    deleted_at: datetime | None = Field(description="When a person had it deleted; null while it lies there.")
    deleted_by: str | None

    @staticmethod
    def resolve_object_generation(row: OrphanedObject) -> str:
        return str(row.object_generation)

    @staticmethod
    def resolve_deleted_by(row: OrphanedObject) -> str | None:
        return row.deleted_by if row.deleted_at else None


class TransferDetailOut(TransferOut):
    original_local_path: str = Field(description="Below the media root.")
    object_generation: str | None = Field(description="A 64-bit number, as text: JavaScript would round it.")
    object_crc32c: str | None = Field(description="Base64, as the bucket writes it.")
    orphans: list[OrphanOut] = Field(description="What its uploads left in the bucket, latest first.")
    events: list[EventOut] = Field(description="The whole history, oldest first.")

    @staticmethod
    def resolve_object_generation(row: GCPVideoTransfer) -> str | None:
        return None if row.object_generation is None else str(row.object_generation)

    @staticmethod
    def resolve_object_crc32c(row: GCPVideoTransfer) -> str | None:
        return row.object_crc32c or None

    @staticmethod
    def resolve_events(row: GCPVideoTransfer) -> list[TransferEvent]:
        return list(row.events.all())

    @staticmethod
    def resolve_orphans(row: GCPVideoTransfer) -> list[OrphanedObject]:
        return [orphan for orphan in row.orphans.all() if not orphan.is_found_again]


class CountsOut(Schema):
    """Every transfer that the caller may see, whatever the filters and the page."""

    total_count: int = Field(description="Pending, uploading, completed and failed.")
    pending_count: int
    uploading_count: int
    completed_count: int = Field(description="Uploaded and verified: includes the two cleanup states.")
    failed_count: int
    cleanup_pending_count: int
    cleanup_completed_count: int


class TransferListOut(CountsOut):
    transfers: list[TransferOut]
    next_cursor: str | None = Field(description="Null on the last page.")


# --- Recordings -----------------------------------------------------------------------------------
class RecordingQuery(Schema):
    camera_id: UUID | None = Field(default=None)
    started_after: Moment | None = Field(default=None, description="Included. Without an offset it is UTC.")
    started_before: Moment | None = Field(default=None, description="Not included.")
    storage_type: Recording.StorageType | None = Field(default=None)
    status: Recording.Status | None = Field(default=None)
    held: bool | None = Field(default=None)
    search: str = Field(
        default="", max_length=200, pattern=NO_NUL, description="Words in the recording's or camera's name."
    )
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=500, description="The `next_cursor` of the page before.")

    def filters(self) -> RecordingFilters:
        return RecordingFilters(**self.dict(exclude={"limit", "cursor"}))


class RecordingOut(Schema):
    id: UUID
    name: str
    camera_id: UUID
    camera_name: str = Field(alias="camera.name")
    site_id: UUID = Field(alias="camera.site_id")
    site_name: str = Field(alias="camera.site.name")
    status: Recording.Status
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None
    codec: str | None
    width_pixels: int | None
    height_pixels: int | None
    file_size_bytes: int
    file_size_mb: float = Field(description="MiB, two decimals.")
    storage_type: Recording.StorageType
    file_path: str = Field(description="Below the media root while local, the object's path afterwards.")
    held: bool = Field(alias="hold_wanted")
    hold_confirmed: bool = Field(description="Whether the bucket holds the object.")
    hold_reason: str | None
    held_by: str | None
    held_at: datetime | None
    transfer_id: UUID | None
    transfer_status: State | None
    created_at: datetime

    @staticmethod
    def resolve_codec(row: Recording) -> str | None:
        return row.codec or None

    @staticmethod
    def resolve_file_size_mb(row: Recording) -> float:
        return round(row.file_size_bytes / 1024**2, 2)

    @staticmethod
    def resolve_hold_reason(row: Recording) -> str | None:
        return row.hold_reason or None

    @staticmethod
    def resolve_held_by(row: Recording) -> str | None:
        return row.held_by.get_username() if row.held_by else None

    @staticmethod
    def resolve_transfer_id(row: Recording) -> UUID | None:
        transfer = _transfer_of(row)
        return transfer.pk if transfer else None

    @staticmethod
    def resolve_transfer_status(row: Recording) -> str | None:
        transfer = _transfer_of(row)
        return transfer.transfer_status if transfer else None


def _transfer_of(row: Recording) -> GCPVideoTransfer | None:
    # Where there is none, Django raises a RelatedObjectDoesNotExist, which is an AttributeError too.
    found: GCPVideoTransfer | None = getattr(row, "gcp_transfer", None)
    return found


class RecordingListOut(Schema):
    recordings: list[RecordingOut]
    next_cursor: str | None = Field(description="Null on the last page.")


class SumsOut(Schema):
    total_count: int
    total_bytes: int
    local_count: int
    local_bytes: int
    gcp_count: int
    gcp_bytes: int
    held_count: int
    held_bytes: int


class CameraSumsOut(SumsOut):
    camera_id: UUID
    camera_name: str


class RecordingStatsOut(SumsOut):
    waiting_for_cleanup_bytes: int = Field(description="On local disks, uploaded and verified.")
    cameras: list[CameraSumsOut]

    @classmethod
    def of(cls, stats: RecordingStats) -> RecordingStatsOut:
        cameras = [
            CameraSumsOut(**_sums(camera.sums), camera_id=camera.camera_id, camera_name=camera.camera_name)
            for camera in stats.cameras
        ]
        waiting = stats.waiting_for_cleanup_bytes
        return cls(**_sums(stats.sums), waiting_for_cleanup_bytes=waiting, cameras=cameras)


def _sums(sums: StorageSums) -> dict[str, Any]:
    kinds = {"total": sums.total, "local": sums.local, "gcp": sums.gcp, "held": sums.held}
    counts = {f"{kind}_count": found.count for kind, found in kinds.items()}
    return counts | {f"{kind}_bytes": found.size_bytes for kind, found in kinds.items()}


class HoldIn(_Body):
    reason: Annotated[str, AfterValidator(_not_blank)] = Field(
        min_length=1, max_length=500, pattern=NO_NUL, examples=["Case 2026-114, theft at the gate"]
    )


class HoldOut(Schema):
    message: str
    local_copy_remains: bool = Field(description="False where only the copy in the bucket is left to hold.")
    recording: RecordingOut


# --- Cameras and sites ----------------------------------------------------------------------------
class CameraIn(_Body):
    name: Annotated[str, AfterValidator(_not_blank)] = Field(
        min_length=1, max_length=100, pattern=NO_NUL, examples=["Gate"]
    )
    site_id: UUID | None = Field(default=None, description="May be left out while there is one site at most.")
    is_private: StrictBool = Field(default=False, description="The role dev sees it with a grant only.")


class CameraQuery(Schema):
    archived: bool | None = Field(default=None, description="Absent: both kinds.")


class CameraOut(Schema):
    id: UUID
    name: str
    site_id: UUID
    site_name: str = Field(alias="site.name")
    is_private: bool
    archived_at: datetime | None
    created_at: datetime


class CameraListOut(Schema):
    cameras: list[CameraOut]


class SiteOut(Schema):
    id: UUID
    name: str
    time_zone: str
    bandwidth_limit: str = Field(description="A timetable by the site's own clock; empty is no limit.")
    bandwidth_bytes_per_second: int | None = Field(description="The limit in force now; null is none.")

    @staticmethod
    def resolve_bandwidth_bytes_per_second(site: Site) -> int | None:
        return limit_of(site).rate_at(timezone.now())


class SiteListOut(Schema):
    sites: list[SiteOut]
