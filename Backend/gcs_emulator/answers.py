"""Answers and refusals in the form of Google's JSON API.

Source of status codes, reasons and texts: https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Resource = dict[str, Any]
"""A bucket or an object in the form of the JSON API; keys that begin with ``_`` never leave the emulator."""


@dataclass(slots=True)
class FilePart:
    """A range of a file, sent in pieces."""

    path: Path
    offset_bytes: int
    length_bytes: int


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes | FilePart = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that the emulator answers with an error; `plain` gives the message as text instead of JSON."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        location: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.location = location
        self.headers = dict(headers or {})
        self.plain = plain

    def answer(self) -> Answer:
        if self.plain:
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            return Answer(self.status, self.message.encode(), headers | self.headers)
        one: Resource = {"message": self.message, "domain": "global", "reason": self.reason}
        if self.location:
            one["locationType"], one["location"] = self.location
        return json_answer(
            {"error": {"code": self.status, "message": self.message, "errors": [one]}}, self.status, self.headers
        )


class Cut(Exception):
    """Raised to end the connection without an answer; `hard` sends a TCP reset."""

    def __init__(self, *, hard: bool = False) -> None:
        super().__init__("connection cut")
        self.hard = hard


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(value, indent=1).encode()
    return Answer(status, body, {"Content-Type": "application/json; charset=UTF-8"} | dict(headers or {}))


def public(resource: Resource) -> Resource:
    """The resource without the emulator's own keys."""
    return {key: value for key, value in resource.items() if not key.startswith("_")}


def bucket_missing() -> Refusal:
    return Refusal(404, "notFound", "The specified bucket does not exist.")


def object_missing(bucket: str, name: str) -> Refusal:
    return Refusal(404, "notFound", f"No such object: {bucket}/{name}")


def precondition_failed() -> Refusal:
    message = "At least one of the pre-conditions you specified did not hold."
    return Refusal(412, "conditionNotMet", message, location=("header", "If-Match"))


def invalid(message: str) -> Refusal:
    return Refusal(400, "invalid", message)


def not_modified() -> Refusal:
    return Refusal(304, "notModified", "", plain=True)


def permission_denied(permission: str) -> Refusal:
    message = (
        f"Anonymous caller does not have {permission} access to the Google Cloud Storage resource. "
        f"Permission '{permission}' denied on resource (or it may not exist)."
    )
    return Refusal(403, "forbidden", message)


def under_hold(bucket: str, name: str, kind: str) -> Refusal:
    """403 with reason ``forbidden``, as the service sends it; its documentation says objectUnderActiveHold."""
    message = (
        f"Object '{bucket}/{name}' is under active {kind} hold and cannot be deleted, overwritten or archived "
        "until hold is removed."
    )
    return Refusal(403, "forbidden", message)


def retained(bucket: str, name: str, until: str) -> Refusal:
    message = (
        f"Object '{bucket}/{name}' is subject to bucket's retention policy or object retention "
        f"and cannot be deleted or overwritten until {until}"
    )
    return Refusal(403, "retentionPolicyNotMet", message)


def crc32c_mismatch(provided: str, calculated: str) -> Refusal:
    return invalid(f'Provided CRC32C "{provided}" doesn\'t match calculated CRC32C "{calculated}".')


def md5_mismatch(provided: str, calculated: str) -> Refusal:
    return invalid(f'Provided MD5 hash "{provided}" doesn\'t match calculated MD5 hash "{calculated}".')


def not_emulated(what: str) -> Refusal:
    return Refusal(501, "notImplemented", f"gcs_emulator does not emulate {what}.")
