"""The table: what the bucket says, and what is to be done about it."""

from __future__ import annotations

import json

import pytest

from offload.errors import (
    ChecksumRefused,
    Disposition,
    LineDown,
    ObjectProblem,
    OffloadError,
    PermissionUnclear,
    PreconditionFailed,
    Reason,
    SessionGone,
    StopAndTell,
    TryAgain,
)
from offload.gcs.error_rules import Target, error_of
from offload.gcs.responses import Response, object_info

RETRY, WAIT, FAIL = Disposition.RETRY, Disposition.WAIT, Disposition.FAIL
HOLD_MESSAGE = (
    "Object 'b/n' is under active Temporary hold and cannot be deleted, overwritten or archived until hold is removed."
)
EVENT_HOLD_MESSAGE = HOLD_MESSAGE.replace("Temporary", "Event-Based")
RETAINED = (
    "Object 'b/n' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten "
    "until 2026-09-30T15:58:01.185839-07:00"
)
DENIED = (
    "a@b.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud Storage object. "
    "Permission 'storage.objects.create' denied on resource (or it may not exist)."
)
WRONG_SUM = 'Provided CRC32C "AAAAAA==" doesn\'t match calculated CRC32C "2HvlZg==".'
WRONG_MD5 = 'Provided MD5 hash "a" doesn\'t match calculated MD5 hash "b".'
KEY = "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been authorized."


class Looks:
    """A probe that finds what the test says."""

    def __init__(self, *, bucket: OffloadError | None = None, lacks: bool = True) -> None:
        self._bucket = bucket
        self._lacks = lacks
        self.looked = 0

    def confirm_bucket(self) -> None:
        self.looked += 1
        if self._bucket is not None:
            raise self._bucket

    def lacks_permission(self) -> bool:
        self.looked += 1
        return self._lacks


def answered(status: int, reason: str = "", message: str = "", **headers: str) -> Response:
    body = {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}
    return Response(status, headers, json.dumps(body).encode())


