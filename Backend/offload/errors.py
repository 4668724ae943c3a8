"""The engine's exceptions, and what the worker does about each.

    OffloadError
    ├── TryAgain              another try may cure it: 408, 429, 5xx, connection, time-out
    │   └── LineDown          no answer at all: uses up no retries
    ├── SessionGone           404 or 410 on a session: begin a new one
    ├── StopAndTell           no upload can succeed until a person acts: one alarm, transfers wait
    ├── ObjectProblem         this object in the bucket: retention, hold, conflict, gone
    │   ├── PreconditionFailed  412: something lives under that name; compare before anything else
    │   └── PermissionUnclear   403, and the bucket says "you may": rights take minutes to spread
    ├── ChecksumRefused       the bucket computed another CRC32C than we did: delete the session
    ├── FileProblem           this file, as it is now, cannot be uploaded
    │   └── FileChanged       it changed between the first byte and the last: start again
    ├── LeaseLost             another worker may have this transfer now: touch nothing
    └── Stopped               this process was asked to stop: give the lease back

Every class carries ``code``, a `Reason`, and ``disposition``, what the worker does with it.
Messages never contain a session URI, a credential or a signed URL (P10).
"""

from __future__ import annotations

from enum import StrEnum


class Disposition(StrEnum):
    """What the worker does with a transfer whose attempt ended in an error."""

    RETRY = "retry"  # back to pending with backoff; counts against the budget
    WAIT = "wait"  # back to pending with backoff; does not count against the budget
    FAIL = "fail"  # failed: no retry cures it, a person decides
    RELEASE = "release"  # back to pending at once, no backoff
    ABANDON = "abandon"  # another worker has the transfer by now: write nothing


class Reason(StrEnum):
    """Every reason code that a row, an event, a receipt, a report or an API answer can carry."""

    # the file
    FILE_MISSING = "file_missing"
    FILE_EMPTY = "file_empty"
    FILE_OUTSIDE_MEDIA_ROOT = "file_outside_media_root"
    FILE_IS_LINK = "file_is_link"
    FILE_NOT_REGULAR = "file_not_regular"
    FILE_NOT_SETTLED = "file_not_settled"
    FILE_NOT_PLAYABLE = "file_not_playable"
    FILE_CHANGED = "file_changed"
    FILE_UNREADABLE = "file_unreadable"
    FILE_IN_USE = "file_in_use"
    NAME_NOT_UTF8 = "name_not_utf8"
    PATH_NOT_MATCHED = "path_not_matched"
    TIME_UNCLEAR = "time_unclear"
    TIME_UNREAD = "time_unread"
    # the recording
    RECORDING_NOT_FOUND = "recording_not_found"
    RECORDING_NOT_READY = "recording_not_ready"
    CAMERA_NOT_FOUND = "camera_not_found"
    DUPLICATE = "duplicate"
    # the line and the bucket
    LINE_DOWN = "line_down"
    BUCKET_BUSY = "bucket_busy"
    SESSION_GONE = "session_gone"
    CREDENTIALS_REFUSED = "credentials_refused"
    PERMISSION_DENIED = "permission_denied"
    BUCKET_NOT_FOUND = "bucket_not_found"
    QUOTA_EXCEEDED = "quota_exceeded"
    BUCKET_REFUSED = "bucket_refused"
    # the object
    OBJECT_CONFLICT = "object_conflict"
    OBJECT_EXISTS = "object_exists"
    OBJECT_MISSING = "object_missing"
    OBJECT_DIFFERS = "object_differs"
    OBJECT_HELD = "object_held"
    OBJECT_LOST = "object_lost"
    OBJECT_RETAINED = "object_retained"
    OTHER_INSTALLATION = "other_installation"
    CHECKSUM_REFUSED = "checksum_refused"
    FOUND_IN_BUCKET = "found_in_bucket"
    ADOPTED = "adopted"
    # work
    LEASE_LOST = "lease_lost"
    LEASE_EXPIRED = "lease_expired"
    LEASE_RETURNED = "lease_returned"
    OWNER_DIED = "owner_died"
    OWNER_OF_ANOTHER_USER = "owner_of_another_user"
    RETRIES_EXHAUSTED = "retries_exhausted"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    REQUESTED = "requested"
    RETRIED = "retried"
    CLAIMED = "claimed"
    UPLOADED = "uploaded"
    INTERNAL_ERROR = "internal_error"
    # cleanup
    CLEANED = "cleaned"
    CLEANUP_SCHEDULED = "cleanup_scheduled"
    CLEANUP_OFF = "cleanup_off"
    HELD = "held"
    HOLD_SET = "hold_set"
    HOLD_LIFTED = "hold_lifted"
    HOLD_UNKNOWN = "hold_unknown"
    HOLD_NOT_RELEASED = "hold_not_released"
    LOCAL_CHANGED = "local_changed"
    LOCAL_MISSING = "local_missing"
    ALREADY_MISSING = "already_missing"
    NOT_DUE = "not_due"
    NOT_DUE_IN_BUCKET = "not_due_in_bucket"
    WRONG_STATE = "wrong_state"
    BUSY = "busy"
    BUCKET_SETTING_CHANGED = "bucket_setting_changed"
    MEDIA_ROOT_NOT_MOUNTED = "media_root_not_mounted"
    TOO_MANY_MISSING_LOCALLY = "too_many_missing_locally"
    TOO_MANY_MISSING_REMOTELY = "too_many_missing_remotely"
    CLOCK_SKEW = "clock_skew"
    QUARANTINED = "quarantined"
    RECEIPT_FINISHED = "receipt_finished"
    RENAMED_BACK = "renamed_back"
    DISK_PRESSURE = "disk_pressure"
    CLEANUP_FAILED = "cleanup_failed"
    NO_RIGHT_TO_DELETE = "no_right_to_delete"
    NOT_CONFIGURED = "not_configured"
    SILENCE = "silence"
    HOME_DISK_LOW = "home_disk_low"


