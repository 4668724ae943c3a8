"""Translates refusals of the bucket and failed connections into `offload.errors`, whose classes say what to do.

By reason rather than by status: a 403 may be a rate limit, a hold, a retention policy, a missing right or an
unpaid bill. Two cases need a second look at the bucket (`BucketProbe`): a 404, which says "No such object" of a
missing bucket too (https://github.com/googleapis/nodejs-storage/issues/1183), and a 403 without a reason of
its own.

Statuses and reasons: https://cloud.google.com/storage/docs/json_api/v1/status-codes
Which of them to retry: https://cloud.google.com/storage/docs/retry-strategy
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from offload.errors import (
    ChecksumRefused,
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
from offload.gcs.responses import Response


class Target(Enum):
    """The subject of a request, which decides how to read a 404 or an unexplained 4xx."""

    BUCKET = auto()
    NEW_OBJECT = auto()
    SESSION = auto()
    OBJECT = auto()


class BucketProbe(Protocol):
    """A second look at the bucket, where a response alone is ambiguous."""

    def confirm_bucket(self) -> None:
        """Returns where the bucket exists and lets us list it; raises the translated error otherwise."""

    def lacks_permission(self) -> bool:
        """Whether the bucket says that we lack, on all of it, the right that was needed."""


class NoBucketProbe:
    """For a request that names no bucket, such as one to a session."""

    def confirm_bucket(self) -> None:
        """Returns: the bucket is assumed to exist."""

    def lacks_permission(self) -> bool:
        return True


MakeError = Callable[[str, Response, BucketProbe], OffloadError]


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """Makes an error of the responses that match. The first rule that matches decides; an empty field matches all."""

    becomes: MakeError
    statuses: frozenset[int] = frozenset()
    reasons: frozenset[str] = frozenset()
    says: re.Pattern[str] | None = None
    targets: frozenset[Target] = frozenset()

    def matches(self, response: Response, target: Target) -> bool:
        return (
            (not self.statuses or response.status in self.statuses)
            and (not self.reasons or response.reason in self.reasons)
            and (self.says is None or self.says.search(response.message) is not None)
            and (not self.targets or target in self.targets)
        )


def error_of(response: Response, target: Target, probe: BucketProbe) -> OffloadError:
    """The error for a response that is not a success. The probe may raise an error of its own."""
    said = f": {response.message}" if response.message else "."
    detail = f"The bucket answered {response.status}{f' {response.reason}' if response.reason else ''}{said}"
    for rule in ERROR_RULES:
        if rule.matches(response, target):
            return rule.becomes(detail, response, probe)
    return ObjectProblem(detail, code=Reason.BUCKET_REFUSED)


def _again(detail: str, response: Response, _probe: BucketProbe) -> OffloadError:
    return TryAgain(detail, retry_after_seconds=response.retry_after_seconds)


def _error(kind: Callable[..., OffloadError], code: Reason | None = None) -> MakeError:
    return lambda detail, _response, _probe: kind(detail, code=code)


def _missing(detail: str, _response: Response, probe: BucketProbe) -> OffloadError:
    probe.confirm_bucket()
    return ObjectProblem(detail, code=Reason.OBJECT_MISSING)


def _denied(detail: str, _response: Response, probe: BucketProbe) -> OffloadError:
    if probe.lacks_permission():
        return StopAndTell(detail, code=Reason.PERMISSION_DENIED)
    return PermissionUnclear(detail)


def _saying(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _words(*words: str) -> frozenset[str]:
    return frozenset(words)


ERROR_RULES: tuple[ErrorRule, ...] = (
    # A daily quota outlasts every retry; a rate limit does not, whichever status carries it.
    ErrorRule(
        _error(StopAndTell, Reason.QUOTA_EXCEEDED),
        reasons=_words("quotaExceeded", "dailyLimitExceeded", "dailyLimitExceededUnreg"),
    ),
    ErrorRule(_again, reasons=_words("rateLimitExceeded", "userRateLimitExceeded", "usageLimitsRateLimitExceeded")),
    ErrorRule(
        _error(StopAndTell, Reason.QUOTA_EXCEEDED),
        reasons=_words(
            "accountDisabled",
            "billingNotEnabled",
            "userProjectAccessDenied",
            "userProjectAccountProblem",
            "userProjectInvalid",
            "userProjectMissing",
        ),
    ),
    ErrorRule(
        _error(StopAndTell, Reason.QUOTA_EXCEEDED),
        frozenset({400, 403}),
        says=_saying(r"billing account|requester pays bucket"),
    ),
    ErrorRule(
        _error(StopAndTell, Reason.PERMISSION_DENIED),
        reasons=_words("accessNotConfigured", "countryBlocked", "orgPolicyConstraintFailed", "sslRequired"),
    ),
    ErrorRule(
        _error(StopAndTell, Reason.PERMISSION_DENIED),
        frozenset({403}),
        says=_saying(r"Cloud KMS key|organization's policy"),
    ),
    # The documented reason for a hold is objectUnderActiveHold; what the JSON API sends is the plain
    # "forbidden" of a missing right, told apart by its sentence alone (measured by others, September 2026).
    ErrorRule(_error(ObjectProblem, Reason.OBJECT_HELD), reasons=_words("objectUnderActiveHold")),
    ErrorRule(
        _error(ObjectProblem, Reason.OBJECT_HELD),
        frozenset({403}),
        says=_saying(r"is under active \S+ hold and cannot"),
    ),
    ErrorRule(_error(ObjectProblem, Reason.OBJECT_RETAINED), reasons=_words("retentionPolicyNotMet")),
    # Provided CRC32C "AAAAAA==" doesn't match calculated CRC32C "2HvlZg==".
    # https://github.com/googleapis/python-storage/issues/1541
    ErrorRule(
        _error(ChecksumRefused), frozenset({400}), says=_saying(r"^Provided (crc32c|md5)\b.*(doesn't|does not) match")
    ),
    # What Google's own libraries retry: https://cloud.google.com/storage/docs/retry-strategy#client-libraries
    ErrorRule(_again, frozenset({408, 429, *range(500, 600)})),
    # Another request changed the object at the same moment; Google's advice is to look again and repeat.
    ErrorRule(_error(PreconditionFailed), frozenset({409}), targets=frozenset({Target.OBJECT})),
    ErrorRule(_again, frozenset({409})),
    ErrorRule(_error(PreconditionFailed), frozenset({412})),
    ErrorRule(
        _error(StopAndTell, Reason.BUCKET_NOT_FOUND),
        frozenset({404}),
        says=_saying(r"^The specified bucket does not exist"),
    ),
    ErrorRule(
        _error(StopAndTell, Reason.BUCKET_NOT_FOUND),
        frozenset({404}),
        targets=frozenset({Target.BUCKET, Target.NEW_OBJECT}),
    ),
    # 499: we cancelled it. 401: a session needs no token, so the bucket does not accept the session itself any more.
    ErrorRule(_error(SessionGone), frozenset({401, 404, 410, 499}), targets=frozenset({Target.SESSION})),
    # Most likely our offset is not the bucket's: the next try asks for it again.
    ErrorRule(_error(TryAgain, Reason.BUCKET_REFUSED), frozenset({400, 416}), targets=frozenset({Target.SESSION})),
    ErrorRule(_missing, frozenset({404, 410})),
    ErrorRule(_error(StopAndTell, Reason.CREDENTIALS_REFUSED), frozenset({401})),
    ErrorRule(_error(StopAndTell, Reason.PERMISSION_DENIED), frozenset({403}), targets=frozenset({Target.BUCKET})),
    ErrorRule(_denied, frozenset({403})),
    # A portal or a proxy answered in the bucket's place.
    ErrorRule(_again, frozenset(range(300, 400))),
)


def response_of_library(error: Exception) -> Response | None:
    """The response inside a google-cloud-storage exception, or None where there was none.

    Its message is not used: google-api-core puts the address into it (P10).
    """
    response = getattr(error, "response", None)
    if response is None:
        return None
    return Response(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)


def connection_error(error: BaseException | None, what: str) -> OffloadError:
    """The error of a request that `requests` made and that got no response; `what` says it to people.

    A connection that broke under TLS is an SSLError to it as well; only the exception at its root tells.
    """
    import ssl  # loaded by requests, where its exceptions come from; a process that only sends has neither

    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return line_error(what) if error is None else untrusted()


def untrusted() -> StopAndTell:
    """The error where the certificate is not trusted: it may not be Google that answers."""
    return StopAndTell(
        "The other side's certificate is not to be trusted. Check the machine's clock, the CA file and any proxy "
        "that opens TLS.",
        code=Reason.BUCKET_REFUSED,
    )


def line_error(what: str) -> LineDown:
    """The error where there was no response at all."""
    return LineDown(f"The bucket did not answer: {what}.")