# (status, reason, message, target) → (class, code, disposition)
TABLE = [
    # another try may cure it
    (408, "requestTimeout", "", Target.OBJECT, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (429, "rateLimitExceeded", "", Target.NEW_OBJECT, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (429, "", "", Target.SESSION, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (403, "rateLimitExceeded", "", Target.OBJECT, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (403, "userRateLimitExceeded", "", Target.NEW_OBJECT, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (500, "internalError", "", Target.SESSION, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (502, "", "", Target.OBJECT, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (503, "backendError", "", Target.BUCKET, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (504, "gatewayTimeout", "", Target.SESSION, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (409, "conflict", "", Target.NEW_OBJECT, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (302, "", "", Target.OBJECT, TryAgain, Reason.BUCKET_BUSY, RETRY),
    (400, "invalid", "Invalid request.", Target.SESSION, TryAgain, Reason.BUCKET_REFUSED, RETRY),
    # a new session
    (404, "notFound", "", Target.SESSION, SessionGone, Reason.SESSION_GONE, RETRY),
    (410, "gone", "", Target.SESSION, SessionGone, Reason.SESSION_GONE, RETRY),
    (499, "", "", Target.SESSION, SessionGone, Reason.SESSION_GONE, RETRY),
    (401, "authError", "", Target.SESSION, SessionGone, Reason.SESSION_GONE, RETRY),
    # a person
    (401, "authError", "Invalid Credentials", Target.OBJECT, StopAndTell, Reason.CREDENTIALS_REFUSED, WAIT),
    (401, "required", "Login Required", Target.NEW_OBJECT, StopAndTell, Reason.CREDENTIALS_REFUSED, WAIT),
    (403, "forbidden", DENIED, Target.NEW_OBJECT, StopAndTell, Reason.PERMISSION_DENIED, WAIT),
    (403, "insufficientPermissions", "", Target.OBJECT, StopAndTell, Reason.PERMISSION_DENIED, WAIT),
    (403, "forbidden", DENIED, Target.SESSION, StopAndTell, Reason.PERMISSION_DENIED, WAIT),
    (403, "forbidden", DENIED, Target.BUCKET, StopAndTell, Reason.PERMISSION_DENIED, WAIT),
    (403, "forbidden", KEY, Target.NEW_OBJECT, StopAndTell, Reason.PERMISSION_DENIED, WAIT),
    (403, "accessNotConfigured", "", Target.OBJECT, StopAndTell, Reason.PERMISSION_DENIED, WAIT),
    (412, "orgPolicyConstraintFailed", "", Target.NEW_OBJECT, StopAndTell, Reason.PERMISSION_DENIED, WAIT),
    (403, "quotaExceeded", "", Target.NEW_OBJECT, StopAndTell, Reason.QUOTA_EXCEEDED, WAIT),
    (429, "dailyLimitExceeded", "", Target.NEW_OBJECT, StopAndTell, Reason.QUOTA_EXCEEDED, WAIT),
    (403, "accountDisabled", "", Target.SESSION, StopAndTell, Reason.QUOTA_EXCEEDED, WAIT),
    (
        403, "forbidden", "The billing account for the owning project is disabled in state absent", Target.SESSION,
        StopAndTell, Reason.QUOTA_EXCEEDED, WAIT,
    ),
    (
        400, "required", "Bucket is a requester pays bucket but no user project provided.", Target.OBJECT,
        StopAndTell, Reason.QUOTA_EXCEEDED, WAIT,
    ),
    (404, "notFound", "The specified bucket does not exist.", Target.OBJECT, StopAndTell, Reason.BUCKET_NOT_FOUND, WAIT),
    (404, "notFound", "The specified bucket does not exist.", Target.SESSION, StopAndTell, Reason.BUCKET_NOT_FOUND, WAIT),
    (404, "notFound", "Not Found", Target.NEW_OBJECT, StopAndTell, Reason.BUCKET_NOT_FOUND, WAIT),
    (404, "notFound", "Not Found", Target.BUCKET, StopAndTell, Reason.BUCKET_NOT_FOUND, WAIT),
    # this object
    (404, "notFound", "No such object: b/n", Target.OBJECT, ObjectProblem, Reason.OBJECT_MISSING, FAIL),
    (
        404, "notFound", "No such object: b/The specified bucket does not exist.mp4", Target.OBJECT,
        ObjectProblem, Reason.OBJECT_MISSING, FAIL,
    ),
    (403, "objectUnderActiveHold", "", Target.OBJECT, ObjectProblem, Reason.OBJECT_HELD, FAIL),
    (403, "forbidden", HOLD_MESSAGE, Target.OBJECT, ObjectProblem, Reason.OBJECT_HELD, FAIL),
    (403, "forbidden", EVENT_HOLD_MESSAGE, Target.SESSION, ObjectProblem, Reason.OBJECT_HELD, FAIL),
    (403, "retentionPolicyNotMet", RETAINED, Target.OBJECT, ObjectProblem, Reason.OBJECT_RETAINED, FAIL),
    (412, "conditionNotMet", "", Target.NEW_OBJECT, PreconditionFailed, Reason.OBJECT_EXISTS, FAIL),
    (412, "conditionNotMet", "", Target.SESSION, PreconditionFailed, Reason.OBJECT_EXISTS, FAIL),
    (409, "conflict", "", Target.OBJECT, PreconditionFailed, Reason.OBJECT_EXISTS, FAIL),
    (400, "invalid", WRONG_SUM, Target.SESSION, ChecksumRefused, Reason.CHECKSUM_REFUSED, RETRY),
    (400, "invalid", WRONG_SUM, Target.NEW_OBJECT, ChecksumRefused, Reason.CHECKSUM_REFUSED, RETRY),
    (400, "invalid", WRONG_MD5, Target.NEW_OBJECT, ChecksumRefused, Reason.CHECKSUM_REFUSED, RETRY),
    (400, "invalid", "Invalid argument: storage class X", Target.NEW_OBJECT, ObjectProblem, Reason.BUCKET_REFUSED, FAIL),
    (413, "uploadTooLarge", "", Target.NEW_OBJECT, ObjectProblem, Reason.BUCKET_REFUSED, FAIL),
]  # fmt: skip


@pytest.mark.parametrize(("status", "reason", "message", "target", "kind", "code", "disposition"), TABLE)
def test_every_refusal_has_its_class(  # noqa: PLR0917 - the table's columns
    status, reason, message, target, kind, code, disposition
) -> None:
    error = error_of(answered(status, reason, message), target, Looks())
    assert (type(error), error.code, error.disposition) == (kind, code, disposition)


def test_403_against_granted_permissions_is_not_believed_at_once() -> None:
    error = error_of(answered(403, "forbidden", DENIED), Target.NEW_OBJECT, Looks(lacks=False))
    assert (type(error), error.code, error.disposition) == (PermissionUnclear, Reason.PERMISSION_DENIED, WAIT)


def test_404_proves_nothing_while_the_bucket_is_unseen() -> None:
    """The service says "No such object" of a missing bucket too."""
    gone = StopAndTell("no bucket", code=Reason.BUCKET_NOT_FOUND)
    with pytest.raises(StopAndTell) as caught:
        error_of(answered(404, "notFound", "No such object: b/n"), Target.OBJECT, Looks(bucket=gone))
    assert caught.value is gone


def test_line_down_during_the_second_look_is_told() -> None:
    with pytest.raises(LineDown):
        error_of(answered(404, "notFound"), Target.OBJECT, Looks(bucket=LineDown("down")))


@pytest.mark.parametrize("status", [400, 401, 403, 408, 412, 429, 500, 503])
def test_bucket_is_not_asked_where_the_answer_suffices(status: int) -> None:
    looks = Looks()
    error_of(answered(status, "rateLimitExceeded" if status == 403 else ""), Target.OBJECT, looks)
    assert looks.looked == 0


@pytest.mark.parametrize(
    ("asked", "date", "seconds"),
    [
        ("7", "", 7.0),
        ("0", "", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", "Sun, 22 Nov 2026 12:00:00 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", "Sun, 22 Nov 2026 12:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", "", None),
        ("soon", "", None),
        ("-1", "", None),
        ("", "", None),
    ],
)
def test_retry_after_is_honoured_in_either_form(asked: str, date: str, seconds: float | None) -> None:
    error = error_of(answered(503, **{"retry-after": asked, "date": date}), Target.OBJECT, Looks())
    assert isinstance(error, TryAgain)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>https://storage.googleapis.com/upload?upload_id=KEY</html>", b"[]", b'"x"', b"\xff", b"null",
     b'{"error": "text"}', b'{"error": {"errors": []}}', b'{"error": {"errors": "x", "message": null}}'],
)  # fmt: skip
def test_body_that_is_not_json_is_sorted_by_status(body: bytes) -> None:
    error = error_of(Response(404, {}, body), Target.SESSION, Looks())
    assert isinstance(error, SessionGone)
    assert "KEY" not in str(error)


def test_message_never_repeats_an_address_or_a_key() -> None:
    said = "See https://storage.googleapis.com/upload/b?upload_id=SECRET and upload_id=SECRET and x-goog-signature=SECRET\n"
    answer = answered(400, "invalid", said * 100)
    assert "SECRET" not in answer.message
    assert "googleapis" not in answer.message
    assert len(answer.message) <= 300
    assert answer.message.isprintable()


RESOURCE = {
    "bucket": "b", "name": "n", "generation": "7", "metageneration": "1", "size": "5", "crc32c": "2HvlZg==",
    "timeCreated": "2026-09-30T21:58:39.652Z",
}  # fmt: skip


@pytest.mark.parametrize("missing", sorted(RESOURCE))
def test_an_object_described_in_part_is_not_believed(missing: str) -> None:
    with pytest.raises(TryAgain):
        object_info({key: value for key, value in RESOURCE.items() if key != missing})


@pytest.mark.parametrize("crc32c", ["", "AAAA", "AAAAAAA=", "!!!!!!==", None, 7])
def test_a_checksum_that_is_none_is_not_believed(crc32c: object) -> None:
    with pytest.raises(TryAgain):
        object_info({**RESOURCE, "crc32c": crc32c})