class OffloadError(Exception):
    """Root of the tree. `detail` is for people and contains no secret."""

    code: Reason = Reason.INTERNAL_ERROR
    disposition: Disposition = Disposition.RETRY

    def __init__(self, detail: str, *, code: Reason | None = None, disposition: Disposition | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        if disposition is not None:
            self.disposition = disposition


class TryAgain(OffloadError):
    """Another try may cure it. `retry_after_seconds` is what the bucket asked for, if it did."""

    code = Reason.BUCKET_BUSY

    def __init__(self, detail: str, *, code: Reason | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after_seconds = retry_after_seconds


class LineDown(TryAgain):
    code = Reason.LINE_DOWN
    disposition = Disposition.WAIT


class SessionGone(OffloadError):
    code = Reason.SESSION_GONE


class StopAndTell(OffloadError):
    code = Reason.PERMISSION_DENIED
    disposition = Disposition.WAIT


class ObjectProblem(OffloadError):
    code = Reason.OBJECT_CONFLICT
    disposition = Disposition.FAIL


class PreconditionFailed(ObjectProblem):
    code = Reason.OBJECT_EXISTS


class PermissionUnclear(ObjectProblem):
    """A 403 although the bucket grants the right: of this object alone, or of all until a new right has spread.

    IAM changes take minutes: https://cloud.google.com/iam/docs/access-change-propagation
    """

    code = Reason.PERMISSION_DENIED
    disposition = Disposition.WAIT


class ChecksumRefused(OffloadError):
    code = Reason.CHECKSUM_REFUSED


class FileProblem(OffloadError):
    code = Reason.FILE_UNREADABLE
    disposition = Disposition.FAIL


class FileChanged(FileProblem):
    code = Reason.FILE_CHANGED
    disposition = Disposition.RETRY


class LeaseLost(OffloadError):
    code = Reason.LEASE_LOST
    disposition = Disposition.ABANDON


class Stopped(OffloadError):
    code = Reason.STOPPED
    disposition = Disposition.RELEASE
