"""Faults that a test asks for: which requests they affect, how often, and what happens to those."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from gcs_emulator.answers import Refusal, invalid

KINDS = frozenset(
    {
        "session_start", "chunk", "final_chunk", "status", "finalise", "cancel", "multipart", "media",
        "get", "download", "list", "patch", "delete",
        "bucket_get", "bucket_insert", "test_permissions", "signed_get",
    }
)  # fmt: skip
"""The kinds of request that a fault may choose; `GET /_emulator/requests` shows the same words."""

ACTIONS = {
    "status": "answer `status` with `reason`, after `after_bytes` of the body, instead of doing the work",
    "reset": "reset the connection after `after_bytes` of the body",
    "stall": "stop reading after `after_bytes` of the body for `seconds`, then close",
    "flip_byte": "flip the byte at `after_bytes` of the body before the checksum is computed",
    "corrupt_metadata": "store `fields` in the finished object's resource in place of the true ones",
    "lost_answer": "do the work, then close the connection without an answer",
    "delay": "wait `seconds`, then do the work",
    "partial_commit": "commit only `commit_bytes` of the chunk (whole 256 KiB), answer 308",
    "odd_commit": "commit exactly `commit_bytes` of the chunk, whatever their number, answer 308",
}

REASONS = {
    400: "invalid", 401: "authError", 403: "forbidden", 404: "notFound", 408: "requestTimeout",
    410: "gone", 412: "conditionNotMet", 429: "rateLimitExceeded", 500: "internalError", 502: "badGateway",
    503: "backendError", 504: "gatewayTimeout",
}  # fmt: skip

MESSAGES = {
    "authError": "Invalid Credentials",
    "accountDisabled": "The account for the specified project has been disabled.",
    "backendError": "We encountered an internal error. Please try again.",
    "rateLimitExceeded": "The object exceeded the rate limit for object mutation operations "
    "(create, update, and delete). Please reduce your request rate.",
    "userRateLimitExceeded": "User Rate Limit Exceeded",
    "quotaExceeded": "The user's project has exceeded its quota.",
}


@dataclass(slots=True)
class Fault:
    """One fault. An empty `kind`, `method` or `name` matches all; `skip` lets so many matching requests pass first.

    The fault affects `times` requests; `hits` counts those so far.
    """

    action: str
    kind: str = ""
    method: str = ""
    name: str = ""
    times: int = 1
    skip: int = 0
    status: int = 503
    reason: str = ""
    message: str = ""
    retry_after_seconds: int | None = None
    plain: bool = False
    after_bytes: int = 0
    seconds: float = 3600.0
    commit_bytes: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    hits: int = 0

    @classmethod
    def parse(cls, sent: Mapping[str, Any]) -> Fault:
        """Make one from a request's JSON. Refuses with 400 an unknown field or value."""
        known = {one.name for one in fields(cls)} - {"hits"}
        if unknown := set(sent) - known:
            raise invalid(f"A fault has no field {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}.")
        if sent.get("action") not in ACTIONS:
            raise invalid(f"action is one of {', '.join(ACTIONS)}.")
        if sent.get("kind") and sent["kind"] not in KINDS:
            raise invalid(f"kind is one of {', '.join(sorted(KINDS))}.")
        for one in fields(cls):
            if one.name in sent and not _is_like(sent[one.name], one.type):
                raise invalid(f"{one.name} is {one.type}.")
        return cls(**sent)

    def matches(self, method: str, kind: str, name: str) -> bool:
        return (
            (not self.method or self.method == method)
            and (not self.kind or self.kind == kind)
            and (not self.name or self.name in name)
        )

    def refusal(self) -> Refusal:
        reason = self.reason or REASONS.get(self.status, "backendError")
        message = self.message or MESSAGES.get(reason, reason)
        headers = {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
        location = None
        if self.status == 401:  # noqa: PLR2004
            headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/"'
            location = ("header", "Authorization")
        return Refusal(self.status, reason, message, location=location, headers=headers, plain=self.plain)


def _is_like(value: object, annotation: object) -> bool:
    """Whether a value from JSON has the type that a field's annotation (a text) names."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "int": int,
        "float": (int, float),
        "str": str,
        "bool": bool,
        "int | None": int,
        "dict[str, Any]": dict,
    }
    # bool is a kind of int in Python, but true is no number in JSON.
    return isinstance(value, kinds[str(annotation)]) and (isinstance(value, bool) == (annotation == "bool"))


class Faults:
    """The faults in force. Each request gets at most one, the first that matches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def show(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def take(self, method: str, kind: str, name: str) -> Fault | None:
        """The fault of this request, or None; counts it down."""
        with self._lock:
            for fault in self._faults:
                if fault.times <= 0 or not fault.matches(method, kind, name):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                fault.hits += 1
                return fault
        return None
